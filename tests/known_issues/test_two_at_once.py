"""Two trainings that ended together lost rows of metric_learning.csv: 40 were written, 32 kept, both said that all was well. Scripts 08
and 09 side by side ended in KeyError: 'rows'."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pandas as pd
import pytest

from sourcetracing.embeddings import collecting, evaluation, visualizing
from sourcetracing.embeddings.stored import load_embeddings
from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.runtime.files import read_csv, write_json, written_together
from sourcetracing.settings.schema import Settings
from sourcetracing.training.runs import TrainingRun


def table_of(run: str) -> pd.DataFrame:
    return pd.DataFrame({"system": "s", "train_set": "en", "seed": 1, "run": run, "loss": "ge2e", "language": ["pooled", "en"], "x": 0.5})


def test_no_row_is_lost_when_several_add_theirs(tmp_path):
    settings = Settings()
    settings.paths.exp = str(tmp_path)
    with ThreadPoolExecutor(4) as pool:  # a lock between processes holds between open files, of threads too
        list(pool.map(lambda number: evaluation._add(table_of(f"run{number}"), settings), range(20)))
    found = read_csv(Layout.of(settings).metric_learning, texts=evaluation.TEXTS)
    assert sorted(found["run"]) == sorted(f"run{number}" for number in range(20) for _ in range(2))


@pytest.fixture
def run(tmp_path) -> TrainingRun:
    return TrainingRun("system", "en", 1, Settings(), tmp_path / "run")


def test_what_another_process_made_meanwhile_is_not_made_again(run, monkeypatch):
    """The second process decided to write before the first was done; it took the record away that the first one was about to read."""
    monkeypatch.setattr(collecting, "_digest_of_inputs", lambda run: "inputs")
    monkeypatch.setattr(collecting, "_on_all_splits", lambda run: run)
    monkeypatch.setattr(collecting, "_collect", lambda *_: pytest.fail("collected again"))

    def first_process_ends(runs) -> None:
        files = run.files.embeddings
        for path in (files.array, files.index):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        write_json(files.record, {"inputs": "inputs"})

    monkeypatch.setattr(collecting, "score_runs", first_process_ends)
    assert collecting.collect_embeddings([run]) == [run]


def test_pictures_that_another_process_drew_meanwhile_are_kept(run, monkeypatch):
    monkeypatch.setattr(visualizing, "digest_of_inputs", lambda run: "inputs")
    monkeypatch.setattr(visualizing, "read_pictures_record", lambda files: {"inputs": "inputs"})
    monkeypatch.setattr(visualizing, "_visualize", lambda *_: pytest.fail("drawn again"))
    visualizing.visualize_run(run)


def test_embeddings_that_are_being_written_are_none_yet(run):
    files = run.files.embeddings
    with pytest.raises(UserError, match="holds no embeddings"), written_together(files.record):
        for path in (files.array, files.index):
            path.touch()
        write_json(files.record, {"weights": "", "rows": 0})
        load_embeddings(SimpleNamespace(embeddings=files, weights=None))
