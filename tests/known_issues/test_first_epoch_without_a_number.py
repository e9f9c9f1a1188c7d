"""A first epoch whose dev loss was not a number was never replaced: no comparison with it is true."""

from __future__ import annotations

import itertools
import math

import pytest

from sourcetracing.training.state import is_better

NAN = math.nan


@pytest.mark.parametrize("select", ["dev_loss", "dev_macro_f1", "train_loss"])
def test_a_number_replaces_what_is_none_and_never_the_other_way_round(select):
    none = {"dev_loss": NAN, "dev_macro_f1": NAN, "train_loss": NAN}
    some = {"dev_loss": 5.0, "dev_macro_f1": 0.0, "train_loss": 5.0}
    assert is_better(none, None, select) and is_better(some, none, select)
    assert not is_better(none, some, select) and not is_better(none, dict(none), select)


def test_equal_macro_f1_is_decided_by_a_loss_that_is_a_number():
    rows = [{"dev_macro_f1": 0.5, "dev_loss": loss} for loss in (NAN, math.inf, 2.0, 1.0)]
    for first, second in itertools.permutations(rows, 2):
        assert is_better(second, first, "dev_macro_f1") == (rows.index(second) > max(rows.index(first), 1))
