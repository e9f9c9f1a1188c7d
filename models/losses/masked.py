"""Cross-entropy of rows of which some have no label."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

NO_LABEL = -1


def masked_cross_entropy(logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Sum of the cross-entropies of those rows (B, C) whose label (B,) is not NO_LABEL, over the number of *all* rows.

    So a row counts the same whichever batch it is in, and a batch cut into pieces, or shared by processes, gives the same sum. Rows without
    a label have no gradient; of a batch without any label the loss is 0.
    """
    total = F.cross_entropy(logits, labels, ignore_index=NO_LABEL, reduction="sum", label_smoothing=label_smoothing)
    return total / len(labels)
