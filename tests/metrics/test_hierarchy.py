"""Sums of probabilities, ancestors and weighted sums against pandas, scikit-learn and counting by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from sklearn.metrics import f1_score

from sourcetracing.metrics.hierarchy import hierarchical, label_groups, macro_f1_of_sums, summed, weighted_sums


def test_equal_labels_are_one_group_and_missing_ones_stay_alone():
    names, groups = label_groups(["vits", "", "bark", "vits", "", "nan"])
    assert names == ["vits", "", "bark", "", "nan"]
    assert groups.tolist() == [0, 1, 2, 0, 3, 4]
    assert len(label_groups([])[1]) == 0


def test_probabilities_of_labels_are_sums_by_pandas():
    labels = ["x", "y", "x", "z", "y"]
    probabilities = np.random.default_rng(0).dirichlet(np.ones(5), 40)
    names, groups = label_groups(labels)
    found = pd.DataFrame(summed(probabilities, groups), columns=names)
    wanted = pd.DataFrame(probabilities.T).groupby(labels).sum().T
    np.testing.assert_allclose(found[wanted.columns], wanted)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_hierarchical_figures_by_hand():
    # Two rows: a wrong source of the right architecture and vocoder (2 of 4 shared), and a source without labels for one that has four.
    precision, recall, f = hierarchical(np.array(2.0), np.array(4 + 1), np.array(4 + 4))
    assert (precision, recall) == (2 / 5, 2 / 8)
    assert np.isclose(f, 2 * (2 / 5) * (2 / 8) / (2 / 5 + 2 / 8))
    assert np.isnan(hierarchical(np.array(0.0), np.array(0.0), np.array(0.0))[2])


def test_macro_f1_of_sums_is_that_of_scikit_learn():
    generator = np.random.default_rng(1)
    true, answered = generator.integers(0, 4, 200), generator.integers(0, 6, 200)  # 4 and 5 are answers that no row has
    hits = np.array([((true == k) & (answered == k)).sum() for k in range(5)])
    predicted, support = (np.array([(values == k).sum() for k in range(5)]) for values in (answered, true))
    assert np.isclose(macro_f1_of_sums(hits, predicted, support), f1_score(true, answered, labels=range(4), average="macro"))
    assert np.isnan(macro_f1_of_sums(np.zeros(3), np.zeros(3), np.zeros(3)))


def test_weighted_sums_are_those_of_rows_repeated(monkeypatch):
    generator = np.random.default_rng(2)
    counts, scale = generator.integers(0, 4, (7, 9)).astype(np.uint16), generator.uniform(1, 2, 9)
    units, columns = generator.integers(2, 8, 30), generator.integers(0, 3, (30, 5)).astype(float)
    wanted = [sum(counts[draw, unit] * scale[unit] * row for unit, row in zip(units, columns, strict=True)) for draw in range(7)]
    np.testing.assert_allclose(weighted_sums(counts, scale, units, csr_array(columns)), wanted)
    monkeypatch.setattr("sourcetracing.metrics.hierarchy.BLOCK_ELEMENTS", 10)
    np.testing.assert_allclose(weighted_sums(counts, scale, units, csr_array(columns)), wanted)
