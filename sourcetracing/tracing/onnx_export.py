"""A whole system as one ONNX file: waveforms (batch, samples) in, logits and embeddings out; checked against the original, then kept.

ONNX metadata: classes, sample_rate, window_samples, temperature (divide the logits by it before the softmax). And, where they are on,
band_limit_hz, normalize and target_dbfs, which the file itself applies to each window; trim_silence_db, which is left to whoever cuts
windows: only a whole file tells where its silence ends (`sourcetracing.audio.conditioning.trimmed`).
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import math
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sourcetracing.audio.conditioning import LEAST_AMPLITUDE, low_pass
from sourcetracing.errors import UserError
from sourcetracing.metrics.calibration import Calibration
from sourcetracing.models.frontends.lfcc import LfccFrontEnd
from sourcetracing.models.frontends.residual import ResidualFrontEnd
from sourcetracing.runtime.extras import needs
from sourcetracing.runtime.files import atomic_path
from sourcetracing.settings.frontends import Audio
from sourcetracing.settings.recorded import cures_of
from sourcetracing.tracing.system import TracingSystem

OPSET = 18
INPUT, OUTPUTS = "waveform", ("logits", "embedding")
TOLERANCE = 1e-3  # of the largest logit, and of the largest number in the embedding
_SPECTRUM_FAMILIES = "w2v-BERT 2.0 and Whisper make their spectra outside of torch"


class PowerByConvolution(nn.Module):
    """torchaudio's power spectrogram as a convolution with windowed cosines and sines: ONNX has no complex numbers.

    spectrogram: torchaudio.transforms.Spectrogram(power=None), not centred. Waveform (..., samples) -> (..., bins, frames).
    """

    def __init__(self, spectrogram: nn.Module):
        super().__init__()
        size, self.hop, self.pad = spectrogram.n_fft, spectrogram.hop_length, spectrogram.pad
        left = (size - spectrogram.win_length) // 2
        window = F.pad(spectrogram.window.double(), (left, size - spectrogram.win_length - left))
        angles = 2 * math.pi / size * torch.outer(torch.arange(size // 2 + 1, dtype=torch.float64), torch.arange(size, dtype=torch.float64))
        self.register_buffer("filters", (torch.cat([angles.cos(), angles.sin()]) * window).float().unsqueeze(1))

    def forward(self, waveform: Tensor) -> Tensor:
        parts = F.conv1d(F.pad(waveform, (self.pad, self.pad)), self.filters, stride=self.hop)
        real, imaginary = parts.chunk(2, dim=1)
        return (real.square() + imaginary.square()).unsqueeze(1)


class _ExportableLfcc(nn.Module):
    def __init__(self, front_end: LfccFrontEnd):
        super().__init__()
        self.transform = copy.deepcopy(front_end.transform)
        self.transform.Spectrogram = PowerByConvolution(front_end.transform.Spectrogram.spectrogram)

    def forward(self, waveform: Tensor) -> Tensor:
        return self.transform(waveform.unsqueeze(1)).squeeze(1)


class _ExportableResidual(nn.Module):
    def __init__(self, front_end: ResidualFrontEnd):
        super().__init__()
        self.front_end = copy.deepcopy(front_end)
        self.front_end.power = PowerByConvolution(front_end.power.spectrogram)

    def forward(self, waveform: Tensor) -> Tensor:
        return self.front_end.of_rows(waveform)


def _exportable(front_end: nn.Module) -> nn.Module:
    """The front-end, with what ONNX has no word for put into others."""
    if isinstance(front_end, LfccFrontEnd):
        return _ExportableLfcc(front_end)
    return _ExportableResidual(front_end) if isinstance(front_end, ResidualFrontEnd) else front_end


class Shaping(nn.Module):
    """`sourcetracing.audio.conditioning.shaped` in torch: waveforms (B, samples) -> the same, band-limited and levelled."""

    def __init__(self, audio: Audio):
        super().__init__()
        self.measure, self.target = audio.normalize, 10 ** (audio.target_dbfs / 20)
        taps = low_pass(audio.band_limit_hz, audio.sample_rate) if audio.band_limit_hz else np.ones(1, np.float32)
        self.register_buffer("taps", torch.from_numpy(taps.copy())[None, None])

    def forward(self, waveform: Tensor) -> Tensor:
        num_taps = self.taps.shape[-1]
        if num_taps > 1:
            waveform = F.conv1d(waveform.unsqueeze(1), self.taps, padding=num_taps // 2).squeeze(1)
        if self.measure == "none":
            return waveform
        squared = self.measure == "rms"
        amplitude = waveform.square().mean(-1, keepdim=True).sqrt() if squared else waveform.abs().amax(-1, keepdim=True)
        gain = self.target / amplitude.clamp_min(LEAST_AMPLITUDE)
        return waveform * torch.where(amplitude > LEAST_AMPLITUDE, gain, torch.ones_like(gain))


class WholeSystem(nn.Module):
    """Shaping, front-end, rounding to the store's number type, back-end: waveforms (B, samples) -> logits (B, C), embeddings (B, E)."""

    def __init__(self, system: TracingSystem):
        super().__init__()
        self.shaping = Shaping(system.settings.audio)
        self.front_end = _exportable(system.front_end.module)
        self.stored = getattr(torch, system.settings.store.dtype)
        self.model, self.num_classes = system.model, len(system.classes)

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        embedding, logits = self.model(self.front_end(self.shaping(waveform)).to(self.stored).float())
        return logits[:, : self.num_classes], embedding


def export_onnx(system: TracingSystem, calibration: Calibration, path: Path) -> float:
    """Writes the ONNX file; returns how far it is from the original at most, relative to the largest output.

    Raises `UserError` when the system cannot be exported, or computes something else in ONNX.
    """
    with needs("export", "an ONNX file"):
        import onnx
        import onnxruntime  # noqa: F401 (for _check, which comes last)
        import onnxscript  # noqa: F401 (torch looks for it)
    _refuse_what_cannot(system)
    whole = WholeSystem(system).eval().requires_grad_(False).cpu()
    with atomic_path(path) as partial:
        _export(whole, system, partial)
        model = onnx.load(partial)
        facts = {
            "classes": json.dumps(system.classes, ensure_ascii=False),
            "sample_rate": str(system.settings.audio.sample_rate),
            "window_samples": str(system.window_samples),
            "temperature": repr(calibration.temperature),
            **{name: str(value) for name, value in cures_of(system.settings.audio).items()},
        }
        onnx.helper.set_model_props(model, facts)
        onnx.save(model, partial)
        return _check(partial, whole, system)


def _refuse_what_cannot(system: TracingSystem) -> None:
    settings = system.settings
    if settings.backend == "aasist" and settings.aasist.random_pos_s:
        raise UserError("aasist.random_pos_s=true draws a new network for every pass (D14); that cannot be exported")
    if settings.frontend != "ssl":
        return
    encoder = system.front_end.module if system.front_end.is_encoder else system.model.encoder
    if encoder.spectra is not None:
        raise UserError(f"ssl.model={settings.ssl.model} cannot be exported to ONNX: {_SPECTRUM_FAMILIES}. Export with --folder instead")


def _export(whole: WholeSystem, system: TracingSystem, path: Path) -> None:
    example = torch.from_numpy(_example(system, 2))
    batch = {INPUT: {0: torch.export.Dim("batch")}}
    names = {"input_names": [INPUT], "output_names": list(OUTPUTS)}
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _silent("torch.onnx", "onnxscript"), torch.no_grad():
            warnings.simplefilter("ignore")
            exported = {"dynamo": True, "external_data": False, "opset_version": OPSET, "dynamic_shapes": batch, "verbose": False}
            torch.onnx.export(whole, (example,), str(path), **names, **exported)
    except Exception as error:  # the exporter raises a dozen kinds, most of them not public
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        what = f"{system.settings.frontend} + {system.settings.backend}"
        raise UserError(f"{what} cannot be exported to ONNX ({reason}). Export with --folder instead") from None


@contextlib.contextmanager
def _silent(*names: str):
    loggers = {name: logging.getLogger(name) for name in names}
    before = {name: logger.level for name, logger in loggers.items()}
    for logger in loggers.values():
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, logger in loggers.items():
            logger.setLevel(before[name])


def _example(system: TracingSystem, rows: int) -> np.ndarray:
    """Noise with a slow swell, (rows, samples), each row another."""
    generator = np.random.default_rng(rows)
    swell = 0.05 * (1.2 + np.sin(np.linspace(0, 9, system.window_samples)))
    return (generator.normal(size=(rows, system.window_samples)) * swell).astype(np.float32)


@torch.inference_mode()
def _check(path: Path, whole: WholeSystem, system: TracingSystem) -> float:
    """Compares with the system itself, its own front-end included, for batches of other sizes than the one it was traced with."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for rows in (1, 3):
        waveform = _example(system, rows)
        logits, embedding = session.run(list(OUTPUTS), {INPUT: waveform})
        expected = system(waveform)
        for made, wanted in zip((embedding, logits), expected, strict=True):
            if not (np.isfinite(made).all() and np.isfinite(wanted).all()):
                raise UserError("the system, or the ONNX file, gives NaN for noise; it was not kept")
            worst = max(worst, float(np.abs(made - wanted).max() / max(np.abs(wanted).max(), np.finfo(np.float32).tiny)))
    if worst > TOLERANCE:
        raise UserError(
            f"the ONNX file computes something else than the system (off by {worst:.2g} of the largest output); it was not kept"
        )
    return worst
