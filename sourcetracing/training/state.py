"""What one round hands to the next, or one step of it to the next, and how it gets to disk and back."""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from sourcetracing.features.rows import FeatureRows
from sourcetracing.models.backends.synced_batch_norm import synced
from sourcetracing.runtime.process_group import ALONE, ProcessGroup
from sourcetracing.settings.backends import BACKENDS
from sourcetracing.settings.schema import Settings
from sourcetracing.training.averaging import WeightAverage
from sourcetracing.training.checkpoints import (
    frozen_digest,
    learned_tensors,
    load_checkpoint,
    load_initial_weights,
    load_weights,
    optimizer_tensors,
    refuse_other_frozen_weights,
    restore_optimizer,
    save_checkpoint,
)
from sourcetracing.training.networks import build_model
from sourcetracing.training.objectives import Aim
from sourcetracing.training.optimization import make_optimizer
from sourcetracing.training.run_folder import RunFolder
from sourcetracing.training.within_round import PREFIX, Position, random_states

LAST_EPOCH = "last_epoch"  # in place of a dev figure, where the training languages have no dev rows
PREFIXES = ("optimizer.", "loss.", "average.", PREFIX)  # of what last.safetensors holds beside the weights


@dataclass
class TrainingState:
    """All that one round hands to the next."""

    model: torch.nn.Module
    objective: Aim
    optimizer: torch.optim.Optimizer | None  # None: nothing in the model learns by gradients
    group: ProcessGroup = ALONE
    parallel: DistributedDataParallel | None = None  # around `model`, where several processes train it
    average: WeightAverage | None = None  # whose figures are those of dev, and which is kept
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    selected_by: str = ""  # the figure of history.csv that picks the round, or LAST_EPOCH; empty = the objective's
    position: Position = field(default_factory=Position)  # within the next round
    saved_at: float = field(default_factory=lambda: time.monotonic())  # of the state on disk
    frozen: dict[str, str] = field(init=False)  # for the metadata of checkpoints: digest of the weights that never learn, if any

    def __post_init__(self) -> None:
        self.selected_by = self.selected_by or self.objective.selected_by
        self.frozen = {"frozen": digest} if (digest := frozen_digest(self.model)) else {}

    @property
    def next_epoch(self) -> int:
        return len(self.history)

    @property
    def looks_in_vain(self) -> int:
        """Rounds since the best one."""
        return len(self.history) - max(self.best_epoch, 0)

    @property
    def network(self) -> torch.nn.Module:
        """What training steps call."""
        return self.parallel or self.model

    def averaged(self) -> AbstractContextManager:
        """While dev is looked at: the network has the averaged weights, if there are any."""
        return self.average.in_place() if self.average else nullcontext()

    def without_exchange(self) -> AbstractContextManager:
        """While gradients of a batch's first pieces are added up, processes need not exchange them."""
        return self.parallel.no_sync() if self.parallel else nullcontext()


def start_or_resume(
    settings: Settings,
    feature_shape: tuple[int, ...],
    folder: RunFolder,
    objective: type[Aim],
    train_rows: FeatureRows,
    group: ProcessGroup = ALONE,
) -> TrainingState:
    """A fresh state, or the one that an interrupted run left behind."""
    device = train_rows.device
    model = build_model(settings, feature_shape, train_rows.further.sizes)
    if settings.train.initial_weights:
        load_initial_weights(model, settings.backend, Path(settings.train.initial_weights))
    model = (synced(model, device) if group.size > 1 else model).to(device)
    aim = objective(settings, model, train_rows)
    learns = not BACKENDS[settings.backend].fitted
    state = TrainingState(model, aim, make_optimizer(model, settings, aim.weights) if learns else None, group)
    if settings.train.ema_decay and learns:
        state.average = WeightAverage(model, settings.train.ema_decay)
    if folder.last.is_file():
        _restore(state, folder.last)
    if group.size > 1 and learns:
        # Blocks that LayerDrop skips have no gradient; buffers are equal everywhere, for BatchNorm is synced.
        state.parallel = DistributedDataParallel(model, find_unused_parameters=True, broadcast_buffers=False)
    return state


def _restore(state: TrainingState, path: Path) -> None:
    tensors, metadata = load_checkpoint(path)
    parts = {prefix: {name: tensors.pop(name) for name in list(tensors) if name.startswith(prefix)} for prefix in PREFIXES}
    if state.objective.weights:
        state.objective.weights.load_state_dict({name.removeprefix("loss."): tensor for name, tensor in parts["loss."].items()})
    load_weights(state.model, tensors, str(path))
    refuse_other_frozen_weights(state.model, metadata, path)
    if state.optimizer:
        restore_optimizer(state.optimizer, parts["optimizer."])
    if state.average:
        averages = {name.removeprefix("average."): tensor for name, tensor in parts["average."].items()}
        state.average.restore(averages, metadata["averaged_steps"])
    state.history, state.best_epoch = metadata["history"], metadata["best_epoch"]
    if "within_round" in metadata:
        state.position = Position.read(metadata["within_round"], parts[PREFIX])


def is_better(row: dict[str, float], best: dict[str, float] | None, select: str) -> bool:
    """Whether a round beats the best so far: by a loss (dev_loss, train_loss), by dev macro-F1, ties by dev loss, or by being later.

    A figure that is not a number is worse than any number.
    """
    if best is None or select == LAST_EPOCH:
        return True
    return _merit(row, select) > _merit(best, select)


def _merit(row: dict[str, float], select: str) -> tuple[float, ...]:
    merits = (row["dev_macro_f1"], -row["dev_loss"]) if select == "dev_macro_f1" else (-row[select],)
    return tuple(-math.inf if math.isnan(merit) else merit for merit in merits)


def keep_epoch(state: TrainingState, row: dict[str, float], folder: RunFolder) -> None:
    """Adds a round to the history; the first process writes what it left, the best weights apart."""
    best = state.history[state.best_epoch - 1] if state.best_epoch > 0 else None
    state.history.append(row)
    improved = is_better(row, best, state.selected_by)
    if improved:
        state.best_epoch = int(row["epoch"])
    if not state.group.is_first:
        return
    # The best weights go first: should the run be killed between the two, the round is repeated and writes the same file again.
    if improved:
        dev = _known_dev_figures(row)  # no seconds: the same run gives the same bytes
        weights = state.average.tensors if state.average else learned_tensors(state.model)
        save_checkpoint(folder.weights, weights, {"epoch": state.best_epoch, "dev": dev, **state.frozen})
    _save_last(state, folder)
    folder.write_history(state.history)


def keep_within_round(state: TrainingState, position: Position, folder: RunFolder, device: torch.device) -> None:
    """Saves where the training stands within the round that is under way, in the place of what the last round left."""
    _save_last(state, folder, {"within_round": position.facts()}, random_states(device))


def _save_last(state: TrainingState, folder: RunFolder, facts: dict[str, Any] | None = None, more: dict[str, Any] | None = None) -> None:
    metadata = {"history": state.history, "best_epoch": state.best_epoch, **(facts or {}), **state.frozen}
    of_optimizer = optimizer_tensors(state.optimizer) if state.optimizer else {}
    tensors = {**learned_tensors(state.model), **of_optimizer, **(more or {})}
    if state.objective.weights:
        tensors |= {f"loss.{name}": tensor for name, tensor in state.objective.weights.state_dict().items()}
    if state.average:
        tensors |= {f"average.{name}": tensor for name, tensor in state.average.tensors.items()}
        metadata["averaged_steps"] = state.average.num_steps
    save_checkpoint(folder.last, tensors, metadata)
    state.saved_at = time.monotonic()


def keep_untrained(state: TrainingState, dev: dict[str, float], folder: RunFolder) -> None:
    """For train.epochs=0: the initial weights and their dev figures."""
    if state.group.is_first:
        save_checkpoint(folder.weights, learned_tensors(state.model), {"epoch": 0, "dev": _known_dev_figures(dev), **state.frozen})
        folder.write_history([])


def _known_dev_figures(row: dict[str, float]) -> dict[str, float]:
    """Those that are numbers: JSON has no other ones."""
    return {name: figure for name, figure in row.items() if name.startswith("dev_") and math.isfinite(figure)}


def outcome(state: TrainingState, train_rows: FeatureRows, dev_rows: FeatureRows) -> dict[str, Any]:
    """What model.json says of a run."""
    best = state.history[state.best_epoch - 1] if state.best_epoch > 0 else {}
    return {
        "best_epoch": max(state.best_epoch, 0),
        "selected_by": state.selected_by,
        **{name: best[name] for name in ("dev_loss", "dev_macro_f1") if best and len(dev_rows)},
        "num_parameters": sum(parameter.numel() for parameter in state.model.parameters()),
        "num_trained_parameters": sum(parameter.numel() for parameter in state.model.parameters() if parameter.requires_grad),
        "num_train_rows": len(train_rows),
        "num_dev_rows": len(dev_rows),
        "seconds": sum(row["seconds"] for row in state.history),
    }
