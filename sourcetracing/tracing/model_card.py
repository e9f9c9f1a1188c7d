"""README.md of an exported system: a Hub model card with its figures, computed from its scores, and its limits in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from sourcetracing.metrics.calibration import Calibration
from sourcetracing.metrics.classification import confusion_matrix, macro_f1, num_present
from sourcetracing.settings.backends import BACKENDS
from sourcetracing.settings.frontends import Audio
from sourcetracing.tracing.calibration import calibration_sets, train_languages
from sourcetracing.tracing.phrases import about, conditioning, limits
from sourcetracing.tracing.pictures import SET_WORDS
from sourcetracing.tracing.system import TracingSystem
from sourcetracing.tracing.unknown import UnknownRule

UNDECIDED = "other"
_ON_THE_HUB = ("mlaad_source_tracing", "mcl_mlaad")  # readers whose corpus is settings.mlaad.hub_id

_CARD = """---
{metadata}
---

# {name}

{about}.

Part of *sourcetracing* (tracing the source of speech deepfakes).
It hears {window:g} s of mono speech at {rate} Hz, its features are {features}.{conditioning}

## Use

```
python scripts/trace_audio.py file.wav folder/ --run THIS_FOLDER
```

For research on where synthetic speech comes from, on material like that of its corpus. Not for decisions about people.

## When not to believe it

{limits}

## Figures

Known sources, scores of single windows, all acoustic variants. Dev chose {chosen}, eval only reports.

{figures}

Probabilities are softmax(logits / {temperature:.4f}). {unknown}

## Files

{files}

## Licence

{licence}

## Cite

```
{citation}
```
"""

_CITATION = """@software{sourcetracing,
  title = {sourcetracing: tracing the source of speech deepfakes}, author = {The sourcetracing authors}, year = {2026}}
@article{muller2024mlaad,
  title = {MLAAD: The Multi-Language Audio Anti-Spoofing Dataset}, author = {M{\\"u}ller, Nicolas M. and others},
  journal = {arXiv:2401.09512}, year = {2024}}"""


@dataclass(frozen=True)
class SetFigures:
    """Figures of one set of scores."""

    name: str
    rows: int
    macro_f1: float
    num_classes: int
    accuracy: float
    ece: float


def figures_of(system: TracingSystem, calibration: Calibration) -> list[SetFigures]:
    """From the run's scores on dev, eval, and eval in other languages. Raises `UserError` when they are missing."""
    found = []
    for name, rows in calibration_sets(system.run).items():
        labels, predictions = rows["label"].to_numpy(), rows["prediction"].to_numpy()
        confusion = confusion_matrix(labels, predictions, range(len(system.classes)))
        figure, classes = float(macro_f1(confusion)), int(num_present(confusion))
        found.append(SetFigures(name, len(rows), figure, classes, float((labels == predictions).mean()), calibration.after[name].ece))
    return found


def model_card(
    system: TracingSystem, calibration: Calibration, rule: UnknownRule | None, files: dict[Path, str], licence: str
) -> ModelCard:
    """The card. files: name -> what it is. licence: an id of the Hub's list; "other" says that nobody has decided yet."""
    figures, settings = figures_of(system, calibration), system.settings
    name = f"{system.run.system}-{system.run.train_set}"
    encoder = settings.ssl.model if _is_on_the_hub(settings.ssl.model) else "the SSL encoder in encoder/"
    features = {"lfcc": "LFCC", "ssl": f"those of {encoder}", "residual": "residual spectra", "waveform": "the samples themselves"}
    text = _CARD.format(
        metadata=_metadata(system, figures, name, licence).to_yaml(),
        name=name,
        about=about(system),
        window=settings.audio.crop_seconds,
        rate=settings.audio.sample_rate,
        features=features.get(settings.frontend, settings.frontend),
        conditioning=_conditioning(settings.audio),
        chosen="the temperature" if BACKENDS[settings.backend].fitted else "the epoch and the temperature",
        limits="\n".join(f"* {line}" for line in limits(system, calibration, rule)),
        figures=_table(figures),
        temperature=calibration.temperature,
        unknown=_unknown(rule),
        files="\n".join(f"* `{name}`: {meaning}" for name, meaning in files.items()),
        licence=_licence_words(licence),
        citation=_CITATION,
    )
    return ModelCard(text)


def _conditioning(audio: Audio) -> str:
    """What whoever uses the ONNX file, or code of their own, has to know."""
    if not (phrases := conditioning(audio)):
        return ""
    left = " An ONNX file does the same to its windows; cut the silence off before you cut them." if audio.trim_silence_db else ""
    return f"\nBefore that, {'; '.join(phrases)}; `trace_audio.py` does so by itself.{left}"


def _metadata(system: TracingSystem, figures: list[SetFigures], name: str, licence: str) -> ModelCardData:
    settings = system.settings
    corpus = settings.mlaad.hub_id if settings.corpus.reader in _ON_THE_HUB else settings.name
    own = {"license_name": "to-be-decided", "license_link": "README.md"} if licence == UNDECIDED else {}
    base = {"base_model": settings.ssl.model} if settings.frontend == "ssl" and _is_on_the_hub(settings.ssl.model) else {}
    shared = {"datasets": [corpus]} if settings.corpus.reader in _ON_THE_HUB else {}
    results = [
        EvalResult(
            task_type="audio-classification",
            task_name="source tracing",
            dataset_type=corpus,
            dataset_name=settings.name,
            dataset_config=row.name,
            dataset_split=row.name.split("_")[0],
            metric_type=kind,
            metric_value=round(value, 4),
        )
        for row in figures
        for kind, value in (("f1", row.macro_f1), ("accuracy", row.accuracy))
    ]
    return ModelCardData(
        language=[code for code in train_languages(system.run) if len(code) == 2],
        license=licence,
        library_name="sourcetracing",
        pipeline_tag="audio-classification",
        tags=["source-tracing", "audio-deepfake", "anti-spoofing"],
        model_name=name,
        eval_results=results,
        **own,
        **base,
        **shared,
    )


def _is_on_the_hub(model: str) -> bool:
    return model.count("/") == 1 and not model.startswith((".", "/", "~")) and not Path(model).is_dir()


def _table(figures: list[SetFigures]) -> str:
    table = pd.DataFrame(
        {
            "set": [SET_WORDS[row.name] for row in figures],
            "rows": [row.rows for row in figures],
            "macro-F1": [f"{row.macro_f1:.1%}" for row in figures],
            "over classes": [row.num_classes for row in figures],
            "accuracy": [f"{row.accuracy:.1%}" for row in figures],
            "calibration error": [f"{row.ece:.1%}" for row in figures],
        }
    )
    lines = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _unknown(rule: UnknownRule | None) -> str:
    if rule is None:
        return "It makes no decision about unknown sources."
    return f"A source is called unknown when {rule.name} is above {rule.threshold:.6g}: {rule.origin}."


def _licence_words(licence: str) -> str:
    if licence == UNDECIDED:
        return (
            "Not decided yet. The code is MIT; the weights were learned from a corpus (and perhaps an encoder) whose licences may bind "
            "them: MLAAD, for one, is for non-commercial use. Export again with `--license ID` once that is settled."
        )
    return f"The weights are shared under {licence}; the code is MIT. The licence of the corpus may bind further."
