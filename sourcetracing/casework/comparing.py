"""The work of compare_audio.py: do two files, or two sets of files, come from one source? An LLR, in words, and what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sourcetracing.audio.bad_audio import BadAudio
from sourcetracing.casework.audio_facts import sha256_of
from sourcetracing.casework.wording import (
    SCALE_SOURCE,
    Evidence,
    Propositions,
    bound_sentence,
    ratio_sentence,
    strength_of,
    support_sentence,
)
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import write_json
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.names import printable
from sourcetracing.tracing.calibration import train_languages
from sourcetracing.tracing.corpus_files import OF_CORPUS
from sourcetracing.tracing.inputs import list_files, require_no_overwriting
from sourcetracing.tracing.phrases import conditions, language_names
from sourcetracing.tracing.system import score_splits
from sourcetracing.tracing.tracer import FileTrace, Tracer
from sourcetracing.verification.verifier import Verifier

FORMAT = 1  # raise it when the JSON changes
LEAST_SECONDS = 0.5  # of a file: less is not a word, repeated to fill a window
POOR_CLLR = 0.5  # bits: LLRs lose more than half of what perfect ones would say
COPIES = 0.9999  # a score above it is that of one recording
PROPOSITIONS = Propositions("one source made A and B", "two different sources made A and B")


@dataclass(frozen=True)
class Side:
    """One of two sets: its name (as typed), files, their digests (SHA-256), seconds of sound, and notes on files."""

    name: str
    paths: list[str]
    digests: list[str]
    seconds: float
    notes: list[str]


@dataclass(frozen=True)
class Basis:
    """What an LLR rests on. sizes: of the dev sets behind it, (A, B). cllr: of its line on its own trials, bits; 1 = says nothing.

    are_unseen: training saw none of these sources. says_something: False where on dev a higher score does not mean one source.
    """

    scoring: str
    sizes: tuple[int, int]
    targets: int
    nontargets: int
    utterances: int
    sources: list[str]
    are_unseen: bool
    cllr: float
    says_something: bool


@dataclass(frozen=True)
class Comparison:
    """score: cosine of the sets' models, 1 = the same direction. evidence: its LLR, positive for one source."""

    a: Side
    b: Side
    score: float
    evidence: Evidence
    basis: Basis

    def sentences(self) -> list[str]:
        """The answer in words."""
        return [ratio_sentence(self.evidence, PROPOSITIONS), support_sentence(self.evidence, PROPOSITIONS), bound_sentence(self.evidence)]


def compare_audio(words: Sequence[str], run_folder: str, changes: list[str], out: Path | None = None) -> Comparison:
    """Compares what two words name (file, folder or pattern each), prints the answer, writes it to `out`. Raises `UserError`."""
    if len(words) != 2:
        raise UserError(
            f"two sides are compared, got {len(words)}: python scripts/compare_audio.py A.wav B.wav --run RUN (a side may be a folder)"
        )
    files = [list_files([word])[0] for word in words]
    require_no_overwriting([out], [path for side in files for path in side])
    digests = [[sha256_of(path) for path in side] for side in files]
    _require_distinct(files, digests)
    tracer = Tracer.load(run_folder, [*changes, "trace.detector=none"])
    run = tracer.system.run
    score_splits(run, ["train", "dev"], tracer.system.device)
    verifier = Verifier.of(run)
    verifier.line(1, 1)  # a dev that cannot calibrate is told before any file is heard
    with bar(total=sum(map(len, files)), desc="compare", unit="file", disable=sum(map(len, files)) == 2) as progress:
        traces = [[_heard(tracer, path, progress) for path in side] for side in files]
    sides = [
        Side(word, [trace.path for trace in side], own, sum(trace.duration_s for trace in side), _notes(side))
        for word, side, own in zip(words, traces, digests, strict=True)
    ]
    comparison = compare(verifier, sides, [np.stack([trace.embedding for trace in side]) for side in traces])
    doubts = doubts_about(comparison, tracer)
    print(text_of(comparison, doubts))
    if out is not None:
        write_json(out, json_of(comparison, tracer, doubts))
        print(f"wrote {out}")
    return comparison


def compare(verifier: Verifier, sides: Sequence[Side], embeddings: Sequence[np.ndarray]) -> Comparison:
    """Of two sides whose files have these embeddings, (K, E) each."""
    models = verifier.models(embeddings)
    score = float(verifier.scores(models[:1], models[1:])[0, 0])
    sizes = (len(embeddings[0]), len(embeddings[1]))
    line, trials = verifier.line(*sizes), verifier.dev_trials(*sizes)
    number = len(verifier.dev.utt_ids)
    basis = Basis(
        scoring=verifier.scoring,
        sizes=trials.sizes,
        targets=line.targets,
        nontargets=line.nontargets,
        utterances=number,
        sources=sorted(set(verifier.dev.sources.tolist())),
        are_unseen=verifier.are_unseen,
        cllr=verifier.cllr(*sizes),
        says_something=bool(line.says_something),
    )
    evidence = Evidence.within(line.slope * score + line.offset, line.low, line.high, number)
    return Comparison(sides[0], sides[1], score, evidence, basis)


def text_of(comparison: Comparison, doubts: Sequence[str]) -> str:
    """For the terminal."""
    evidence = comparison.evidence
    sides = [
        f"{label}  {printable(side.name)}: {_count(len(side.paths), 'file')}, {side.seconds:.1f} s"
        for label, side in zip("AB", (comparison.a, comparison.b), strict=True)
    ]
    answer = f"log10 LR {evidence.log10:+.2f}   (natural LLR {evidence.llr:+.2f}, score {comparison.score:.3f})"
    rests = [f"  - {line}" for line in rests_on(comparison)]
    return "\n".join(
        [
            *sides,
            answer,
            *(f"  {sentence}" for sentence in comparison.sentences()),
            f"  (verbal scale: {SCALE_SOURCE})",
            "What it rests on:",
            *rests,
            "When not to believe this:",
            *(f"  - {line}" for line in doubts),
        ]
    )


def rests_on(comparison: Comparison) -> list[str]:
    """What the LLR was computed from, one sentence or two each."""
    basis, wanted = comparison.basis, (len(comparison.a.paths), len(comparison.b.paths))
    seen = (
        "training saw none of them" if basis.are_unseen else "training saw some of them, so dev is easier than a generator it never heard"
    )
    space = "of the embeddings as they are" if basis.scoring == "cosine" else f"{basis.scoring}, in a space learnt on train"
    lines = [
        f"The score is the cosine of two models ({space}); a model is the mean direction of a side's files.",
        f"The LLR is a line of the score, fitted on {basis.targets} dev comparisons within one source and {basis.nontargets} between two, "
        f"of {basis.utterances} utterances of {_count(len(basis.sources), 'source')} ({', '.join(basis.sources)}): {seen}.",
        f"Cllr of that line on these very comparisons: {basis.cllr:.2f} bits (0 is perfect, 1 says nothing); on others it is higher "
        "(script 10 shows eval's).",
    ]
    if basis.sizes != wanted:
        lines.append(
            f"Dev cannot fill sets of {wanted[0]} and {wanted[1]} files: the line is that of {basis.sizes[0]} and {basis.sizes[1]}."
        )
    return lines


def doubts_about(comparison: Comparison, tracer: Tracer) -> list[str]:
    """When not to believe the answer, one sentence or two each."""
    basis, settings, doubts = comparison.basis, tracer.system.settings, []
    if not basis.says_something:
        doubts.append("On dev a higher score does not mean one source: this run cannot tell, and every LLR of it is 0.")
    elif basis.cllr > POOR_CLLR:
        doubts.append(f"This run tells sources apart poorly: its Cllr on dev is {basis.cllr:.2f} bits of 1.")
    doubts += [
        "Speaker, language, text, loudness and recording channel were not controlled: what A and B share of these may raise the score, "
        "what they differ in may lower it. Compare files that are alike in all but the question.",
        *_doubts_on_twins(comparison, tracer),
        f"The alternative is a source like those of dev ({', '.join(basis.sources)}), not any generator there is.",
        f"In training it heard {language_names(train_languages(tracer.system.run))}: {conditions(settings)}; "
        "other languages, codecs, telephone and mixed speech were not tested by this number.",
        "It does not tell fake from genuine speech: two recordings of people are compared all the same.",
    ]
    return [*doubts, *(f"{label}: {note}" for label, side in zip("AB", (comparison.a, comparison.b), strict=True) for note in side.notes)]


def _doubts_on_twins(comparison: Comparison, tracer: Tracer) -> list[str]:
    known = ", ".join(tracer.system.classes)
    lines = []
    if comparison.score > COPIES:
        lines.append("A and B are the same to the system, as copies or other codings of one recording are: no evidence of a source.")
    if comparison.basis.are_unseen:
        lines.append(
            f"The line is that of sources that training never saw. Files of one that it knows ({known}) may come out as of two sources: "
            "ask trace_audio.py whether it knows theirs."
        )
    return [*lines, "Another system may say otherwise: on weak evidence systems differ, even in sign."]


def json_of(comparison: Comparison, tracer: Tracer, doubts: Sequence[str]) -> dict[str, Any]:
    """All of it for programs; LLRs are natural logarithms where they do not say log10."""
    evidence = comparison.evidence
    return {
        "format": FORMAT,
        "system": {"run": str(tracer.system.run.folder), "weights": tracer.system.weights},
        "a": asdict(comparison.a),
        "b": asdict(comparison.b),
        "score": comparison.score,
        "llr": evidence.llr,
        "log10_lr": evidence.log10,
        "llr_bounds": [evidence.low, evidence.high],
        "at_bound": evidence.is_cut,
        "strength": strength_of(evidence.log10),
        "propositions": asdict(PROPOSITIONS),
        "sentences": comparison.sentences(),
        "verbal_scale": SCALE_SOURCE,
        "rests_on": {**asdict(comparison.basis), "in_words": rests_on(comparison)},
        "when_not_to_believe": list(doubts),
    }


def _heard(tracer: Tracer, path: Path, progress: Any) -> FileTrace:
    trace = tracer(path)
    if trace.duration_s < LEAST_SECONDS:
        raise BadAudio(path, f"too short to compare ({trace.duration_s:.2f} s, at least {LEAST_SECONDS:g} s are needed)")
    progress.update(1)
    return trace


def _notes(traces: Sequence[FileTrace]) -> list[str]:
    """Each note once, with the files that it is about; that windows name several sources is no matter of a comparison."""
    found: dict[str, list[str]] = {}
    for trace in traces:
        for note in trace.notes:
            if note.startswith(OF_CORPUS) and len(traces) > 1:
                note = f"{OF_CORPUS}s of the corpus that the system was made with (--report of trace_audio.py names them): no new evidence"
            if not note.startswith("windows disagree"):
                found.setdefault(note, []).append(printable(Path(trace.path).name))
    return [f"{names[0] if len(names) == 1 else f'{len(names)} files'}: {note}" for note, names in found.items()]


def _require_distinct(files: Sequence[Sequence[Path]], digests: Sequence[Sequence[str]]) -> None:
    """The same bytes twice are no evidence: a file is always like itself."""
    seen: dict[str, tuple[str, Path]] = {}
    for label, paths, own in zip("AB", files, digests, strict=True):
        for path, digest in zip(paths, own, strict=True):
            if digest in seen:
                other_label, other = seen[digest]
                where = f"both in {label}" if other_label == label else "on both sides"
                what = f"{path} is" if other == path else f"{other} and {path} are the same bytes and"
                raise UserError(f"{what} {where}: a file is always like itself. Take one of them out")
            seen[digest] = label, path


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
