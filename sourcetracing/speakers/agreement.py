"""What pseudo-speakers follow: the speakers that are known, or the language or the source of an utterance."""

from __future__ import annotations

import numpy as np
import pandas as pd

COMPARED = ("speaker", "language", "source")  # columns of utterances.csv that clusters may follow


def agreement(utterances: pd.DataFrame, clusters: np.ndarray) -> dict[str, dict[str, float]]:
    """How far clusters (N,) agree with what is known: for speaker, language and source the adjusted Rand index (0 chance, 1 the same) and
    the normalised mutual information, over the utterances where it is known; what is known of none is left out.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score  # a second, which the report need not spend

    found = {}
    for column in COMPARED:
        truth = utterances[column].fillna("").to_numpy() if column in utterances else np.array([])
        if not (known := truth != "").any():
            continue
        pair = truth[known], clusters[known]
        found[column] = {
            "utterances": int(known.sum()),
            "values": len(set(pair[0])),
            "adjusted_rand_index": float(adjusted_rand_score(*pair)),
            "normalized_mutual_information": float(normalized_mutual_info_score(*pair)),
        }
    return found


def what_clusters_follow(agreement: dict[str, dict[str, float]]) -> str:
    """In words, where `agreement` has speakers: whether the clusters follow something else more than them; "" where it has none."""
    indices = {name: match["adjusted_rand_index"] for name, match in agreement.items()}
    if (own := indices.pop("speaker", None)) is None or not indices:
        return ""
    strongest = max(indices, key=lambda name: indices[name])
    compared = f"adjusted Rand index {indices[strongest]:.2f} with the {strongest}, {own:.2f} with the speaker"
    if indices[strongest] <= own:
        return f"Clusters follow the speaker more than anything else that is known ({compared})."
    return (
        f"Clusters follow the {strongest} more than the speaker ({compared}): what Tables 2 and 6 say of seen and unseen speakers is to "
        f"that extent about the {strongest}."
    )
