"""Figures of embeddings compared pair by pair: verification EER, retrieval mAP, nearest neighbours. Memory stays flat: a block at a time.

Rows are embeddings (N, E) of length 1; `utterances` (N,) names what they were made from: acoustic variants of one recording are no trial.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from sourcetracing.metrics.classification import eer_of_counts

BLOCK_ROWS = 256
NUM_BINS = 200_001  # of cosines from -1 to 1: closer ones than 1e-5 count as equal


def unit_rows(embeddings: np.ndarray) -> np.ndarray:
    """Embeddings (N, E) float32 at length 1; rows of zeros stay zeros."""
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return (embeddings / np.where(lengths == 0, 1, lengths)).astype(np.float32)


def pair_counts(embeddings: np.ndarray, labels: np.ndarray, utterances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many pairs of each cosine (NUM_BINS,) are of one class and of two, over all pairs of different utterances, each counted once."""
    same_class, two_classes = np.zeros(NUM_BINS, np.int64), np.zeros(NUM_BINS, np.int64)
    for start, cosines, is_trial in _blocks(embeddings, utterances):
        rows = np.arange(start, start + len(cosines))
        is_trial &= np.arange(len(labels)) > rows[:, None]
        bins = np.rint((cosines + 1) * ((NUM_BINS - 1) / 2)).astype(np.int64).clip(0, NUM_BINS - 1)
        is_same = labels[rows, None] == labels
        same_class += np.bincount(bins[is_trial & is_same], minlength=NUM_BINS)
        two_classes += np.bincount(bins[is_trial & ~is_same], minlength=NUM_BINS)
    return same_class, two_classes


def verification_eer(embeddings: np.ndarray, labels: np.ndarray, utterances: np.ndarray) -> float:
    """EER of telling by their cosine whether two utterances are of one source; nan without pairs of both kinds."""
    same_class, two_classes = pair_counts(embeddings, labels, utterances)
    if not same_class.any() or not two_classes.any():
        return float("nan")
    return eer_of_counts(same_class[::-1], two_classes[::-1], np.linspace(1, -1, NUM_BINS))[0]


def mean_average_precision(embeddings: np.ndarray, labels: np.ndarray, utterances: np.ndarray) -> float:
    """Each row in turn looks for the others of its source by cosine: mean of the average precisions; nan where nobody finds anyone.

    Rows of equal cosine are one step of the ranking, so their order does not matter.
    """
    found = [torch.zeros(0, dtype=torch.float64)]
    for start, cosines, is_trial in _blocks(embeddings, utterances):
        cosines[~is_trial] = -np.inf
        is_hit = is_trial & (labels[start : start + len(cosines), None] == labels)
        queries = is_hit.any(axis=1)
        found.append(_average_precisions(torch.from_numpy(cosines[queries]), torch.from_numpy(is_hit[queries])))
    return torch.cat(found).mean().item()  # nan of none


def _average_precisions(scores: torch.Tensor, is_hit: torch.Tensor) -> torch.Tensor:
    """(B, N) -> (B,): precision at the end of each group of equal scores, averaged over the hits."""
    ordered, order = scores.sort(dim=1, descending=True)
    hits = is_hit.gather(1, order)
    places = torch.arange(scores.shape[1]).expand_as(ordered)
    is_last = torch.ones_like(hits)
    is_last[:, :-1] = ordered[:, :-1] != ordered[:, 1:]
    ends = places.masked_fill(~is_last, scores.shape[1]).flip(1).cummin(dim=1).values.flip(1)
    precision = hits.cumsum(dim=1).gather(1, ends).double() / (ends + 1)
    return (precision * hits).sum(dim=1) / hits.sum(dim=1)


def nearest_neighbour_classes(
    gallery: np.ndarray, gallery_labels: np.ndarray, queries: np.ndarray, num_neighbours: int, num_classes: int
) -> np.ndarray:
    """Class (Q,) that most of the nearest gallery rows have; of equal votes the one with the higher sum of cosines wins."""
    import faiss

    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(np.ascontiguousarray(gallery))
    cosines, neighbours = index.search(np.ascontiguousarray(queries), min(num_neighbours, len(gallery)))
    votes = np.zeros((len(queries), num_classes))
    np.add.at(votes, (np.arange(len(queries))[:, None], gallery_labels[neighbours]), 1 + 1e-3 * cosines)
    return votes.argmax(axis=1)


def _blocks(embeddings: np.ndarray, utterances: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(first row, cosines (B, N) to all rows, whether they are of different utterances (B, N))."""
    _, ids = np.unique(utterances, return_inverse=True)
    for start in range(0, len(embeddings), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        yield start, embeddings[rows] @ embeddings.T, ids[rows, None] != ids
