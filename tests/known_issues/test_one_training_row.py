"""A language with one training row: ValueError of BatchNorm in the middle of training."""

from __future__ import annotations

import pytest

from sourcetracing.errors import UserError
from sourcetracing.training.objectives import CrossEntropy
from tests.support.small_store import small_settings


@pytest.mark.parametrize("mixup", ["none", "regmix", "mixed_only"])
def test_a_single_row_is_refused_with_what_to_do(tmp_path, store, mixup):
    settings = small_settings(tmp_path, f"train.mixup={mixup}")
    index = store.index
    store.index = index[(index["split"] != "train") | (index["utt_id"] == "en/a/0")]
    store.index = store.index[(store.index["split"] != "train") | (store.index["variant"] == "original")]
    with pytest.raises(UserError, match="1 training rows in en: BatchNorm needs 2"):
        CrossEntropy.train_rows(store, settings, ["en"])


def test_so_is_an_epoch_of_one_row(tmp_path, store):
    settings = small_settings(tmp_path, "train.rows_per_epoch=1")
    with pytest.raises(UserError, match=r"train\.rows_per_epoch"):
        CrossEntropy.train_rows(store, settings, ["en"])
