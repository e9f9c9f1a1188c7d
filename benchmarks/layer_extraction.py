"""Layer features of whole files: ours against the published way, alternating; medians.

The published way takes one file at a time through all blocks with every hidden state kept, and averages them over time. Ours is script
detection/01: means taken as each block ends; with layers=[n] the encoder is cut there. Once with batches of one file, as the default is
on a CPU, and once with files of like length together, padding masked, as it is on a GPU (on a CPU 10 s of sound in a batch). Random
weights; XLS-R's layout (LayerNorm in the convolutions), which batches with padding need. On a CPU the published way has torch's own
threads, ours one thread per worker; workers=1 gives both one core, which is the fair thing where the cores are shared with others
(threads that wait for each other lose far more to them than threads that do not).

Run     python benchmarks/layer_extraction.py [model=small|xls-r-300m|xls-r-2b] [layer=9] [files=48] [device=auto|cpu|cuda] [rounds=3]
                                              [workers=0 (all cores)]
        (2 minutes on 2 cores; on a GPU model=xls-r-2b files=1000)
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
from _machine import device_name
from _rounds import Bench
from transformers import Wav2Vec2Config, Wav2Vec2Model

from sourcetracing.detection.data.layout import DetectionLayout
from sourcetracing.detection.data.manifest import COLUMNS, audio_path
from sourcetracing.detection.features.layer_features import GPU_BATCH_SECONDS, extract_layers, plan_batches
from sourcetracing.detection.features.layer_store import find_layers
from sourcetracing.errors import UserError
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
    "tiny": (16, 3, 2, 24),
}
TINY = {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}


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
    narrow = {"small": {"conv_dim": (128,) * 7}, "tiny": TINY}.get(name, {})
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


def ways_of(root: Path, rows: pd.DataFrame, encoder: Wav2Vec2Model, device: torch.device, layer: int, workers: int) -> dict[str, Callable]:
    """What takes turns."""
    sizes = {"one by one": 0.001, "batches": BATCH_SECONDS.get(device.type, GPU_BATCH_SECONDS)}
    depths = {"all layers": [], f"layer {layer}": [f"layer_features.layers=[{layer}]"]}
    variants = {
        f"ours, {depth}, {size}": [*words, f"layer_features.batch_seconds={seconds}"]
        for depth, words in depths.items()
        for size, seconds in sizes.items()
    }
    plain = settings_below(root, device, f"compute.workers={workers}")
    ways: dict[str, Callable] = {"published": partial(published, plain, rows, encoder)}
    for told, words in variants.items():
        ways[told] = partial(ours, settings_below(root, device, f"compute.workers={workers}", *words), rows)
    return ways


def check(ways: dict[str, Callable], layer: int) -> None:
    """Every way of ours gives what the published one does."""
    whole = ways["published"]()
    for name, run in ways.items():
        if name != "published":
            wanted = whole if "all layers" in name else whole[:, [layer]]
            np.testing.assert_allclose(run().reshape(wanted.shape), wanted, rtol=1e-3, atol=1e-3, err_msg=name)


def main(words: list[str]) -> None:
    """All ways in turns."""
    options = {"model": tuple(MODELS), "layer": 9, "files": 48, "device": ("auto", "cpu", "cuda"), "workers": 0}
    small = {"model": "tiny", "layer": 2, "files": 3}
    with Bench(__file__, words, options, small) as bench, tempfile.TemporaryDirectory() as folder:
        device, name, layer, root = pick_device(bench["device"]), bench["model"], bench["layer"], Path(folder)
        bench.device, workers = device_name(device), bench["workers"] or available_cores()
        if layer > MODELS[name][1]:
            raise UserError(f"layer={layer}: {name} has layers 0 to {MODELS[name][1]}")
        torch.set_num_threads(workers)
        rows, encoder = write_files(root, bench["files"]), write_encoder(root / "encoder", name, device)
        few = ways_of(root, rows[:3], encoder, device, layer, workers)
        num = bench.fitted("files", len(rows), 3, partial(check, few, layer), least=3)
        what = f"layer means of whole files by {name}"
        bench.say(f"  {padding(rows[:num], device)}")
        ways = ways_of(root, rows[:num], encoder, device, layer, workers)
        titles = {told: f"{what}, {told.removeprefix('ours, ')}" for told in ways if told != "published"}
        seconds = rows["duration_s"][:num].sum()
        bench.compare(what, ways, unit="ms", per=seconds, each="a second of sound", baseline="published", rows=titles)


def padding(rows: pd.DataFrame, device: torch.device) -> str:
    """How much sound there is, and how much of the batches is none."""
    durations = rows["duration_s"].to_numpy()
    planned = plan_batches(durations, BATCH_SECONDS.get(device.type, GPU_BATCH_SECONDS))
    padded = sum(len(batch) * durations[batch].max() for batch in planned)
    return f"{len(rows)} files, {durations.sum():.0f} s of sound; {1 - durations.sum() / padded:.1%} of the batches is padding"


if __name__ == "__main__":
    main(sys.argv[1:])
