"""DeltaTdnn: deaf to channels and levels, and its two voices."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from sourcetracing.models.backends.delta_tdnn import DeltaTdnn
from sourcetracing.models.backends.long_term_statistics import LongTermStatistics

NAMES = ["log_std", "autocorrelation"]


def rows(num_rows: int = 6) -> torch.Tensor:
    """(num_rows, 10, 50): each coefficient of another size."""
    return torch.randn(num_rows, 10, 50, generator=torch.Generator().manual_seed(1)) * torch.logspace(2, -1, 10)[:, None]


def trained(**options) -> DeltaTdnn:
    """With scales of what it has heard, and a statistics classifier that is not zero."""
    torch.manual_seed(0)
    network = DeltaTdnn(10, 3, channels=4, **options)
    for _ in range(3):
        network(rows())
    if network.statistics:
        torch.nn.init.normal_(network.statistics_classifier.weight)
    return network.eval()


@pytest.mark.parametrize("statistics", [[], NAMES])
def test_a_fixed_channel_and_level_change_nothing(statistics):
    network, channel = trained(statistics=statistics), 30 * torch.randn(6, 10, 1)
    for found, expected in zip(network(rows() + channel), network(rows()), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_change_over_time_does():
    network = trained()
    assert (network(rows().cumsum(dim=2))[1] - network(rows())[1]).abs().max() > 0.1


def test_the_input_is_heard_at_its_own_scale():
    network, large = trained(), rows() * torch.logspace(0, 2, 10)[:, None]
    torch.manual_seed(0)
    other = DeltaTdnn(10, 3, channels=4)
    for _ in range(200):  # until the running scales have settled
        other(large)
        network.train()(rows())
    torch.testing.assert_close(other.eval()(large)[1], network.eval()(rows())[1], rtol=2e-2, atol=2e-2)


def test_both_voices_are_weighed_log_probabilities():
    network = trained(statistics=NAMES, network_weight=0.5)
    embedding, logits = network(rows())
    alone = trained()
    alone.load_state_dict({name: tensor for name, tensor in network.state_dict().items() if not name.startswith("statistics")})
    pooled, from_network = alone(rows())
    numbers = LongTermStatistics(10, NAMES, (0, -1))(rows())
    scale = network.statistics_scale
    standardized = (numbers - scale.running_mean) / (scale.running_var + scale.eps).sqrt()
    from_statistics = standardized @ network.statistics_classifier.weight.T + network.statistics_classifier.bias
    torch.testing.assert_close(embedding, torch.cat([pooled, standardized], dim=1))
    assert embedding.shape == (6, network.embedding_dim)
    expected = functional.log_softmax(from_statistics, dim=1) + 0.5 * functional.log_softmax(from_network, dim=1)
    torch.testing.assert_close(logits, expected)


def test_a_training_row_hears_one_voice_and_both_learn():
    torch.manual_seed(0)
    network = DeltaTdnn(10, 3, channels=4, statistics=NAMES)
    torch.nn.init.zeros_(network.statistics_classifier.bias)
    heard = torch.cat([network(rows(64))[1] for _ in range(4)])
    silent = (heard == 0).all(dim=1)  # the statistics say 0 before they have learned
    assert 0.3 < silent.float().mean() < 0.7
    functional.cross_entropy(network(rows(64))[1], torch.arange(64) % 3).backward()
    assert network.classifier.weight.grad.abs().max() > 0 and network.statistics_classifier.weight.grad.abs().max() > 0


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"expected \(batch, 10, frames\)"):
        DeltaTdnn(10, 3)(torch.zeros(2, 9, 50))
