"""Preprocessing: decode, five variants, LFCC, write. Ours against the straightforward (published) way, alternating; medians.

The straightforward way is a loop over utterances: decode, and for each variant decode a whole noise file, LFCC of one signal, torch.save
of one .pt file. As published it takes all three noises from speech (D5), whose files are MUSAN's longest; it is also timed with each from
its own category. It gets the same decoder, resampler and FFT convolution as ours and, like each of our workers, one thread (more do not
help at this size). Ours starts a new store each round. The noises are decoded once beforehand, which is timed apart.

Do two threads wait for each other? Hardly (2026-11-27, a Xeon of family 6 model 207, two cores, 96 utterances, noises of 10 s, medians of
4). Alone, one worker took 15.0 ms, two took 10.1 ms; of the two threads' time 85 % was on a core, 3 % was waiting for a core and 11 % for
something else, the interpreter's lock and the disk (one thread: 2 %). Handing the lock over every 0.5 ms instead of 5 made it 9 %. With one
other busy program beside, one worker took 14.0 ms and two 12.4 ms: 35 % of their time they waited for a core, 3 % for anything else. So
two workers that are no faster than one have no second core to themselves. 0.15 s of each round are spent outside of the threads.

Run     python benchmarks/preprocessing.py [rounds=3] [utterances=96]      (2 minutes, 300 MB of temporary files)
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np
import pandas as pd
import scipy.signal
import soundfile
import soxr
import torch
import torchaudio
from _bench_audio import MUSAN_SECONDS, SHORT_SECONDS, TINY_SECONDS, UTTERANCE_RATE, as_protocol, settings_below, write_corpus, write_noises
from _rounds import Bench

from sourcetracing.features.extracting import extract_features
from sourcetracing.features.noise_bank import prepare_banks
from sourcetracing.features.store import FeatureStore
from sourcetracing.runtime.parallel import available_cores

CROP = 64000
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


def check(root: Path, utterances: pd.DataFrame) -> None:
    """Both made the same of the variant that draws nothing."""
    store = ours(root, utterances, 1)
    originals = store.index[store.index["variant"] == "original"].set_index("utt_id")["row"]
    for number, (utt_id, path) in enumerate(zip(utterances["utt_id"], utterances["path"], strict=True)):
        theirs = torch.load(root / "pt" / f"{number:06d}_0_original_{Path(path).stem}.pt").numpy()
        np.testing.assert_allclose(store.load([originals[utt_id]])[0], theirs, rtol=2e-3, atol=2e-2)


def part(bench: Bench, name: str, noise_seconds: dict[str, float], parts: int) -> None:
    """One set of noise files."""
    with tempfile.TemporaryDirectory() as folder:
        root, cores, few = Path(folder), available_cores(), min(8, bench["utterances"])
        utterances = write_corpus(root, bench["utterances"])
        write_noises(root, noise_seconds)
        started = time.perf_counter()
        prepare_banks(settings_below(root, "bench", cores))
        minutes = 8 * sum(noise_seconds.values()) / 60
        bench.say(f"  {name}: {time.perf_counter() - started:.2f} s to decode {minutes:.0f} minutes of noise once")
        probe = partial(all_ways, root, utterances[:few], cores)
        probe()
        check(root, utterances[:few])
        num = bench.fitted("utterances", len(utterances), few, probe, least=few, parts=parts)
        ways = ways_of(root, utterances[:num], cores)
        titles = {way: way.removeprefix("ours, ") for way in ways if way.startswith("ours")}
        rows = {way: f"decode, five variants, LFCC, write; {name}; {workers}" for way, workers in titles.items()}
        what = f"{name}, {num} utterances"
        bench.compare(what, ways, unit="ms", per=num, each="an utterance", baseline="published", rows=rows, parts=parts)
        store, pt_bytes = ours(root, utterances[:few], cores), mean(path.stat().st_size for path in (root / "pt").glob("*.pt"))
        row_bytes = store.facts["bytes"] / store.shape[0]
        bench.say(f"    bytes for a variant: published {pt_bytes:,.0f}, ours {row_bytes:,.0f}")
        if parts == 1:
            bench.row("a feature row on disk", [row_bytes], [pt_bytes], unit="bytes")


def ways_of(root: Path, utterances: pd.DataFrame, cores: int) -> dict[str, Callable]:
    """What takes turns. With one core there is but one of ours."""
    ways = {
        "published": partial(published, root, utterances, ("speech", "speech", "speech")),
        "published, each noise of its own kind": partial(published, root, utterances, ("speech", "music", "noise")),
    }
    counts = dict.fromkeys((cores, 1))
    return ways | {f"ours, {workers} worker{'s' * (workers > 1)}": partial(ours, root, utterances, workers) for workers in counts}


def all_ways(root: Path, utterances: pd.DataFrame, cores: int) -> None:
    """Once."""
    for run in ways_of(root, utterances, cores).values():
        run()


def main(words: list[str]) -> None:
    """Noise files as long as MUSAN's, then short ones."""
    torch.set_num_threads(1)
    with Bench(__file__, words, {"utterances": 96}, {"utterances": 2}) as bench:
        sets = [("noises as long as MUSAN's", MUSAN_SECONDS), ("noises of 10 s", SHORT_SECONDS)]
        sets = [("noises of 1 s", TINY_SECONDS)] if bench.is_miniature else sets
        for number, (name, seconds) in enumerate(sets):
            part(bench, name, seconds, parts=len(sets) - number)


if __name__ == "__main__":
    main(sys.argv[1:])
