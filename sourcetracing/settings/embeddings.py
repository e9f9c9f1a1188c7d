"""Settings of pictures of embeddings."""

from __future__ import annotations

from dataclasses import dataclass

from sourcetracing.settings.declaring import SOME, setting

PROJECTIONS = ("pca", "tsne", "umap")


@dataclass
class EmbeddingPictures:
    """Pictures of embeddings, and numbers on how they lie (script 09)."""

    projections: list[str] = setting(
        list(PROJECTIONS), "ways to two dimensions, in the order of the panels", choices=PROJECTIONS, items=SOME
    )
    variants: list[str] = setting([], "acoustic variants that are shown and counted; empty = all stored")
    max_points: int = setting(
        2000, "rows in a picture; of more, a seeded draw that keeps the shares of splits and sources", at_least=10, at_most=1_000_000
    )
    fit_on: str = setting(
        "train_dev",
        "what PCA and UMAP are fitted on; train_dev: eval is transformed, as in the published notebook; all. t-SNE can only take all",
        choices=("train_dev", "all"),
    )
    metric: str = setting(
        "cosine", "cosine: embeddings get unit length first; euclidean: as they are, as published", choices=("cosine", "euclidean")
    )
    umap_neighbors: int = setting(15, "neighbours of a point that UMAP keeps together", at_least=2, at_most=1000)
    umap_min_dist: float = setting(0.1, "smallest distance of points in UMAP's plane", at_least=0, at_most=1)
    tsne_perplexity: float = setting(30.0, "about how many neighbours of a point t-SNE keeps together", at_least=1, at_most=10000)
    neighbors: int = setting(10, "k of the k-nearest-neighbour purity", at_least=1, at_most=10000)
    max_rows: int = setting(50000, "rows that the purity is computed from; of more, a seeded draw", at_least=10, at_most=10_000_000)
    silhouette_points: int = setting(
        3000, "rows that the silhouette is computed from (all pairs of them); a seeded draw", at_least=10, at_most=20000
    )
