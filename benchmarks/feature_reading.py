"""Reading features for training: shuffled float32 batches of 16. Ours against a DataLoader over .pt files, alternating; medians.

The DataLoader is given its better number of worker processes (0 or one per core). Ours is what the trainer uses (`FeatureRows`): the rows
of a split are read into memory once, which is counted in the first figure and not in the second, and batches are gathered from there.
Both have everything in the page cache.
Run: python benchmarks/feature_reading.py      (about a minute, 400 MB of temporary files)
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import _bench_audio  # noqa: F401  (puts the project on the path)
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset

from sourcetracing.features.rows import FeatureRows
from sourcetracing.features.store import FeatureStore, StoreWriter, write_block
from sourcetracing.runtime.parallel import available_cores

NUM_ROWS, BATCH_SIZE, ROUNDS, EPOCHS = 2000, 16, 5, 5


class PtFiles(Dataset):
    """One .pt file per variant, the label in its name."""

    def __init__(self, folder: Path):
        self.files = sorted(folder.glob("*.pt"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        path = self.files[number]
        return torch.load(path), int(path.stem.split("_")[1])


def write_both(root: Path) -> FeatureStore:
    """The same rows as .pt files and as a store."""
    rows = np.random.default_rng(0).standard_normal((NUM_ROWS, 80, 399), np.float32)
    (root / "pt").mkdir()
    for number, row in enumerate(rows):
        torch.save(torch.from_numpy(row.copy()), root / "pt" / f"{number:06d}_{number % 4}_original_x.pt")
    index = pd.DataFrame({"row": range(NUM_ROWS), "utt_id": "u", "variant": "original", "split": "train", "language": "en", "source": "a"})
    (root / "store").mkdir()
    writer = StoreWriter(root / "store", rows.shape, np.dtype("float16"), NUM_ROWS)
    writer.commit(0, write_block(writer.path, writer.header_bytes, 0, rows.astype(np.float16)))
    writer.finish(index, {})
    return FeatureStore.open(root / "store")


def published_epoch(root: Path, workers: int) -> None:
    """All batches of an epoch from .pt files."""
    for features, _ in DataLoader(PtFiles(root / "pt"), BATCH_SIZE, shuffle=True, num_workers=workers):
        assert features.dtype == torch.float32


def our_epochs(rows: FeatureRows, epochs: int) -> None:
    """All batches of some epochs from memory."""
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(len(rows))
        for first in range(0, len(order), BATCH_SIZE):
            features, _ = rows.batch(order[first : first + BATCH_SIZE])
            assert features.dtype == torch.float32


def load(store: FeatureStore) -> FeatureRows:
    """A split in memory."""
    return FeatureRows(store, np.arange(NUM_ROWS), np.arange(NUM_ROWS) % 4, torch.device("cpu"))


def rate(run: Callable[[], None], epochs: int) -> float:
    """Rows per second."""
    started = time.perf_counter()
    run()
    return NUM_ROWS * epochs / (time.perf_counter() - started)


def main() -> None:
    """Prints rows per second of each way and the ratios."""
    torch.set_num_threads(1)  # copying 1 MB gains nothing from more, and on a busy machine they would wait for each other
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store = write_both(root)
        resident = load(store)
        files = f".pt files, {available_cores()} workers"
        ways = {
            ".pt files, 0 workers": lambda: rate(lambda: published_epoch(root, 0), 1),
            files: lambda: rate(lambda: published_epoch(root, available_cores()), 1),
            f"ours, loading and {EPOCHS} epochs": lambda: rate(lambda: our_epochs(load(store), EPOCHS), EPOCHS),
            "ours, each further epoch": lambda: rate(lambda: our_epochs(resident, 1), 1),
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, run in ways.items():
                rates[name].append(run())
    best = max(statistics.median(values) for name, values in rates.items() if name.startswith(".pt"))
    print(f"{NUM_ROWS} rows of (80, 399), batches of {BATCH_SIZE}, median of {ROUNDS} rounds; ratio to the better DataLoader")
    for name, values in rates.items():
        median = statistics.median(values)
        print(f"  {name:30} {median:10,.0f} rows/s   {median / best:6.1f}x")


if __name__ == "__main__":
    main()
