"""The nearest of many models, exactly: a scan of one-byte codes by faiss finds candidates, and their scores settle it.

A code is off by a known distance at most, so a scan proves that no model outside its candidates is nearer, or asks for more of them.
Scores are sums in float64 over one model and one file alone: who else is in the library changes no bit of them.
Shapes: M models of width D, all of length 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sourcetracing.runtime.files import atomic_path

if TYPE_CHECKING:
    import faiss

LEAST_CODED = 50_000  # fewer are compared as they are
CANDIDATES = (64, 4096)  # asked for at first, and once more; then everything is compared
FLOAT32 = 2.0**-23  # of a term of a sum, and once more of the sum
BLOCK_ROWS = 1 << 16


@dataclass(frozen=True)
class Code:
    """A byte for each coordinate: where it stands between the lowest one of all models and that plus `span`.

    error: the longest way from a model to what its code says.
    """

    low: list[float]
    span: list[float]
    error: float


class SourceSearch:
    """Called with a direction (D,) it gives (row of the nearest model, cosine); of equal ones the first. A model with NaN is never it.

    index: of the models' codes or, without a code, of the models themselves.
    """

    def __init__(self, models: np.ndarray, index: faiss.Index, code: Code | None):
        self.models, self.index, self.code = models, index, code
        self._low, self._span = (np.array(part) for part in ((code.low, code.span) if code else ([], [])))

    @classmethod
    def of(cls, models: np.ndarray, least_coded: int = LEAST_CODED) -> SourceSearch:
        """In memory. models: (M, D) float32 of length 1, perhaps memory-mapped; M at least 1."""
        import faiss  # a second to import

        width = models.shape[1]
        if len(models) < least_coded:
            index = faiss.IndexFlatIP(width)
            index.add(np.ascontiguousarray(models))
            return cls(models, index, None)
        low, high = (end.astype(np.float64) for end in (models.min(axis=0), models.max(axis=0)))
        span = np.where(high > low, high - low, 1.0)
        # Of faiss' codes of a byte the one that is both fast and compares with the query as it is: QT_8bit_direct rounds that, too.
        index, error = faiss.IndexScalarQuantizer(width, faiss.ScalarQuantizer.QT_8bit_uniform, faiss.METRIC_INNER_PRODUCT), 0.0
        index.train(np.stack([np.zeros(width, np.float32), np.ones(width, np.float32)]))
        for start in range(0, len(models), BLOCK_ROWS):
            block = models[start : start + BLOCK_ROWS]
            index.add(((block - low) / span).astype(np.float32))
            coded = low + span * index.reconstruct_n(start, len(block))
            error = max(error, float(np.linalg.norm(coded - block, axis=1).max()))
        return cls(models, index, Code(low.tolist(), span.tolist(), error))

    def save(self, path: Path) -> dict[str, Any]:
        """Writes the codes; returns what else `load` needs, as JSON."""
        import faiss

        with atomic_path(path, sync=False) as partial:
            faiss.write_index(self.index, str(partial))
        return asdict(self.code)

    @classmethod
    def load(cls, models: np.ndarray, path: Path, code: dict[str, Any]) -> SourceSearch:
        """What `save` wrote, memory-mapped and touched once, so that the first file waits no longer than the others."""
        import faiss

        search = cls(models, faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC), Code(**code))
        search.index.search(np.zeros((1, models.shape[1]), np.float32), 1)
        return search

    def __call__(self, direction: np.ndarray) -> tuple[int, float]:
        query = direction.astype(np.float64)
        for num_candidates in CANDIDATES:
            rows, most_outside = self._candidates(query, min(num_candidates, len(self.models)))
            if not len(rows):
                break
            scores = _numbers(cosines(self.models[rows], query))
            best = int(scores.argmax())
            if len(rows) == len(self.models) or scores[best] > most_outside:
                return int(rows[best]), float(scores[best])
        return self._among_all(query)

    def _candidates(self, query: np.ndarray, num: int) -> tuple[np.ndarray, float]:
        """Rows (num,), sorted, fewer where models have NaN, and a score that no other model can be above."""
        asked = query * self._span if self.code else query
        with _one_thread():
            found, rows = self.index.search(asked.astype(np.float32)[None], num)
        most, rows = float(found[0, -1]), np.sort(rows[0][rows[0] >= 0])  # faiss fills up with -1
        # The sum in float32 is off by at most its number of terms times the sum of their sizes, times the rounding of one.
        if self.code is None:
            return rows, most + len(query) * FLOAT32 * float(np.linalg.norm(query))
        most += float(query @ self._low) + self.code.error * float(np.linalg.norm(query))
        return rows, most + len(query) * FLOAT32 * float(np.abs(asked).sum())

    def _among_all(self, query: np.ndarray) -> tuple[int, float]:
        blocks = (cosines(self.models[start : start + BLOCK_ROWS], query) for start in range(0, len(self.models), BLOCK_ROWS))
        scores = _numbers(np.concatenate(list(blocks)))
        return int(scores.argmax()), float(scores.max())


def _numbers(scores: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(scores), -np.inf, scores)


@contextmanager
def _one_thread() -> Iterator[None]:
    """faiss shares queries out to threads, and there is one: the others would be waited for with nothing to do."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def cosines(models: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Scores (M,) float64 of models (M, D) and a direction (D,), each summed on its own."""
    return (models.astype(np.float64) * direction.astype(np.float64)).sum(axis=1)
