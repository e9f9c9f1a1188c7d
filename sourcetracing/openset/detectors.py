"""Detectors of unknown sources, one interface: fit on rows of known sources, then score any rows. HIGHER = more likely unknown.

Everywhere in this package an unknown source is the positive class. What a publication defines the other way round (confidence, similarity
to the training data) is negated in its `score`, once, so that no caller needs to know.

Shapes: N training rows, M scored rows, D width of the embedding, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, Self

import numpy as np
from scipy.linalg import cholesky, eigh, solve_triangular
from scipy.special import logsumexp

from sourcetracing.settings.openset import DETECTORS, Openset

BLOCK_ELEMENTS = 1 << 22  # numbers of a block of rows in double precision: 32 MB
AFFINE_SHARE = 0.99  # of the logits' variance: from here on they count as an affine function of the embedding


class Detector(Protocol):
    """What every detector is."""

    def fit(self, embeddings: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> Self:
        """Learns from training rows: embeddings (N, D), logits (N, C), labels (N,) from 0 to C - 1."""

    def score(self, embeddings: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """How unknown rows look (M,), higher = more; embeddings (M, D), logits (M, C)."""


class Nsd:
    """Novel similarity detection (REFD, Xie et al. 2024; D33, D35), in its mean-vector form.

    Published: the mean over training rows i of <f/|f|, f_i/|f_i|> * E_i, times E, with E = logsumexp(logits). The mean can move inside
    the inner product, which makes it <f/|f|, g> * E with one vector g: the same numbers for N * D operations instead of N * M * D. It is
    high for known sources; the baseline read it the other way round (D33), which `inverted` reproduces.
    """

    def __init__(self, inverted: bool = False):
        self.inverted = inverted
        self.mean = np.zeros(0)

    def fit(self, embeddings: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> Self:
        """Keeps the mean of the unit embeddings times their energies."""
        del labels
        weights = logsumexp(logits, axis=1) / _norms(embeddings)
        self.mean = sum(weights[block] @ embeddings[block].astype(np.float64) for block in _blocks(embeddings)) / len(embeddings)
        return self

    def score(self, embeddings: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Minus the published score."""
        products = np.concatenate([embeddings[block].astype(np.float64) @ self.mean for block in _blocks(embeddings)])
        similarity = logsumexp(logits, axis=1) * products / _norms(embeddings)
        return similarity if self.inverted else -similarity


class _FromLogits:
    """A detector that has nothing to learn."""

    def fit(self, embeddings: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> Self:
        """Learns nothing."""
        del embeddings, logits, labels
        return self


class MaxSoftmax(_FromLogits):
    """Minus the log of the highest class probability (Hendrycks and Gimpel 2017); as a log, since near 1 probabilities are ties."""

    def score(self, embeddings: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """-log max softmax, 0 or more."""
        del embeddings
        return np.log1p(_odds_of_others(logits).sum(axis=1))


class SoftmaxEnergy(_FromLogits):
    """Energy of the class probabilities, -logsumexp(softmax(logits)) (Klein et al. 2025, arXiv:2507.06470), at temperature 1.

    It lies between -ln(C - 1 + e), all probability on one class, and -(ln C + 1 / C), the same for all: for 24 classes between -3.247 and
    -3.220, where doubles run out of digits. Here it is given above its least value, which changes no order and keeps sure rows apart.
    """

    def score(self, embeddings: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """-logsumexp(softmax) + ln(C - 1 + e), 0 or more."""
        del embeddings
        odds = _odds_of_others(logits)
        others = odds / (1 + odds.sum(axis=1, keepdims=True))  # their probabilities; the winner's place holds 0
        least = odds.shape[1] - 1 + np.e  # the sum of exp(probability) of a row that is sure
        excess = np.e * np.expm1(-others.sum(axis=1)) + np.expm1(others).sum(axis=1)
        return -np.log1p(excess / least)


def _odds_of_others(logits: np.ndarray) -> np.ndarray:
    """exp(logit - highest logit) (M, C), with 0 in the place of the highest: in full precision however sure a row is."""
    logits = logits.astype(np.float64)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.put_along_axis(odds, logits.argmax(axis=1)[:, None], 0.0, axis=1)
    return odds


class Energy(_FromLogits):
    """Free energy -logsumexp(logits) at temperature 1 (Liu et al. 2020, Eq. 4)."""

    def score(self, embeddings: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """The energy; low for known sources."""
        del embeddings
        return -logsumexp(logits.astype(np.float64), axis=1)


class LogitMargin(_FromLogits):
    """Minus the distance between the two highest logits: no temperature, no perturbed input (as ODIN has). 0 with a single class."""

    def score(self, embeddings: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Second highest minus highest logit, 0 or less."""
        del embeddings
        if logits.shape[1] < 2:
            return np.zeros(len(logits))
        top = np.partition(logits.astype(np.float64), -2, axis=1)
        return top[:, -2] - top[:, -1]


class Mahalanobis:
    """Squared distance to the nearest class mean under one covariance of all classes (Lee et al. 2018, Eq. 2).

    The covariance within classes is shrunk towards a multiple of the identity (Ledoit and Wolf 2004), since embeddings are often wider
    than a demo has rows.
    """

    def __init__(self):
        self.root, self.means = np.zeros((0, 0)), np.zeros((0, 0))

    def fit(self, embeddings: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> Self:
        """Class means and the Cholesky root of the covariance."""
        from sklearn.covariance import LedoitWolf  # a second to import

        del logits
        _, class_of = np.unique(labels, return_inverse=True)
        means = np.stack([embeddings[class_of == number].mean(axis=0, dtype=np.float64) for number in range(class_of.max() + 1)])
        covariance = LedoitWolf(assume_centered=True, store_precision=False).fit(embeddings - means[class_of]).covariance_
        size = np.trace(covariance) / len(covariance) + np.square(means).mean()  # the latter where all rows are the same
        floor = np.finfo(np.float32).eps * size + np.finfo(np.float32).tiny
        self.root = cholesky(covariance + floor * np.eye(len(covariance)), lower=True)
        self.means = self._whitened(means)
        return self

    def _whitened(self, rows: np.ndarray) -> np.ndarray:
        return solve_triangular(self.root, rows.T.astype(np.float64), lower=True).T

    def score(self, embeddings: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """The squared distance."""
        del logits
        scores = np.empty(len(embeddings))
        for block in _blocks(embeddings):
            white = self._whitened(embeddings[block])
            squares = (white**2).sum(axis=1)[:, None] + (self.means**2).sum(axis=1) - 2 * white @ self.means.T
            scores[block] = squares.min(axis=1)
        return scores


class NearestNeighbours:
    """Distance of the unit embedding to its k-th nearest unit embedding in training (Sun et al. 2022); exact search."""

    def __init__(self, neighbours: int = 10):
        self.neighbours, self.index = neighbours, None

    def fit(self, embeddings: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> Self:
        """Keeps all training embeddings."""
        import faiss  # seconds to import

        del logits, labels
        self.index = faiss.IndexFlatL2(embeddings.shape[1])
        self.index.add(_unit(embeddings))
        return self

    def score(self, embeddings: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """The distance, 0 to 2; with fewer than k training rows to the farthest of them."""
        del logits
        squares, _ = self.index.search(_unit(embeddings), min(self.neighbours, self.index.ntotal))
        return np.sqrt(np.maximum(squares[:, -1], 0.0)).astype(np.float64)


class PlainNeighbours:
    """Mean Euclidean distance of the embedding to its k nearest in training, both as they are (TADA, arXiv:2506.05802); exact search."""

    def __init__(self, neighbours: int = 1):
        self.neighbours, self.index, self.centre = neighbours, None, np.zeros(0)

    def fit(self, embeddings: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> Self:
        """Keeps all training embeddings, less their mean: that changes no distance, and squares of small numbers lose fewer digits."""
        import faiss  # seconds to import

        del logits, labels
        self.centre = embeddings.mean(axis=0, dtype=np.float64)
        self.index = faiss.IndexFlatL2(embeddings.shape[1])
        self.index.add(self._centred(embeddings))
        return self

    def _centred(self, rows: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(rows - self.centre, dtype=np.float32)

    def score(self, embeddings: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """The mean distance, 0 or more; with fewer than k training rows that to all of them."""
        del logits
        squares, _ = self.index.search(self._centred(embeddings), min(self.neighbours, self.index.ntotal))
        return np.sqrt(np.maximum(squares, 0.0)).mean(axis=1, dtype=np.float64)


class Vim:
    """Virtual-logit matching (Wang et al. 2022, section 4): how far an embedding is from the principal subspace of training, as a logit.

    Their origin is where the classifier's logits vanish. The classifier is read off the training rows by least squares, so that any
    back-end will do; where its logits are no affine function of the embedding (cosines, say), the origin is the training mean.
    """

    def __init__(self, dimensions: int = 0):
        self.dimensions = dimensions
        self.origin, self.rest, self.scale = np.zeros(0), np.zeros((0, 0)), 0.0

    def fit(self, embeddings: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> Self:
        """Origin, the directions outside the principal subspace, and the scale that makes residuals as large as logits."""
        del labels
        width = embeddings.shape[1]
        kept = min(self.dimensions or max(1, width // 2), width - 1)
        self.origin = origin_of_logits(embeddings, logits)
        moments = np.zeros((width, width))
        for block in _blocks(embeddings):
            shifted = embeddings[block] - self.origin
            moments += shifted.T @ shifted
        self.rest = eigh(moments, subset_by_index=(0, width - kept - 1))[1]  # eigenvalues ascend: the last `kept` are left out
        residuals = self._residuals(embeddings)
        self.scale = float(logits.max(axis=1).mean() / max(residuals.mean(), np.finfo(np.float32).tiny))
        return self

    def _residuals(self, embeddings: np.ndarray) -> np.ndarray:
        norms = [np.linalg.norm((embeddings[block] - self.origin) @ self.rest, axis=1) for block in _blocks(embeddings)]
        return np.concatenate(norms)

    def score(self, embeddings: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Log odds of the virtual class: their probability (Eq. 5) without its rounding to 0 and 1; the same order."""
        return self.scale * self._residuals(embeddings) - logsumexp(logits.astype(np.float64), axis=1)


def origin_of_logits(embeddings: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The point (D,) nearest to zero whose logits vanish, for logits (N, C) that are affine in the embeddings (N, D); else their mean."""
    from sklearn.linear_model import Ridge

    energy = float(np.square(embeddings, dtype=np.float64).sum(axis=0).mean())
    fitted = Ridge(alpha=max(1e-7 * energy, np.finfo(np.float64).tiny), solver="cholesky").fit(embeddings.astype(np.float64), logits)
    if fitted.score(embeddings, logits) < AFFINE_SHARE:
        return embeddings.mean(axis=0, dtype=np.float64)
    return np.linalg.lstsq(np.atleast_2d(fitted.coef_), -np.atleast_1d(fitted.intercept_), rcond=None)[0]


def make_detectors(openset: Openset) -> dict[str, Detector]:
    """The detectors that the settings name, not yet fitted, in the settings' order."""
    entries = {name: DETECTORS[name] for name in openset.detectors}
    return {
        name: entry.load()(**{argument: getattr(openset, setting) for argument, setting in entry.takes}) for name, entry in entries.items()
    }


def _norms(rows: np.ndarray) -> np.ndarray:
    """Lengths (N,), 1 for a zero row, which stays zero when divided by it."""
    norms = np.linalg.norm(rows, axis=1)
    return np.where(norms == 0, 1.0, norms)


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows / _norms(rows)[:, None], dtype=np.float32)


def _blocks(rows: np.ndarray) -> Iterator[slice]:
    size = max(1, BLOCK_ELEMENTS // rows.shape[1])
    return (slice(start, start + size) for start in range(0, len(rows), size))
