"""How a system with an embedding head is trained: balanced batches, a loss on embeddings, classes as centroids of train (D41-D43)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sourcetracing.errors import UserError
from sourcetracing.features.rows import FeatureRows, dev_languages, label_ids
from sourcetracing.features.store import FeatureStore
from sourcetracing.models.backends.embedding_head import EmbeddingHead
from sourcetracing.models.losses.ge2e import cosines_to_centroids
from sourcetracing.protocols.table import select
from sourcetracing.runtime.extras import needs
from sourcetracing.runtime.process_group import ProcessGroup, size_of_group
from sourcetracing.settings.metric_learning import LOSSES
from sourcetracing.settings.schema import Settings
from sourcetracing.training.balanced_batches import balanced_batches
from sourcetracing.training.batches import Batch, Targets
from sourcetracing.training.networks import forward


class MetricLoss:
    """The objective of back-ends with `metric_loss` (see `objectives.Objective`)."""

    def __init__(self, settings: Settings, model: nn.Module, rows: FeatureRows):
        self.settings, self.rules, self.model, self.rows = settings, settings.metric_learning, model, rows
        self.selected_by = self.rules.select
        self.labels = rows.labels.cpu().numpy()
        head = head_of(model)
        sizes = {"num_classes": int(self.labels.max()) + 1, "embedding_dim": head.embedding_dim, "normalize": head.normalize}
        self.weights = build_loss(self.rules.loss, **vars(self.rules), **sizes).to(rows.device)

    @staticmethod
    def train_rows(store: FeatureStore, settings: Settings, languages: list[str]) -> tuple[np.ndarray, np.ndarray]:
        return select_train_rows(store, settings, languages)

    def batches(self, generator: np.random.Generator, group: ProcessGroup) -> Sequence[Batch]:
        """Each of `classes_per_batch` classes x `rows_per_class` rows, class by class."""
        rules = self.rules
        num_batches = rules.batches_per_epoch or max(1, len(self.labels) // (rules.classes_per_batch * rules.rows_per_class))
        drawn = balanced_batches(self.labels, rules.classes_per_batch, rules.rows_per_class, num_batches, generator)
        return [Batch(positions.ravel()) for _, positions in drawn]

    def loss(self, embeddings: Tensor, logits: Tensor, targets: Targets) -> tuple[Tensor, float]:
        """Right are rows that are nearest to their own class of the batch."""
        shape = (self.rules.classes_per_batch, self.rules.rows_per_class)
        embeddings, classes = embeddings.unflatten(0, shape), targets.labels.unflatten(0, shape)[:, 0]
        nearest = cosines_to_centroids(embeddings.detach()).argmax(dim=-1)
        own = torch.arange(len(classes), device=nearest.device)[:, None]
        return self.weights(embeddings, classes), (nearest == own).sum().item()

    def after_step(self) -> None:
        self.weights.after_step()

    def end_epoch(self) -> None:
        """Makes the mean training embedding of each known class its centroid."""
        head = head_of(self.model)
        embeddings, _ = forward(self.model.eval(), self.rows, self.settings)
        means = [embeddings[self.labels == number].mean(axis=0) for number in range(len(head.centroids))]
        head.set_centroids(torch.from_numpy(np.stack(means)), self.weights.logit_scale)


def select_train_rows(store: FeatureStore, settings: Settings, languages: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The rows of train (and dev, where asked for) and the ids of their classes; unknown sources of dev have ids behind the known ones.

    Raises `UserError` where the rows cannot fill a balanced batch, and for several processes: a loss on a batch needs all of its rows.
    """
    if size_of_group() > 1:
        raise UserError("backend=embedding_head trains in one process: its loss compares all rows of a batch. Start it without torchrun")
    if settings.train.micro_batch_size:
        raise UserError(
            "train.micro_batch_size: the loss of backend=embedding_head needs all rows of a batch at once. To save memory take "
            "finetune.gradient_checkpointing=true"
        )
    for name in ("label_smoothing", "balance_classes"):
        if getattr(settings.train, name):
            raise UserError(f"train.{name}: backend=embedding_head has balanced batches and a loss without labels to smooth. Take it out")
    languages_of = {"train": languages}
    if settings.metric_learning.train_on_dev:
        languages_of["dev"] = dev_languages(settings, languages)
    masks = [select(store.index, languages=own, splits=[split], variants=settings.train.variants) for split, own in languages_of.items()]
    chosen = store.index[np.logical_or.reduce(masks)]
    known = settings.corpus.sources
    classes = [*known, *sorted(set(chosen["source"]) - set(known))]
    _refuse_small(chosen["source"].value_counts().to_dict(), settings, f"{' and '.join(languages_of)} for {'+'.join(languages)}")
    return chosen["row"].to_numpy(), label_ids(chosen["source"], classes)


def _refuse_small(num_rows: dict[str, int], settings: Settings, where: str) -> None:
    rules = settings.metric_learning
    if absent := [source for source in settings.corpus.sources if source not in num_rows]:
        raise UserError(f"{absent[0]} has no rows in {where}, so it would have no centroid. Leave it out of corpus.sources")
    if len(num_rows) < rules.classes_per_batch:
        raise UserError(f"metric_learning.classes_per_batch={rules.classes_per_batch}, but {where} has {len(num_rows)} sources")
    smallest = min(num_rows, key=num_rows.__getitem__)
    if num_rows[smallest] < rules.rows_per_class:
        raise UserError(
            f"metric_learning.rows_per_class={rules.rows_per_class}, but {smallest} has {num_rows[smallest]} feature rows in {where}"
        )


def build_loss(name: str, **offered: Any) -> torch.nn.Module:
    """A loss by its name, with what it takes of all that is offered. Raises `UserError`: unknown, its package is not installed."""
    entry = LOSSES[name]
    with needs("losses", f"metric_learning.loss={name}"):
        return entry.load()(**{argument: offered[argument] for argument in entry.takes if argument in offered})


def head_of(model: torch.nn.Module) -> EmbeddingHead:
    """The embedding head of a network (`networks.build_model`)."""
    return model.backend if isinstance(model, torch.nn.Sequential) else model
