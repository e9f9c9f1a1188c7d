"""When kept answers hold: not after an operation was changed; and a disk that does not answer costs none of them."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from sourcetracing.robustness import answers
from sourcetracing.robustness.answers import COLUMNS, made_of, read_answers
from sourcetracing.settings.operations import OPERATIONS
from sourcetracing.settings.schema import Settings
from sourcetracing.training.runs import front_end_key

ITEM = SimpleNamespace(digest="0" * 32)


def test_another_parameter_or_function_is_another_answer(monkeypatch):
    entry = OPERATIONS["noise_10db"]
    before = made_of(ITEM, "noise_10db", {})
    changes = {"parameters": MappingProxyType({**entry.parameters, "snr_db": -30})}, {"target": OPERATIONS["louder_6db"].target}
    for change in changes:
        monkeypatch.setattr(answers, "steps_of", lambda name, change=change: [replace(entry, **change)])
        assert made_of(ITEM, "noise_10db", {}) != before
    monkeypatch.undo()
    assert made_of(ITEM, "noise_10db", {}) == before


def test_a_disk_that_does_not_answer_costs_nothing_and_damage_one_file(tmp_path, monkeypatch):
    wanted = SimpleNamespace(folder=tmp_path)
    rows = pd.DataFrame([["clean", "u", "0", np.zeros(2), np.zeros(3)]], columns=COLUMNS)
    rows.to_parquet(tmp_path / "1.parquet")
    (tmp_path / "2.parquet").write_bytes((tmp_path / "1.parquet").read_bytes()[:-9])
    read = pd.read_parquet

    def fails(*words, **more):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(answers.pd, "read_parquet", fails)
    with pytest.raises(OSError, match="Input/output"):
        read_answers(wanted)
    assert len(list(tmp_path.glob("*.parquet"))) == 2
    monkeypatch.setattr(answers.pd, "read_parquet", read)
    assert len(read_answers(wanted)) == 1
    assert [path.name for path in tmp_path.glob("*.parquet")] == ["1.parquet"]


def test_runs_share_features_whatever_variants_they_do_not_have_are_set_to():
    """Else script 12 finds no pair to compare, and 04 makes the same store again."""
    one, other = Settings(), Settings()
    one.augment.variants = other.augment.variants = ["original", "noise"]
    other.augment.codecs, other.rawboost.algorithm = ["mp3_16k"], 1
    assert front_end_key(one) == front_end_key(other)
    other.augment.variants = one.augment.variants = ["original", "codec"]
    assert front_end_key(one) != front_end_key(other)
