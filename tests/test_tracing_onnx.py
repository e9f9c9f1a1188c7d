"""ONNX files of whole systems compute what the systems compute, whatever the batch; what cannot be exported says so in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from sourcetracing.errors import UserError
from sourcetracing.tracing.calibration import Calibration
from sourcetracing.tracing.onnx_export import export_onnx
from sourcetracing.tracing.system import TracingSystem, load_system
from tests.tiny_ssl import save_tiny
from tests.tracing_setup import CPU, random_run

CALIBRATION = Calibration("", 1.5, ["en"], 15, {}, {})
SYSTEMS = {
    "resnet18": ["system=lfcc_resnet18", "lfcc.n_fft=512", "lfcc.win_length=400", "lfcc.n_lfcc=20"],
    "ecapa_tdnn": ["system=lfcc_ecapa_tdnn"],
    "aasist": ["system=lfcc_aasist"],
    "frozen": ["system=xlsr_frozen_aasist", "backend=ecapa_tdnn", "ssl.layer=1"],
}


def same(system: TracingSystem, path: Path) -> None:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    waveforms = np.random.default_rng(5).normal(0, 0.1, (5, system.window_samples)).astype(np.float32)
    waveforms[1] *= 0.01
    waveforms[2, 3200:] = 0
    logits, embedding = session.run(["logits", "embedding"], {"waveform": waveforms})
    expected_embedding, expected_logits = system(waveforms)
    assert (np.ptp(expected_logits, axis=0) > 1e-3).any()  # the rows differ: there is something to compare
    np.testing.assert_allclose(logits, expected_logits, atol=1e-3 * np.abs(expected_logits).max())
    np.testing.assert_allclose(embedding, expected_embedding, atol=1e-3 * np.abs(expected_embedding).max())
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == system.classes
    assert (facts["sample_rate"], facts["window_samples"], float(facts["temperature"])) == ("16000", "6400", 1.5)


@pytest.mark.parametrize("name", SYSTEMS)
def test_waveform_to_logits(tmp_path, name):
    checkpoint = [f"ssl.model={save_tiny('xls-r', tmp_path / 'checkpoint')}"] if name == "frozen" else []
    system = load_system(random_run(tmp_path / "run", *SYSTEMS[name], *checkpoint), CPU)
    (tmp_path / "out").mkdir()
    assert export_onnx(system, CALIBRATION, tmp_path / "out" / "a.onnx") < 1e-3
    same(system, tmp_path / "out" / "a.onnx")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.onnx"]  # one file, nothing beside it


def test_what_cannot_be_exported_says_why(tmp_path):
    model = save_tiny("whisper", tmp_path / "checkpoint")
    system = load_system(random_run(tmp_path / "run", "system=xlsr_frozen_aasist", f"ssl.model={model}"), CPU)
    with pytest.raises(UserError, match="cannot be exported to ONNX.*--folder"):
        export_onnx(system, CALIBRATION, tmp_path / "a.onnx")
    moody = load_system(random_run(tmp_path / "moody", "system=lfcc_aasist", "aasist.random_pos_s=true"), CPU)
    with pytest.raises(UserError, match="aasist.random_pos_s"):
        export_onnx(moody, CALIBRATION, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_a_file_that_computes_something_else_is_not_kept(tmp_path, monkeypatch):
    system = load_system(random_run(tmp_path / "run"), CPU)

    class Other(torch.nn.Module):
        def forward(self, waveform):
            return waveform[:, :3] * 2, waveform[:, : system.model.embedding_dim] * 2

    monkeypatch.setattr("sourcetracing.tracing.onnx_export.WholeSystem", lambda _: Other())
    with pytest.raises(UserError, match="something else than the system"):
        export_onnx(system, CALIBRATION, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()
