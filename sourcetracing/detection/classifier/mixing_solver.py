"""Classifiers of many mixtures of the same corpora, faster than one by one: what the mixtures share is computed once.

The Hessian of a mixture is the sum of those of its corpora. They are computed once, at the optimum of all corpora together, and kept on
disk; the sum over a mixture's corpora, factorised, preconditions its Newton steps (`newton`). A mixture starts at the optimum of one
that has one corpus more. Both only save time: the optimum is the one of a fit from scratch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sourcetracing.detection.classifier.logistic import LinearModel, check_rows, fit, problem_of
from sourcetracing.detection.classifier.newton import Preconditioner, Problem, Scaling, minimize, row_blocks
from sourcetracing.runtime.files import atomic_path
from sourcetracing.settings.detection import Logreg

_ROWS_AT_A_TIME = 256  # of a Hessian


@dataclass(frozen=True)
class Corpus:
    """Arrays (N_k, D) of one corpus, memory-mapped or not, and their labels (N_k,)."""

    blocks: Sequence[np.ndarray]
    labels: Sequence[np.ndarray]


class MixingSolver:
    """Fits mixtures of corpora. folder: for what they share, about 4 D^2 bytes per corpus; made when first needed, found again later."""

    def __init__(self, corpora: Mapping[str, Corpus], settings: Logreg, folder: Path):
        for name, corpus in corpora.items():
            check_rows(corpus.blocks, corpus.labels, [None] * len(corpus.blocks), f"mixtures of {name} alone")
        self.corpora, self.settings, self.folder = corpora, settings, folder
        arrays = [block for corpus in corpora.values() for block in corpus.blocks]
        self.scaling = Scaling.of(arrays, [None] * len(arrays))

    def fit(self, members: Sequence[str], start: LinearModel | None = None) -> LinearModel:
        """The classifier of the corpora `members`, from the classifier of a mixture like it. The published solver starts afresh."""
        blocks = [block for name in members for block in self.corpora[name].blocks]
        labels = [part for name in members for part in self.corpora[name].labels]
        if start is None or self.settings.solver == "published":
            return fit(blocks, labels, self.settings)
        problem = self._problem(blocks, labels)
        solution = minimize(
            problem,
            problem.from_feature_space(start.coef, start.intercept),
            tolerance=self.settings.tolerance,
            max_steps=self.settings.max_iterations,
            preconditioner=Preconditioner(self._shared_hessian(members), problem.penalty),
        )
        return LinearModel(*problem.in_feature_space(solution.unknowns), solution.steps)

    def _problem(self, blocks: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> Problem:
        """The loss of some corpora, in the coordinates that all mixtures share; what is penalised is their own."""
        weights = [None] * len(blocks)
        return problem_of(blocks, labels, weights, Scaling.of(blocks, weights), self.scaling, self.settings)

    def share(self, model: LinearModel) -> None:
        """Writes the Hessian (D + 1, D + 1) of each corpus at a model, best that of all corpora, unless it is there."""
        if self.settings.solver == "published":
            return
        for name, corpus in self.corpora.items():
            if not self._path(name).is_file():
                with atomic_path(self._path(name)) as partial:
                    np.save(partial, self._hessian(corpus, model))

    def _hessian(self, corpus: Corpus, model: LinearModel) -> np.ndarray:
        """Float32, without penalty."""
        problem = self._problem(corpus.blocks, corpus.labels)
        margins = problem.gradient(problem.from_feature_space(model.coef, model.intercept))[2]
        return problem.hessian(problem.curvature(margins), np.float32)

    def _shared_hessian(self, members: Sequence[str]) -> np.ndarray:
        """Sum over the members, read a few rows at a time: only one Hessian is in memory."""
        size = len(self.scaling.scale) + 1
        total = np.zeros((size, size), np.float32)
        for name in members:
            stored = np.load(self._path(name), mmap_mode="r")
            for rows in row_blocks(size, _ROWS_AT_A_TIME):
                total[rows] += stored[rows]
        return total

    def _path(self, name: str) -> Path:
        return self.folder / f"hessian_{name}.npy"
