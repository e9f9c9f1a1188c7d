"""What several tests share: one thread, a small feature store, settings of a small experiment."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from sourcetracing.features.store import FeatureStore
from sourcetracing.training.runs import TrainingRun, run_of
from tests.support.small_store import small_settings, write_store

torch.set_num_threads(1)
# A shell that starts the tests in the background tells them to ignore Ctrl-C, and their child processes would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    """Again for each file: what prepares a device in this process leaves more threads, and sums over them may differ in the last digit."""
    torch.set_num_threads(1)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """A small feature store."""
    return write_store(tmp_path / "features")


@pytest.fixture
def run(tmp_path: Path) -> TrainingRun:
    """A small run: a narrow ECAPA-TDNN on English, four epochs."""
    return run_of(small_settings(tmp_path, "train.languages=[en]"), "some-store")
