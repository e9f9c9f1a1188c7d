"""Preprocessing: decode, five variants, LFCC, write. Ours against the straightforward (published) way, alternating; medians.

The straightforward way is a loop over utterances: decode, and for each variant decode a whole noise file, LFCC of one signal, torch.save
of one .pt file. As published it takes all three noises from speech (D5), whose files are MUSAN's longest; it is also timed with each from
its own category. It gets the same decoder, resampler and FFT convolution as ours and, like each of our workers, one thread (more do not
help at this size). Ours starts a new store each round. The noises are decoded once beforehand, which is timed apart.
Run: python benchmarks/preprocessing.py        (about 2 minutes, 300 MB of temporary files)
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.signal
import soundfile
import soxr
import torch
import torchaudio
from _bench_audio import MUSAN_SECONDS, SHORT_SECONDS, UTTERANCE_RATE, as_protocol, settings_below, write_corpus, write_noises

from sourcetracing.features.extracting import extract_features
from sourcetracing.features.noise_bank import prepare_banks
from sourcetracing.features.store import FeatureStore
from sourcetracing.runtime.parallel import available_cores

NUM_UTTERANCES, ROUNDS, CROP = 96, 3, 64000
SNR_DB = {"speech": (13, 20), "music": (5, 15), "noise": (0, 15)}
LFCC = torchaudio.transforms.LFCC(n_lfcc=80, speckwargs={"n_fft": 320, "win_length": 320, "hop_length": 160, "center": False})


def load_as_published(path: Path) -> np.ndarray:
    """What librosa.load does with a mono file at the wanted rate: decode all of it, and check all of it for NaN."""
    waveform, _ = soundfile.read(path, dtype="float32")
    assert np.isfinite(waveform).all()
    return waveform


def published_variant(clean: np.ndarray, variant: str, files: dict[str, list[Path]], draw: np.random.Generator) -> np.ndarray:
    """One variant, decoding the noise or response that it needs."""
    if variant == "original":
        return clean
    clip = load_as_published(files[variant][draw.integers(len(files[variant]))])
    if variant == "reverb":
        return scipy.signal.fftconvolve(clean, clip / np.sqrt((clip**2).sum()))[: len(clean)]
    clip = clip[:CROP] if len(clip) >= CROP else np.pad(clip, (0, CROP - len(clip)), mode="wrap")
    levels = [10 * np.log10(np.mean(signal**2) + 1e-4) for signal in (clean, clip)]
    return clean + np.sqrt(10 ** ((levels[0] - levels[1] - draw.uniform(*SNR_DB[variant])) / 10)).astype(np.float32) * clip


def published(root: Path, utterances: pd.DataFrame, categories: tuple[str, str, str]) -> None:
    """The whole straightforward way, for all utterances. categories: what the speech, music and noise variants draw from."""
    folder = root / "pt"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    draw = np.random.default_rng(0)
    variants = ("speech", "music", "noise")
    files = {variant: sorted((root / "musan" / kind).rglob("*.wav")) for variant, kind in zip(variants, categories, strict=True)}
    files["reverb"] = sorted((root / "RIRS_NOISES").rglob("*.wav"))
    for number, path in enumerate(utterances["path"]):
        clean = soxr.resample(load_as_published(root / "corpus" / path), UTTERANCE_RATE, 16000)[:CROP]
        for variant in ("original", "reverb", "speech", "music", "noise"):
            with torch.inference_mode():
                features = LFCC(torch.from_numpy(published_variant(clean, variant, files, draw)))
            torch.save(features.clone(), folder / f"{number:06d}_0_{variant}_{Path(path).stem}.pt")


def ours(root: Path, utterances: pd.DataFrame, workers: int) -> FeatureStore:
    """The whole of script 04 with the noise bank in place."""
    settings = settings_below(root, "bench", workers)
    shutil.rmtree(Path(settings.paths.exp) / "bench", ignore_errors=True)
    return FeatureStore.open(extract_features(settings, utterances, as_protocol(utterances)))


def compare(name: str, noise_seconds: dict[str, float]) -> None:
    """Prints the medians of alternating rounds for one set of noise files."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root, cores = Path(folder), available_cores()
        utterances = write_corpus(root, NUM_UTTERANCES)
        write_noises(root, noise_seconds)
        started = time.perf_counter()
        prepare_banks(settings_below(root, "bench", cores))
        bank_seconds = time.perf_counter() - started
        ways = {
            "published": lambda: published(root, utterances, ("speech", "speech", "speech")),
            "own categories": lambda: published(root, utterances, ("speech", "music", "noise")),
            f"ours, {cores} workers": lambda: ours(root, utterances, cores),
            "ours, 1 worker": lambda: ours(root, utterances, 1),
        }
        times = alternate(ways, root)
        print(f"{name} noise files, {NUM_UTTERANCES} utterances, median (least, most) of {ROUNDS} rounds")
        report(times)
        print(f"  once beforehand: {bank_seconds:.2f} s to decode the noises ({8 * sum(noise_seconds.values()) / 60:.0f} minutes of them)")
        store, pt_bytes = ours(root, utterances, cores), statistics.mean(path.stat().st_size for path in (root / "pt").glob("*.pt"))
        row_bytes = store.facts["bytes"] / store.shape[0]
        print(f"  bytes per variant: published {pt_bytes:,.0f}, ours {row_bytes:,.0f}   {row_bytes / pt_bytes:.3f}x", flush=True)


def alternate(ways: dict[str, Callable], root: Path) -> dict[str, list[float]]:
    """Milliseconds per utterance of each way in each round."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, run in ways.items():
            started = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - started) / NUM_UTTERANCES * 1000)
    return times


def report(times: dict[str, list[float]]) -> None:
    """One line per way."""
    baseline = statistics.median(times["published"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"  {name:16} {median:7.2f} ms per utterance ({min(values):.2f}, {max(values):.2f})   {baseline / median:5.1f}x")


if __name__ == "__main__":
    compare("MUSAN-like", MUSAN_SECONDS)
    compare("short (10 s)", SHORT_SECONDS)
