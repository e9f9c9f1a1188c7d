"""Peak memory of preprocessing for 1, 4 and 16 times as many utterances, each in a process of its own.

Two figures, sampled every 10 ms: all resident memory (RSS, children included), and the part that is the process's own (RSS less file
pages). The noise bank is memory-mapped: its pages belong to the page cache, count in RSS as far as they were touched, are given back
whenever memory is short, and never exceed the bank. Features are written by plain writes, so they are in neither figure.
The libraries alone take about 410 MB; over the first thousand utterances the allocator's pools fill up, after that nothing grows.
Run: python benchmarks/preprocessing_memory.py     (about a minute)
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pandas as pd
import psutil
from _bench_audio import SHORT_SECONDS, as_protocol, settings_below, write_corpus, write_noises

NUM_FILES, FACTORS = 256, (1, 4, 16)


def watch(peaks: dict[str, float], stop: threading.Event) -> None:
    """Keeps the largest RSS and own memory of this process and its children, in MB."""
    process = psutil.Process()
    while not stop.wait(0.01):
        infos = [one.memory_info() for one in (process, *process.children(recursive=True))]
        peaks["rss"] = max(peaks["rss"], sum(info.rss for info in infos) / 1e6)
        peaks["own"] = max(peaks["own"], sum(info.rss - getattr(info, "shared", 0) for info in infos) / 1e6)


def measure(root: Path, factor: int) -> None:
    """Runs in a fresh process: one preprocessing of NUM_FILES * factor utterances (the files come round again under other ids)."""
    from sourcetracing.features.extracting import extract_features
    from sourcetracing.runtime.files import read_csv

    once = read_csv(root / "utterances.csv", numbers=["duration_s"])
    parts = [once.assign(utt_id=[f"{utt_id}-{number}" for utt_id in once["utt_id"]]) for number in range(factor)]
    utterances = pd.concat(parts, ignore_index=True)
    peaks, stop = {"rss": 0.0, "own": 0.0}, threading.Event()
    watcher = threading.Thread(target=watch, args=(peaks, stop))
    watcher.start()
    extract_features(settings_below(root, f"x{factor}", 2), utterances, as_protocol(utterances))
    stop.set()
    watcher.join()
    print(f"  {len(utterances):5} utterances ({factor:2}x): own {peaks['own']:6.0f} MB, resident {peaks['rss']:6.0f} MB")


def main() -> None:
    """Makes the audio and starts one process per size."""
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder), NUM_FILES).to_csv(Path(folder) / "utterances.csv", index=False)
        write_noises(Path(folder), SHORT_SECONDS)
        print("peak memory of preprocessing, 2 workers (the first size also builds the noise bank)", flush=True)
        for factor in FACTORS:
            subprocess.run([sys.executable, __file__, folder, str(factor)], check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    measure(Path(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) > 1 else main()
