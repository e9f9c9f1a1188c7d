"""What a run is trained towards: which rows, which batches, which loss, which dev figure picks the round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from sourcetracing.errors import UserError
from sourcetracing.features.rows import FeatureRows, known_rows, languages_of
from sourcetracing.features.store import FeatureStore
from sourcetracing.models.losses.masked import masked_cross_entropy
from sourcetracing.models.losses.mixup import regmix_loss
from sourcetracing.runtime.process_group import ProcessGroup, size_of_group
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import further_labels, weights_of_labels
from sourcetracing.training.balanced_batches import balanced_order
from sourcetracing.training.batches import Batch, Targets, shuffled_batches
from sourcetracing.training.networks import split_logits


class Aim(Protocol):
    """What any system is trained towards; made of the settings, the network and its training rows."""

    weights: nn.Module | None  # where the loss itself learns something
    selected_by: str  # the figure of history.csv that picks the round, or a word for why none does

    @staticmethod
    def train_rows(store: FeatureStore, settings: Settings, languages: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """(rows to train on, their class ids). Raises `UserError` where they will not do."""


class Objective(Aim, Protocol):
    """The aim of what is trained by gradients, batch by batch."""

    def batches(self, generator: np.random.Generator, group: ProcessGroup) -> Sequence[Batch]:
        """Those of one pass over the rows, in every pass as many."""

    def loss(self, embeddings: Tensor, logits: Tensor, targets: Targets) -> tuple[Tensor, float]:
        """(mean loss, how many rows are right) of embeddings (B, E) and logits (B, C); with regmix the second half are mixed rows."""

    def after_step(self) -> None:
        """Keeps the loss's own weights admissible."""

    def end_epoch(self) -> None:
        """What the network needs before it classifies."""


class CrossEntropy:
    """Shuffled batches, mixup, cross-entropy (MCL-MLAAD paper, section 3.2)."""

    weights = None

    def __init__(self, settings: Settings, model: nn.Module, rows: FeatureRows):
        self.rules, self.num_rows = settings.train, len(rows)
        self.selected_by = settings.train.select
        self.num_classes = len(settings.corpus.sources)
        self.head_sizes = rows.further.sizes if isinstance(rows, FeatureRows) else []
        weights = weights_of_labels(settings)
        self.weight, self.head_weights = weights[settings.corpus.label], [weights[name] for name in further_labels(settings)]
        self.cells = (rows.labels.cpu().numpy(), languages_of(rows)) if self.rules.balance_classes else None

    @staticmethod
    def train_rows(store: FeatureStore, settings: Settings, languages: list[str]) -> tuple[np.ndarray, np.ndarray]:
        rows, labels = known_rows(store, settings, "train", languages)
        fewest, num_rows = 2 * size_of_group(), min(len(rows), settings.train.rows_per_epoch or len(rows))
        if num_rows < fewest:
            raise UserError(
                f"{num_rows} training rows in {'+'.join(languages)}: BatchNorm needs {fewest}. Take more languages or variants (script 02 "
                "counts utterances), or a larger train.rows_per_epoch"
            )
        return rows, labels

    def batches(self, generator: np.random.Generator, group: ProcessGroup) -> Sequence[Batch]:
        num_rows = min(self.num_rows, self.rules.rows_per_epoch or self.num_rows)
        order = balanced_order(*self.cells, num_rows, generator) if self.cells else None
        return shuffled_batches(self.num_rows, self.rules, generator, group, order)

    def loss(self, embeddings: Tensor, logits: Tensor, targets: Targets) -> tuple[Tensor, float]:
        """Right are un-mixed rows; under mixed_only those whose main label comes first."""
        labels = targets.labels
        own, *of_heads = split_logits(logits, self.num_classes, self.head_sizes)
        right = (own[: len(labels)].argmax(dim=1) == labels).sum().item()
        loss = self._cross_entropy(own, labels, targets.partner_labels, targets.lam, functional.cross_entropy)
        if not of_heads:
            return loss, right
        total = self.weight * loss
        for head, weight in enumerate(self.head_weights):
            partner = None if targets.partner_further is None else targets.partner_further[:, head]
            of_head = self._cross_entropy(of_heads[head], targets.further[:, head], partner, targets.lam, masked_cross_entropy)
            total = total + weight * of_head
        return total, right

    def _cross_entropy(
        self, logits: Tensor, labels: Tensor, partner: Tensor | None, lam: float, cross_entropy: Callable[..., Tensor]
    ) -> Tensor:
        smoothing = self.rules.label_smoothing
        if partner is None:
            return cross_entropy(logits, labels, label_smoothing=smoothing)
        how = {"mode": self.rules.mixup, "label_smoothing": smoothing, "cross_entropy": cross_entropy}
        return regmix_loss(logits, labels, partner, lam, **how)

    def after_step(self) -> None:
        pass

    def end_epoch(self) -> None:
        pass
