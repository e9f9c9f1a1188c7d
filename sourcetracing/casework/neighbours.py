"""Which training utterances a file sounds most like to a system."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sourcetracing.tracing.system import score_splits
from sourcetracing.tracing.tracer import Tracer
from sourcetracing.verification.representations import Embedded, embedded_by, on_all_splits
from sourcetracing.verification.verifier import Verifier

NUM_NEAREST = 5


@dataclass(frozen=True)
class Neighbour:
    """A training utterance; cosine: 1 = the same direction in the space that files are compared in."""

    utt_id: str
    source: str
    language: str
    cosine: float


@dataclass(frozen=True)
class Neighbourhood:
    """units: directions of the training utterances (N, D) in the verifier's space."""

    verifier: Verifier
    train: Embedded
    units: np.ndarray

    @classmethod
    def of(cls, tracer: Tracer) -> Neighbourhood:
        """Scores train and dev where that is missing. Raises `UserError` where files of this run cannot be compared."""
        score_splits(tracer.system.run, ["train", "dev"], tracer.system.device)
        run = on_all_splits(tracer.system.run)
        verifier, train = Verifier.of(run), embedded_by(run, "train")
        return cls(verifier, train, verifier.space.unit(train.embeddings))

    def nearest(self, embedding: np.ndarray, number: int = NUM_NEAREST) -> list[Neighbour]:
        """Of an embedding (E,), nearest first."""
        cosines = self.verifier.scores(self.verifier.models([embedding[None]]), self.units)[0]
        train, order = self.train, np.argsort(-cosines, kind="stable")[:number]
        languages = train.languages if train.languages is not None else np.full(len(train.utt_ids), "")
        return [Neighbour(str(train.utt_ids[row]), str(train.sources[row]), str(languages[row]), float(cosines[row])) for row in order]
