"""SSL encoders: the cut network gives the full network's blocks bit by bit, for every family, and wrong weights are refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Wav2Vec2FeatureExtractor

from sourcetracing.models.frontends.ssl import SslEncoder, WeightsError, normalized
from tests.support.tiny_ssl import FAMILIES, NUM_BLOCKS, WIDTH, save_tiny

NUM_SAMPLES = 16_000


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("ssl")
    return {family: save_tiny(family, root / family) for family in FAMILIES}


@pytest.fixture(scope="module")
def waveforms() -> Tensor:
    return torch.randn(3, NUM_SAMPLES, generator=torch.Generator().manual_seed(2)) * torch.tensor([[0.01], [0.1], [0.5]]) + 0.02


def blocks_of(encoder: SslEncoder, waveform: Tensor) -> list[Tensor]:
    """What enters the first block and what leaves each, (B, width, frames), seen by hooks on the whole network."""
    blocks: nn.ModuleList = getattr(encoder.network, "encoder", encoder.network).layers
    seen: list[Tensor] = []
    hooks = [blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))]
    hooks += [block.register_forward_hook(lambda _, __, output: seen.append(_tensor(output).clone())) for block in blocks]
    last = encoder(waveform)
    for hook in hooks:
        hook.remove()
    return [hidden.transpose(1, 2)[..., : last.shape[-1]] for hidden in seen]


def _tensor(output: Tensor | tuple) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


@torch.inference_mode()
@pytest.mark.parametrize("family", FAMILIES)
def test_a_cut_encoder_gives_the_blocks_of_the_whole_one(checkpoints, waveforms, family):
    blocks = blocks_of(SslEncoder(checkpoints[family]), waveforms)
    assert len(blocks) == NUM_BLOCKS + 1
    for layer, expected in enumerate(blocks):
        encoder = SslEncoder(checkpoints[family], layer=layer)
        assert len(getattr(encoder.network, "encoder", encoder.network).layers) == layer
        assert torch.equal(encoder(waveforms), expected), layer
        assert expected.shape[:2] == (3, WIDTH)


@torch.inference_mode()
@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_gives_what_one_by_one_gives(checkpoints, waveforms, family):
    encoder = SslEncoder(checkpoints[family], layer=2)
    alone = torch.cat([encoder(one[None]) for one in waveforms])
    torch.testing.assert_close(encoder(waveforms), alone, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_is_near_full_precision(checkpoints, waveforms, family):
    encoder = SslEncoder(checkpoints[family], layer=1)
    with torch.autocast("cpu", torch.bfloat16):
        half = encoder(waveforms).float()
    full = encoder(waveforms)
    assert (half - full).abs().mean() < 0.05 * full.abs().mean()


@torch.inference_mode()
@pytest.mark.parametrize("family", ["xls-r", "wavlm-large", "whisper"])
def test_last_is_the_encoders_output_with_its_final_norm(checkpoints, waveforms, family):
    encoder = SslEncoder(checkpoints[family])
    norm = getattr(encoder.network, "encoder", encoder.network).layer_norm
    raw = SslEncoder(checkpoints[family], layer=NUM_BLOCKS)(waveforms)
    torch.testing.assert_close(encoder(waveforms), norm(raw.transpose(1, 2)).transpose(1, 2))
    assert not torch.allclose(encoder(waveforms), raw, atol=0.1)


@torch.inference_mode()
def test_it_is_never_in_training_mode(checkpoints, waveforms):
    encoder = SslEncoder(checkpoints["wav2vec2"])
    encoder.network.config.layerdrop = encoder.network.config.mask_time_prob = 0.9
    before = encoder(waveforms)
    around = nn.Sequential(encoder).train()
    assert not any(module.training for module in encoder.modules())
    assert torch.equal(around(waveforms), before)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_normalisation_is_the_librarys(waveforms):
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    expected = extractor(list(waveforms.numpy()), sampling_rate=16_000, return_tensors="pt")["input_values"]
    torch.testing.assert_close(normalized(waveforms), expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_normalisation_can_be_left_out(checkpoints, waveforms):
    plain, normal = (SslEncoder(checkpoints["xls-r"], layer=1, normalize=normalize) for normalize in (False, True))
    torch.testing.assert_close(plain(normalized(waveforms)), normal(waveforms))
    assert not torch.equal(plain(waveforms), normal(waveforms))


@torch.inference_mode()
def test_the_heads_of_a_fine_tuned_checkpoint_are_left_out(checkpoints, waveforms, tmp_path):
    body = load_file(checkpoints["ctc"] / "model.safetensors")
    assert any(name.startswith("lm_head") for name in body)
    assert SslEncoder(checkpoints["ctc"])(waveforms).isfinite().all()


@pytest.mark.parametrize("change", ["missing", "unexpected", "mismatched"])
def test_wrong_weights_are_refused_by_name(checkpoints, tmp_path, change):
    folder = save_tiny("xls-r", tmp_path / "wrong")
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in sorted(weights) if "layers.1.attention.k_proj.weight" in name)
    if change == "missing":
        del weights[name]
    elif change == "unexpected":
        weights[name + "_of_another_network"] = weights[name].clone()
    else:
        weights[name] = weights[name][:2].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=f"1 {change} weights, the first is .*k_proj"):
        SslEncoder(folder)


@torch.inference_mode()
def test_old_names_of_the_weight_norm_are_understood(checkpoints, waveforms, tmp_path):
    """The positional convolution's weight_g and weight_v became parametrizations; a silently random one is a known trap."""
    folder = save_tiny("xls-r", tmp_path / "old")
    weights = load_file(folder / "model.safetensors")
    new = {".parametrizations.weight.original0": ".weight_g", ".parametrizations.weight.original1": ".weight_v"}
    renamed = {}
    for name, tensor in weights.items():
        for modern, old in new.items():
            name = name.replace(modern, old)
        renamed[name] = tensor
    assert set(renamed) != set(weights)
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    assert torch.equal(SslEncoder(folder)(waveforms), SslEncoder(checkpoints["xls-r"])(waveforms))


@pytest.mark.parametrize("layer", [-1, NUM_BLOCKS + 1, "first", 1.5, True])
def test_a_layer_that_does_not_exist_is_refused(checkpoints, layer):
    with pytest.raises(ValueError, match=f"from 0 to {NUM_BLOCKS}"):
        SslEncoder(checkpoints["wav2vec2"], layer=layer)


def test_another_kind_of_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="is a bert model"):
        SslEncoder(tmp_path)


@torch.inference_mode()
def test_whisper_gives_the_frames_of_the_waveform_alone(checkpoints):
    encoder = SslEncoder(checkpoints["whisper"], layer=1)
    assert encoder(torch.zeros(1, 64_000)).shape == (1, WIDTH, math.ceil(64_000 / 320))
    with pytest.raises(ValueError, match="hears 30 s"):
        encoder(torch.zeros(1, 31 * 16_000))
