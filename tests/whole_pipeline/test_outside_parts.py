"""A front-end kind and a back-end from outside: one module that adds an entry to each registry, run to the end by the scripts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import yaml
from safetensors.torch import load_file

from tests.support.places import ROOT
from tests.support.small_experiment import SmallExperiment

PARTS = """
from dataclasses import dataclass

from torch import nn

from sourcetracing.settings.backends import BACKENDS, BackEndEntry
from sourcetracing.settings.declaring import setting
from sourcetracing.settings.frontends import FRONTENDS, FrontEndEntry


@dataclass
class Energy:
    frames: int = setting(20, "frames that a waveform is cut into", at_least=1)


@dataclass
class Linear:
    width: int = setting(8, "width of the embedding", at_least=1)


class EnergyFrontEnd(nn.Module):
    def __init__(self, sample_rate, frames):
        super().__init__()
        self.frames = frames

    def forward(self, waveforms):
        return waveforms.unflatten(1, (self.frames, -1)).square().mean(2).log1p()[:, None]


class LinearBackEnd(nn.Module):
    def __init__(self, num_frames, num_classes, width):
        super().__init__()
        self.embed, self.classify = nn.Linear(num_frames, width), nn.Linear(width, num_classes)

    def forward(self, features):
        embedding = self.embed(features[:, 0])
        return embedding, self.classify(embedding)


FRONTENDS.add("energy", FrontEndEntry("my_parts:EnergyFrontEnd", Energy))
BACKENDS.add("linear", BackEndEntry("my_parts:LinearBackEnd", Linear, takes=("num_frames",)))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A small corpus with its lists, and the module with the parts."""
    root = tmp_path_factory.mktemp("outside")
    experiment = SmallExperiment.write(root, num_utterances=24)
    settings = experiment.settings("mine")
    experiment.write_lists(settings)
    (root / "my_parts.py").write_text(PARTS, encoding="utf-8")
    pieces = {
        "name": "mine",
        "paths": {"corpus": settings.paths.corpus, "exp": settings.paths.exp},
        "corpus": {"languages": settings.corpus.languages, "sources": settings.corpus.sources},
        "audio": {"crop_seconds": 0.5},
        "augment": {"variants": ["original"]},
        "train": {"epochs": 2},
        "compute": {"device": "cpu", "workers": 2},
    }
    (root / "mine.yaml").write_text(yaml.safe_dump(pieces), encoding="utf-8")
    return root


def run(folder: Path, script: str, *words: str, things: Sequence[str] = (), parts: str = "my_parts") -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(folder), "SOURCETRACING_PARTS": parts}
    command = [sys.executable, script, *(things or [str(folder / "mine.yaml")]), *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def done(completed: subprocess.CompletedProcess) -> str:
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def refusal(completed: subprocess.CompletedProcess) -> str:
    assert completed.returncode in {1, 2} and completed.stderr.startswith("error: ") and completed.stderr.count("\n") == 1
    return completed.stderr


def test_a_front_end_and_a_back_end_of_ones_own_from_audio_to_the_traced_file(folder):
    mine = ["frontend=energy", "energy.frames=16", "backend=linear", "linear.width=5"]
    assert "24 rows of (1, 16) float16" in done(run(folder, "scripts/04_preprocess_dataset.py", "system=lfcc_ecapa_tdnn", *mine))
    place = Path(re.search(r"^wrote (.*)$", done(run(folder, "train_refd.py", *mine)), re.MULTILINE)[1])
    assert place.parent.name == "energy_linear"
    assert load_file(place / "model.safetensors")["embed.weight"].shape == (5, 16)
    assert len(pd.read_csv(place / "history.csv")) == 2
    chosen = yaml.safe_load((place / "config.yaml").read_text(encoding="utf-8"))
    assert (chosen["energy"], chosen["linear"]) == ({"frames": 16}, {"width": 5})
    file = next((folder / "corpus").rglob("*.wav"))
    assert "source" in done(run(folder, "scripts/trace_audio.py", "--run", str(place), things=[str(file)]))


def test_they_are_shown_and_checked_like_the_others(folder):
    shown = done(run(folder, "train_refd.py", "--help"))
    assert all(words in shown for words in ("One of: lfcc, ssl, residual, waveform, energy.", "linear.width=8", "energy.frames=20"))
    assert "did you mean 'energy'?" in refusal(run(folder, "train_refd.py", "frontend=enregy"))


def test_a_module_that_cannot_be_imported_is_one_line(folder):
    assert "SOURCETRACING_PARTS names 'my_prats'" in refusal(run(folder, "train_refd.py", parts="my_prats"))
