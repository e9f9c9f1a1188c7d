"""ONNX files of whole systems compute what the systems compute, whatever the batch; what cannot be exported says so in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from sourcetracing.errors import UserError
from sourcetracing.metrics.calibration import Calibration
from sourcetracing.tracing.onnx_export import export_onnx
from sourcetracing.tracing.system import TracingSystem, run_in_folder
from sourcetracing.training.checkpoints import learned_tensors, save_checkpoint
from tests.support.tiny_ssl import save_tiny
from tests.support.traced_runs import CPU, random_run

CALIBRATION = Calibration("", 1.5, ["en"], 15, {}, {})
SYSTEMS = {
    "resnet18": ["system=lfcc_resnet18", "lfcc.n_fft=512", "lfcc.win_length=400", "lfcc.n_lfcc=20"],
    "ecapa_tdnn": ["system=lfcc_ecapa_tdnn"],
    "aasist": ["system=lfcc_aasist"],
    "frozen": ["system=xlsr_frozen_aasist", "backend=ecapa_tdnn", "ssl.layer=1"],
    "delta_tdnn": ["system=delta_tdnn_long_term"],
}
# With too few features, or rows, to be good at what `coloured` asks; that the file gives the same is all that counts.
TRAINING_FREE = {
    "plain_neighbours": ["system=lfcc_ecapa_tdnn", "backend=plain_neighbours", "plain_neighbours.coefficients=[1,30]"],
    "residual_correlation": ["system=residual_fingerprint", "fingerprints.score=correlation"],
    "residual_mahalanobis": ["system=residual_fingerprint"],
}


TONE = 3  # of what follows


def varied(num_samples: int) -> np.ndarray:
    """(5, samples): noise, the same in the first half alone, faint noise, a tone, clicks."""
    generator, times = np.random.default_rng(5), np.arange(num_samples) / 16000
    noise = generator.normal(0, 0.1, num_samples)
    clicks = (np.arange(num_samples) % 400 == 0) * 0.8
    rows = [noise, noise * (times < times[-1] / 2), 0.01 * generator.normal(0, 0.1, num_samples), 0.3 * np.sin(2000 * times), clicks]
    return np.stack(rows).astype(np.float32)


def same(system: TracingSystem, path: Path) -> None:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    waveforms = varied(system.window_samples)
    if system.settings.frontend == "residual":  # nothing of a low tone is left but rounding, which has no shape
        waveforms = np.delete(waveforms, TONE, axis=0)
    logits, embedding = session.run(["logits", "embedding"], {"waveform": waveforms})
    expected_embedding, expected_logits = system(waveforms)
    for made, expected in ((embedding, expected_embedding), (logits, expected_logits)):
        spread = np.ptp(expected, axis=0).max()
        assert spread > 1e-3  # there is something to compare
        np.testing.assert_allclose(made, expected, atol=min(0.03 * spread, 1e-3 * np.abs(expected).max()))
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == system.classes
    assert (facts["sample_rate"], facts["window_samples"], float(facts["temperature"])) == ("16000", "6400", 1.5)


@pytest.mark.parametrize("name", [name if name == "ecapa_tdnn" else pytest.param(name, marks=pytest.mark.slow) for name in SYSTEMS])
def test_waveform_to_logits(tmp_path, name):
    checkpoint = [f"ssl.model={save_tiny('wav2vec2', tmp_path / 'checkpoint')}"] if name == "frozen" else []
    system = TracingSystem(run_in_folder(random_run(tmp_path / "run", *SYSTEMS[name], *checkpoint)), CPU)
    (tmp_path / "out").mkdir()
    assert export_onnx(system, CALIBRATION, tmp_path / "out" / "a.onnx") < 1e-3
    same(system, tmp_path / "out" / "a.onnx")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.onnx"]  # one file, nothing beside it


def coloured(num_samples: int, num_rows: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """(rows, samples) like those of `varied`, each with noise of a colour of its class; their class ids (rows,)."""
    generator, labels = np.random.default_rng(2), np.arange(num_rows) % 3
    noise = generator.normal(0, 0.1, (num_rows, num_samples + 1))
    noise = noise[:, 1:] + (0.3 * labels[:, None]) * noise[:, :-1]
    rows = varied(num_samples)[np.arange(num_rows) // 3 % 5]
    return (noise * 10 ** generator.uniform(-2, -1, (num_rows, 1)) + rows).astype(np.float32), labels


@pytest.mark.parametrize("name", [pytest.param("stats_logreg", marks=pytest.mark.slow), "long_term", "knn_stats", *TRAINING_FREE])
def test_fitted_systems_come_out_as_they_are(tmp_path, name):
    folder = random_run(tmp_path / "run", *TRAINING_FREE.get(name, [f"system={name}"]))
    system = TracingSystem(run_in_folder(folder), CPU)
    waveforms, labels = coloured(system.window_samples, 210 if name == "residual_mahalanobis" else 60)  # its covariances need 64 of each
    features = system.front_end(torch.from_numpy(waveforms))
    system.model.fit(system.model.statistics(features).numpy(), labels)
    save_checkpoint(folder / "model.safetensors", learned_tensors(system.model), {})
    fitted = TracingSystem(run_in_folder(folder), CPU)
    assert name in TRAINING_FREE or (fitted(waveforms)[1].argmax(axis=1) == labels).mean() > 0.9
    assert export_onnx(fitted, CALIBRATION, tmp_path / "a.onnx") < 1e-3
    same(fitted, tmp_path / "a.onnx")


def test_what_cannot_be_exported_says_why(tmp_path):
    model = save_tiny("whisper", tmp_path / "checkpoint")
    system = TracingSystem(run_in_folder(random_run(tmp_path / "run", "system=xlsr_frozen_aasist", f"ssl.model={model}")), CPU)
    with pytest.raises(UserError, match="cannot be exported to ONNX.*--folder"):
        export_onnx(system, CALIBRATION, tmp_path / "a.onnx")
    moody = TracingSystem(run_in_folder(random_run(tmp_path / "moody", "system=lfcc_aasist", "aasist.random_pos_s=true")), CPU)
    with pytest.raises(UserError, match="aasist.random_pos_s"):
        export_onnx(moody, CALIBRATION, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_a_file_that_computes_something_else_is_not_kept(tmp_path, monkeypatch):
    system = TracingSystem(run_in_folder(random_run(tmp_path / "run")), CPU)

    class Other(torch.nn.Module):
        def forward(self, waveform):
            return waveform[:, :3] * 2, waveform[:, : system.model.embedding_dim] * 2

    monkeypatch.setattr("sourcetracing.tracing.onnx_export.WholeSystem", lambda _: Other())
    with pytest.raises(UserError, match="something else than the system"):
        export_onnx(system, CALIBRATION, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()
