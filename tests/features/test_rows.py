"""Rows of a store: in memory where they fit the share of this process, else on disk, and the same rows either way."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from sourcetracing.features.ray_cluster import most_tasks_of_a_machine
from sourcetracing.features.rows import FeatureRows
from sourcetracing.features.store import FeatureStore, StoreWriter, write_block
from sourcetracing.runtime import parallel

CONTENT = np.random.default_rng(0).normal(size=(10, 4, 5)).astype(np.float16)
ROWS = np.array([1, 2, 5, 9])
BYTES = len(ROWS) * 4 * 5 * 2


def store_of(folder, content: np.ndarray) -> FeatureStore:
    folder.mkdir(exist_ok=True)
    writer = StoreWriter(folder, content.shape, content.dtype, len(content))
    writer.commit(0, write_block(writer.path, writer.header_bytes, 0, content))
    facts = {"utt_id": "u", "variant": "original", "split": "train", "language": "en", "source": "s"}
    writer.finish(pd.DataFrame({"row": range(len(content)), **facts}), {})
    return FeatureStore.open(folder)


@pytest.fixture
def store(tmp_path):
    return store_of(tmp_path, CONTENT)


@pytest.mark.parametrize("sharing", [1, 8])
def test_they_are_held_where_they_fit_the_share_of_this_process(store, monkeypatch, sharing):
    monkeypatch.setattr(parallel, "_num_sharing", sharing)
    for available, is_held in ((2 * sharing * BYTES, True), (2 * sharing * BYTES - 1, False)):
        monkeypatch.setattr(parallel.psutil, "virtual_memory", lambda available=available: SimpleNamespace(available=available))
        rows = FeatureRows(store, ROWS, np.arange(4), torch.device("cpu"))
        assert (rows.resident is not None) == is_held
        features, labels = rows.batch(np.array([3, 0]))
        np.testing.assert_array_equal(features, CONTENT[[9, 1]].astype(np.float32))
        assert labels.tolist() == [3, 0]


def test_rows_that_do_not_fit_are_read_a_batch_at_a_time(tmp_path, monkeypatch):
    """Peak memory at two sizes, a factor of eight apart: that of a batch."""
    monkeypatch.setattr(parallel.psutil, "virtual_memory", lambda: SimpleNamespace(available=0))
    peaks = []
    for num in (100, 800):
        rows = FeatureRows(
            store_of(tmp_path / str(num), np.ones((num, 80, 50), np.float16)), np.arange(num), np.zeros(num), torch.device("cpu")
        )
        tracemalloc.start()
        for start in range(0, num, 20):
            rows.batch(np.arange(start, start + 20))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert 20 * 80 * 50 * 2 <= peaks[0] <= peaks[1] <= 1.2 * peaks[0]  # what torch makes of them is not traced


def test_a_ray_task_shares_with_those_that_its_machine_may_run_beside_it():
    nodes = [{"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}}, {"Alive": True, "Resources": {"CPU": 16.0}}]
    nodes.append({"Alive": False, "Resources": {"CPU": 64.0}})
    assert most_tasks_of_a_machine(nodes, "CPU", 100) == 16
    assert most_tasks_of_a_machine(nodes, "CPU", 5) == 5
    assert most_tasks_of_a_machine(nodes, "GPU", 100) == 2
