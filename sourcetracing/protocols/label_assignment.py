"""Which number a source has: label_assignment.txt as the special session's baselines write it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

KNOWN, UNKNOWN = "ID", "OOD"  # in-domain and out-of-domain, in the baselines' words


def assign_labels(sources: Iterable[str], classes: Sequence[str]) -> pd.DataFrame:
    """Columns class_id, type, model_name: the classes in their order, then every other source in the order in which it first appears.

    sources: one name per utterance, in protocol order (train, dev, eval).
    """
    others = [source for source in dict.fromkeys(sources) if source not in set(classes)]
    names = [*classes, *others]
    types = [KNOWN] * len(classes) + [UNKNOWN] * len(others)
    return pd.DataFrame({"class_id": range(len(names)), "type": types, "model_name": names})


def format_labels(labels: pd.DataFrame) -> str:
    """Lines `name padded to 50|id padded to 3|ID or OOD`, sorted by id."""
    return "".join(f"{row.model_name:<50}|{row.class_id:<3}|{row.type}\n" for row in labels.itertuples())
