"""Reading features for training: shuffled float32 batches of 16. Ours against a DataLoader over .pt files, alternating; medians.

The DataLoader is given its better number of worker processes (0 or one per core). Ours is what the trainer uses (`FeatureRows`): the rows
of a split are read into memory once, which is counted in the first figure and not in the second, and batches are gathered from there.
Both have everything in the page cache.
Run     python benchmarks/feature_reading.py [rounds=5] [rows=2000]      (about a minute, 400 MB of temporary files)
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch
from _rounds import Bench
from torch.utils.data import DataLoader, Dataset

from sourcetracing.features.rows import FeatureRows
from sourcetracing.features.store import FeatureStore, StoreWriter, write_block
from sourcetracing.runtime.parallel import available_cores

BATCH_SIZE, EPOCHS = 16, 5


class PtFiles(Dataset):
    """One .pt file per variant, the label in its name."""

    def __init__(self, folder: Path):
        self.files = sorted(folder.glob("*.pt"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        path = self.files[number]
        return torch.load(path), int(path.stem.split("_")[1])


def write_both(root: Path, num_rows: int) -> FeatureStore:
    """The same rows as .pt files and as a store."""
    rows = np.random.default_rng(0).standard_normal((num_rows, 80, 399), np.float32)
    (root / "pt").mkdir()
    for number, row in enumerate(rows):
        torch.save(torch.from_numpy(row.copy()), root / "pt" / f"{number:06d}_{number % 4}_original_x.pt")
    index = pd.DataFrame({"row": range(num_rows), "utt_id": "u", "variant": "original", "split": "train", "language": "en", "source": "a"})
    (root / "store").mkdir()
    writer = StoreWriter(root / "store", rows.shape, np.dtype("float16"), num_rows)
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
    rows = np.arange(store.shape[0])
    return FeatureRows(store, rows, rows % 4, torch.device("cpu"))


def same_rows(root: Path, rows: FeatureRows) -> None:
    """Both hold the same numbers, ours in half precision."""
    for number in range(0, len(rows), max(1, len(rows) // 10)):
        row, label = PtFiles(root / "pt")[number]
        ours, labels = rows.batch(np.array([number]))
        torch.testing.assert_close(ours[0], row, rtol=1e-3, atol=1e-3)
        assert labels.tolist() == [label]


def seconds_per_epoch(run: Callable[[], None], epochs: int = 1) -> float:
    """Of some epochs."""
    started = time.perf_counter()
    run()
    return (time.perf_counter() - started) / epochs


def main(words: list[str]) -> None:
    """Microseconds per row of each way, and ratios to the better DataLoader."""
    torch.set_num_threads(1)  # copying 1 MB gains nothing from more, and on a busy machine they would wait for each other
    with Bench(__file__, words, {"rounds": 5, "rows": 2000}, {"rows": 40}) as bench, tempfile.TemporaryDirectory() as folder:
        root, cores = Path(folder), available_cores()
        store = write_both(root, bench["rows"])
        resident = load(store)
        same_rows(root, resident)
        loader = f"DataLoader over .pt files, {cores} workers"
        ways = {
            "DataLoader over .pt files": partial(published_epoch, root, 0),
            loader: partial(published_epoch, root, cores),
            "ours": lambda: seconds_per_epoch(lambda: our_epochs(resident, 20), 20),
            "ours with loading": lambda: seconds_per_epoch(lambda: our_epochs(load(store), EPOCHS), EPOCHS),
        }
        bench.say(f"  ours with loading: loading the array and {EPOCHS} epochs; ratios are to the first DataLoader")
        what, per = f"reading rows of (80, 399) in batches of {BATCH_SIZE}", bench["rows"]
        times = bench.compare(what, ways, unit="µs", per=per, each="a row", baseline="DataLoader over .pt files", rows={})
        best = min(("DataLoader over .pt files", loader), key=lambda name: median(times[name]))
        bench.row(f"{what}, against the better DataLoader", times["ours"], times[best], unit="µs", each="a row")
        bench.row(f"the same with loading the array, {EPOCHS} epochs", times["ours with loading"], times[best], unit="µs", each="a row")


if __name__ == "__main__":
    main(sys.argv[1:])
