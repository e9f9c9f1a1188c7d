"""UMAP, apart from the others: importing and compiling it takes many seconds."""

from __future__ import annotations

import numpy as np
import pytest

from sourcetracing.embeddings.projections import project
from sourcetracing.embeddings.quality import nearest_others, purity
from sourcetracing.settings.embeddings import EmbeddingPictures


@pytest.mark.slow
def test_umap_is_seeded_and_transforms_what_it_was_not_fitted_on():
    generator = np.random.default_rng(1)
    codes = np.arange(90) % 3
    vectors = (3 * np.eye(3)[codes] + 0.3 * generator.normal(size=(90, 3))).astype(np.float32)
    is_fit = np.arange(90) < 60
    first, again = (project("umap", vectors, is_fit, EmbeddingPictures(), 7) for _ in range(2))
    np.testing.assert_array_equal(first.points, again.points)
    assert first.points.shape == (90, 2)
    assert "train + dev" in first.note
    assert purity(codes, nearest_others(first.points, np.arange(90), 5)) > 0.95
