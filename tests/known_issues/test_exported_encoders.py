"""Exports of systems on SSL encoders: refused for want of features of another precision, and useless elsewhere.

Seen: export_model.py looked for a feature store in float32 where the run's was bf16, for every frozen encoder; the exported config.yaml
named the encoder by the folder on the machine it was made on. The export carries the encoder now, and is traced with after everything else
is gone.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from sourcetracing.features.rows import open_store
from sourcetracing.settings.reading import read_yaml
from sourcetracing.tracing.export import export_system
from sourcetracing.tracing.tracer import Tracer
from sourcetracing.training.loop import train_run
from sourcetracing.training.runs import TrainingRun, load_run
from tests.support.audio_files import write_wav
from tests.support.small_experiment import SmallExperiment
from tests.support.tiny_ssl import save_tiny
from tests.support.traced_runs import CPU


def trained(root: Path, *, mode: str = "frozen", precision: str = "auto") -> TrainingRun:
    """A run on a tiny encoder that lies below `root`, as it stands in its folder."""
    experiment = SmallExperiment.write(root, num_utterances=18)
    settings = experiment.settings("ssl")
    settings.frontend, settings.ssl.model, settings.ssl.mode = "ssl", str(save_tiny("wav2vec2", root / "encoders" / "mine")), mode
    settings.store.dtype, settings.compute.device = "float32", "auto"
    settings.compute.precision, settings.train.epochs = precision, 1
    experiment.prepare(settings)
    run = load_run(settings)
    train_run(run, open_store(run.settings), CPU)
    return run


@pytest.mark.parametrize(("mode", "precision"), [("frozen", "auto"), ("frozen", "bf16"), ("finetune", "auto")])
def test_an_export_is_traced_with_where_nothing_else_is(tmp_path, monkeypatch, mode, precision):
    root = tmp_path / "made_here"
    run = trained(root, mode=mode, precision=precision)
    export_system(str(run.folder), [], onnx=None, folder=root / "export")
    write_wav(tmp_path / "a.wav", 2, 1)
    here = Tracer.load(run.folder, [])(tmp_path / "a.wav")
    moved = Path(shutil.move(root / "export", tmp_path / "elsewhere" / "export"))
    shutil.rmtree(root)
    monkeypatch.chdir(tmp_path / "elsewhere")
    there = Tracer.load("export", [])(tmp_path / "a.wav")
    np.testing.assert_array_equal(here.window_probabilities, there.window_probabilities)
    assert (here.unknown_score, here.is_unknown) == (there.unknown_score, there.is_unknown)
    config = read_yaml(moved / "config.yaml")
    assert (config["ssl"]["model"], config["compute"]["device"]) == ("encoder", "auto")
    named = [path for path in moved.rglob("*") if path.is_file() and str(root).encode() in path.read_bytes()]
    assert not named
    export_system("export", [], onnx=None, folder=Path("again"))  # an export of an export
    assert sorted(path.name for path in Path("again/encoder").iterdir()) == ["config.json", "model.safetensors"]


def test_no_setting_keeps_a_place_of_this_machine(tmp_path):
    root = tmp_path / "made_here"
    run = trained(root)
    words = [f"folder.table={root}/list.csv", f"experiment.tables=[{root}/mine.yaml]", f"detection.lists={root}/lists"]
    export_system(str(run.folder), words, onnx=None, folder=tmp_path / "export")
    assert str(tmp_path) not in (tmp_path / "export" / "config.yaml").read_text()
    config = read_yaml(tmp_path / "export" / "config.yaml")
    assert (config["folder"]["table"], config["experiment"]["tables"], config["detection"]["lists"]) == ("list.csv", ["mine.yaml"], "lists")
    assert "encoder" in (tmp_path / "export" / "README.md").read_text()
