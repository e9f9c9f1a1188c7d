"""How well embeddings gather by a label: silhouette and k-nearest-neighbour purity, in all their dimensions, not in a picture.

Silhouette (Rousseeuw 1987): mean of (b - a) / max(a, b), a = mean distance to one's own value, b = to the nearest other; -1 to 1.
Purity: the share of a row's k nearest rows that have its value; rows of the same utterance do not count, since its acoustic variants lie
next to each other whatever was learnt. Chance: that share among all rows that may count.
Distances are Euclidean, of unit-length embeddings where embedding_pictures.metric=cosine.
"""

from __future__ import annotations

import math

import faiss
import numpy as np
import pandas as pd
from sklearn.metrics import silhouette_score

from sourcetracing.embeddings.colouring import LABELS, label_texts
from sourcetracing.embeddings.sampling import stratified_rows
from sourcetracing.settings.embeddings import EmbeddingPictures

COLUMNS = ["rows_of", "label", "values", "rows", "silhouette", "knn_purity", "chance_purity", "neighbors", "silhouette_rows"]
TEXTS = ["system", "train", "rows_of", "label"]  # columns of numbers.csv that are no numbers


def label_quality(vectors: np.ndarray, index: pd.DataFrame, options: EmbeddingPictures, seed: int) -> pd.DataFrame:
    """COLUMNS for each label that has two values or more, of all rows and of eval alone; rows whose label is not known do not count.

    vectors: (N, E) float32; index: N rows of an embeddings' index. rows_of: "all" or "eval".
    """
    lines = []
    for rows_of, part in (("all", np.arange(len(index))), ("eval", np.flatnonzero(index["split"] == "eval"))):
        nearest: dict[bytes, np.ndarray] = {}  # most labels are known of all rows, so that one search serves them
        for label in LABELS:
            rows = part[(label_texts(index.iloc[part], label) != "").to_numpy()]
            if label_texts(index.iloc[rows], label).nunique() > 1:
                lines.append({"rows_of": rows_of, "label": label, **_of_label(vectors, index, rows, label, options, seed, nearest)})
    return pd.DataFrame(lines, columns=COLUMNS)


def _of_label(vectors: np.ndarray, index: pd.DataFrame, rows: np.ndarray, label: str, options, seed: int, nearest: dict) -> dict:
    chosen, few = (
        rows[stratified_rows(index.iloc[rows], count, seed, purpose)]
        for count, purpose in ((options.max_rows, "purity"), (options.silhouette_points, "silhouette"))
    )
    codes, utterances = (pd.factorize(values)[0] for values in (label_texts(index, label), index["utt_id"]))
    key = chosen.tobytes()
    if key not in nearest:
        nearest[key] = nearest_others(vectors[chosen], utterances[chosen], options.neighbors)
    return {
        "values": len(np.unique(codes[rows])),
        "rows": len(rows),
        "silhouette": silhouette(vectors[few], codes[few]),
        "knn_purity": purity(codes[chosen], nearest[key]),
        "chance_purity": chance_purity(codes[chosen], utterances[chosen]),
        "neighbors": nearest[key].shape[1],
        "silhouette_rows": len(few),
    }


def silhouette(vectors: np.ndarray, codes: np.ndarray) -> float:
    """Mean silhouette of vectors (N, E) with values (N,); nan where it is not defined (one value, or each row its own)."""
    return float(silhouette_score(vectors, codes)) if 1 < len(np.unique(codes)) < len(codes) else math.nan


def nearest_others(vectors: np.ndarray, utterances: np.ndarray, k: int) -> np.ndarray:
    """Positions (N, k) of each row's nearest rows of other utterances; fewer than k where there are not as many.

    vectors: (N, E) float32; utterances: (N,) what must not be shared.
    """
    most_own = int(np.unique(utterances, return_counts=True)[1].max())
    k = min(k, len(vectors) - most_own)
    if k < 1:
        return np.empty((len(vectors), 0), dtype=np.int64)
    search = faiss.IndexFlatL2(vectors.shape[1])
    search.add(np.ascontiguousarray(vectors))
    _, found = search.search(np.ascontiguousarray(vectors), k + most_own)
    is_own = utterances[found] == utterances[:, None]
    others_first = np.argsort(is_own, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(found, others_first, axis=1)


def purity(codes: np.ndarray, nearest: np.ndarray) -> float:
    """Share of the neighbours (N, k) that have the value (N,) of their row."""
    return float((codes[nearest] == codes[:, None]).mean()) if nearest.size else math.nan


def chance_purity(codes: np.ndarray, utterances: np.ndarray) -> float:
    """What `purity` is on average for neighbours drawn at random from the other utterances' rows."""
    table = pd.DataFrame({"code": codes, "utterance": utterances})
    of_value, of_utterance, of_both = (
        table.groupby(by)["code"].transform("size").to_numpy() for by in ("code", "utterance", ["code", "utterance"])
    )
    others = len(table) - of_utterance
    return float(((of_value - of_both) / others).mean()) if (others > 0).all() else math.nan
