"""Sources that training never saw, enrolled from K of their eval files and tested on the others: draws, and scores of a draw.

Shapes: S enrolled sources, K files of each, T test files of these sources, U test files of the sources that training saw, N files of eval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sourcetracing.runtime.seeding import rng
from sourcetracing.verification.representations import Embedded
from sourcetracing.verification.verifier import Verifier


@dataclass(frozen=True)
class Pool:
    """Eval: its files by utt_id, what each says (N,) ("" where nobody knows), and the sources that training saw."""

    files: Embedded
    texts: np.ndarray
    seen: tuple[str, ...]

    @classmethod
    def of(cls, files: Embedded, texts: Sequence[str], seen: Sequence[str]) -> Pool:
        """texts: of the files in their order; the pool's is that of their utt_ids."""
        order = np.argsort(files.utt_ids, kind="stable")
        sorted_files = Embedded(files.utt_ids[order], files.sources[order], files.embeddings[order])
        return cls(sorted_files, np.asarray(texts, dtype=object)[order], tuple(seen))

    @property
    def is_seen(self) -> np.ndarray:
        """(N,) whether training saw a file's source."""
        return np.isin(self.files.sources, list(self.seen))

    def unseen_counts(self) -> dict[str, int]:
        """Source that training never saw -> its files."""
        names, counts = np.unique(self.files.sources[~self.is_seen], return_counts=True)
        return dict(zip(names.tolist(), counts.tolist(), strict=True))


@dataclass(frozen=True)
class Draw:
    """names (S,); enrolled (S, K), tests (T,) and strangers (U,): rows of the pool.

    owners (T,): which of the names a test has. strangers_of (U,): the number of a stranger's source among those that training saw.
    """

    names: np.ndarray
    enrolled: np.ndarray
    tests: np.ndarray
    owners: np.ndarray
    strangers: np.ndarray
    strangers_of: np.ndarray


def those_with(pool: Pool, count: int) -> list[str]:
    """The unseen sources that can be enrolled from `count` files and leave one to test."""
    return [name for name, size in pool.unseen_counts().items() if size > count]


def draw_files(pool: Pool, count: int, number: int, *, tests_per_source: int, seed: int) -> Draw:
    """One draw: every source of `those_with` is enrolled from the first `count` of its files in an order of texts that is drawn.

    The order is that of draw `number` for every count, so more files are the same ones and others. All sources follow the same order, so
    where they say the same they are enrolled from the same texts; no test says what any enrolled file says, and so what is said gives no
    source away. A file whose text is not known has one of its own. At most tests_per_source tests of each source, the next ones in that
    order.
    """
    says = np.where(pool.texts == "", pool.files.utt_ids, pool.texts).astype(str)
    texts, text_of = np.unique(says, return_inverse=True)
    rank = rng(seed, "enrolment files", number).permutation(len(texts))[text_of]
    rows = {name: np.flatnonzero(pool.files.sources == name) for name in np.unique(pool.files.sources)}
    rows = {name: own[np.argsort(rank[own], kind="stable")] for name, own in rows.items()}
    names = those_with(pool, count)
    enrolled = np.array([rows[name][:count] for name in names], dtype=int).reshape(len(names), count)
    is_free = ~np.isin(rank, rank[enrolled])
    tests = [own[is_free[own]][:tests_per_source] for own in (rows[name] for name in names)]
    strangers = [own[is_free[own]][:tests_per_source] for name, own in rows.items() if name in pool.seen]
    return Draw(np.array(names), enrolled, _joined(tests), _numbers(tests), _joined(strangers), _numbers(strangers))


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0, int), *parts])


def _numbers(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Which part each member of `_joined` is from."""
    return np.repeat(np.arange(len(parts)), [len(part) for part in parts])


@dataclass(frozen=True)
class Outcome:
    """A draw and the scores of its models: of the tests (S, T), of the strangers (S, U); higher = more alike."""

    draw: Draw
    scores: np.ndarray
    of_strangers: np.ndarray

    @property
    def own(self) -> np.ndarray:
        """(T,) score of a test's own source."""
        return self.scores[self.draw.owners, np.arange(len(self.draw.owners))]

    @property
    def right(self) -> np.ndarray:
        """(T,) whether a test is most like its own source: 1 or 0; of several best ones each is as likely to be named."""
        best = self.scores == self.scores.max(axis=0)
        return best[self.draw.owners, np.arange(len(self.draw.owners))] / best.sum(axis=0)

    @property
    def best_without_own(self) -> np.ndarray:
        """(T,) best score of a test among the others: what it would be had nobody enrolled its source. -inf where there are none."""
        is_own = np.arange(len(self.draw.names))[:, None] == self.draw.owners
        return np.where(is_own, -np.inf, self.scores).max(axis=0)


def judged(draw: Draw, pool: Pool, verifier: Verifier) -> Outcome:
    """Tests and strangers of a draw against its models."""
    embeddings = pool.files.embeddings
    models = verifier.models([embeddings[rows] for rows in draw.enrolled])
    scores = [verifier.scores(models, verifier.space.unit(embeddings[rows])) for rows in (draw.tests, draw.strangers)]
    return Outcome(draw, *scores)
