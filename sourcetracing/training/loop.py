"""The training loop: batch, mixup, forward, loss, backward, step; dev; checkpoint. Exact resume.

Batches, mixup and dropout of an epoch depend on (seed, epoch) alone, so a run that was killed goes on at its last whole epoch and ends
with the same bits as one that was not. What differs between cross-entropy and a loss on embeddings is an objective (`objectives`,
`metric_loss`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch.nn import functional

from sourcetracing.errors import UserError
from sourcetracing.features.rows import FeatureRows, open_store, select_rows
from sourcetracing.features.store import FeatureStore
from sourcetracing.metrics.classification import confusion_matrix, macro_f1
from sourcetracing.runtime.compute import autocast
from sourcetracing.runtime.process_group import ALONE, ProcessGroup
from sourcetracing.runtime.seeding import rng, seed_of
from sourcetracing.settings.backends import BACKENDS
from sourcetracing.settings.schema import Settings
from sourcetracing.training.batches import Batch, load, micro_batches
from sourcetracing.training.fitting import Fitting
from sourcetracing.training.metric_loss import MetricLoss
from sourcetracing.training.objectives import Aim, CrossEntropy
from sourcetracing.training.optimization import learning_rates, set_learning_rates
from sourcetracing.training.run_folder import RunFolder, TensorBoardLog
from sourcetracing.training.runs import TrainingRun, front_end_key
from sourcetracing.training.state import LAST_EPOCH, TrainingState, keep_epoch, keep_untrained, outcome, start_or_resume


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
    folder, settings = RunFolder(run.folder), run.settings
    if folder.is_finished:
        return folder
    group.wait()
    objective, languages = objective_of(settings), run.train_set.split("+")
    train_rows = FeatureRows(store, *objective.train_rows(store, settings, languages), device)
    dev_rows = select_rows(store, settings, "dev", languages, device)
    if group.is_first:
        folder.open(settings, device)
    state = start_or_resume(settings, store.shape[1:], folder, objective, train_rows, group)
    if not len(dev_rows) and state.selected_by.startswith("dev_"):
        state.selected_by = LAST_EPOCH
    group.wait()
    log = TensorBoardLog(folder.tensorboard, state.next_epoch) if group.is_first else None
    if not run.num_epochs:
        state.objective.end_epoch()
        keep_untrained(state, evaluate(state.model, dev_rows, settings, group), folder)
    for epoch in range(state.next_epoch, run.num_epochs):
        if isinstance(state.objective, Fitting):
            row = fit_once(state, dev_rows, settings)
        else:
            row = train_epoch(state, train_rows, dev_rows, settings, epoch)
        keep_epoch(state, row, folder)
        if log:
            log.write(row)
            on_epoch(epoch + 1)
    if log:
        log.close()
        folder.finish(outcome(state, train_rows, dev_rows))
    group.wait()
    return folder


def objective_of(settings: Settings) -> type[Aim]:
    """Cross-entropy; for a back-end with `metric_loss` a loss on embeddings; for one that is `fitted` no loss at all."""
    rules = BACKENDS[settings.backend]
    return Fitting if rules.fitted else MetricLoss if rules.metric_loss else CrossEntropy


def require_rows(runs: Sequence[TrainingRun]) -> None:
    """Raises `UserError` for the first run whose rows will not do, before hours of training others."""
    stores: dict[tuple, FeatureStore] = {}
    for run in runs:
        key = front_end_key(run.settings)
        store = stores[key] if key in stores else stores.setdefault(key, open_store(run.settings))
        objective_of(run.settings).train_rows(store, run.settings, run.train_set.split("+"))


def train_epoch(state: TrainingState, train_rows: FeatureRows, dev_rows: FeatureRows, settings: Settings, epoch: int) -> dict[str, float]:
    """One pass over the training rows and one over dev; returns the row of history.csv."""
    started = time.perf_counter()
    seed_dropout(settings, epoch, state.group)
    state.model.train()
    batches = state.objective.batches(rng(settings.train.seed, "epoch", epoch), state.group)
    sums = np.zeros(3)
    for step, batch in enumerate(batches):
        rates = learning_rates(settings, epoch, step, len(batches))
        set_learning_rates(state.optimizer, rates)
        sums += train_step(state, train_rows, batch, settings)
    state.objective.end_epoch()
    loss, right, num_rows = np.sum(state.group.gather(sums), axis=0)
    train = {"train_loss": loss / num_rows, "train_accuracy": right / num_rows}
    dev = evaluate(state.model, dev_rows, settings, state.group)
    return {"epoch": epoch + 1, "lr": rates["backend"], **train, **dev, "seconds": time.perf_counter() - started}


def fit_once(state: TrainingState, dev_rows: FeatureRows, settings: Settings) -> dict[str, float]:
    """What `train_epoch` is to a network, for a back-end that is fitted; returns the only row of history.csv, without a learning rate."""
    started = time.perf_counter()
    train = state.objective.fit(state.group)
    dev = evaluate(state.model, dev_rows, settings, state.group)
    return {"epoch": 1, "lr": math.nan, **train, **dev, "seconds": time.perf_counter() - started}


def train_step(state: TrainingState, rows: FeatureRows, batch: Batch, settings: Settings) -> np.ndarray:
    """One optimizer step; returns (summed loss, right rows, rows) of those that this process computed.

    Every process of a group calls it with the same batch and takes its share. Raises `UserError` for a loss that is not finite.
    """
    num_rows = len(batch.positions)
    pieces = micro_batches(num_rows, settings.train.micro_batch_size, state.group)
    sums = np.zeros(3)
    state.optimizer.zero_grad(set_to_none=True)
    for number, piece in enumerate(pieces, start=1):
        with nullcontext() if number == len(pieces) else state.without_exchange():
            inputs, targets = load(rows, batch, piece, settings.train.mixup)
            with autocast(inputs.device, settings.compute.precision):
                embeddings, logits = state.network(inputs)
            loss, right = state.objective.loss(embeddings.float(), logits.float(), targets)
            if not torch.isfinite(loss):
                raise UserError(
                    f"the training loss became {loss.item()}: lower train.lr (now {settings.train.lr:g}) or look at the features"
                )
            # The mean over all rows of the batch; a group averages the gradients of its processes.
            (loss * (len(piece) / num_rows * state.group.size)).backward()
        sums += (loss.item() * len(piece), right, len(piece))
    state.optimizer.step()
    state.objective.after_step()
    return sums


def seed_dropout(settings: Settings, epoch: int, group: ProcessGroup) -> None:
    """Seeds the global generators that dropout, LayerDrop and SpecAugment of an epoch draw from."""
    rank = [] if group.is_first else [group.rank]
    seed = seed_of(settings.train.seed, "dropout", epoch, *rank)
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (the transformers library draws SpecAugment's masks from it)


@torch.inference_mode()
def evaluate(model: torch.nn.Module, rows: FeatureRows, settings: Settings, group: ProcessGroup = ALONE) -> dict[str, float]:
    """Clean cross-entropy, accuracy and macro-F1 on dev rows, as mean over rows; not-a-number without any."""
    if not len(rows):
        return dict.fromkeys(("dev_loss", "dev_accuracy", "dev_macro_f1"), math.nan)
    model.eval()
    outputs = []
    mine = group.share(np.arange(len(rows)))
    for positions in np.array_split(mine, max(1, -(-len(mine) // settings.evaluation.batch_size))):
        features, labels = rows.batch(positions)
        with autocast(features.device, settings.compute.precision):
            _, logits = model(features)
        outputs.append((logits.float().cpu(), labels.cpu()))
    outputs = [output for outputs_of_one in group.gather(outputs) for output in outputs_of_one]
    logits, labels = (torch.cat(parts) for parts in zip(*outputs, strict=True))
    predictions = logits.argmax(dim=1)
    confusion = confusion_matrix(labels.numpy(), predictions.numpy(), range(len(settings.corpus.sources)))
    return {
        "dev_loss": functional.cross_entropy(logits, labels).item(),
        "dev_accuracy": (predictions == labels).float().mean().item(),
        "dev_macro_f1": float(macro_f1(confusion)),
    }
