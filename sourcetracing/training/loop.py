"""The training loop: batch, mixup, forward, loss, backward, step; dev; checkpoint. Exact resume.

Batches and mixup of a pass and dropout of a round (`rounds`) depend on the seed and its number alone, and what is saved within a round
holds the random states: a run that was killed goes on at what was saved last and ends with the same bits as one that was not. What
differs between cross-entropy and a loss on embeddings is an objective (`objectives`, `metric_loss`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from sourcetracing.errors import UserError
from sourcetracing.features.rows import FeatureRows, open_store, select_rows
from sourcetracing.features.store import FeatureStore
from sourcetracing.metrics.classification import confusion_matrix, macro_f1
from sourcetracing.runtime.compute import autocast
from sourcetracing.runtime.process_group import ALONE, ProcessGroup
from sourcetracing.runtime.seeding import seed_of
from sourcetracing.settings.backends import BACKENDS
from sourcetracing.settings.schema import Settings
from sourcetracing.training.batches import Batch, load, micro_batches
from sourcetracing.training.fitting import Fitting
from sourcetracing.training.label_classes import class_counts, further_labels_of
from sourcetracing.training.metric_loss import MetricLoss
from sourcetracing.training.networks import build_model
from sourcetracing.training.objectives import Aim, CrossEntropy
from sourcetracing.training.optimization import learning_rates, set_learning_rates
from sourcetracing.training.pace import Pacer
from sourcetracing.training.perturbation import PerturbedRows, perturbed
from sourcetracing.training.rounds import batches_of_round, num_rounds, steps_per_round
from sourcetracing.training.run_folder import RunFolder, TensorBoardLog
from sourcetracing.training.runs import TrainingRun, front_end_key
from sourcetracing.training.state import (
    LAST_EPOCH,
    TrainingState,
    keep_epoch,
    keep_untrained,
    keep_within_round,
    outcome,
    start_or_resume,
)
from sourcetracing.training.within_round import DEVICES, Position, restore_random_states

AfterStep = Callable[[Position, Batch, int], None]  # the position after a step, the batch that it took, the steps of the round


def train_run(
    run: TrainingRun,
    store: FeatureStore,
    device: torch.device,
    on_epoch: Callable[[int], None] = lambda epoch: None,
    group: ProcessGroup = ALONE,
) -> RunFolder:
    """Trains a run from where its folder stands to its end; does nothing when it is finished. Returns its folder.

    on_epoch: called with the number of the round that ended (from 1) once its state is on disk. group: the processes that train it
    together; its first one writes the files.
    """
    folder, settings = RunFolder(run.folder), run.settings
    if folder.is_finished:
        return folder
    group.wait()
    objective, languages = objective_of(settings), run.train_set.split("+")
    rows, classes = objective.train_rows(store, settings, languages)
    train_rows = FeatureRows(store, rows, classes, device, further_labels_of(store, rows, settings))
    dev_rows = select_rows(store, settings, "dev", languages, device)
    if group.is_first:
        folder.open(settings, device, class_counts(train_rows, settings))
    state = start_or_resume(settings, store.shape[1:], folder, objective, train_rows, group)
    if not len(dev_rows) and state.selected_by.startswith("dev_"):
        state.selected_by = LAST_EPOCH
    group.wait()
    log = TensorBoardLog(folder.tensorboard, state.next_epoch) if group.is_first else None
    if not num_rounds(settings):
        state.objective.end_epoch()
        keep_untrained(state, evaluate(state.model, dev_rows, settings, group), folder)
    after_step = between_steps(state, settings, folder, device) if group.is_first else _nothing
    for epoch in range(state.next_epoch, num_rounds(settings)):
        if 0 < settings.train.early_stop_looks <= state.looks_in_vain:
            break
        if isinstance(state.objective, Fitting):
            row = fit_once(state, dev_rows, settings)
        else:
            row = train_epoch(state, train_rows, dev_rows, settings, epoch, after_step)
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


def require_rows(runs: Sequence[TrainingRun]) -> dict[Path, int]:
    """Run folder -> its training rows. Raises `UserError` for the first run whose rows will not do, before hours of training others.

    Likewise for a fitted back-end that these rows cannot be given to.
    """
    stores: dict[tuple, FeatureStore] = {}
    num_rows = {}
    for run in runs:
        key = front_end_key(run.settings)
        store = stores[key] if key in stores else stores.setdefault(key, open_store(run.settings))
        rows, _ = objective_of(run.settings).train_rows(store, run.settings, run.train_set.split("+"))
        further_labels_of(store, rows, run.settings)
        if BACKENDS[run.settings.backend].fitted:  # which statistics fit these features is known once it is built, in no time
            build_model(run.settings, store.shape[1:])
        num_rows[run.folder] = len(rows)
    return num_rows


def _nothing(position: Position, batch: Batch, num_steps: int) -> None:
    pass


def between_steps(state: TrainingState, settings: Settings, folder: RunFolder, device: torch.device) -> AfterStep:
    """What the first process does after each step: it notes the pace, and saves where the last save is `train.checkpoint_minutes` ago.

    A group saves at the end of rounds only: each of its processes has random states of its own, and the next group may be of another size.
    """
    pacer, seconds = Pacer(folder.progress), 60 * settings.train.checkpoint_minutes
    may_save = seconds > 0 and state.group.size == 1 and device.type in DEVICES

    def act(position: Position, batch: Batch, num_steps: int) -> None:
        pacer.note(state.next_epoch, position.step, num_steps, len(batch.positions))
        if may_save and position.step < num_steps and time.monotonic() - state.saved_at >= seconds:
            keep_within_round(state, position, folder, device)

    return act


def train_epoch(
    state: TrainingState,
    train_rows: FeatureRows,
    dev_rows: FeatureRows,
    settings: Settings,
    epoch: int,
    after_step: AfterStep = _nothing,
) -> dict[str, float]:
    """One round: its steps, from where `state.position` says on, and one pass over dev; returns the row of history.csv."""
    seed_dropout(settings, epoch, state.group)
    position, state.position = state.position, Position()
    if not state.group.is_first:
        position.sums = np.zeros(3)  # of a process that was alone, and whose part the first one takes over
    elif position.generators:
        restore_random_states(position.generators, train_rows.device)
    started = time.perf_counter() - position.seconds
    state.model.train()
    batches = batches_of_round(lambda generator: state.objective.batches(generator, state.group), settings.train, epoch)
    rows = perturbed(train_rows, settings, epoch)
    whole_round = steps_per_round(settings.train) or len(batches)
    for batch in batches[position.step :]:
        set_learning_rates(state.optimizer, learning_rates(settings, epoch, position.step, whole_round))
        position.sums += train_step(state, rows, batch, settings)
        position.step, position.seconds = position.step + 1, time.perf_counter() - started
        after_step(position, batch, len(batches))
    loss, right, num_rows = np.sum(state.group.gather(position.sums), axis=0)
    train = {"train_loss": loss / num_rows, "train_accuracy": right / num_rows}
    with state.averaged():
        state.objective.end_epoch()
        dev = evaluate(state.model, dev_rows, settings, state.group)
    last_rate = learning_rates(settings, epoch, len(batches) - 1, whole_round)["backend"]
    return {"epoch": epoch + 1, "lr": last_rate, **train, **dev, "seconds": time.perf_counter() - started}


def fit_once(state: TrainingState, dev_rows: FeatureRows, settings: Settings) -> dict[str, float]:
    """What `train_epoch` is to a network, for a back-end that is fitted; returns the only row of history.csv, without a learning rate."""
    started = time.perf_counter()
    train = state.objective.fit(state.group)
    dev = evaluate(state.model, dev_rows, settings, state.group)
    return {"epoch": 1, "lr": math.nan, **train, **dev, "seconds": time.perf_counter() - started}


def train_step(state: TrainingState, rows: FeatureRows | PerturbedRows, batch: Batch, settings: Settings) -> np.ndarray:
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
    if state.average:
        state.average.update()
    return sums


def seed_dropout(settings: Settings, epoch: int, group: ProcessGroup) -> None:
    """Seeds the global generators that dropout, LayerDrop and SpecAugment of a round draw from."""
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
        outputs.append((logits[:, : len(settings.corpus.sources)].float().cpu(), labels.cpu()))
    outputs = [output for outputs_of_one in group.gather(outputs) for output in outputs_of_one]
    logits, labels = (torch.cat(parts) for parts in zip(*outputs, strict=True))
    predictions = logits.argmax(dim=1)
    confusion = confusion_matrix(labels.numpy(), predictions.numpy(), range(len(settings.corpus.sources)))
    return {
        "dev_loss": functional.cross_entropy(logits, labels).item(),
        "dev_accuracy": (predictions == labels).float().mean().item(),
        "dev_macro_f1": float(macro_f1(confusion)),
    }
