"""Peak memory of preprocessing for 1, 4 and 16 times as many utterances, each in a process of its own.

Two figures, sampled every 10 ms: all resident memory (RSS, children included), and the part that is the process's own (RSS less file
pages). The noise bank is memory-mapped: its pages belong to the page cache, count in RSS as far as they were touched, are given back
whenever memory is short, and never exceed the bank. Features are written by plain writes, so they are in neither figure.
The libraries alone take about 410 MB; over the first thousand utterances the allocator's pools fill up, after that nothing grows.
Run     python benchmarks/preprocessing_memory.py [files=256]      (a minute and a half)
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pandas as pd
import psutil
from _bench_audio import SHORT_SECONDS, TINY_SECONDS, as_protocol, settings_below, write_corpus, write_noises
from _rounds import Bench

FACTOR = 4
FACTORS = (1, FACTOR, FACTOR**2)
MOST_MB = 1500  # the libraries take 410


def watch(peaks: dict[str, float], stop: threading.Event) -> None:
    """Keeps the largest RSS and own memory of this process and its children, in MB."""
    process = psutil.Process()
    while not stop.wait(0.01):
        infos = [one.memory_info() for one in (process, *process.children(recursive=True))]
        peaks["rss"] = max(peaks["rss"], sum(info.rss for info in infos) / 1e6)
        peaks["own"] = max(peaks["own"], sum(info.rss - getattr(info, "shared", 0) for info in infos) / 1e6)


def measure(root: Path, num_files: int, factor: int) -> None:
    """Runs in a fresh process: one preprocessing of num_files * factor utterances (the files come round again under other ids)."""
    from sourcetracing.features.extracting import extract_features
    from sourcetracing.runtime.files import read_csv

    once = read_csv(root / "utterances.csv", numbers=["duration_s"])
    parts = [once.assign(utt_id=[f"{utt_id}-{number}" for utt_id in once["utt_id"]]) for number in range(factor)]
    utterances = pd.concat(parts, ignore_index=True)
    peaks, stop = {"rss": 0.0, "own": 0.0}, threading.Event()
    watcher = threading.Thread(target=watch, args=(peaks, stop))
    watcher.start()
    try:
        extract_features(settings_below(root, f"x{factor}", 2), utterances, as_protocol(utterances))
    finally:
        stop.set()
        watcher.join()
    assert len(utterances) == num_files * factor
    print(peaks["own"], peaks["rss"])


def peak_of(folder: str, num_files: int, factor: int) -> tuple[float, float]:
    """(own, resident) MB of a fresh process."""
    command = [sys.executable, __file__, "--measure", folder, str(num_files), str(factor)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    own, resident = map(float, done.stdout.split())
    return own, resident


def main(words: list[str]) -> None:
    """Makes the audio and starts one process per size; ends early where the next would not end in time."""
    with Bench(__file__, words, {"files": 256}, {"files": 4}) as bench, tempfile.TemporaryDirectory() as folder:
        num_files, seconds = bench["files"], 0.0
        write_corpus(Path(folder), num_files).to_csv(Path(folder) / "utterances.csv", index=False)
        write_noises(Path(folder), TINY_SECONDS if bench.is_miniature else SHORT_SECONDS)
        bench.say("  peak memory of preprocessing, 2 workers (the first size also builds the noise bank)")
        for factor in FACTORS[:2] if bench.is_miniature else FACTORS:
            if factor > 1 and bench.seconds_left() < seconds * FACTOR:
                bench.say(f"  {num_files * factor} utterances left out: the time is up")
                break
            started = time.perf_counter()
            own, resident = peak_of(folder, num_files, factor)
            seconds = time.perf_counter() - started
            bench.say(f"  {num_files * factor:5} utterances ({factor:2}x): own {own:6.0f} MB, resident {resident:6.0f} MB")
            bench.row(f"memory of preprocessing {num_files * factor:,} utterances", [own], unit="MB")
            assert own < MOST_MB, "memory grows with the corpus"


if __name__ == "__main__":
    measure(Path(sys.argv[2]), *map(int, sys.argv[3:])) if sys.argv[1:2] == ["--measure"] else main(sys.argv[1:])
