"""How a training is divided: rounds, each of which ends with a look at dev and with its state on disk.

A round is an epoch (one pass over the training rows), or where `train.steps` decides `train.steps_per_dev` steps, wherever in a pass these
begin and end. Passes follow each other either way and depend on (seed, number of the pass) alone: a training in steps sees the batches that
one in epochs sees. What counts rounds is called `epoch` in history.csv and model.json, which are older than rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.backends import BACKENDS
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import Train
from sourcetracing.training.batches import Batch

DEFAULT_ROUNDS = 10  # of a training in steps


def steps_per_round(rules: Train) -> int:
    """Steps of each round but the last, which may be shorter; 0 where a round is an epoch."""
    return min(rules.steps, rules.steps_per_dev or -(-rules.steps // DEFAULT_ROUNDS))


def num_rounds(settings: Settings) -> int:
    """Rounds of a whole training: rows of its history. One for a back-end that is fitted; 0 for a network that is only evaluated."""
    if BACKENDS[settings.backend].fitted:
        return 1
    rules = settings.train
    return -(-rules.steps // steps_per_round(rules)) if rules.steps else rules.epochs


def rows_per_round(settings: Settings, num_rows: int) -> int:
    """Rows that the steps of a round, or a fit, take where there are `num_rows` training rows."""
    if BACKENDS[settings.backend].fitted:
        return num_rows
    rules, metric = settings.train, settings.metric_learning
    is_metric = BACKENDS[settings.backend].metric_loss
    per_step = metric.classes_per_batch * metric.rows_per_class if is_metric else min(rules.batch_size, num_rows)
    if num_steps := steps_per_round(rules) or (metric.batches_per_epoch if is_metric else 0):
        return num_steps * per_step
    return min(num_rows, rules.rows_per_epoch or num_rows)


def word_for_rounds(runs: Sequence[Settings]) -> str:
    """What bars and plans count: "epoch" where each round is one, else "round"."""
    return "round" if any(one.train.steps and not BACKENDS[one.backend].fitted for one in runs) else "epoch"


def batches_of_round(draw: Callable[[np.random.Generator], Sequence[Batch]], rules: Train, number: int) -> Sequence[Batch]:
    """The batches of round `number` (from 0). draw: those of one pass, always as many."""

    def of_pass(which: int) -> Sequence[Batch]:
        return draw(rng(rules.seed, "epoch", which))

    if not rules.steps:
        return of_pass(number)
    first = number * steps_per_round(rules)
    wanted, per_pass = min(steps_per_round(rules), rules.steps - first), len(of_pass(0))
    found: list[Batch] = []
    while len(found) < wanted:
        which, inside = divmod(first + len(found), per_pass)
        found += of_pass(which)[inside : inside + wanted - len(found)]
    return found
