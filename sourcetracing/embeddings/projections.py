"""From E dimensions to two: PCA, t-SNE, UMAP. Seeded, one thread: the same embeddings give the same picture."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from sourcetracing.errors import UserError
from sourcetracing.runtime.extras import needs
from sourcetracing.settings.embeddings import EmbeddingPictures

NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
FEWEST_POINTS = 10


@dataclass(frozen=True)
class Projection:
    """points: (N, 2) float32; note: what the picture has to say of it."""

    name: str
    points: np.ndarray
    note: str


def prepared(embeddings: np.ndarray, metric: str) -> np.ndarray:
    """Embeddings (N, E) as float32, of unit length for cosine: Euclidean distances then order pairs as cosines do. Raises `UserError`."""
    vectors = np.asarray(embeddings, dtype=np.float32)
    if not np.isfinite(vectors).all():
        raise UserError("the embeddings hold values that are not finite: this run has not learnt anything. Train it with a lower train.lr")
    if metric == "euclidean":
        return vectors
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, np.finfo(np.float32).tiny)


def project(name: str, vectors: np.ndarray, is_fit: np.ndarray, options: EmbeddingPictures, seed: int) -> Projection:
    """The vectors (N, E) in the plane. is_fit: (N,) bool, those that PCA and UMAP are fitted on; the others are transformed.

    Raises `UserError` for fewer than 10 points.
    """
    if len(vectors) < FEWEST_POINTS:
        raise UserError(f"{len(vectors)} embeddings are too few for a picture; it takes {FEWEST_POINTS}")
    if is_fit.sum() < FEWEST_POINTS:
        is_fit = np.ones(len(vectors), dtype=bool)
    points, note = {"pca": _pca, "tsne": _tsne, "umap": _umap}[name](vectors, is_fit, options, seed)
    return Projection(name, points.astype(np.float32), note)


def _fitted_on(is_fit: np.ndarray) -> str:
    return "all points" if is_fit.all() else "train + dev, eval transformed"


def _pca(vectors: np.ndarray, is_fit: np.ndarray, options: EmbeddingPictures, seed: int) -> tuple[np.ndarray, str]:
    from sklearn.decomposition import PCA

    pca = PCA(2, svd_solver="full").fit(vectors[is_fit].astype(np.float64))
    share = np.nan_to_num(pca.explained_variance_ratio_).sum()
    return pca.transform(vectors), f"{100 * share:.0f} % of the variance; fitted on {_fitted_on(is_fit)}"


def _tsne(vectors: np.ndarray, is_fit: np.ndarray, options: EmbeddingPictures, seed: int) -> tuple[np.ndarray, str]:
    from sklearn.manifold import TSNE

    perplexity = min(options.tsne_perplexity, (len(vectors) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed % 2**32)
    with threadpool_limits(1, user_api="openmp"):  # threads add up in an order of their own, so the picture would differ each time
        points = tsne.fit_transform(vectors)
    return points, f"perplexity {perplexity:.3g}; fitted on all points"


def _umap(vectors: np.ndarray, is_fit: np.ndarray, options: EmbeddingPictures, seed: int) -> tuple[np.ndarray, str]:
    with needs("pictures", "embedding_pictures.projections=[umap]"):
        from umap import UMAP  # takes seconds to import

    neighbors = min(options.umap_neighbors, int(is_fit.sum()) - 1)
    umap = UMAP(n_neighbors=neighbors, min_dist=options.umap_min_dist, random_state=seed % 2**32, n_jobs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that graphs of few points fall into parts
        points = np.empty((len(vectors), 2))
        points[is_fit] = umap.fit_transform(vectors[is_fit])
        if not is_fit.all():
            points[~is_fit] = umap.transform(vectors[~is_fit])
    return points, f"{neighbors} neighbours; fitted on {_fitted_on(is_fit)}"
