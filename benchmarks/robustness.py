"""Post-processing (script 12): ours, pipes and threads, against the straightforward way, temporary files one after the other; medians.

The straightforward way writes a WAV file, has ffmpeg encode it to a file and decode that to a third one, and reads it. Delays stay in.
Run     python benchmarks/robustness.py [rounds=3] [files=8] [workers=2]      (about a minute)
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from _rounds import Bench

from sourcetracing.audio.ffmpeg import ffmpeg_program
from sourcetracing.postprocessing.operations import apply
from sourcetracing.runtime.parallel import in_threads
from sourcetracing.runtime.seeding import rng

RATE, SECONDS = 16000, 4
CODECS = {  # the operation -> what the straightforward way asks ffmpeg for
    "mp3_32k": ("mp3", ["-c:a", "libmp3lame", "-b:a", "32k"]),
    "aac_32k": ("m4a", ["-c:a", "aac", "-b:a", "32k"]),
    "opus_16k": ("ogg", ["-c:a", "libopus", "-b:a", "16k", "-application", "voip"]),
    "amr_nb_12k2": ("amr", ["-c:a", "libopencore_amrnb", "-b:a", "12.2k", "-ar", "8000"]),
}


def straightforward(waves: list[np.ndarray], name: str) -> list[np.ndarray]:
    """File after file by way of the disk."""
    suffix, coding = CODECS[name]
    quiet, made = [ffmpeg_program(), "-hide_banner", "-nostdin", "-loglevel", "error", "-y"], []
    with tempfile.TemporaryDirectory() as folder:
        before, coded, after = (Path(folder) / file for file in ("before.wav", f"coded.{suffix}", "after.wav"))
        for waveform in waves:
            soundfile.write(before, waveform, RATE, subtype="FLOAT")
            subprocess.run([*quiet, "-i", str(before), *coding, str(coded)], check=True)
            subprocess.run([*quiet, "-i", str(coded), "-ar", str(RATE), "-c:a", "pcm_f32le", str(after)], check=True)
            made.append(soundfile.read(after, dtype="float32")[0])
    return made


def ours(waves: list[np.ndarray], name: str, workers: int) -> list[np.ndarray]:
    """What script 12 does."""
    return [
        made for _, made in in_threads(lambda number: apply(name, waves[number], RATE, 1, number), range(len(waves)), num_workers=workers)
    ]


def main(words: list[str]) -> None:
    """A comparison for each codec."""
    with Bench(__file__, words, {"rounds": 3, "files": 8, "workers": 2}, {"files": 2}) as bench:
        waves = [rng(file).normal(0, 0.1, SECONDS * RATE).astype(np.float32) for file in range(bench["files"])]
        for number, name in enumerate(CODECS):
            ways = {
                "straightforward": partial(straightforward, waves, name),
                "ours": partial(ours, waves, name, bench["workers"]),
            }
            assert all(len(made) == SECONDS * RATE for made in ways["ours"]())  # lags are measured, once
            what = f"{name} of {SECONDS} s of sound, {bench['workers']} workers"
            bench.compare(what, ways, unit="ms", per=len(waves), each="a file", parts=len(CODECS) - number)


if __name__ == "__main__":
    main(sys.argv[1:])
