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
from sourcetracing.enrolment.library import Library, System
from sourcetracing.enrolment.models import Models, models_in
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
    the score has to be above, None where no score is enough. llr: natural logarithm.
    """

    decision: str
    source: str
    nearest: str | None = None
    files: int | None = None
    score: float | None = None
    threshold: float | None = None
    llr: float | None = None

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
        return {"enrolled": nearest, "final_decision": self.decision, "final_source": self.source}

    def text(self) -> str:
        """A line for the terminal, "" in an empty library."""
        if self.nearest is None:
            return ""
        side = "above" if self.threshold is not None and self.score > self.threshold else "not above"
        bar = f"{side} the threshold {self.threshold:.4f}" if self.threshold is not None else "no threshold"
        figures = f"(score {self.score:.4f}, {bar}; LLR {self.llr:.3g}, log10 {self.log10_lr:.3g}; files: {self.files})"
        verdict = "ENROLLED source" if self.decision == ENROLLED else "no enrolled source; nearest"
        return f"  {verdict}  {printable(self.nearest)}  {figures}"


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
        best = self.classes[int(found.probabilities.argmax())]
        if nearest is None:
            decision = decide(found.is_unknown, False)
            return EnrolledAnswer(decision, best if decision == KNOWN else "")
        bar, llr = self.bars[nearest.size], float(self.verifier.line(nearest.size, 1).llrs(np.array([nearest.score]))[0])
        # A bar from few scores may be low: what speaks against one source is none.
        decision = decide(found.is_unknown, bool(bar.accepts(nearest.score)) and llr > 0)
        source = {ENROLLED: nearest.name, KNOWN: best}.get(decision, "")
        threshold = bar.threshold if np.isfinite(bar.threshold) else None
        return EnrolledAnswer(decision, source, nearest.name, nearest.size, nearest.score, threshold, llr)

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
        return {**facts, "compare_by": self.verifier.scoring, "false_alarms_asked": self.false_alarms, "bars_by_files": bars}

    def limits(self) -> list[str]:
        """When not to believe an enrolled answer, a sentence or two each."""
        if not self.models.entries:
            return [f"The library {self.library.folder} is empty: the answers are those without it."]
        lines = [f"Sources of {size} file{'s' if size > 1 else ''}: {self._about(size)}." for size in list(self.bars)[:NUM_SHOWN]]
        if len(self.bars) > NUM_SHOWN:
            lines.append(f"{len(self.bars) - NUM_SHOWN} more numbers of files have bars of their own: library.bars_by_files of the --json.")
        kind = "training saw none of them" if self.verifier.are_unseen else "some are known ones, which the system tells apart too well"
        return [
            *lines,
            f"Those dev scores are of {self.verifier.num_sources} sources ({kind}) and share files: the share of false alarms is a guide.",
            "A source of another corpus, microphone or codec may pass for one that is enrolled.",
        ]

    def _about(self, size: int) -> str:
        if self.verifier.line(size, 1).says_something:
            return self.bars[size].sentence
        return f"none is named, for on dev {self.verifier.scoring} is no higher for files of one source than of two"


def system_of(tracer: Tracer) -> System:
    """What a library notes of a tracer's system."""
    system = tracer.system
    embeddings, _ = system(np.zeros((1, system.window_samples), np.float32))
    return System(system.run.system, system.run.folder.name, system.weights, embeddings.shape[1], tuple(system.classes))
