"""SSL encoders that learn: which weights do, for every family; that regularization is what was asked for; layers summed by weight."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sourcetracing.models.frontends.layer_mix import LayerMix
from sourcetracing.models.frontends.ssl import WEIGHTED_SUM, SslEncoder
from sourcetracing.models.frontends.ssl_finetune import TrainableSslEncoder
from tests.support.tiny_ssl import FAMILIES, NUM_BLOCKS, WIDTH, save_tiny

NO_DROPOUT = {"dropout": 0.0}
WITH_CNN = [family for family in FAMILIES if family != "w2v-bert"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("finetune")
    return {family: save_tiny(family, root / family) for family in FAMILIES}


@pytest.fixture(scope="module")
def waveforms() -> Tensor:
    return torch.randn(2, 16_000, generator=torch.Generator().manual_seed(2)) * 0.1


def gradients(encoder: nn.Module, waveforms: Tensor) -> dict[str, float]:
    """The largest gradient of every weight that has one, after a backward pass through a random projection of the output."""
    encoder.zero_grad()
    output = encoder(waveforms)
    (output * torch.randn(output.shape, generator=torch.Generator().manual_seed(3))).mean().backward()
    return {name: weight.grad.abs().max().item() for name, weight in encoder.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_without_dropout_it_is_the_frozen_encoder(checkpoints, waveforms, family):
    for layer in (1, "last", WEIGHTED_SUM):
        learning = TrainableSslEncoder(checkpoints[family], layer=layer, **NO_DROPOUT)
        assert learning.training
        torch.testing.assert_close(learning(waveforms), SslEncoder(checkpoints[family], layer=layer)(waveforms))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_block_learns_and_the_convolutions_only_when_told(checkpoints, waveforms, family):
    kept = gradients(TrainableSslEncoder(checkpoints[family], **NO_DROPOUT), waveforms)
    free = gradients(TrainableSslEncoder(checkpoints[family], freeze_cnn=False, **NO_DROPOUT), waveforms)
    for block in range(NUM_BLOCKS):
        assert max(size for name, size in kept.items() if f"layers.{block}." in name) > 0
    convolutions = set(free) - set(kept)
    assert all("feature_extractor" in name or "network.conv" in name for name in convolutions)
    assert bool(convolutions) == (family in WITH_CNN)
    if family in WITH_CNN:
        assert max(free[name] for name in convolutions) > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_learns_its_matrices_alone_and_they_reach_the_output(checkpoints, waveforms, family):
    """WavLM computes attention past the modules of its projections: matrices beside those would learn nothing."""
    encoder = TrainableSslEncoder(checkpoints[family], lora_rank=2, **NO_DROPOUT)
    before = encoder(waveforms).detach()
    torch.testing.assert_close(before, SslEncoder(checkpoints[family])(waveforms))
    learning = [name for name, weight in encoder.named_parameters() if weight.requires_grad]
    assert learning and all("lora_" in name for name in learning)
    assert {name.split("layers.")[1][0] for name in learning} == set("012")
    found = gradients(encoder, waveforms)
    assert set(found) == set(learning)
    assert all(max(size for name, size in found.items() if f"layers.{block}." in name) > 0 for block in range(NUM_BLOCKS))
    torch.optim.SGD([weight for weight in encoder.parameters() if weight.requires_grad], 1.0).step()
    assert not torch.allclose(encoder(waveforms), before, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layer", ["last", WEIGHTED_SUM])
def test_gradient_checkpointing_changes_no_gradient(checkpoints, waveforms, family, layer):
    plain = TrainableSslEncoder(checkpoints[family], layer=layer, **NO_DROPOUT)
    saving = TrainableSslEncoder(checkpoints[family], layer=layer, gradient_checkpointing=True, **NO_DROPOUT)
    assert any(getattr(module, "gradient_checkpointing", False) for module in saving.modules())
    expected, found = gradients(plain, waveforms), gradients(saving, waveforms)
    assert set(expected) == set(found)
    assert all(found[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-7) for name in expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_acts_in_training_alone(checkpoints, waveforms, family):
    encoder = TrainableSslEncoder(checkpoints[family], dropout=0.3)
    torch.manual_seed(0)
    assert not torch.allclose(encoder(waveforms), encoder(waveforms), atol=1e-4)
    encoder.eval()
    torch.testing.assert_close(encoder(waveforms), SslEncoder(checkpoints[family])(waveforms))


@pytest.mark.parametrize("setting", ["mask_time_prob", "mask_feature_prob"])
@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "whisper"])
def test_spec_augment_is_explicit(checkpoints, waveforms, family, setting):
    plain = TrainableSslEncoder(checkpoints[family], **NO_DROPOUT)
    assert torch.equal(plain(waveforms), plain(waveforms))
    masked = TrainableSslEncoder(checkpoints[family], **NO_DROPOUT, **{setting: 0.5})
    masked.network.config.mask_feature_length = 4  # of 16 features
    assert not torch.allclose(masked(waveforms), plain(waveforms), atol=1e-4)
    assert torch.allclose(masked.eval()(waveforms), plain.eval()(waveforms), atol=1e-5)


def test_whisper_has_no_spec_augment_and_says_so(checkpoints):
    with pytest.raises(ValueError, match="Whisper has no SpecAugment"):
        TrainableSslEncoder(checkpoints["whisper"], mask_time_prob=0.1)


@pytest.mark.parametrize("layer", ["last", WEIGHTED_SUM])
def test_layerdrop_skips_blocks_in_training(checkpoints, waveforms, layer):
    encoder = TrainableSslEncoder(checkpoints["xls-r"], layer=layer, layerdrop=1.0, **NO_DROPOUT)
    torch.manual_seed(0)
    entering = SslEncoder(checkpoints["xls-r"], layer=0)(waveforms)
    output = encoder(waveforms)
    if layer == WEIGHTED_SUM:  # every layer is what entered the first
        assert output.shape[1] == NUM_BLOCKS + 1
        torch.testing.assert_close(output, entering[:, None].expand_as(output))
    encoder.network.config.layerdrop = 0.5
    outputs = [encoder(waveforms).detach() for _ in range(8)]
    assert len({round(output.sum().item(), 3) for output in outputs}) > 1


def test_the_checkpoints_own_regularization(checkpoints, waveforms):
    encoder = TrainableSslEncoder(checkpoints["wav2vec2"], regularization="checkpoint")
    config = encoder.network.config
    assert (config.layerdrop, config.hidden_dropout, config.mask_time_prob) == (0.1, 0.1, 0.05)
    explicit = TrainableSslEncoder(checkpoints["wav2vec2"], dropout=0.25).network
    assert (explicit.config.layerdrop, explicit.config.hidden_dropout, explicit.config.mask_time_prob) == (0.0, 0.25, 0.0)
    assert {module.p for module in explicit.modules() if isinstance(module, nn.Dropout)} == {0.25, 0.0}
    with pytest.raises(ValueError, match="strong"):
        TrainableSslEncoder(checkpoints["wav2vec2"], regularization="strong")


@torch.inference_mode()
@pytest.mark.parametrize("family", FAMILIES)
def test_all_layers_are_the_numbered_ones(checkpoints, waveforms, family):
    layers = SslEncoder(checkpoints[family], layer=WEIGHTED_SUM)(waveforms)
    assert layers.shape[:3] == (2, NUM_BLOCKS + 1, WIDTH)
    for number in range(NUM_BLOCKS + 1):
        assert torch.equal(layers[:, number], SslEncoder(checkpoints[family], layer=number)(waveforms)), number


def test_the_mix_starts_as_the_mean_and_learns_to_choose(waveforms):
    layers = torch.randn(4, 3, 5, 7)
    mix = LayerMix(3)
    torch.testing.assert_close(mix(layers), layers.mean(dim=1))
    optimizer = torch.optim.Adam(mix.parameters(), 0.1)
    for _ in range(200):
        optimizer.zero_grad()
        (mix(layers) - layers[:, 1]).square().mean().backward()
        optimizer.step()
    assert mix.logits.softmax(dim=0)[1] > 0.9
