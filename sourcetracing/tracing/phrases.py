"""What an answer means and when not to believe it, in plain words: for the terminal, the JSON and the model card."""

from __future__ import annotations

from sourcetracing.metrics.calibration import Calibration
from sourcetracing.settings.corpora import LANGUAGE_NAMES, SOURCE
from sourcetracing.settings.frontends import Audio
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import trained_variants
from sourcetracing.tracing.calibration import train_languages
from sourcetracing.tracing.system import TracingSystem
from sourcetracing.tracing.unknown import UnknownRule

POOR_ECE = 0.05
POOR_EER = 0.15
# Of so many utterances a share, whatever it is, is known to within POOR_ECE: (1.96 * 0.5 / POOR_ECE) ** 2, by its 95 % interval.
LEAST_UTTERANCES = 385


def about(system: TracingSystem) -> str:
    """One line: which system, trained on what, for which sources."""
    settings = system.settings
    languages = language_names(train_languages(system.run))
    return (
        f"{system.run.system}, trained on the corpus {settings.name!r} (reader {settings.corpus.reader}) in {languages}; "
        f"it knows {len(system.classes)} {_what_is_traced(settings)}: {', '.join(system.classes)}"
    )


def _what_is_traced(settings: Settings) -> str:
    label = settings.corpus.label
    return "sources" if label == SOURCE else f"values of {label} (corpus.label), which it calls sources"


def language_names(codes: list[str]) -> str:
    """English, German and French; a code that has no name here stays."""
    names = [LANGUAGE_NAMES.get(code, code) for code in codes]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def limits(system: TracingSystem, calibration: Calibration | None, rule: UnknownRule | None) -> list[str]:
    """When not to believe an answer, one sentence or two each."""
    settings = system.settings
    return [
        "It does not tell fake from genuine speech: a recording of a person gets a source too. Ask a detector first.",
        f"Every answer is one of its {len(system.classes)} sources; a generator it never heard is at best called unknown. "
        f"{_on_unknown(rule)}",
        f"It heard {language_names(train_languages(system.run))} in training. {_on_languages(calibration)}",
        f"It heard {conditions(settings)}{_not_heard(settings)}. Coded, cut or mixed recordings may change the answer.",
        f"It hears windows of {settings.audio.crop_seconds:g} s. Shorter files are repeated to fill one and are less sure than they look.",
        _on_calibration(calibration, settings),
    ]


def conditions(settings: Settings) -> str:
    """In what sound a system was trained: clean files, and what was added to them."""
    variants = trained_variants(settings)
    added = [variant for variant in variants if variant != "original"]
    clean = "clean files" if "original" in variants else ""
    more = f"artificial {', '.join(added)}" if added else ""
    return " and ".join(part for part in (clean, more) if part)


def _not_heard(settings: Settings) -> str:
    return "".join(f", no {variant}" for variant in ("codec", "telephone") if variant not in trained_variants(settings))


def _on_unknown(rule: UnknownRule | None) -> str:
    if rule is None:
        return "No such decision was asked for (trace.detector=none)."
    if rule.eer is None:
        return f"How often that works is not known: {rule.origin}."
    word = "often wrong" if rule.eer > POOR_EER else "mostly right"
    return f"That is {word}: {rule.name} has an equal error rate of {rule.eer:.1%} on dev's unknown sources, which are not yours."


def _on_languages(calibration: Calibration | None) -> str:
    others = calibration.after.get("eval_other_languages") if calibration else None
    if others is None or "eval" not in calibration.after:
        return "Other languages were not tested."
    own = calibration.after["eval"]
    return f"There its accuracy on eval is {own.accuracy:.1%}, in other languages {others.accuracy:.1%} ({others.rows} rows)."


def _on_calibration(calibration: Calibration | None, settings: Settings) -> str:
    if calibration is None:
        return "Its logits are not calibrated."
    shown = calibration.after.get("eval", calibration.after["dev"])
    # The variants of an utterance are no evidence of their own.
    num_utterances = shown.rows // len(settings.evaluation.variants or settings.augment.variants)
    trust = "read them as a ranking, not as odds"
    if shown.ece <= POOR_ECE and num_utterances >= LEAST_UTTERANCES:
        trust = "for audio like that of its corpus they can be taken at their word"
    elif shown.ece <= POOR_ECE:
        trust += f"; {num_utterances} utterances are too few to trust that figure, {LEAST_UTTERANCES} are needed"
    others = calibration.after.get("eval_other_languages")
    elsewhere = f" (in other languages {others.ece:.1%})" if others else ""
    return f"Probabilities are off by {shown.ece:.1%} on average{elsewhere}: {trust}."


def conditioning(audio: Audio) -> list[str]:
    """What is done to a file before the network gets it, one phrase each, in this order; [] for nothing."""
    what = {"rms": "the root mean square", "peak": "the peak"}
    trim = [f"the silence at both ends of a file is left out ({audio.trim_silence_db:g} dB below its loudest 20 ms)"]
    limit = [f"everything above {audio.band_limit_hz:g} Hz is removed"]
    level = [f"{what.get(audio.normalize, '')} of each window is brought to {audio.target_dbfs:g} dBFS"]
    return trim * bool(audio.trim_silence_db) + limit * bool(audio.band_limit_hz) + level * (audio.normalize != "none")
