"""No stage that holds tables of rows grows faster than they do: function calls and memory counted at two sizes, no times."""

from __future__ import annotations

import importlib
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from types import FrameType, ModuleType

import numpy as np
import pytest

from tests.support.places import ROOT

FEW, TIMES = 8_000, 4
TOLERANCE, SPARE_CALLS, SPARE_BYTES = 1.3, 5_000, 2_000_000


@pytest.fixture(scope="module")
def growth() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module("growth")


def counted(work: Callable[[], object]) -> tuple[int, int]:
    """(function calls, Python's and C's, peak bytes) of some work."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    tracemalloc.start()
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return calls, peak


def grew_too_fast(few: tuple[int, int], many: tuple[int, int], times: float = TIMES) -> list[str]:
    limits = [TOLERANCE * times * count + spare for count, spare in zip(few, (SPARE_CALLS, SPARE_BYTES), strict=True)]
    return [name for name, count, limit in zip(("calls", "bytes"), many, limits, strict=True) if count > limit]


def counts_of(growth: ModuleType, root, num_rows: int, names: list[str]) -> dict[str, tuple[int, int]]:
    """Of some stages; those before them run uncounted."""
    root.mkdir()
    scene, counts = growth.Scene(root, num_rows, growth.settings_for(root)), {}
    for stage in growth.STAGES:
        if stage.__name__ in names:
            counts[stage.__name__] = counted(lambda stage=stage: stage(scene))
        elif len(counts) < len(names):
            stage(scene)
    return counts


def verdicts(growth: ModuleType, tmp_path, names: list[str], few_rows: int = FEW) -> dict[str, list[str]]:
    counts_of(growth, tmp_path / "first", 4_000, names)  # what is imported or cached only once
    few, many = (counts_of(growth, tmp_path / f"{num} rows", num, names) for num in (few_rows, few_rows * TIMES))
    return {name: grew_too_fast(few[name], many[name]) for name in names}


def test_store_and_selection_are_linear(growth, tmp_path):
    names = ["grouped_split", "store", "select"]
    assert verdicts(growth, tmp_path, names, 4_000) == dict.fromkeys(names, [])


@pytest.mark.slow
def test_every_stage_is_linear(growth, tmp_path):
    names = [stage.__name__ for stage in growth.STAGES]
    assert verdicts(growth, tmp_path, names) == dict.fromkeys(names, [])


def test_what_is_quadratic_is_noticed():
    def loops(num: int) -> None:
        for _ in range(num):
            for number in range(num):
                abs(number)

    assert grew_too_fast(counted(lambda: loops(100)), counted(lambda: loops(400))) == ["calls"]
    assert grew_too_fast(counted(lambda: np.ones((800, 800))), counted(lambda: np.ones((3200, 3200)))) == ["bytes"]


def test_the_benchmark_says_so_too(growth):
    few, many = {"seconds": 1.0, "peak_mb": 200.0}, {"seconds": 4.1, "peak_mb": 500.0}
    assert growth.verdict(few, many, 100.0, 4) == "linear"
    assert growth.verdict(few, {**many, "seconds": 16.0}, 100.0, 4) == "FASTER THAN LINEAR in time"
    assert growth.verdict(few, {**many, "peak_mb": 1700.0}, 100.0, 4) == "FASTER THAN LINEAR in memory"
