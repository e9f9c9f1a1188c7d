"""An encoder rearranged for a CPU gives the plain one's features, for every family, batch and length; what it does not know stays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sourcetracing.features.ssl_front_end import load_ssl
from sourcetracing.models.frontends.ssl import SslEncoder
from sourcetracing.models.frontends.ssl_on_cpu import FrameConvolutions, arrange_for_cpu
from sourcetracing.settings.reading import load_settings
from tests.support.tiny_ssl import FAMILIES, save_tiny

LARGEST = 1e-5  # of the features' root mean square
WITHOUT_CONVOLUTIONS = ("w2v-bert", "whisper")
LENGTHS = (400, 720, 721, 1_234, 16_001)  # 400 samples are one frame


def noise(rows: int, samples: int) -> Tensor:
    """Rows of different loudness, with an offset that a wrong variance would show."""
    generator = torch.Generator().manual_seed(samples)
    return torch.randn(rows, samples, generator=generator) * torch.linspace(0.01, 0.5, rows)[:, None] + 0.02


def off(made: Tensor, expected: Tensor) -> float:
    assert made.shape == expected.shape
    return float((made - expected).abs().max() / expected.square().mean().sqrt())


@torch.inference_mode()
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_the_same_features(family, tmp_path):
    folder = save_tiny(family, tmp_path / family)
    plain, arranged = (SslEncoder(folder, layer=2, normalize=False) for _ in range(2))
    arrange_for_cpu(arranged.network)
    is_arranged = isinstance(getattr(arranged.network, "feature_extractor", None), FrameConvolutions)
    assert is_arranged == (family not in WITHOUT_CONVOLUTIONS)
    for samples in LENGTHS if is_arranged else LENGTHS[-1:]:
        waveforms = noise(2, samples)
        assert off(arranged(waveforms), plain(waveforms)) <= LARGEST, samples


@torch.inference_mode()
def test_a_row_has_the_same_bytes_alone_and_among_others(tmp_path):
    network = arrange_for_cpu(SslEncoder(save_tiny("wav2vec2", tmp_path)).network)
    waveforms = noise(3, 8_000)
    together = network.feature_extractor(waveforms)
    for number, waveform in enumerate(waveforms):
        assert torch.equal(network.feature_extractor(waveform[None])[0], together[number])


def test_an_activation_or_a_norm_that_is_not_known_stays_as_it_is(tmp_path):
    for change in ("activation", "norm"):
        network = SslEncoder(save_tiny("wav2vec2", tmp_path)).network
        before = network.feature_extractor
        first = before.conv_layers[0]
        if change == "activation":
            first.activation = nn.ReLU()
        else:
            first.layer_norm = nn.GroupNorm(2, first.conv.out_channels)
        assert arrange_for_cpu(network).feature_extractor is before


@torch.inference_mode()
def test_exporters_see_the_encoders_own_convolutions(tmp_path):
    network = arrange_for_cpu(SslEncoder(save_tiny("wav2vec2", tmp_path)).network)
    waveforms = noise(1, 2_000)
    traced = torch.jit.trace(network.feature_extractor, waveforms, check_trace=False)
    assert torch.equal(traced(waveforms), network.feature_extractor.plain(waveforms))
    assert "conv1d" in str(traced.inlined_graph) or "_convolution" in str(traced.inlined_graph)


CASES = [("precision=float32", True), ("precision=auto", True), ("precision=bf16", False), ("encoder_precision=bf16", False)]


@pytest.mark.parametrize(("word", "arranged"), CASES)
def test_the_front_end_takes_it_on_a_cpu_in_float32(word, arranged, tmp_path: Path):
    folder = save_tiny("wav2vec2", tmp_path)
    words = ["frontend=ssl", f"ssl.model={folder}", "compute.device=cpu", f"compute.{word}"]
    encoder = load_ssl(load_settings(words))
    assert isinstance(encoder.network.feature_extractor, FrameConvolutions) == arranged
