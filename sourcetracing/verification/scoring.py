"""How alike a test utterance and an enrolment model are: cosine in a space learnt on train, and its normalisation by a cohort of train.

Every space is a linear map, behind which lengths do not count: higher score = more likely one source. A model is the mean of the
unit-length embeddings of its utterances (long embeddings would outweigh short ones otherwise).
Shapes: N utterances, M models, T trials, C rows of the cohort, E width of an embedding, D of the space.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sourcetracing.metrics.retrieval import unit_rows
from sourcetracing.runtime.seeding import rng
from sourcetracing.verification.representations import Embedded
from sourcetracing.verification.trials import TrialList

BLOCK_ELEMENTS = 1 << 22  # numbers at a time: 32 MB
LEAST_LDA_CLASSES = 3  # two give one dimension, in which every cosine is 1 or -1
LEAST_VARIANCE = 1e-10  # of a direction, as a share of the largest one's


@dataclass(frozen=True)
class Space:
    """mean (E,) and matrix (E, D) of the map into it; None: the embeddings as they are."""

    mean: np.ndarray | None = None
    matrix: np.ndarray | None = None

    def unit(self, embeddings: np.ndarray) -> np.ndarray:
        """Embeddings (N, E) -> directions (N, D) float32 of length 1, zeros where there is none."""
        if self.matrix is None or self.mean is None:
            return unit_rows(embeddings)
        return unit_rows((embeddings - self.mean) @ self.matrix)


def _as_they_are(train: Embedded) -> Space:
    return Space()


def _whitened(train: Embedded) -> Space:
    """Mean 0 and the same variance in all directions over train, its covariance shrunk by Ledoit and Wolf (2004)."""
    from sklearn.covariance import LedoitWolf  # half a second to import

    fitted = LedoitWolf().fit(train.embeddings.astype(np.float64))
    variances, directions = np.linalg.eigh(fitted.covariance_)
    largest = variances[-1] if variances[-1] > 0 else 1.0  # of one and the same embedding everywhere nothing is to be learnt
    return Space(fitted.location_, directions / np.sqrt(np.maximum(variances, LEAST_VARIANCE * largest)))


def _lda(train: Embedded) -> Space | None:
    """Linear discriminants of the training sources, the covariance within them shrunk by Ledoit and Wolf; None of two sources."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    if len(np.unique(train.sources)) < LEAST_LDA_CLASSES:
        return None
    embeddings = train.embeddings.astype(np.float64)
    deviations = embeddings.std(axis=0)
    moves = deviations > np.sqrt(LEAST_VARIANCE) * deviations.max()  # units that always say the same
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Only one sample available")  # of a source: its covariance is 0
        fitted = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(embeddings[:, moves], train.sources)
    matrix = np.zeros((embeddings.shape[1], len(fitted.classes_) - 1))
    found = fitted.scalings_[:, : matrix.shape[1]]
    matrix[moves, : found.shape[1]] = found
    return Space(embeddings.mean(axis=0), matrix)


SPACES: dict[str, Callable[[Embedded], Space | None]] = {"cosine": _as_they_are, "whitened_cosine": _whitened, "lda_cosine": _lda}


def models_of(units: np.ndarray, members: Sequence[np.ndarray]) -> np.ndarray:
    """Models (M, D) float32 of length 1: means of the directions (N, D) of their members, row numbers."""
    return unit_rows(np.stack([units[rows].mean(axis=0) for rows in members]))


@dataclass(frozen=True)
class Sides:
    """What a list compares: models and tests (each D wide, of length 1), and for each trial which of them (T,)."""

    models: np.ndarray
    tests: np.ndarray
    enrol: np.ndarray
    test: np.ndarray

    @classmethod
    def of(cls, trials: TrialList, embedded: Embedded, space: Space) -> Sides:
        """Raises `UserError` for an utterance that has no embedding."""
        used, names = trials.utt_ids, list(trials.models)
        place = {name: number for number, name in enumerate(names)}
        units = space.unit(embedded.embeddings[embedded.rows_of(used)])
        row = {utt_id: number for number, utt_id in enumerate(used)}
        members = [np.array([row[utt_id] for utt_id in trials.models[name]]) for name in names]
        return cls(
            models_of(units, members),
            units,
            trials.table["enrol"].map(place).to_numpy(),
            trials.table["test"].map(row).to_numpy(),
        )


def cosines(sides: Sides) -> np.ndarray:
    """Scores (T,) float64 of all trials, a block at a time."""
    scores = np.empty(len(sides.enrol))
    for block in _blocks(len(scores), sides.models.shape[1]):
        scores[block] = np.einsum("td,td->t", sides.models[sides.enrol[block]], sides.tests[sides.test[block]], dtype=np.float64)
    return scores


def cohort_of(train: Embedded, space: Space, score_norm: str, size: int, seed: int) -> np.ndarray:
    """Directions (C, D) that scores are normalised by. s_norm: `size` training utterances, as evenly from all sources as there are enough.

    as_norm: all of train, of which each side takes its `size` nearest (`normalised`).
    """
    if score_norm == "as_norm":
        return space.unit(train.embeddings)
    order = np.argsort(rng(seed, "verification cohort").random(len(train.utt_ids)))
    turn = np.empty(len(order), dtype=int)  # which one of its source an utterance is: all first ones come before all second ones
    for source in np.unique(train.sources):
        own = order[train.sources[order] == source]
        turn[own] = np.arange(len(own))
    chosen = order[np.argsort(turn[order], kind="stable")][:size]
    return space.unit(train.embeddings[chosen])


def normalised(scores: np.ndarray, sides: Sides, cohort: np.ndarray, score_norm: str, size: int) -> np.ndarray:
    """Scores (T,) as deviations from those of the cohort: the mean of what the model's and what the test's cohort say.

    s_norm: over the whole cohort (Kenny 2010). as_norm: over the `size` highest scores of each side (adaptive s-norm 1 of Matejka et al.
    2017).
    """
    nearest = size if score_norm == "as_norm" else len(cohort)
    parts = []
    for vectors, which in ((sides.models, sides.enrol), (sides.tests, sides.test)):
        mean, deviation = _against(vectors, cohort, min(nearest, len(cohort)))
        parts.append((scores - mean[which]) / deviation[which])
    return (parts[0] + parts[1]) / 2


def _against(vectors: np.ndarray, cohort: np.ndarray, nearest: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation (N,) of each vector's highest `nearest` scores against the cohort."""
    mean, deviation = np.empty(len(vectors)), np.empty(len(vectors))
    for block in _blocks(len(vectors), len(cohort)):
        scores = vectors[block].astype(np.float64) @ cohort.T.astype(np.float64)
        if nearest < scores.shape[1]:
            scores = np.partition(scores, -nearest, axis=1)[:, -nearest:]
        mean[block], deviation[block] = scores.mean(axis=1), scores.std(axis=1)
    return mean, np.maximum(deviation, 1e-6)  # a cohort of twins says nothing of the spread


def _blocks(num_rows: int, num_columns: int) -> Iterator[slice]:
    size = max(1, BLOCK_ELEMENTS // max(1, num_columns))
    return (slice(start, start + size) for start in range(0, num_rows, size))


def scored(
    trials: TrialList, embedded: Embedded, train: Embedded, space: Space, *, score_norm: str, cohort_size: int, seed: int
) -> np.ndarray:
    """The score (T,) of each trial. Raises `UserError` for an utterance that has no embedding."""
    sides = Sides.of(trials, embedded, space)
    scores = cosines(sides)
    if score_norm == "none":
        return scores
    return normalised(scores, sides, cohort_of(train, space, score_norm, cohort_size, seed), score_norm, cohort_size)
