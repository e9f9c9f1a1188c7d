"""benchmarks/real_scale.py: what it extrapolates, computed once more; and all of it in miniature."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from types import ModuleType

import pytest

from tests.support.places import ROOT

STAGES = ("02 protocol", "noise bank", "04 LFCC x 5", "train lfcc_aasist", "06 scores, clean", "13 tables")


@pytest.fixture
def module(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("real_scale")


def outcomes(module: ModuleType, utterances: int, seconds: float, memory: int, said: dict | None = None) -> list:
    """A walk in which each stage takes `seconds`; training says a step of 1 s and a dev row of 10 ms."""
    own = {"noise bank": {"rooms": 1.0, "noises": 2.0}, "train lfcc_aasist": {"step": 1.0, "dev_row": 0.01, **(said or {})}}
    return [module.Outcome(name, utterances, seconds, memory, 1000 * utterances, own.get(name, {})) for name in STAGES]


def hours_of(lines: list[str], name: str) -> float:
    return float(next(re.search(r"([\d.]+) h on 2 cores", line)[1] for line in lines if line.strip().startswith(name)))


def test_table_4_from_rates(module):
    small, large = outcomes(module, 100, 11.0, 10), outcomes(module, 400, 14.0, 10)  # 10 s to start, 10 ms an utterance
    lines = list(module.table_lines(small, large, 2))
    assert hours_of(lines, "04 LFCC x 5") == pytest.approx((10 + 0.01 * 11_700) / 3600, abs=0.006)
    epoch = 366 * 1.0 + 1_950 * 0.01  # 1,170 x 5 rows, 16 at a time; 390 dev utterances in five variants
    assert hours_of(lines, "lfcc_aasist, 6 cells") == pytest.approx(6 * 50 * epoch / 3600, abs=0.006)
    assert hours_of(lines, "06 scores") == pytest.approx((10 + 6 * 5 * 0.01 * 11_700) / 3600, abs=0.006)
    hours_of_noise = 8 * 60 / 3600  # eight files of 20 s in each of three categories
    assert hours_of(lines, "noise bank") == pytest.approx((2.0 * 109 / hours_of_noise + 1.0 * 60_000 / 200) / 3600, abs=0.006)
    names = ("02 protocol", "noise bank", "04 LFCC", "lfcc_aasist", "06 scores")
    assert hours_of(lines, "all ") == pytest.approx(sum(hours_of(lines, name) for name in names), abs=0.03)
    assert any("one GPU: not measured" in line for line in lines)


def test_what_grows_faster_is_named(module):
    small = outcomes(module, 100, 1.0, 1000)
    assert not any("FASTER" in line for line in module.growth_lines(small, outcomes(module, 400, 4.9, 4900)))
    slow = [line for line in module.growth_lines(small, outcomes(module, 400, 5.1, 1000)) if "FASTER THAN LINEAR in time" in line]
    assert len(slow) == len(STAGES) - 1  # a step has nothing to grow with the corpus
    assert "train lfcc_aasist" in next(
        line for line in module.growth_lines(small, outcomes(module, 400, 4.0, 1000, {"step": 2.1})) if "FASTER THAN LINEAR in time" in line
    )
    assert all("in memory" in line for line in list(module.growth_lines(small, outcomes(module, 400, 4.0, 5100)))[1:])


def test_a_corpus_of_the_real_counts(module, tmp_path):
    assert module.write_corpus(tmp_path, module.Sizes(390, 1, ("ru",))) == 40  # a thirtieth of the paper's Table 1
    assert len(list((tmp_path / "corpus/fake/ru/griffin_lim").glob("*.wav"))) == 10


@pytest.mark.slow
@pytest.mark.parametrize("name", ["real_scale", "growth"])
def test_it_runs_in_miniature(name):
    command = [sys.executable, f"benchmarks/{name}.py", "miniature"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    stages = ("02 protocol", "04 LFCC x 5", "13 tables", "one GPU: not measured") if name == "real_scale" else ("protocol", "judge")
    assert all(stage in done.stdout for stage in stages)
