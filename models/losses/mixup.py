"""Mixup as published source tracing uses it ("regmix"): convex combinations of two rows, trained on beside the originals."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

MODES = ("regmix", "mixed_only")


def regmix(x: Tensor, partner: Tensor, lam: float, *, mode: str = "regmix") -> Tensor:
    """Rows (B, ...) and the rows they are mixed with -> network input: originals then mixed rows (2B, ...), or the mixed rows (B, ...).

    Mixed = lam * x + (1 - lam) * partner; lam in [0, 1] ~ Beta(alpha, alpha), one for a batch; the partners are a permutation of the
    batch. mode: "regmix" or "mixed_only"; ValueError for another. Source: mixup, Zhang et al. 2018 (arXiv:1710.09412).
    """
    check_mode(mode)
    mixed = torch.lerp(partner, x, lam)
    return mixed if mode == "mixed_only" else torch.cat([x, mixed])


def regmix_loss(
    logits: Tensor,
    y: Tensor,
    partner_y: Tensor,
    lam: float,
    *,
    mode: str = "regmix",
    label_smoothing: float = 0.0,
    cross_entropy: Callable[..., Tensor] = F.cross_entropy,
) -> Tensor:
    """Mean cross-entropy of logits (2B or B, C) given labels (B,): half of originals, half of mixed rows; or of mixed rows alone.

    A mixed row's loss is lam * CE(y) + (1 - lam) * CE(partner_y). label_smoothing: share of each label that is spread over all classes.
    cross_entropy: of logits (B, C) and labels (B,), such as `masked_cross_entropy`.
    """
    check_mode(mode)
    mixed_logits = logits if mode == "mixed_only" else logits[len(y) :]
    cross_entropy = partial(cross_entropy, label_smoothing=label_smoothing)
    loss = lam * cross_entropy(mixed_logits, y) + (1 - lam) * cross_entropy(mixed_logits, partner_y)
    return loss if mode == "mixed_only" else (cross_entropy(logits[: len(y)], y) + loss) / 2


def check_mode(mode: str) -> None:
    """Raises ValueError unless the mode is one of MODES."""
    if mode not in MODES:
        raise ValueError(f"mixup mode {mode!r} is none of {', '.join(MODES)}")
