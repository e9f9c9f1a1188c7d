"""Which rows an optimizer step takes, which of them are mixed, and which are computed together and where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sourcetracing.features.rows import FeatureRows
from sourcetracing.models.losses.mixup import regmix
from sourcetracing.runtime.process_group import ProcessGroup
from sourcetracing.settings.training import Train
from sourcetracing.training.perturbation import PerturbedRows


@dataclass(frozen=True)
class Batch:
    """The rows of a step: positions (B,) among the training rows. With mixup: whom each is mixed with (B,), and how much of it stays."""

    positions: np.ndarray
    partners: np.ndarray | None = None
    lam: float = 1.0


@dataclass(frozen=True)
class Targets:
    """What a network should say of the loaded rows (B): their labels, those of their partners (None without mixup), and lambda.

    further, partner_further: (B, H), what else they are labelled with (`FurtherLabels.ids`).
    """

    labels: Tensor
    partner_labels: Tensor | None
    lam: float
    further: Tensor | None = None
    partner_further: Tensor | None = None


def shuffled_batches(
    num_rows: int, rules: Train, generator: np.random.Generator, group: ProcessGroup, order: np.ndarray | None = None
) -> list[Batch]:
    """Those of one epoch: every row once, or `rows_per_epoch` of them, or `order`; each batch with its own mixup."""
    if order is None:
        order = generator.permutation(num_rows)[: rules.rows_per_epoch or None]
    return [mixed(positions, rules, generator) for positions in cut(order, rules.batch_size, at_least=2 * group.size)]


def mixed(positions: np.ndarray, rules: Train, generator: np.random.Generator) -> Batch:
    """A batch with partners drawn from itself and lambda ~ Beta(alpha, alpha), where mixup is on."""
    if rules.mixup == "none":
        return Batch(positions)
    lam = generator.beta(rules.mixup_alpha, rules.mixup_alpha)
    return Batch(positions, positions[generator.permutation(len(positions))], lam)


def load(rows: FeatureRows | PerturbedRows, batch: Batch, piece: np.ndarray, mode: str) -> tuple[Tensor, Targets]:
    """Network inputs and targets of a piece of a batch (indices into it). mode: `train.mixup`; regmix doubles the rows."""
    positions = batch.positions[piece]
    if batch.partners is None:
        inputs, labels = rows.batch(positions)
        return inputs, Targets(labels, None, batch.lam, _further(rows, positions))
    wanted, where = np.unique(np.concatenate([positions, batch.partners[piece]]), return_inverse=True)
    features, labels = rows.batch(wanted)
    own, other = torch.from_numpy(where).to(labels.device).chunk(2)
    further = _further(rows, wanted)
    targets = Targets(labels[own], labels[other], batch.lam, further[own], further[other])
    return regmix(features[own], features[other], batch.lam, mode=mode), targets


def _further(rows: FeatureRows | PerturbedRows, positions: np.ndarray) -> Tensor:
    ids = rows.further_ids
    return ids[torch.from_numpy(np.ascontiguousarray(positions, dtype=np.int64)).to(ids.device)]


def cut(order: np.ndarray, batch_size: int, at_least: int = 2) -> Iterator[np.ndarray]:
    """Pieces of `order`; a last piece of fewer than `at_least` rows joins the one before, for BatchNorm needs two and each process one."""
    cuts = list(range(batch_size, len(order), batch_size))
    if cuts and len(order) - cuts[-1] < at_least:
        cuts.pop()
    yield from np.split(order, cuts)


def micro_batches(num_rows: int, micro_batch_size: int, group: ProcessGroup) -> list[np.ndarray]:
    """The rows of a batch (0 ... num_rows - 1) that this process computes, in the pieces in which it computes them.

    All processes get the same number of pieces, and no empty one where every process has two rows: synced BatchNorm waits for all of them.
    """
    most_rows = -(-num_rows // group.size)
    num_pieces = -(-most_rows // micro_batch_size) if micro_batch_size else 1
    return np.array_split(group.share(np.arange(num_rows)), num_pieces)
