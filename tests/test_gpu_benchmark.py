"""`make benchmark-gpu` without a GPU: every part in miniature, words that it refuses, its time budget, and the figures it computes."""

from __future__ import annotations

import heapq
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from sourcetracing.settings.reading import read_config
from tests.support.places import ROOT


@pytest.fixture
def part(monkeypatch):
    """A module of benchmarks/ by its name."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module


def start(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "benchmarks/gpu.py", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("minature", "unknown word 'minature'. Known: --help, miniature, device=, parts=, budget=, record="),
        ("batch=256", "unknown word 'batch=256'"),
        ("device=tpu", "device=tpu is none of: auto, cpu, cuda"),
        ("parts=training,sped", "parts=sped is no part; did you mean 'speedrun'"),
        ("budget=ten", "budget=ten is no whole number"),
        ("budget=3", "budget=3: seconds, at least 10"),
    ],
)
def test_a_word_that_it_does_not_know_is_one_line(part, word, says):
    gpu = part("gpu")
    with pytest.raises(gpu.UserError, match="^" + says) as refusal:
        gpu.read_words(["miniature", word])
    assert "\n" not in str(refusal.value)


def test_such_a_line_ends_it_with_2():
    done = start("miniature", "devise=cpu")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: unknown word 'devise=cpu'") and done.stderr.count("\n") == 1


def test_a_part_whose_time_is_up_is_ended_and_the_whole_goes_on(part, tmp_path):
    """The process of the part starts with imports that take seconds: half a second is over before its first line."""
    gpu = part("gpu")
    assert list(gpu.lines_of("xls-r-2b", tmp_path, True, "cpu", 0.5)) == ["stopped: its 0 s are over; what stands above is all"]
    assert sum(share for *_, share in gpu.PARTS.values()) == gpu.BUDGET_SECONDS < 600


def test_a_part_that_fails_is_a_line(part, tmp_path):
    (line,) = part("gpu").lines_of("training", tmp_path, True, "no such device", 300)
    assert line.startswith("failed: ")


def test_what_it_recommends_is_a_configuration(part, tmp_path):
    knobs = part("_gpu_extraction").Knobs(256, "fp16", True)
    (tmp_path / "knobs.yaml").write_text(knobs.yaml(), encoding="utf-8")
    compute = read_config([str(tmp_path / "knobs.yaml")]).resolve().compute
    assert (compute.encoder_batch, compute.encoder_precision, compute.compile) == (256, "fp16", True)


def test_macro_f1_of_the_nearest_mean_is_that_of_its_definition(part):
    extraction = part("_gpu_extraction")
    generator = np.random.default_rng(5)
    labels = np.arange(extraction.CLASSES).repeat(extraction.ROWS_PER_CLASS)
    exact = generator.normal(size=(len(labels), 6, 7)) + 0.3 * labels[:, None, None]
    made = exact + generator.normal(size=exact.shape)
    means = [exact[0::2][labels[0::2] == label].mean(axis=(0, 2)) for label in range(extraction.CLASSES)]
    nearest = [int(np.argmin([np.linalg.norm(row.mean(axis=1) - mean) for mean in means])) for row in made[1::2]]
    expected = f1_score(labels[1::2], nearest, average="macro")
    assert extraction.nearest_mean_f1(SimpleNamespace(exact=exact), made) == pytest.approx(expected)
    assert 0.2 < expected < 1


@pytest.mark.parametrize("at_once", [1, 3, 7, 30])
def test_the_last_cell_ends_when_the_last_of_so_many_places_is_free(part, at_once):
    jobs = list(np.random.default_rng(at_once).uniform(1, 9, 18))
    free = [0.0] * at_once
    for job in jobs:
        heapq.heapreplace(free, free[0] + job)
    assert part("_gpu_training").makespan(jobs, at_once) == pytest.approx(max(free))


def test_bytes_moved_are_those_read_and_written(part):
    with part("gpu_limits").BytesMoved() as moved:
        left = torch.ones(3, 4)
        moved.total = 0
        (left.T @ left).sum()  # .T moves nothing
    assert moved.total == 4 * (12 + 12 + 16) + 4 * (16 + 1)


@pytest.mark.slow
def test_every_part_runs_in_miniature(tmp_path):
    record = tmp_path / "r.md"
    done = start("miniature", "device=cpu", "budget=3000", f"record={record}")
    assert done.returncode == 0, done.stderr
    text = record.read_text(encoding="utf-8")
    assert "failed" not in text and "stopped" not in text, text
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["wav2vec2-base", "xls-r-300m", "w2v-bert", "xls-r-2b", "finetuning", "training", "speedrun"]
    for words in ("driver", "torch", "CUDA", "commit", "command: `python benchmarks/gpu.py miniature"):
        assert words in text
    assert text.count("relative RMS error") >= 4 * 3 and ", fp16:" in text and ", compiled: " in text
    assert text.count("fastest: `compute: {") >= 4 and text.count("files to disk") >= 4
    assert text.count("s an epoch") == 3 and text.count("6 of 6 cells") == 2


def test_the_record_is_written_where_it_is_asked_for(part, tmp_path, monkeypatch, capsys):
    gpu = part("gpu")
    monkeypatch.setattr(gpu, "lines_of", lambda *_: iter(["first", "second"]))
    gpu.main(["device=cpu", "parts=training,speedrun", "budget=31", f"record={tmp_path / 'deep' / 'r.md'}"])
    text = Path(tmp_path / "deep" / "r.md").read_text(encoding="utf-8")
    assert "* seconds at most: training 9, speedrun 22" in text
    assert "## training\n\n* first\n* second\n* training took 0 s in all\n\n## speedrun" in text
    assert "written to" in capsys.readouterr().out
