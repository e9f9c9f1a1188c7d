"""Mixup against stored numbers of the published implementation (tests/golden/mixup.*)."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from sourcetracing.models.losses.mixup import regmix, regmix_loss
from tests.support.places import GOLDEN

CASES = json.loads((GOLDEN / "mixup.json").read_text())["cases"]


@pytest.fixture(params=range(len(CASES)))
def case(request):
    with np.load(GOLDEN / "mixup.npz") as stored:
        prefix = f"case{request.param}/"
        arrays = {key.removeprefix(prefix): torch.from_numpy(stored[key]) for key in stored if key.startswith(prefix)}
    return CASES[request.param], arrays


def test_originals_then_mixed_rows(case):
    meta, arrays = case
    mixed = regmix(arrays["x"], arrays["x"][arrays["perm"]], meta["lam"])
    torch.testing.assert_close(mixed, torch.cat([arrays["x"], arrays["mixed"]]), atol=1e-6, rtol=1e-6)
    alone = regmix(arrays["x"], arrays["x"][arrays["perm"]], meta["lam"], mode="mixed_only")
    torch.testing.assert_close(alone, arrays["mixed"], atol=1e-6, rtol=1e-6)


def test_loss_and_its_gradient(case):
    meta, arrays = case
    logits = arrays["logits_2B"].clone().requires_grad_()
    loss = regmix_loss(logits, arrays["y"], arrays["y"][arrays["perm"]], meta["lam"])
    loss.backward()
    assert loss.item() == pytest.approx(meta["loss_clean_plus_mixed"], abs=1e-6)
    torch.testing.assert_close(logits.grad, arrays["grad_logits_2B"], atol=1e-6, rtol=1e-6)


def test_loss_of_mixed_rows_alone(case):
    meta, arrays = case
    loss = regmix_loss(arrays["logits_2B"][: meta["B"]], arrays["y"], arrays["y"][arrays["perm"]], meta["lam"], mode="mixed_only")
    assert loss.item() == pytest.approx(meta["loss_first_half_logits_as_mixed_only"], abs=1e-6)


def test_lambda_one_is_no_mixup():
    x, y, permutation = torch.randn(3, 5), torch.tensor([0, 1, 2]), torch.tensor([2, 0, 1])
    logits = torch.randn(3, 4)
    assert torch.equal(regmix(x, x[permutation], 1.0, mode="mixed_only"), x)
    plain = torch.nn.functional.cross_entropy(logits, y)
    torch.testing.assert_close(regmix_loss(logits, y, y[permutation], 1.0, mode="mixed_only"), plain)


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="cutmix"):
        regmix(torch.zeros(2, 2), torch.zeros(2, 2), 0.5, mode="cutmix")
