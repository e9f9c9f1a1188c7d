"""Trains one cell: cross-entropy, regmix, Adam with step decay, selection on dev, exact resume (spec 2.6).

Batches, mixup and dropout of an epoch depend on (seed, epoch) alone, so a run that was killed goes on at its last whole epoch and ends
with the same bits as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from models import build_backend
from models.mixup import regmix, regmix_loss
from sourcetracing.checkpoints import (
    load_checkpoint,
    load_initial_weights,
    load_weights,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from sourcetracing.compute import autocast
from sourcetracing.config import Settings, Train
from sourcetracing.errors import UserError
from sourcetracing.experiments import Cell
from sourcetracing.feature_data import FeatureRows, select_rows
from sourcetracing.metrics import confusion_matrix, macro_f1
from sourcetracing.run_folder import RunFolder, TensorBoardLog
from sourcetracing.seeding import rng, seed_of
from sourcetracing.store import FeatureStore


@dataclass
class TrainingState:
    """All that one epoch hands to the next."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1

    @property
    def next_epoch(self) -> int:
        return len(self.history)


def train_cell(cell: Cell, store: FeatureStore, device: torch.device, on_epoch: Callable[[int], None] = lambda epoch: None) -> RunFolder:
    """Trains a cell from where its folder stands to its end; does nothing when it is finished. Returns its folder.

    on_epoch: called with the number of the epoch that ended (from 1) once its state is on disk.
    """
    folder = RunFolder(cell.folder)
    if folder.is_finished:
        return folder
    settings = cell.settings
    languages = cell.train_set.split("+")
    folder.open(settings, device)
    train_rows, dev_rows = (select_rows(store, settings, split, languages, device) for split in ("train", "dev"))
    state = start_or_resume(settings, store, folder, device)
    log = TensorBoardLog(folder.tensorboard, state.next_epoch)
    if not settings.train.epochs:
        _keep_untrained(state, dev_rows, settings, folder)
    for epoch in range(state.next_epoch, settings.train.epochs):
        row = run_epoch(state, train_rows, dev_rows, settings, epoch)
        _keep_epoch(state, row, settings, folder)
        log.write(row)
        on_epoch(epoch + 1)
    log.close()
    folder.finish(_outcome(state, settings, train_rows, dev_rows))
    return folder


def build_model(settings: Settings, feature_shape: tuple[int, ...]) -> torch.nn.Module:
    """The back-end that the settings name, for rows of (D, T) features or (samples,); initial weights depend on train.seed alone."""
    torch.manual_seed(seed_of(settings.train.seed, "weights"))
    options = vars(getattr(settings, settings.backend))
    num_features, num_frames = feature_shape if len(feature_shape) == 2 else (1, *feature_shape)
    return build_backend(
        settings.backend, num_features=num_features, num_frames=num_frames, num_classes=len(settings.corpus.sources), **options
    )


def start_or_resume(settings: Settings, store: FeatureStore, folder: RunFolder, device: torch.device) -> TrainingState:
    """A fresh state, or the one that an interrupted run left behind."""
    model = build_model(settings, store.shape[1:])
    if settings.train.initial_weights:
        load_initial_weights(model, settings.backend, Path(settings.train.initial_weights))
    model.to(device)
    rules = settings.train
    optimizer = torch.optim.Adam(
        model.parameters(), lr=rules.lr, betas=(rules.beta_1, rules.beta_2), eps=rules.eps, weight_decay=rules.weight_decay
    )
    state = TrainingState(model, optimizer)
    if folder.last.is_file():
        tensors, story = load_checkpoint(folder.last)
        moments = {name: tensors.pop(name) for name in list(tensors) if name.startswith("optimizer.")}
        load_weights(model, tensors, str(folder.last))
        restore_optimizer(optimizer, moments)
        state.history, state.best_epoch = story["history"], story["best_epoch"]
    return state


def learning_rate(rules: Train, epoch: int) -> float:
    """lr * lr_decay ** floor(epoch / lr_interval), epochs from 0 (D19)."""
    return rules.lr * rules.lr_decay ** (epoch // rules.lr_interval)


def batches(order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Pieces of `order`; a last piece of a single row joins the one before, for BatchNorm needs two."""
    cuts = list(range(batch_size, len(order), batch_size))
    if cuts and len(order) - cuts[-1] == 1:
        cuts.pop()
    yield from np.split(order, cuts)


def run_epoch(state: TrainingState, train_rows: FeatureRows, dev_rows: FeatureRows, settings: Settings, epoch: int) -> dict[str, float]:
    """One pass over the training rows and one over dev; returns the row of history.csv."""
    started = time.perf_counter()
    lr = learning_rate(settings.train, epoch)
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    generator = rng(settings.train.seed, "epoch", epoch)
    torch.manual_seed(seed_of(settings.train.seed, "dropout", epoch))
    state.model.train()
    order = generator.permutation(len(train_rows))
    sums = np.zeros(3)
    for positions in batches(order, settings.train.batch_size):
        sums += train_step(state, *train_rows.batch(positions), settings, generator)
    dev = evaluate(state.model, dev_rows, settings)
    train = {"train_loss": sums[0] / sums[2], "train_accuracy": sums[1] / sums[2]}
    return {"epoch": epoch + 1, "lr": lr, **train, **dev, "seconds": time.perf_counter() - started}


def train_step(
    state: TrainingState, features: torch.Tensor, labels: torch.Tensor, settings: Settings, generator: np.random.Generator
) -> tuple[float, float, int]:
    """One optimizer step; returns (summed loss, correct un-mixed rows, rows). Under mixed_only "correct" counts the main label."""
    rules = settings.train
    lam = generator.beta(rules.mixup_alpha, rules.mixup_alpha)
    permutation = torch.from_numpy(generator.permutation(len(labels))).to(labels.device)
    inputs = features if rules.mixup == "none" else regmix(features, permutation, lam, mode=rules.mixup)
    with autocast(features.device, settings.compute.precision):
        _, logits = state.model(inputs)
    logits = logits.float()
    if rules.mixup == "none":
        loss = functional.cross_entropy(logits, labels)
    else:
        loss = regmix_loss(logits, labels, permutation, lam, mode=rules.mixup)
    if not torch.isfinite(loss):
        raise UserError(f"the training loss became {loss.item()}: lower train.lr (now {rules.lr:g}) or look at the features")
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    state.optimizer.step()
    correct = (logits[: len(labels)].argmax(dim=1) == labels).sum().item()
    return loss.item() * len(labels), correct, len(labels)


@torch.inference_mode()
def evaluate(model: torch.nn.Module, rows: FeatureRows, settings: Settings) -> dict[str, float]:
    """Clean cross-entropy, accuracy and macro-F1 on dev rows, as mean over rows."""
    model.eval()
    outputs = []
    for positions in np.array_split(np.arange(len(rows)), max(1, -(-len(rows) // settings.evaluation.batch_size))):
        features, labels = rows.batch(positions)
        with autocast(features.device, settings.compute.precision):
            _, logits = model(features)
        outputs.append((logits.float(), labels))
    logits, labels = (torch.cat(parts) for parts in zip(*outputs, strict=True))
    predictions = logits.argmax(dim=1)
    confusion = confusion_matrix(labels.cpu().numpy(), predictions.cpu().numpy(), range(len(settings.corpus.sources)))
    return {
        "dev_loss": functional.cross_entropy(logits, labels).item(),
        "dev_accuracy": (predictions == labels).float().mean().item(),
        "dev_macro_f1": float(macro_f1(confusion)),
    }


def is_better(row: dict[str, float], best: dict[str, float] | None, select: str) -> bool:
    """Whether an epoch beats the best so far: dev_loss alone, or dev macro-F1 with ties decided by loss."""
    if best is None:
        return True
    if select == "dev_loss":
        return row["dev_loss"] < best["dev_loss"]
    return (row["dev_macro_f1"], -row["dev_loss"]) > (best["dev_macro_f1"], -best["dev_loss"])


def _keep_epoch(state: TrainingState, row: dict[str, float], settings: Settings, folder: RunFolder) -> None:
    best = state.history[state.best_epoch - 1] if state.best_epoch > 0 else None
    state.history.append(row)
    weights = state.model.state_dict()
    # The best weights go first: should the run be killed between the two, the epoch is repeated and writes the same file again.
    if is_better(row, best, settings.train.select):
        state.best_epoch = int(row["epoch"])
        save_checkpoint(folder.weights, weights, {"epoch": state.best_epoch, "dev": row})
    story = {"history": state.history, "best_epoch": state.best_epoch}
    save_checkpoint(folder.last, {**weights, **optimizer_tensors(state.optimizer)}, story)
    folder.write_history(state.history)


def _keep_untrained(state: TrainingState, dev_rows: FeatureRows, settings: Settings, folder: RunFolder) -> None:
    save_checkpoint(folder.weights, state.model.state_dict(), {"epoch": 0, "dev": evaluate(state.model, dev_rows, settings)})
    folder.write_history([])


def _outcome(state: TrainingState, settings: Settings, train_rows: FeatureRows, dev_rows: FeatureRows) -> dict[str, Any]:
    best = state.history[state.best_epoch - 1] if state.best_epoch > 0 else {}
    return {
        "best_epoch": max(state.best_epoch, 0),
        "selected_by": settings.train.select,
        **{name: best[name] for name in ("dev_loss", "dev_macro_f1") if best},
        "num_parameters": sum(parameter.numel() for parameter in state.model.parameters()),
        "num_train_rows": len(train_rows),
        "num_dev_rows": len(dev_rows),
        "seconds": sum(row["seconds"] for row in state.history),
    }
