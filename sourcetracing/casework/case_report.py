"""A case as one page: what was examined, the answers with their likelihood ratios, how reliable they are, and how to compute them again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from sourcetracing.audio.bad_audio import BadAudio
from sourcetracing.casework.audio_facts import audio_facts, sha256_of
from sourcetracing.casework.case_tables import (
    enrolled_evidence,
    enrolled_table,
    facts_table,
    levels_table,
    neighbours_table,
    shares_table,
    signed,
    sources_table,
    undecoded_table,
)
from sourcetracing.casework.closed_set import ClosedSet
from sourcetracing.casework.neighbours import Neighbourhood
from sourcetracing.casework.reliability import Share, calibration_sentence, clean_eval, decision_shares, shares
from sourcetracing.casework.short_names import common_folder, short_name
from sourcetracing.casework.wording import (
    LN_10,
    SCALE_SOURCE,
    Evidence,
    Propositions,
    bound_sentence,
    ratio_sentence,
    scale_rows,
    support_sentence,
)
from sourcetracing.drawing.templates import render
from sourcetracing.drawing.text import ABSENT
from sourcetracing.enrolment.decision import ENROLLED
from sourcetracing.errors import UserError
from sourcetracing.explanation.explainer import Explainer, Shown
from sourcetracing.runtime.files import write_text
from sourcetracing.settings.names import printable
from sourcetracing.settings.reading import to_yaml
from sourcetracing.tracing.corpus_files import OF_CORPUS
from sourcetracing.tracing.enrolled import EnrolledAnswer, EnrolledSources
from sourcetracing.tracing.job import Report
from sourcetracing.tracing.output import Failure
from sourcetracing.tracing.phrases import about, limits
from sourcetracing.tracing.timelines import draw_timeline
from sourcetracing.tracing.tracer import FileTrace, Tracer
from sourcetracing.training.run_folder import environment

DECISIONS = {True: "unknown source", False: "known source", None: "not decided"}


@dataclass(frozen=True)
class Answer:
    """What the page says of a traced file. evidence: for `source`, the likeliest of the known ones; None where dev cannot bound it."""

    source: str
    probability: float
    evidence: Evidence | None
    log10_lr: str
    decision: str
    sentences: list[str]
    sources: pd.DataFrame
    levels: pd.DataFrame | None = None


@dataclass(frozen=True)
class Section:
    """One file of the page. reason: why it was not traced, "" = it was; then answer and timeline (PNG) are there.

    enrolled_name: the enrolled source that is the file's answer, "" = none is.
    """

    anchor: str
    name: str
    reason: str
    facts: pd.DataFrame
    answer: Answer | None = None
    timeline: bytes = b""
    neighbours: pd.DataFrame | None = None
    enrolled: pd.DataFrame | None = None
    enrolled_name: str = ""
    enrolled_sentences: Sequence[str] = ()
    reliability: pd.DataFrame | None = None
    decisions: pd.DataFrame | None = None
    cautions: Sequence[str] = ()
    explanation: Shown | None = None


def case_writer(path: str | None, language: str | None = None, explainer: Explainer | None = None) -> Report | None:
    """What writes the page once files are traced; None where none is wanted. language: what they are spoken in, where that is known.

    explainer: that has explained the files by then. Raises `UserError`.
    """
    if path is None:
        if language is not None:
            raise UserError(f"--language {language} is for the page of a case: add --report FILE.html")
        return None
    out = Path(path)
    if out.is_dir() or out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--report {path}: name a file that ends in .html")

    def write(
        tracer: Tracer, results: Sequence[FileTrace | Failure], library: EnrolledSources | None, enrolled: Mapping[str, EnrolledAnswer]
    ) -> None:
        shown = explainer.shown if explainer else {}
        write_case(out, tracer, results, language=language, library=library, enrolled=enrolled, explained=shown)
        print(f"wrote {out}")

    return write


def write_case(
    out: Path,
    tracer: Tracer,
    results: Sequence[FileTrace | Failure],
    *,
    language: str | None = None,
    library: EnrolledSources | None = None,
    enrolled: Mapping[str, EnrolledAnswer] | None = None,
    explained: Mapping[str, Shown] | None = None,
) -> None:
    """Writes the page. library: that the files were compared with; enrolled: path -> what it says of the file; explained: path -> why."""
    case = Case.of(tracer, language)
    common, answers = common_folder([result.path for result in results]), enrolled or {}
    sections = [
        case.section(number, result, short_name(result.path, common), answers.get(result.path)) for number, result in enumerate(results, 1)
    ]
    sections = [replace(one, explanation=(explained or {}).get(result.path)) for one, result in zip(sections, results, strict=True)]
    system = tracer.system
    page = render(
        __file__,
        "case.html",
        title="Case report",
        eyebrow="Source tracing · case report",
        headline=f"Which synthesizer made {'this file' if len(results) == 1 else f'these {len(results)} files'}?",
        lead=f"Answers of one system: {about(system)}.",
        notes=_notes_of(results, with_library=library is not None),
        tabs={},
        num_panels=0,
        made_by="Made by scripts/trace_audio.py.",
        commit=environment(system.device)["git_commit"],
        sections=sections,
        scale=pd.DataFrame(scale_rows(), columns=["likelihood ratio", "in words"]),
        scale_source=SCALE_SOURCE,
        method=case.method(),
        no_neighbours=case.neighbours if isinstance(case.neighbours, str) else "",
        limits=[*limits(system, tracer.calibration, tracer.rule), *(library.limits() if library else [])],
        made_with=_made_with(tracer, library),
        settings=to_yaml(system.settings),
    )
    write_text(out, page)


@dataclass(frozen=True)
class Case:
    """What all files of a case share. closed, neighbours: or why there are none, in words."""

    tracer: Tracer
    language: str | None
    closed: ClosedSet | str
    neighbours: Neighbourhood | str
    eval_scores: pd.DataFrame | None
    decisions: Sequence[Share]

    @classmethod
    def of(cls, tracer: Tracer, language: str | None) -> Case:
        run = tracer.system.run
        closed = _or_why(lambda: ClosedSet.of(run, tracer.calibration))
        neighbours = _or_why(lambda: Neighbourhood.of(tracer))
        return cls(tracer, language, closed, neighbours, clean_eval(run), decision_shares(tracer))

    def section(self, number: int, result: FileTrace | Failure, name: str, enrolled: EnrolledAnswer | None) -> Section:
        """One file. name: for people."""
        anchor = f"file{number}"
        table = self._facts(result.path)
        if isinstance(result, Failure):
            return Section(anchor, name, result.reason, table)
        answer = self.answer(result)
        return Section(
            anchor=anchor,
            name=name,
            reason="",
            facts=table,
            answer=answer,
            timeline=_timeline(result, self.tracer),
            neighbours=self._neighbours(result),
            enrolled=enrolled_table(enrolled) if enrolled and enrolled.nearest is not None else None,
            enrolled_sentences=_enrolled_sentences(enrolled) if enrolled and enrolled.nearest is not None else (),
            enrolled_name=printable(enrolled.source) if enrolled and enrolled.decision == ENROLLED else "",
            reliability=self._reliability(answer.source),
            decisions=shares_table(self.decisions) if self.decisions else None,
            cautions=self._cautions(result),
        )

    def _facts(self, path: str) -> pd.DataFrame:
        """Of a file that cannot be decoded its digest; of a missing one its path."""
        try:
            return facts_table(audio_facts(path, replace(self.tracer.audio, on_truncated="keep")))
        except BadAudio:
            pass
        try:
            return undecoded_table(path, sha256_of(path))
        except BadAudio:
            return undecoded_table(path, "cannot be read")

    def answer(self, result: FileTrace) -> Answer:
        """Of a traced file."""
        classes, best = self.tracer.system.classes, int(result.probabilities.argmax())
        source, probability = classes[best], float(result.probabilities[best])
        evidences = self.closed.evidence(result.probabilities) if isinstance(self.closed, ClosedSet) else []
        order = (-result.probabilities).argsort(kind="stable")[: self.tracer.trace.top_k]
        table = sources_table([classes[n] for n in order], result.probabilities[order], [evidences[n] for n in order] if evidences else [])
        evidence = evidences[best] if evidences else None
        sentences = [self._decision_sentence(result), *self._evidence_sentences(source, evidence)]
        if result.is_unknown and evidence:
            sentences.insert(1, "What follows holds only if the source is one of the known ones after all.")
        if of_corpus := [note for note in result.notes if note.startswith(OF_CORPUS)]:
            sentences.insert(0, f"This file is {of_corpus[0]}.")
        lr, decision = signed(evidence) if evidence else ABSENT, DECISIONS[result.is_unknown]
        levels = self.tracer.levels_of(result)
        return Answer(source, probability, evidence, lr, decision, sentences, table, levels_table(levels) if levels else None)

    def method(self) -> list[str]:
        """What the likelihood ratios of the page are, one paragraph each."""
        num_classes = len(self.tracer.system.classes)
        if not isinstance(self.closed, ClosedSet):
            return [f"There are no likelihood ratios on this page: {self.closed}."]
        low, high, most = (bound / LN_10 for bound in (self.closed.low, self.closed.high, math.log(self.closed.utterances)))
        return [
            "A likelihood ratio compares two propositions: the named source made the file; another of the known sources did. It says how "
            "much more probable what was observed is under the one than under the other. It is not the probability of a proposition, which "
            "hangs on everything else that is known of the case.",
            "It is computed from the calibrated probabilities of the file's windows, averaged: the odds of the source against all others, "
            f"divided by the odds before, 1 to {num_classes - 1}, as if all were equally probable. A source that is not among these "
            f"{num_classes} is in neither proposition.",
            f"Bounds: {self.closed.utterances} dev utterances support no log10 LR beyond ±{most:.2f}, and the errors made on dev none "
            f"beyond {low:.2f} and {high:+.2f} (empirical lower and upper bounds, Vergeer et al. 2016). What the system asks for beyond is "
            f"cut, and said so. Cllr on dev, within these bounds: {self.closed.cllr:.2f} bits (0 is perfect, 1 says nothing).",
        ]

    def _decision_sentence(self, result: FileTrace) -> str:
        rule = self.tracer.rule
        if rule is None:
            return "Whether the source is one of the known ones was not asked (trace.detector=none)."
        side = "above" if result.is_unknown else "not above"
        what = "an unknown source" if result.is_unknown else "one of the known sources"
        error = f"; equal error rate on dev {rule.eer:.1%}" if rule.eer is not None else ""
        return f"The rule calls it {what}: {rule.name} {result.unknown_score:.4g} is {side} the threshold {rule.threshold:.4g}{error}."

    def _evidence_sentences(self, source: str, evidence: Evidence | None) -> list[str]:
        if evidence is None:
            return [f"There is no likelihood ratio: {self.closed}."]
        others = len(self.tracer.system.classes) - 1
        which = "the other source that the system knows" if others == 1 else f"one of the {others} other sources that the system knows"
        propositions = Propositions(f"{source} made it", f"{which} made it")
        return [ratio_sentence(evidence, propositions), support_sentence(evidence, propositions), bound_sentence(evidence)]

    def _neighbours(self, result: FileTrace) -> pd.DataFrame | None:
        return neighbours_table(self.neighbours.nearest(result.embedding)) if isinstance(self.neighbours, Neighbourhood) else None

    def _reliability(self, source: str) -> pd.DataFrame | None:
        if self.eval_scores is None:
            return None
        return shares_table(shares(self.tracer.system.run, self.eval_scores, source, self.language))

    def _cautions(self, result: FileTrace) -> list[str]:
        """What sets this file apart from the data that the figures are of."""
        crop_s, number = self.tracer.audio.crop_seconds, len(result.starts_s)
        cautions = [
            f"The file has {number} windows of {crop_s:g} s; the figures are of one window of each utterance.",
            calibration_sentence(self.tracer.calibration),
            *(f"{note[:1].upper()}{note[1:]}." for note in result.notes if not note.startswith(OF_CORPUS)),
        ]
        if self.language is None:
            cautions.append("Its language was not given (--language CODE): whether the system was tested on it is not said here.")
        elif self.eval_scores is None or self.language not in set(self.eval_scores["language"]):
            cautions.append(f"On its language ({self.language}) the system was not tested.")
        return cautions


def _or_why(make: Callable):
    """What is made, or in words why it cannot be."""
    try:
        return make()
    except UserError as error:
        return str(error)


def _enrolled_sentences(answer: EnrolledAnswer) -> list[str]:
    """The same in words, as for known sources."""
    name, evidence = printable(answer.nearest), enrolled_evidence(answer)
    propositions = Propositions(f"{name} made it", "another source, one like those of dev, made it")
    said = [ratio_sentence(evidence, propositions), support_sentence(evidence, propositions), bound_sentence(evidence)]
    return [f"Beware: {answer.note}.", *said] if answer.held_by else said


def _made_with(tracer: Tracer, library: EnrolledSources | None) -> pd.DataFrame:
    """What it takes to get the same answers from the same files."""
    system, rule, here = tracer.system, tracer.rule, environment(tracer.system.device)
    rows = [
        ("commit", here["git_commit"]),
        ("run folder", printable(str(system.run.folder))),
        ("digest of the weights (BLAKE2b)", system.weights),
        ("temperature", f"{tracer.calibration.temperature:.6g}"),
        *([("threshold", f"{rule.name} {rule.threshold:.6g}: {rule.origin}")] if rule else []),
        *_rows_of(library),
        ("device", f"{here['device']} ({here['device_name']})"),
        ("Python", here["python"]),
        *((package, str(version)) for package, version in here["packages"].items()),
    ]
    return pd.DataFrame(rows, columns=["what", "value"])


def _rows_of(library: EnrolledSources | None) -> list[tuple[str, str]]:
    if library is None:
        return []
    facts = library.header()
    where, what = printable(facts["folder"]), f"{facts['sources']} sources, compared by {facts['compare_by']}"
    return [("library", f"{where}: {what}"), ("digest of the library's models (BLAKE2b)", facts["digest"])]


def _notes_of(results: Sequence[FileTrace | Failure], *, with_library: bool) -> list[str]:
    failed = sum(isinstance(result, Failure) for result in results)
    notes = [
        "It does not tell fake from genuine speech, and a generator that it never heard is at best called unknown.",
        "Likelihood ratios are bounded by what the calibration data support. They are about the known sources alone"
        + (", those of an enrolled source about it and sources like dev's." if with_library else "."),
        "The system is a research tool: nobody has validated it for casework.",
    ]
    return [*notes, *([f"{failed} of {len(results)} files could not be traced."] if failed else [])]


def _timeline(result: FileTrace, tracer: Tracer) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "timeline.png"
        draw_timeline(result, tracer, path)
        return path.read_bytes()
