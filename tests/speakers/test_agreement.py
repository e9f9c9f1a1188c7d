"""Adjusted Rand indices from counts of pairs, and what is said of clusters that follow the source."""

from __future__ import annotations

from math import comb

import numpy as np
import pandas as pd
import pytest

from sourcetracing.report.table_tabs import speakers_tab
from sourcetracing.speakers.agreement import agreement, what_clusters_follow


def rand_by_pairs(one: np.ndarray, other: np.ndarray) -> float:
    """Hubert and Arabie 1985, Eq. 5: pairs together in both, less what chance gives, over the most that it could be."""
    first, second = np.triu_indices(len(one), 1)
    together = [labels[first] == labels[second] for labels in (one, other)]
    both, (a, b), pairs = (together[0] & together[1]).sum(), (part.sum() for part in together), comb(len(one), 2)
    chance = a * b / pairs
    return (both - chance) / ((a + b) / 2 - chance)


def test_indices_are_those_of_pairs_over_the_utterances_where_it_is_known():
    generator = np.random.default_rng(1)
    sources, speakers = generator.integers(0, 3, 60).astype(str), generator.integers(0, 5, 60).astype(str)
    clusters = np.where(generator.random(60) < 0.6, sources.astype(int), generator.integers(0, 3, 60))
    speakers[:10] = ""
    found = agreement(pd.DataFrame({"source": sources, "speaker": speakers}), clusters)
    assert found["source"]["adjusted_rand_index"] == pytest.approx(rand_by_pairs(sources, clusters))
    assert found["speaker"]["adjusted_rand_index"] == pytest.approx(rand_by_pairs(speakers[10:], clusters[10:]))
    assert found["speaker"]["utterances"] == 50
    assert "language" not in found


def test_clusters_that_follow_the_source_are_said_to():
    indices = {"speaker": 0.09, "language": 0.02, "source": 0.28}
    match = {name: {"adjusted_rand_index": value} for name, value in indices.items()}
    text = what_clusters_follow(match)
    assert "follow the source more than the speaker" in text
    assert "0.28 with the source, 0.09 with the speaker" in text
    assert text in speakers_tab(pd.DataFrame({"held_out": ["en"]}), {"agreement": match}, None)
    match["speaker"]["adjusted_rand_index"] = 0.5
    assert "Clusters follow the speaker more" in what_clusters_follow(match)
    del match["speaker"]
    assert what_clusters_follow(match) == ""
    assert what_clusters_follow({}) == ""
