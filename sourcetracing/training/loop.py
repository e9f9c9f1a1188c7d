"""Trains one run: cross-entropy, regmix, Adam with step decay, selection on dev, exact resume (spec 2.6).

Batches, mixup and dropout of an epoch depend on (seed, epoch) alone, so a run that was killed goes on at its last whole epoch and ends
with the same bits as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from sourcetracing.errors import UserError
from sourcetracing.features.rows import FeatureRows, select_rows
from sourcetracing.features.store import FeatureStore
from sourcetracing.metrics.classification import confusion_matrix, macro_f1
from sourcetracing.models.backends.synced_batch_norm import synced
from sourcetracing.models.losses.mixup import regmix, regmix_loss
from sourcetracing.runtime.compute import autocast
from sourcetracing.runtime.process_group import ALONE, ProcessGroup
from sourcetracing.runtime.seeding import rng, seed_of
from sourcetracing.settings.backends import BACKENDS
from sourcetracing.settings.schema import Settings
from sourcetracing.training.checkpoints import (
    learned_tensors,
    load_checkpoint,
    load_initial_weights,
    load_weights,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from sourcetracing.training.networks import build_model
from sourcetracing.training.optimization import batches, learning_rates, make_optimizer, micro_batches, set_learning_rates
from sourcetracing.training.run_folder import RunFolder, TensorBoardLog
from sourcetracing.training.runs import TrainingRun


@dataclass
class TrainingState:
    """All that one epoch hands to the next."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    group: ProcessGroup = ALONE
    parallel: DistributedDataParallel | None = None  # around `model`, where several processes train it
    loss: torch.nn.Module | None = None  # where the loss has weights of its own
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1

    @property
    def next_epoch(self) -> int:
        return len(self.history)

    @property
    def network(self) -> torch.nn.Module:
        """What training steps call."""
        return self.parallel or self.model

    def without_exchange(self) -> AbstractContextManager:
        """While gradients of a batch's first pieces are added up, processes need not exchange them."""
        return self.parallel.no_sync() if self.parallel else nullcontext()


@dataclass(frozen=True)
class Method:
    """A way to train: which rows, which loss, what an epoch does, which figure picks the epoch."""

    select_train_rows: Callable[[FeatureStore, Settings, list[str], torch.device], FeatureRows]
    build_loss: Callable[[Settings, torch.nn.Module, FeatureRows], torch.nn.Module | None]
    run_epoch: Callable[[TrainingState, FeatureRows, FeatureRows, Settings, int], dict[str, float]]
    settle: Callable[[TrainingState, FeatureRows, Settings], None]  # what the network needs before it classifies
    selected_by: Callable[[Settings], str]


def method_of(settings: Settings) -> Method:
    """Cross-entropy, or for a back-end `embedding_head` a loss on embeddings."""
    if BACKENDS[settings.backend].metric_loss:
        from sourcetracing.training.metric_loss import METRIC_LOSS  # it builds on this module

        return METRIC_LOSS
    return CROSS_ENTROPY


def train_run(
    run: TrainingRun,
    store: FeatureStore,
    device: torch.device,
    on_epoch: Callable[[int], None] = lambda epoch: None,
    group: ProcessGroup = ALONE,
) -> RunFolder:
    """Trains a run from where its folder stands to its end; does nothing when it is finished. Returns its folder.

    on_epoch: called with the number of the epoch that ended (from 1) once its state is on disk. group: the processes that train it
    together; its first one writes the files.
    """
    folder = RunFolder(run.folder)
    if folder.is_finished:
        return folder
    group.wait()
    settings, method = run.settings, method_of(run.settings)
    languages = run.train_set.split("+")
    train_rows = method.select_train_rows(store, settings, languages, device)
    dev_rows = select_rows(store, settings, "dev", languages, device)
    if group.is_first:
        folder.open(settings, device)
    state = start_or_resume(settings, store, folder, device, group, lambda model: method.build_loss(settings, model, train_rows))
    group.wait()
    log = TensorBoardLog(folder.tensorboard, state.next_epoch) if group.is_first else None
    if not settings.train.epochs:
        method.settle(state, train_rows, settings)
        _keep_untrained(state, dev_rows, settings, folder)
    for epoch in range(state.next_epoch, settings.train.epochs):
        row = method.run_epoch(state, train_rows, dev_rows, settings, epoch)
        _keep_epoch(state, row, method.selected_by(settings), folder)
        if log:
            log.write(row)
            on_epoch(epoch + 1)
    if log:
        log.close()
        folder.finish(_outcome(state, settings, train_rows, dev_rows))
    group.wait()
    return folder


def start_or_resume(
    settings: Settings,
    store: FeatureStore,
    folder: RunFolder,
    device: torch.device,
    group: ProcessGroup = ALONE,
    build_loss: Callable[[torch.nn.Module], torch.nn.Module | None] = lambda model: None,
) -> TrainingState:
    """A fresh state, or the one that an interrupted run left behind."""
    model = build_model(settings, store.shape[1:])
    if settings.train.initial_weights:
        load_initial_weights(model, settings.backend, Path(settings.train.initial_weights))
    model = (synced(model, device) if group.size > 1 else model).to(device)
    loss = build_loss(model)
    loss = loss.to(device) if loss else None
    state = TrainingState(model, make_optimizer(model, settings, loss), group, loss=loss)
    if folder.last.is_file():
        tensors, metadata = load_checkpoint(folder.last)
        moments = {name: tensors.pop(name) for name in list(tensors) if name.startswith("optimizer.")}
        if loss:
            loss.load_state_dict({name.removeprefix("loss."): tensors.pop(name) for name in list(tensors) if name.startswith("loss.")})
        load_weights(model, tensors, str(folder.last))
        restore_optimizer(state.optimizer, moments)
        state.history, state.best_epoch = metadata["history"], metadata["best_epoch"]
    if group.size > 1:
        # Blocks that LayerDrop skips have no gradient; buffers are equal everywhere, for BatchNorm is synced.
        state.parallel = DistributedDataParallel(model, find_unused_parameters=True, broadcast_buffers=False)
    return state


def run_epoch(state: TrainingState, train_rows: FeatureRows, dev_rows: FeatureRows, settings: Settings, epoch: int) -> dict[str, float]:
    """One pass over the training rows and one over dev; returns the row of history.csv."""
    started = time.perf_counter()
    generator = rng(settings.train.seed, "epoch", epoch)
    seed_dropout(settings, epoch, state.group)
    state.model.train()
    order = generator.permutation(len(train_rows))[: settings.train.rows_per_epoch or None]
    steps = list(batches(order, settings.train.batch_size, at_least=2 * state.group.size))
    sums = np.zeros(3)
    for step, positions in enumerate(steps):
        rates = learning_rates(settings, epoch, step, len(steps))
        set_learning_rates(state.optimizer, rates)
        sums += train_step(state, train_rows, positions, settings, generator)
    sums = np.sum(state.group.gather(sums), axis=0)
    dev = evaluate(state.model, dev_rows, settings, state.group)
    train = {"train_loss": sums[0] / sums[2], "train_accuracy": sums[1] / sums[2]}
    return {"epoch": epoch + 1, "lr": rates["backend"], **train, **dev, "seconds": time.perf_counter() - started}


def seed_dropout(settings: Settings, epoch: int, group: ProcessGroup) -> None:
    """Seeds the global generators that dropout, LayerDrop and SpecAugment of an epoch draw from."""
    rank = [] if group.is_first else [group.rank]
    seed = seed_of(settings.train.seed, "dropout", epoch, *rank)
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (the transformers library draws SpecAugment's masks from it)


def train_step(
    state: TrainingState, rows: FeatureRows, positions: np.ndarray, settings: Settings, generator: np.random.Generator
) -> np.ndarray:
    """One optimizer step on some rows; returns (summed loss, correct un-mixed rows, rows) of those that this process computed.

    Under mixed_only "correct" counts the main label. Every process of a group calls it with the same positions.
    """
    rules = settings.train
    lam = generator.beta(rules.mixup_alpha, rules.mixup_alpha)
    partners = positions[generator.permutation(len(positions))]
    pieces = micro_batches(len(positions), rules.micro_batch_size, state.group)
    state.optimizer.zero_grad(set_to_none=True)
    sums = np.zeros(3)
    for number, piece in enumerate(pieces, start=1):
        with nullcontext() if number == len(pieces) else state.without_exchange():
            loss, correct = _loss_of(state, rows, positions[piece], partners[piece], lam, settings)
            # The mean over all rows of the batch; a group averages the gradients of its processes.
            (loss * (len(piece) / len(positions) * state.group.size)).backward()
        sums += (loss.item() * len(piece), correct, len(piece))
    state.optimizer.step()
    return sums


def _loss_of(
    state: TrainingState, rows: FeatureRows, positions: np.ndarray, partners: np.ndarray, lam: float, settings: Settings
) -> tuple[torch.Tensor, int]:
    """(mean loss, correct rows) of some rows, each mixed with its partner."""
    mode = settings.train.mixup
    wanted, where = np.unique(np.concatenate([positions, positions if mode == "none" else partners]), return_inverse=True)
    features, labels = rows.batch(wanted)
    own, other = torch.from_numpy(where).to(labels.device).chunk(2)
    inputs = features[own] if mode == "none" else regmix(features[own], features[other], lam, mode=mode)
    with autocast(features.device, settings.compute.precision):
        _, logits = state.network(inputs)
    logits, y = logits.float(), labels[own]
    loss = functional.cross_entropy(logits, y) if mode == "none" else regmix_loss(logits, y, labels[other], lam, mode=mode)
    if not torch.isfinite(loss):
        raise UserError(f"the training loss became {loss.item()}: lower train.lr (now {settings.train.lr:g}) or look at the features")
    return loss, (logits[: len(y)].argmax(dim=1) == y).sum().item()


@torch.inference_mode()
def evaluate(model: torch.nn.Module, rows: FeatureRows, settings: Settings, group: ProcessGroup = ALONE) -> dict[str, float]:
    """Clean cross-entropy, accuracy and macro-F1 on dev rows, as mean over rows."""
    model.eval()
    outputs = []
    mine = group.share(np.arange(len(rows)))
    for positions in np.array_split(mine, max(1, -(-len(mine) // settings.evaluation.batch_size))):
        features, labels = rows.batch(positions)
        with autocast(features.device, settings.compute.precision):
            _, logits = model(features)
        outputs.append((logits.float(), labels))
    outputs = [output for outputs_of_one in group.gather(outputs) for output in outputs_of_one]
    logits, labels = (torch.cat(parts) for parts in zip(*outputs, strict=True))
    predictions = logits.argmax(dim=1)
    confusion = confusion_matrix(labels.cpu().numpy(), predictions.cpu().numpy(), range(len(settings.corpus.sources)))
    return {
        "dev_loss": functional.cross_entropy(logits, labels).item(),
        "dev_accuracy": (predictions == labels).float().mean().item(),
        "dev_macro_f1": float(macro_f1(confusion)),
    }


def is_better(row: dict[str, float], best: dict[str, float] | None, select: str) -> bool:
    """Whether an epoch beats the best so far: by a loss (dev_loss, train_loss), or dev macro-F1 with ties decided by dev loss."""
    if best is None:
        return True
    if select != "dev_macro_f1":
        return row[select] < best[select]
    return (row["dev_macro_f1"], -row["dev_loss"]) > (best["dev_macro_f1"], -best["dev_loss"])


def _keep_epoch(state: TrainingState, row: dict[str, float], select: str, folder: RunFolder) -> None:
    best = state.history[state.best_epoch - 1] if state.best_epoch > 0 else None
    state.history.append(row)
    improved = is_better(row, best, select)
    if improved:
        state.best_epoch = int(row["epoch"])
    if not state.group.is_first:
        return
    weights = learned_tensors(state.model)
    # The best weights go first: should the run be killed between the two, the epoch is repeated and writes the same file again.
    if improved:
        dev = {name: figure for name, figure in row.items() if name.startswith("dev_")}  # no seconds: the same run gives the same bytes
        save_checkpoint(folder.weights, weights, {"epoch": state.best_epoch, "dev": dev})
    metadata = {"history": state.history, "best_epoch": state.best_epoch}
    of_loss = {f"loss.{name}": tensor for name, tensor in state.loss.state_dict().items()} if state.loss else {}
    save_checkpoint(folder.last, {**weights, **of_loss, **optimizer_tensors(state.optimizer)}, metadata)
    folder.write_history(state.history)


def _keep_untrained(state: TrainingState, dev_rows: FeatureRows, settings: Settings, folder: RunFolder) -> None:
    dev = evaluate(state.model, dev_rows, settings, state.group)
    if state.group.is_first:
        save_checkpoint(folder.weights, learned_tensors(state.model), {"epoch": 0, "dev": dev})
        folder.write_history([])


def _outcome(state: TrainingState, settings: Settings, train_rows: FeatureRows, dev_rows: FeatureRows) -> dict[str, Any]:
    best = state.history[state.best_epoch - 1] if state.best_epoch > 0 else {}
    return {
        "best_epoch": max(state.best_epoch, 0),
        "selected_by": method_of(settings).selected_by(settings),
        **{name: best[name] for name in ("dev_loss", "dev_macro_f1") if best},
        "num_parameters": sum(parameter.numel() for parameter in state.model.parameters()),
        "num_trained_parameters": sum(parameter.numel() for parameter in state.model.parameters() if parameter.requires_grad),
        "num_train_rows": len(train_rows),
        "num_dev_rows": len(dev_rows),
        "seconds": sum(row["seconds"] for row in state.history),
    }


CROSS_ENTROPY = Method(
    select_train_rows=lambda store, settings, languages, device: select_rows(store, settings, "train", languages, device),
    build_loss=lambda settings, model, rows: None,
    run_epoch=run_epoch,
    settle=lambda state, rows, settings: None,
    selected_by=lambda settings: settings.train.select,
)
