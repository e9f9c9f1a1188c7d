"""SSL features on disk: ours against the published way, alternating; medians.

The published way takes one variant after the other: decode a whole noise file, run all blocks of the encoder in float32 with every hidden
state kept, torch.save of one .pt file. It has torch's own threads on all cores. Ours is script 04: the encoder cut at the layer, one
thread per worker, one array on disk; also with compute.precision=bf16. Both run the same wav2vec2-base with random weights.
Run: python benchmarks/ssl_extraction.py [layer=5] [utterances=16]        (about 3 minutes, 1 GB of temporary files)
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import soxr
import torch
from _bench_audio import SHORT_SECONDS, UTTERANCE_RATE, as_protocol, settings_below, write_corpus, write_noises
from preprocessing import CROP, load_as_published, published_variant
from transformers import Wav2Vec2Config, Wav2Vec2Model

from models.ssl import normalized
from sourcetracing.config import VARIANTS, Ssl
from sourcetracing.features import extract_features
from sourcetracing.noise_bank import prepare_banks
from sourcetracing.parallel import available_cores
from sourcetracing.store import FeatureStore

ROUNDS = 3


def write_encoder(folder: Path) -> Wav2Vec2Model:
    """wav2vec2-base (95 M weights, 12 blocks) with random weights, also saved as a checkpoint."""
    torch.manual_seed(0)
    encoder = Wav2Vec2Model(Wav2Vec2Config()).eval()
    encoder.save_pretrained(folder)
    return encoder


@torch.inference_mode()
def published(root: Path, utterances: pd.DataFrame, encoder: Wav2Vec2Model, layer: int) -> None:
    """One file at a time, full depth, float32, one .pt each."""
    folder = root / "pt"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    draw = np.random.default_rng(0)
    files = {kind: sorted((root / "musan" / kind).rglob("*.wav")) for kind in ("speech", "music", "noise")}
    files["reverb"] = sorted((root / "RIRS_NOISES").rglob("*.wav"))
    for number, path in enumerate(utterances["path"]):
        clean = soxr.resample(load_as_published(root / "corpus" / path), UTTERANCE_RATE, 16000)[:CROP]
        for variant in VARIANTS:
            waveform = torch.from_numpy(published_variant(clean, variant, files, draw).astype(np.float32))[None]
            hidden = encoder(normalized(waveform), output_hidden_states=True).hidden_states[layer]
            torch.save(hidden.clone(), folder / f"{number:06d}_0_{variant}_{Path(path).stem}.pt")


def ours(root: Path, utterances: pd.DataFrame, layer: int, precision: str) -> FeatureStore:
    """Script 04 with the noise bank in place; loading the encoder is part of it."""
    settings = settings_below(root, "bench", available_cores())
    settings.compute.precision = precision
    settings.frontend, settings.ssl = "ssl", Ssl(model=str(root / "encoder"), layer=layer)
    shutil.rmtree(Path(settings.paths.exp) / "bench", ignore_errors=True)
    return FeatureStore.open(extract_features(settings, utterances, as_protocol(utterances)))


def main() -> None:
    """Prints the medians of alternating rounds."""
    options = dict(word.split("=") for word in sys.argv[1:])
    layer, num_utterances = int(options.get("layer", 5)), int(options.get("utterances", 16))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        utterances, encoder = write_corpus(root, num_utterances), write_encoder(root / "encoder")
        write_noises(root, SHORT_SECONDS)
        prepare_banks(settings_below(root, "bench", available_cores()))
        ways = {
            "published": lambda: published(root, utterances, encoder, layer),
            "ours, float32": lambda: ours(root, utterances, layer, "float32"),
            "ours, bf16": lambda: ours(root, utterances, layer, "bf16"),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, run in ways.items():
                started = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - started)
        report(times, num_utterances * len(VARIANTS), layer)


def report(times: dict[str, list[float]], num_rows: int, layer: int) -> None:
    """A line for each way: time for a variant of 4 s, how much faster than real time, ratio to the published way."""
    baseline = statistics.median(times["published"])
    print(f"wav2vec2-base, layer {layer}, {num_rows} variants of 4 s, median (least, most) of {ROUNDS} rounds")
    for name, values in times.items():
        median, least, most = (figure(values) * 1000 / num_rows for figure in (statistics.median, min, max))
        ratio = baseline * 1000 / num_rows / median
        print(f"  {name:14} {median:6.1f} ms per variant ({least:.1f}, {most:.1f}), {4000 / median:4.1f} x real time   {ratio:4.2f}x")


if __name__ == "__main__":
    main()
