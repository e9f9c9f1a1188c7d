"""Selection and report part of the real-life sets: no group in both, both classes in each, the same for any order of rows."""

import numpy as np
import pandas as pd
import pytest

from sourcetracing.detection.experiments.scoring import part_masks, selection_mask
from sourcetracing.errors import UserError
from sourcetracing.settings.reading import load_settings


def made_up_rows(num_groups=30, seed=0):
    """Two corpora; speakers with both classes, with one, of very different size."""
    generator, rows = np.random.default_rng(seed), []
    for corpus in ("itw", "ai4trust"):
        for number in range(num_groups):
            labels = [["bonafide"], ["spoof"], ["bonafide", "spoof"]][number % 3]
            rows += [(corpus, f"speaker{number}", label) for label in labels for _ in range(generator.integers(1, 20))]
    return pd.DataFrame(rows, columns=["corpus", "group", "label"])


def test_parts_share_no_group_and_split_each_class_of_each_corpus():
    rows = made_up_rows()
    mask = selection_mask(load_settings(["selection.fraction=0.4"]), rows)
    for positions in rows.groupby("corpus").indices.values():
        part, chosen = rows.iloc[positions], mask[positions]
        assert not set(part["group"][chosen]) & set(part["group"][~chosen])
        for label in ("bonafide", "spoof"):
            assert 0.3 < chosen[part["label"] == label].mean() < 0.5


def test_order_of_rows_changes_nothing_and_the_seed_does():
    rows = made_up_rows()
    order = np.random.default_rng(1).permutation(len(rows))
    settings = load_settings([])
    assert (selection_mask(settings, rows)[order] == selection_mask(settings, rows.iloc[order])).all()
    assert (selection_mask(settings, rows) != selection_mask(load_settings(["selection.seed=1"]), rows)).any()


def test_one_corpus_does_not_depend_on_the_others():
    rows = made_up_rows()
    alone = rows["corpus"] == "itw"
    assert (selection_mask(load_settings([]), rows)[alone] == selection_mask(load_settings([]), rows[alone])).all()


def test_parts_are_everything_and_two_halves():
    parts = part_masks(load_settings([]), made_up_rows())
    assert parts["all"].all() and (parts["selection"] ^ parts["report"]).all() and parts["selection"].any() and parts["report"].any()


def test_a_class_that_one_speaker_has_alone_is_refused():
    rows = pd.DataFrame({"corpus": "itw", "group": ["a"] * 5 + ["b", "c", "d"], "label": ["bonafide"] * 5 + ["spoof"] * 3})
    with pytest.raises(UserError, match="itw: its .* part has no bonafide file"):
        selection_mask(load_settings([]), rows)
