"""The gradients that are written down: against differences of the function itself, and whole training steps against plain layers."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sourcetracing.models.backends import cpu_kernels
from sourcetracing.models.backends.cpu_kernels import ProductConv, attended_moments, conv_by_products, with_moments
from sourcetracing.models.backends.ecapa_tdnn import EcapaTdnn

pytestmark = pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="the kernels are for MKL's matrix products")


def draw(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype).requires_grad_()


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch):
    monkeypatch.setattr(cpu_kernels, "BLOCK_ROWS", 4)


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (3, 2), (5, 3)])
def test_convolution_equals_torchs_and_its_gradient_the_differences(kernel, dilation):
    x, weight, bias = draw(3, 4, 9), draw(5, 4, kernel), draw(5)
    wanted = F.conv1d(x, weight, bias, padding=kernel // 2 * dilation, dilation=dilation)
    torch.testing.assert_close(cpu_kernels._ConvByProducts.apply(x, weight, bias, dilation), wanted)
    assert torch.autograd.gradcheck(lambda *tensors: cpu_kernels._ConvByProducts.apply(*tensors, dilation), (x, weight, bias))
    assert torch.autograd.gradcheck(lambda x, weight: cpu_kernels._ConvByProducts.apply(x, weight, None, dilation), (x, weight))


def test_moments_and_their_gradient():
    x = draw(2, 3, 7)
    same, mean, variance = cpu_kernels._WithMoments.apply(x)
    torch.testing.assert_close(same, x)
    torch.testing.assert_close((variance, mean), torch.var_mean(x, dim=2, keepdim=True))
    assert torch.autograd.gradcheck(cpu_kernels._WithMoments.apply, (x,))


def test_attended_moments_and_their_gradient():
    x, scores = draw(2, 3, 7), draw(3, 2, 7)
    scores = scores.detach().transpose(0, 1).contiguous().requires_grad_()
    first, second = cpu_kernels._AttendedMoments.apply(x, scores)
    for row in range(2):
        for channel in range(3):
            powers = torch.exp(scores[row, channel])
            weights = powers / powers.sum()
            torch.testing.assert_close(first[row, channel], weights @ x[row, channel])
            torch.testing.assert_close(second[row, channel], weights @ x[row, channel] ** 2)
    assert torch.autograd.gradcheck(cpu_kernels._AttendedMoments.apply, (x, scores))


def test_scores_beyond_the_range_of_exp_do_no_harm():
    x, scores = draw(1, 2, 5, dtype=torch.float32), torch.tensor([[[500.0, 499, 0, 0, 0], [-500.0, -501, -900, -900, -900]]])
    first, _ = attended_moments(x, scores.requires_grad_())
    torch.testing.assert_close(first, (x * scores.softmax(dim=2)).sum(dim=2))


def trained(num_steps: int = 6) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses and weights of a small network after a few steps of gradient descent."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = EcapaTdnn(20, 3, channels=16).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    x, labels, losses = draw(6, 20, 50, dtype=torch.float32).detach(), torch.arange(6) % 3, []
    for _ in range(num_steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x)[1], labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, model.state_dict()


def test_steps_equal_those_of_plain_layers_but_for_rounding(monkeypatch):
    losses, weights = trained()
    again, same_weights = trained()
    assert losses == again and all(torch.equal(same_weights[name], tensor) for name, tensor in weights.items())
    monkeypatch.setattr(cpu_kernels, "applies", lambda *tensors: False)
    plain_losses, plain_weights = trained()
    assert plain_losses[-1] < 0.7 * plain_losses[0]
    assert losses == pytest.approx(plain_losses, rel=1e-4)
    torch.testing.assert_close(weights, plain_weights, rtol=1e-3, atol=1e-5)


def test_kernels_are_for_training_in_float32_alone(monkeypatch):
    def refuse(*inputs):
        raise AssertionError("a kernel was called")

    for kernel in (cpu_kernels._ConvByProducts, cpu_kernels._WithMoments, cpu_kernels._AttendedMoments):
        monkeypatch.setattr(kernel, "apply", refuse)
    layer, x, scores = ProductConv(4, 4), draw(2, 4, 9, dtype=torch.float32), draw(2, 4, 9, dtype=torch.float32)
    with torch.no_grad():
        layer(x), with_moments(x), attended_moments(x, scores)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    with_moments(x.double()), attended_moments(x.double(), scores.double())
    conv_by_products(x.double(), layer.weight.double())
    with pytest.raises(AssertionError, match="kernel was called"):
        layer(x)
