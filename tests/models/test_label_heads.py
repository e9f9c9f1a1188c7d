"""Further heads: their loss by hand, holes without gradient, the same sum however a batch is cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import nn

from sourcetracing.models.backends.label_heads import LabelHeads
from sourcetracing.models.backends.resnet18 import ResNet18
from sourcetracing.models.losses.masked import NO_LABEL, masked_cross_entropy
from sourcetracing.models.losses.mixup import regmix_loss

GENERATOR = np.random.default_rng(3)
LOGITS = GENERATOR.normal(size=(12, 4))
LABELS = np.array([0, NO_LABEL, 3, 2, NO_LABEL, 1])
PARTNERS = np.array([NO_LABEL, 1, 2, NO_LABEL, NO_LABEL, 0])


def by_hand(logits: np.ndarray, labels: np.ndarray) -> float:
    """Minus the log-probabilities of the labels that are known, summed row by row, over all rows."""
    return -sum(log_softmax(row)[label] for row, label in zip(logits, labels, strict=True) if label != NO_LABEL) / len(labels)


def test_loss_is_the_sum_over_rows_with_a_label_over_all_rows():
    loss = masked_cross_entropy(torch.from_numpy(LOGITS[:6]), torch.from_numpy(LABELS))
    assert loss.item() == pytest.approx(by_hand(LOGITS[:6], LABELS), rel=1e-12)


@pytest.mark.parametrize("mode", ["regmix", "mixed_only"])
def test_mixed_rows_with_holes_on_either_side(mode):
    lam, logits = 0.3, LOGITS if mode == "regmix" else LOGITS[6:]
    found = regmix_loss(
        torch.from_numpy(logits), torch.from_numpy(LABELS), torch.from_numpy(PARTNERS), lam, mode=mode, cross_entropy=masked_cross_entropy
    )
    mixed = lam * by_hand(LOGITS[6:], LABELS) + (1 - lam) * by_hand(LOGITS[6:], PARTNERS)
    expected = mixed if mode == "mixed_only" else (by_hand(LOGITS[:6], LABELS) + mixed) / 2
    assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_row_without_label_has_no_gradient_and_a_batch_without_any_gives_nought(smoothing):
    logits = torch.from_numpy(LOGITS[:6]).requires_grad_()
    masked_cross_entropy(logits, torch.from_numpy(LABELS), label_smoothing=smoothing).backward()
    has_gradient = (logits.grad != 0).any(dim=1).numpy()
    assert (has_gradient == (LABELS != NO_LABEL)).all()
    logits.grad = None
    loss = masked_cross_entropy(logits, torch.full((6,), NO_LABEL), label_smoothing=smoothing)
    loss.backward()
    assert loss.item() == 0 and (logits.grad == 0).all()


def test_pieces_of_a_batch_add_up_to_the_batch():
    logits, labels = torch.from_numpy(LOGITS[:6]), torch.from_numpy(LABELS)
    pieces = [masked_cross_entropy(logits[piece], labels[piece]) * len(piece) / 6 for piece in ([0, 1], [2, 3, 4], [5])]
    assert sum(pieces).item() == pytest.approx(masked_cross_entropy(logits, labels).item(), rel=1e-12)


def test_heads_stand_behind_the_classes_and_leave_those_as_they_were():
    torch.manual_seed(0)
    plain = ResNet18(3, width=4).eval()
    with_heads = LabelHeads(plain, [2, 5]).eval()
    features = torch.randn(4, 20, 30)
    (embedding, logits), (_, everything) = plain(features), with_heads(features)
    assert everything.shape == (4, 3 + 2 + 5) and torch.equal(everything[:, :3], logits)
    first, second = with_heads.heads
    assert isinstance(first, nn.Linear)
    torch.testing.assert_close(everything[:, 3:5], embedding @ first.weight.T + first.bias)
    torch.testing.assert_close(everything[:, 5:], embedding @ second.weight.T + second.bias)
