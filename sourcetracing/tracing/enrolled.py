"""A traced file against a library of enrolled sources: the nearest one, whether it is the answer, and what that answer is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sourcetracing.enrolment.acceptance import Acceptance, acceptance_threshold, dev_scores
from sourcetracing.enrolment.decision import ENROLLED, KNOWN, decide
from sourcetracing.enrolment.library import Library
from sourcetracing.enrolment.models import Models, models_in
from sourcetracing.enrolment.records import System
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.settings.names import printable
from sourcetracing.tracing.system import score_splits
from sourcetracing.tracing.tracer import FileTrace, Tracer
from sourcetracing.verification.verifier import Verifier

NUM_SHOWN = 3  # bars that are told in words
COLUMNS = ("source", "files", "score", "threshold", "llr", "log10_lr")  # of a CSV, after enrolled_


@dataclass(frozen=True)
class EnrolledAnswer:
    """decision: ENROLLED, or what the run says (`decide`); source: the name that goes with it, "" for none.

    nearest, files, score: the enrolled source that the file is most like, its files, the cosine; None in an empty library. threshold: what
    the score has to be above, None where no score is enough. llr: natural logarithm, within bounds (low, high) that num_utterances of dev
    support. held_by: the enrolled source that has these very bytes among its files, "" for none.
    """

    decision: str
    source: str
    nearest: str | None = None
    files: int | None = None
    score: float | None = None
    threshold: float | None = None
    llr: float | None = None
    bounds: tuple[float, float] = (-math.inf, math.inf)
    num_utterances: int = 0
    held_by: str = ""

    @property
    def is_at_bound(self) -> bool:
        """Whether the score asks for more than the LLR that dev supports."""
        return self.llr is not None and self.llr in self.bounds

    @property
    def log10_lr(self) -> float | None:
        """The LLR in decimal logarithms."""
        return None if self.llr is None else self.llr / math.log(10)

    def entry(self) -> dict[str, Any]:
        """Its part of a file's entry in the JSON."""
        nearest = None
        if self.nearest is not None:
            values = (self.nearest, self.files, self.score, self.threshold, self.llr, self.log10_lr)
            nearest = dict(zip(COLUMNS, values, strict=True))
            nearest |= {"llr_bounds": list(self.bounds), "at_bound": self.is_at_bound}
        notes = {"same_bytes_enrolled_in": self.held_by} if self.held_by else {}
        return {"enrolled": nearest, **notes, "final_decision": self.decision, "final_source": self.source}

    def text(self) -> str:
        """A line for the terminal, "" in an empty library."""
        if self.nearest is None:
            return ""
        side = "above" if self.threshold is not None and self.score > self.threshold else "not above"
        bar = f"{side} the threshold {self.threshold:.4f}" if self.threshold is not None else "no threshold"
        mark = ("≥ " if self.llr >= 0 else "≤ ") if self.is_at_bound else ""
        figures = f"(score {self.score:.4f}, {bar}; log10 LR {mark}{self.log10_lr:+.2f}; files: {self.files})"
        verdict = "ENROLLED source" if self.decision == ENROLLED else "no enrolled source; nearest"
        line = f"  {verdict}  {printable(self.nearest)}  {figures}"
        return f"{line}\n  note: {self.note}" if self.held_by else line

    @property
    def note(self) -> str:
        """What to say of a file that is enrolled itself."""
        return f"these very bytes are enrolled in {printable(self.held_by)}: a file is always like itself, so this is no evidence"


class EnrolledSources:
    """A library beside a tracer; called with a `FileTrace` of that tracer."""

    def __init__(self, library: Library, models: Models, verifier: Verifier, false_alarms: float, classes: list[str]):
        self.library, self.models, self.verifier = library, models, verifier
        self.false_alarms, self.classes = false_alarms, classes

    @classmethod
    def load(cls, folder: Path, tracer: Tracer) -> EnrolledSources:
        """Scores train and dev of the run where that is missing. Raises `UserError`, also for another system's library."""
        library, run = Library.open(folder, system_of(tracer)), tracer.system.run
        score_splits(run, ["train", "dev"], tracer.system.device)
        verifier = Verifier.of(run)
        return cls(library, models_in(library, verifier.space), verifier, run.settings.enrolment.false_alarms, tracer.system.classes)

    @cached_property
    def bars(self) -> dict[int, Acceptance]:
        """By the number of a source's files."""
        by_dev_size: dict[int, np.ndarray] = {}
        found = {}
        for size in self.models.sizes:
            scores = np.empty(0)
            if self.verifier.line(size, 1).says_something:
                dev_size = self.verifier.dev_trials(size, 1).sizes[0]
                if dev_size not in by_dev_size:
                    by_dev_size[dev_size] = dev_scores(self.verifier, dev_size)
                scores = by_dev_size[dev_size]
            found[size] = acceptance_threshold(scores, len(self.models.entries), self.false_alarms)
        return found

    def __call__(self, found: FileTrace) -> EnrolledAnswer:
        """The answer for a file."""
        nearest = self.models(self.verifier.space.unit(found.embedding[None])[0])
        best, held_by = self.classes[int(found.probabilities.argmax())], self._holders.get(digest_of_file(found.path), "")
        if nearest is None:
            decision = decide(found.is_unknown, False)
            return EnrolledAnswer(decision, best if decision == KNOWN else "")
        bar, line = self.bars[nearest.size], self.verifier.line(nearest.size, 1)
        llr, bounds = float(line.llrs(np.array([nearest.score]))[0]), (float(line.low), float(line.high))
        # A bar from few scores may be low: what speaks against one source is none.
        decision = decide(found.is_unknown, bool(bar.accepts(nearest.score)) and llr > 0)
        source = {ENROLLED: nearest.name, KNOWN: best}.get(decision, "")
        threshold = bar.threshold if np.isfinite(bar.threshold) else None
        support = (bounds, len(self.verifier.dev.utt_ids), held_by)
        return EnrolledAnswer(decision, source, nearest.name, nearest.size, nearest.score, threshold, llr, *support)

    @cached_property
    def _holders(self) -> dict[str, str]:
        """Digest of an enrolled file -> its source."""
        return {file.digest: name for name, source in self.library.sources().items() for file in source.files}

    def header(self) -> dict[str, Any]:
        """What the answers of all files have in common."""
        bars = {
            str(size): {
                "threshold": bar.threshold if np.isfinite(bar.threshold) else None,
                "rests_on": bar.regime,
                "dev_files": bar.files,
                "dev_scores": bar.scores,
            }
            for size, bar in self.bars.items()
        }
        facts = {"folder": str(self.library.folder), "sources": len(self.models.entries), "digest": self.models.digest}
        return {**facts, "compare_by": self.verifier.scoring, "false_alarms_asked": self.false_alarms, "thresholds_by_files": bars}

    def limits(self) -> list[str]:
        """When not to believe an enrolled answer, a sentence or two each."""
        if not self.models.entries:
            return [f"The library {self.library.folder} is empty: the answers are those without it."]
        lines = [f"Sources of {size} file{'s' if size > 1 else ''}: {self._about(size)}." for size in list(self.bars)[:NUM_SHOWN]]
        if len(self.bars) > NUM_SHOWN:
            lines.append(
                f"{len(self.bars) - NUM_SHOWN} more numbers of files have thresholds of their own: thresholds_by_files of the --json."
            )
        kind = "training saw none of them" if self.verifier.are_unseen else "some are known ones, which the system tells apart too well"
        return [
            *lines,
            *(self._about_llrs(size) for size in list(self.bars)[:NUM_SHOWN] if self.verifier.line(size, 1).says_something),
            f"Those dev scores are of {self.verifier.num_sources} sources ({kind}) and share files: the share of false alarms is a guide.",
            "A source of another corpus, microphone or codec may pass for one that is enrolled.",
        ]

    def _about_llrs(self, size: int) -> str:
        line, count = self.verifier.line(size, 1), len(self.verifier.dev.utt_ids)
        low, high = line.low / math.log(10), line.high / math.log(10)
        return (
            f"Their log10 LRs lie between {low:.2f} and {high:+.2f}, what {count} dev utterances support for sources of {size} files; "
            f"Cllr on the comparisons that they are fitted on: {self.verifier.cllr(size, 1):.2f} bits (0 is perfect, 1 says nothing)."
        )

    def _about(self, size: int) -> str:
        if self.verifier.line(size, 1).says_something:
            return self.bars[size].sentence
        return f"none is named, for on dev {self.verifier.scoring} is no higher for files of one source than of two"


def system_of(tracer: Tracer) -> System:
    """What a library notes of a tracer's system."""
    system = tracer.system
    embeddings, _ = system(np.zeros((1, system.window_samples), np.float32))
    return System(system.run.system, system.run.folder.name, system.weights, embeddings.shape[1], tuple(system.classes))
