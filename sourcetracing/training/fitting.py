"""How a fitted back-end is trained: one pass over the training rows, of which statistics alone are kept, then its own `fit`.

No gradients, no epochs, nothing drawn: what it learns hangs on its rows and its own settings. A run that was killed is fitted again.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sourcetracing.errors import UserError
from sourcetracing.features.rows import FeatureRows, known_rows
from sourcetracing.features.store import FeatureStore
from sourcetracing.runtime.process_group import ProcessGroup
from sourcetracing.settings.schema import Settings
from sourcetracing.training.checkpoints import learned_tensors, load_weights

FITTED = "fitted"  # in place of the figure that picks the epoch: there is only one


class Fitting:
    """The aim of back-ends with `fitted` (see `objectives.Aim`)."""

    weights = None
    selected_by = FITTED

    def __init__(self, settings: Settings, model: nn.Module, rows: FeatureRows):
        self.settings, self.model, self.rows = settings, model, rows

    @staticmethod
    def train_rows(store: FeatureStore, settings: Settings, languages: list[str]) -> tuple[np.ndarray, np.ndarray]:
        rows, labels = known_rows(store, settings, "train", languages)
        if len(classes := np.unique(labels)) < 2:
            source = settings.corpus.sources[classes[0]]
            raise UserError(f"{'+'.join(languages)}: train has one source only, {source}: nothing to tell apart")
        return rows, labels

    def fit(self, group: ProcessGroup) -> dict[str, float]:
        """Fits the model; returns train_loss (cross-entropy) and train_accuracy. Raises `UserError`.

        The processes of a group share the rows; the first one fits, and all end with what it found.
        """
        statistics, labels = self._statistics(group), self.rows.labels.cpu()
        if not (finite := np.isfinite(statistics).all(axis=1)).all():
            row = self.rows.rows[np.flatnonzero(~finite)[0]]
            raise UserError(f"{self.rows.store.folder}: features of row {row} are not finite. Delete the folder and run script 04 again")
        complaint = self._solve(statistics, labels.numpy()) if group.is_first else ""
        if group.size > 1:
            tensors = {name: tensor.cpu() for name, tensor in learned_tensors(self.model).items()} if group.is_first else {}
            complaint, tensors = group.gather((complaint, tensors))[0]
            if not complaint:
                load_weights(self.model, tensors, "what the first process fitted")
        if complaint:
            raise UserError(f"backend={self.settings.backend}: {complaint}")
        logits = torch.cat([self._logits(statistics[positions]) for positions in self._pieces(np.arange(len(statistics)))])
        right = logits.argmax(dim=1) == labels
        return {"train_loss": functional.cross_entropy(logits, labels).item(), "train_accuracy": right.float().mean().item()}

    def _solve(self, statistics: np.ndarray, labels: np.ndarray) -> str:
        """Why it cannot be fitted; "" where it could."""
        try:
            self.model.fit(statistics, labels)
        except ValueError as error:
            return str(error)
        return ""

    @torch.inference_mode()
    def _statistics(self, group: ProcessGroup) -> np.ndarray:
        """(N, S) float32 of all training rows, in order."""
        mine = []
        for positions in self._pieces(group.share(np.arange(len(self.rows)))):
            features, _ = self.rows.batch(positions)
            mine.append(self.model.statistics(features).cpu().numpy())
        return np.concatenate([part for parts in group.gather(mine) for part in parts])

    @torch.inference_mode()
    def _logits(self, statistics: np.ndarray) -> Tensor:
        return self.model.classify(torch.from_numpy(statistics).to(self.rows.device))[1].cpu()

    def _pieces(self, positions: np.ndarray) -> Iterator[np.ndarray]:
        size = self.settings.evaluation.batch_size
        yield from (positions[start : start + size] for start in range(0, len(positions), size))
