"""Nothing of what is fitted hangs on the training seed: its runs of several seeds are one result, and tables say so."""

from __future__ import annotations

import pytest
import torch

from sourcetracing.training.loop import train_run
from sourcetracing.training.runs import run_of
from tests.support.interrupted_training import CPU, weights_of
from tests.support.small_store import small_settings


@pytest.mark.parametrize("backend", ["statistics", "neighbours", "plain_neighbours"])
def test_two_seeds_fit_the_same_weights(store, tmp_path, backend):
    runs = [run_of(small_settings(tmp_path, "train.languages=[en]", f"backend={backend}", f"train.seed={n}"), "some-store") for n in (1, 2)]
    for run in runs:
        train_run(run, store, CPU)
    first, second = map(weights_of, runs)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
