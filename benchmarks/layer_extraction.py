"""Layer features of whole files: ours against the published way, alternating; medians.

The published way takes one file at a time through all blocks with every hidden state kept, and averages them over time. Ours is script
detection/01: means taken as each block ends; with layers=[n] the encoder is cut there. Once with batches of one file, as the default is
on a CPU, and once with files of like length together, padding masked, as it is on a GPU (on a CPU 10 s of sound in a batch). Random
weights; XLS-R's layout (LayerNorm in the convolutions), which batches with padding need. On a CPU the published way has torch's own
threads, ours one thread per worker; workers=1 gives both one core, which is the fair thing where the cores are shared with others
(threads that wait for each other lose far more to them than threads that do not).

Run     python benchmarks/layer_extraction.py [model=small|xls-r-300m|xls-r-2b] [layer=9] [files=48] [device=auto|cpu|cuda] [rounds=3]
                                              [workers=0 (all cores)]
        (about 3 minutes on 2 cores; on a GPU model=xls-r-2b files=1000)
Prints  seconds of each way and their ratio; and how much of the batches is padding
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
from transformers import Wav2Vec2Config, Wav2Vec2Model

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sourcetracing.detection.data.layout import DetectionLayout
from sourcetracing.detection.data.manifest import COLUMNS, audio_path
from sourcetracing.detection.features.layer_features import GPU_BATCH_SECONDS, extract_layers, plan_batches
from sourcetracing.detection.features.layer_store import find_layers
from sourcetracing.models.frontends.ssl import normalized
from sourcetracing.runtime.compute import pick_device
from sourcetracing.runtime.parallel import available_cores
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings

RATE = 16000
BATCH_SECONDS = {"cpu": 10.0}
LAYOUT = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
MODELS = {  # width, blocks, heads, width between
    "small": (192, 12, 4, 768),
    "xls-r-300m": (1024, 24, 16, 4096),
    "xls-r-2b": (1920, 48, 16, 7680),
}


def write_files(root: Path, num_files: int) -> pd.DataFrame:
    """Noise of 1 to 15 s, most of it 2 to 5 s as in ASVspoof, and its manifest."""
    draw, rows = np.random.default_rng(0), []
    for number in range(num_files):
        seconds = float(np.clip(draw.lognormal(1.2, 0.5), 1, 15))
        path = root / "for" / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, draw.normal(0, 0.1, round(seconds * RATE)), RATE)
        rows.append((f"for/{number}", "for", path.name, "spoof", "", "", "", seconds, ""))
    return pd.DataFrame(rows, columns=COLUMNS)


def write_encoder(folder: Path, name: str, device: torch.device) -> Wav2Vec2Model:
    """An encoder with random weights, also saved as a checkpoint."""
    width, blocks, heads, between = MODELS[name]
    torch.manual_seed(0)
    sizes = {"hidden_size": width, "num_hidden_layers": blocks, "num_attention_heads": heads, "intermediate_size": between}
    narrow = {"conv_dim": (128,) * 7} if name == "small" else {}
    encoder = Wav2Vec2Model(Wav2Vec2Config(**sizes, **narrow, **LAYOUT)).eval()
    encoder.save_pretrained(folder)
    return encoder.to(device)


def settings_below(root: Path, device: torch.device, *words: str) -> Settings:
    """What script detection/01 gets."""
    sets = ["detection.sets={FoR: [for]}", "detection.train=[FoR]", "detection.test=[FoR]"]
    sets += ["detection.baseline_train=[FoR]", "detection.baseline_test=[FoR]", f"detection.roots={{for: {root / 'for'}}}"]
    return load_settings([f"paths.exp={root / 'exp'}", f"ssl.model={root / 'encoder'}", f"compute.device={device.type}", *sets, *words])


@torch.inference_mode()
def published(settings: Settings, rows: pd.DataFrame, encoder: Wav2Vec2Model) -> np.ndarray:
    """(files, layers, width): one file at a time, full depth, float32."""
    made = []
    for row in rows.itertuples():
        waveform, _ = soundfile.read(audio_path(settings, row), dtype="float32")
        hidden = encoder(normalized(torch.from_numpy(waveform)[None].to(encoder.device)), output_hidden_states=True).hidden_states
        made.append(torch.stack([layer[0].mean(dim=0) for layer in hidden]).cpu().numpy())
    return np.stack(made)


def ours(settings: Settings, rows: pd.DataFrame) -> np.ndarray:
    """(files, layers, width) by script detection/01, from loading the checkpoint to the finished store."""
    shutil.rmtree(DetectionLayout(settings).root, ignore_errors=True)
    DetectionLayout(settings).manifest.parent.mkdir(parents=True)
    rows.to_csv(DetectionLayout(settings).manifest, index=False)
    extract_layers(settings)
    return np.load(find_layers(settings, "for").folder / "features.npy")


def main() -> None:
    """Prints the medians of alternating rounds."""
    options = dict(word.split("=", 1) for word in sys.argv[1:])
    device, name, layer = pick_device(options.get("device", "auto")), options.get("model", "small"), int(options.get("layer", 9))
    with tempfile.TemporaryDirectory() as folder:
        root, workers = Path(folder), int(options.get("workers", 0)) or available_cores()
        torch.set_num_threads(workers)
        rows, encoder = write_files(root, int(options.get("files", 48))), write_encoder(root / "encoder", name, device)
        sizes = {"one by one": 0.001, "batches": BATCH_SECONDS.get(device.type, GPU_BATCH_SECONDS)}
        depths = {"all layers": [], f"layer {layer}": [f"layer_features.layers=[{layer}]"]}
        variants = {
            f"ours, {depth}, {size}": [*words, f"layer_features.batch_seconds={seconds}"]
            for depth, words in depths.items()
            for size, seconds in sizes.items()
        }
        plain = settings_below(root, device, f"compute.workers={workers}")
        ways: dict[str, Callable] = {"published, all layers": partial(published, plain, rows, encoder)}
        for told, words in variants.items():
            ways[told] = partial(ours, settings_below(root, device, f"compute.workers={workers}", *words), rows)
        report(name, device, rows, time_all(ways, int(options.get("rounds", 3))))


def time_all(ways: dict[str, Callable], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    return times


def report(name: str, device: torch.device, rows: pd.DataFrame, times: dict[str, list[float]]) -> None:
    """One line per way."""
    durations = rows["duration_s"].to_numpy()
    planned = plan_batches(durations, BATCH_SECONDS.get(device.type, GPU_BATCH_SECONDS))
    padded = sum(len(batch) * durations[batch].max() for batch in planned)
    padding = 1 - durations.sum() / padded
    print(f"{name} on {device.type}: {len(rows)} files, {durations.sum():.0f} s of sound; batches are {padding:.1%} padding")
    baseline = statistics.median(times["published, all layers"])
    for told, seconds in times.items():
        median = statistics.median(seconds)
        speed = durations.sum() / median
        print(f"  {told:30} {median:6.2f} s ({min(seconds):.2f}, {max(seconds):.2f}), {speed:5.1f} x real time  {baseline / median:5.2f}x")


if __name__ == "__main__":
    main()
