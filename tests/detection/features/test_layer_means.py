"""Layer means: a batch of different lengths gives what one by one gives, and that is the mean of the raw block outputs, per family."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sourcetracing.models.frontends.layer_means import LayerMeans
from sourcetracing.models.frontends.lfcc import LfccFrontEnd
from sourcetracing.models.frontends.lfcc_means import LfccMeans
from sourcetracing.models.frontends.ssl import SslEncoder
from tests.support.tiny_ssl import FAMILIES, NUM_BLOCKS, WIDTH, save_tiny

EQUAL_LENGTHS_ONLY = {"wav2vec2", "hubert", "wavlm", "data2vec"}  # GroupNorm, or unmasked convolutions, over the padding


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("ssl")
    return {family: save_tiny(family, root / family) for family in FAMILIES}


@pytest.fixture(scope="module")
def waveforms() -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    lengths_and_levels = ((16_000, 0.1), (9_001, 0.3), (1_600, 0.05), (23_457, 0.5))
    return [torch.randn(length, generator=generator) * level + 0.02 for length, level in lengths_and_levels]


def one_by_one(network: LayerMeans, waveforms: list[Tensor]) -> Tensor:
    return torch.cat([network([network.sound(waveform)]) for waveform in waveforms])


@torch.inference_mode()
@pytest.mark.parametrize("family", sorted(set(FAMILIES) - EQUAL_LENGTHS_ONLY))
def test_a_padded_batch_gives_what_one_by_one_gives(checkpoints, waveforms, family):
    network = LayerMeans(SslEncoder(checkpoints[family]))
    assert network.pads
    together = network([network.sound(waveform) for waveform in waveforms])
    torch.testing.assert_close(together, one_by_one(network, waveforms), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("family", sorted(EQUAL_LENGTHS_ONLY))
def test_where_padding_would_leak_only_equal_lengths_go_together(checkpoints, waveforms, family):
    network = LayerMeans(SslEncoder(checkpoints[family]))
    assert not network.pads
    with pytest.raises(AssertionError):
        network([network.sound(waveform) for waveform in waveforms])
    equal = [waveform[:1_600] for waveform in waveforms]
    together = network([network.sound(waveform) for waveform in equal])
    torch.testing.assert_close(together, one_by_one(network, equal), rtol=1e-4, atol=1e-5)
    network.pads = True  # the leak is real: the refusal is not for nothing
    leaking = network([network.sound(waveform) for waveform in waveforms])
    assert (leaking - one_by_one(network, waveforms)).abs().max() > 1e-2


@torch.inference_mode()
@pytest.mark.parametrize("family", FAMILIES)
def test_means_are_those_of_the_raw_block_outputs(checkpoints, waveforms, family):
    network = LayerMeans(SslEncoder(checkpoints[family]))
    assert network.layers == list(range(NUM_BLOCKS + 1)) and network.width == WIDTH
    waveform = waveforms[0][:15_920]  # for w2v-BERT a whole number of frames: its last one may be half padding otherwise
    means = network([network.sound(waveform)])[0]
    for layer in network.layers:
        hidden = SslEncoder(checkpoints[family], layer=layer)(waveform[None])[0]
        torch.testing.assert_close(means[layer], hidden.mean(dim=1), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("layers", [[0], [2], [1, 3], [3]])
@pytest.mark.parametrize("family", ["wav2vec2", "xls-r", "w2v-bert", "whisper"])
def test_chosen_layers_are_those_of_the_whole_encoder_which_is_cut_behind_them(checkpoints, waveforms, family, layers):
    whole = LayerMeans(SslEncoder(checkpoints[family]))
    cut = LayerMeans(SslEncoder(checkpoints[family]), layers)
    assert len(cut.encoder.blocks) == max(layers) and cut.layers == layers
    expected = one_by_one(whole, waveforms[:1])[:, layers]
    assert torch.equal(one_by_one(cut, waveforms[:1]), expected)


@torch.inference_mode()
def test_the_published_norm_is_the_final_layer_norm_of_the_named_layers_alone(checkpoints, waveforms):
    plain = LayerMeans(SslEncoder(checkpoints["xls-r"]), [1, 2])
    normed = LayerMeans(SslEncoder(checkpoints["xls-r"]), [1, 2], normed=[2])
    raw, published = one_by_one(plain, waveforms), one_by_one(normed, waveforms)
    assert torch.equal(raw[:, 0], published[:, 0])
    norm = SslEncoder(checkpoints["xls-r"]).network.encoder.layer_norm
    hidden = SslEncoder(checkpoints["xls-r"], layer=2)(waveforms[0][None])[0]
    torch.testing.assert_close(published[0, 1], norm(hidden.T).mean(dim=0), rtol=1e-4, atol=1e-4)
    assert (raw[:, 1] - published[:, 1]).abs().max() > 0.1
    both = one_by_one(LayerMeans(SslEncoder(checkpoints["xls-r"]), [1, 2], normed=[1, 2]), waveforms)
    lower = SslEncoder(checkpoints["xls-r"], layer=1)(waveforms[0][None])[0]
    torch.testing.assert_close(both[0, 0], norm(lower.T).mean(dim=0), rtol=1e-4, atol=1e-4)
    assert torch.equal(both[:, 1], published[:, 1])


@torch.inference_mode()
def test_an_encoder_without_a_final_norm_has_nothing_to_apply(checkpoints, waveforms):
    plain, normed = (LayerMeans(SslEncoder(checkpoints["wav2vec2"]), [2], normed=normed) for normed in ((), (2,)))
    assert torch.equal(one_by_one(plain, waveforms), one_by_one(normed, waveforms))


@torch.inference_mode()
@pytest.mark.parametrize("family", ["xls-r", "w2v-bert", "whisper"])
def test_the_shortest_sound_is_the_shortest_that_works(checkpoints, family):
    network = LayerMeans(SslEncoder(checkpoints[family]))
    waveform = torch.randn(network.shortest, generator=torch.Generator().manual_seed(1))
    assert one_by_one(network, [waveform]).isfinite().all()
    if network.shortest > 1:
        try:
            shorter = one_by_one(network, [waveform[:-1]])
        except (RuntimeError, ValueError, AssertionError):
            return
        assert not shorter.isfinite().all()


@torch.inference_mode()
def test_normalisation_is_over_the_true_samples(checkpoints, waveforms):
    network = LayerMeans(SslEncoder(checkpoints["xls-r"]))
    louder = [10 * waveform for waveform in waveforms]
    together = [network([network.sound(waveform) for waveform in group]) for group in (waveforms, louder)]
    torch.testing.assert_close(*together, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("layers", [[NUM_BLOCKS + 1], [-1, 2], [0, 99]])
def test_a_layer_that_does_not_exist_is_refused(checkpoints, layers):
    with pytest.raises(ValueError, match=f"from 0 to {NUM_BLOCKS}"):
        LayerMeans(SslEncoder(checkpoints["xls-r"]), layers)


@torch.inference_mode()
def test_lfcc_means(waveforms):
    lfcc = LfccFrontEnd(n_lfcc=20)
    network = LfccMeans(lfcc, 20, deviation=True)
    means = network([network.sound(waveforms[0])])
    expected = lfcc(waveforms[0][None])[0]
    assert means.shape == (1, 1, 40) and network.width == 40
    torch.testing.assert_close(means[0, 0, :20], expected.mean(dim=1))
    torch.testing.assert_close(means[0, 0, 20:], expected.std(dim=1, correction=0))
    assert LfccMeans(lfcc, 20)([network.sound(waveforms[0])]).shape == (1, 1, 20)
