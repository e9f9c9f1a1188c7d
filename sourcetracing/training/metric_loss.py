"""How a system with an embedding head is trained: balanced batches, a loss on embeddings, classes as centroids of train (spec 3.5)."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from sourcetracing.errors import UserError
from sourcetracing.features.rows import FeatureRows, label_ids
from sourcetracing.features.store import FeatureStore
from sourcetracing.models.backends.embedding_head import EmbeddingHead
from sourcetracing.models.losses.ge2e import cosines_to_centroids
from sourcetracing.protocols.table import select
from sourcetracing.runtime.compute import autocast
from sourcetracing.runtime.extras import needs
from sourcetracing.runtime.process_group import size_of_group
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.metric_learning import LOSSES
from sourcetracing.settings.schema import Settings
from sourcetracing.training.balanced_batches import balanced_batches
from sourcetracing.training.loop import Method, TrainingState, evaluate, seed_dropout
from sourcetracing.training.networks import forward
from sourcetracing.training.optimization import learning_rates, set_learning_rates


def select_train_rows(store: FeatureStore, settings: Settings, languages: list[str], device: torch.device) -> FeatureRows:
    """The rows of train (and dev, where asked for) with the ids of their classes; unknown sources of dev have ids behind the known ones.

    Raises `UserError` where the rows cannot fill a balanced batch, and for several processes: a loss on a batch needs all of its rows.
    """
    if size_of_group() > 1:
        raise UserError("backend=embedding_head trains in one process: its loss compares all rows of a batch. Start it without torchrun")
    if settings.train.micro_batch_size:
        raise UserError(
            "train.micro_batch_size: the loss of backend=embedding_head needs all rows of a batch at once. To save memory take "
            "finetune.gradient_checkpointing=true"
        )
    splits = ["train", "dev"] if settings.metric_learning.train_on_dev else ["train"]
    chosen = store.index[select(store.index, languages=languages, splits=splits, variants=settings.train.variants)]
    known = settings.corpus.sources
    classes = [*known, *sorted(set(chosen["source"]) - set(known))]
    _refuse_small(chosen["source"].value_counts().to_dict(), settings, f"{' and '.join(splits)} for {'+'.join(languages)}")
    return FeatureRows(store, chosen["row"].to_numpy(), label_ids(chosen["source"], classes), device)


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


def loss_of(settings: Settings, model: torch.nn.Module, rows: FeatureRows) -> torch.nn.Module:
    """The loss that the settings name, for the classes of the training rows."""
    rules, head = settings.metric_learning, head_of(model)
    sizes = {"num_classes": int(rows.labels.max()) + 1, "embedding_dim": head.embedding_dim, "normalize": head.normalize}
    return build_loss(rules.loss, **vars(rules), **sizes)


def build_loss(name: str, **offered: Any) -> torch.nn.Module:
    """A loss by its name, with what it takes of all that is offered. Raises `UserError`: unknown, its package is not installed."""
    entry = LOSSES[name]
    with needs("losses", f"metric_learning.loss={name}"):
        return entry.load()(**{argument: offered[argument] for argument in entry.takes if argument in offered})


def head_of(model: torch.nn.Module) -> EmbeddingHead:
    """The embedding head of a network (`networks.build_model`)."""
    return model.backend if isinstance(model, torch.nn.Sequential) else model


def run_epoch(state: TrainingState, train_rows: FeatureRows, dev_rows: FeatureRows, settings: Settings, epoch: int) -> dict[str, float]:
    """Balanced batches, then centroids of all training rows and the figures of dev by them; returns the row of history.csv."""
    started = time.perf_counter()
    rules, labels = settings.metric_learning, train_rows.labels.cpu().numpy()
    num_batches = rules.batches_per_epoch or max(1, len(labels) // (rules.classes_per_batch * rules.rows_per_class))
    generator = rng(settings.train.seed, "epoch", epoch)
    seed_dropout(settings, epoch, state.group)
    state.model.train()
    sums = np.zeros(2)
    steps = balanced_batches(labels, rules.classes_per_batch, rules.rows_per_class, num_batches, generator)
    for step, (classes, positions) in enumerate(steps):
        rates = learning_rates(settings, epoch, step, num_batches)
        set_learning_rates(state.optimizer, rates)
        sums += train_step(state, train_rows, classes, positions, settings)
    settle(state, train_rows, settings)
    train = {"train_loss": sums[0] / num_batches, "train_accuracy": sums[1] / num_batches}
    dev = evaluate(state.model, dev_rows, settings, state.group)
    return {"epoch": epoch + 1, "lr": rates["backend"], **train, **dev, "seconds": time.perf_counter() - started}


def train_step(
    state: TrainingState, rows: FeatureRows, classes: np.ndarray, positions: np.ndarray, settings: Settings
) -> tuple[float, float]:
    """One optimizer step on classes (N,) and rows (N, M); returns its loss and the share of rows nearest to their class in the batch."""
    features, _ = rows.batch(positions.ravel())
    state.optimizer.zero_grad(set_to_none=True)
    with autocast(features.device, settings.compute.precision):
        embeddings, _ = state.network(features)
    embeddings = embeddings.float().unflatten(0, positions.shape)
    loss = state.loss(embeddings, torch.from_numpy(classes).to(features.device))
    if not torch.isfinite(loss):
        raise UserError(f"the training loss became {loss.item()}: lower train.lr (now {settings.train.lr:g}) or look at the features")
    loss.backward()
    state.optimizer.step()
    state.loss.after_step()
    nearest = cosines_to_centroids(embeddings.detach()).argmax(dim=-1)
    own = torch.arange(len(classes), device=nearest.device)[:, None]
    return loss.item(), (nearest == own).float().mean().item()


def settle(state: TrainingState, train_rows: FeatureRows, settings: Settings) -> None:
    """Makes the mean training embedding of each known class its centroid."""
    head, labels = head_of(state.model), train_rows.labels.cpu().numpy()
    embeddings, _ = forward(state.model.eval(), train_rows, settings)
    means = [embeddings[labels == number].mean(axis=0) for number in range(len(head.centroids))]
    head.set_centroids(torch.from_numpy(np.stack(means)), state.loss.logit_scale)


METRIC_LOSS = Method(
    select_train_rows=select_train_rows,
    build_loss=loss_of,
    run_epoch=run_epoch,
    settle=settle,
    selected_by=lambda settings: settings.metric_learning.select,
)
