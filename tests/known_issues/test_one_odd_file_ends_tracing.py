"""A file that broke the decoder in an unexpected way ended trace_audio.py and took all answers since the last save with it; so did Ctrl-C;
and somebody else's run, in a folder that is read-only, could not be traced with."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.runtime.locks import held
from sourcetracing.settings.schema import Settings
from sourcetracing.tracing import calibration, job
from sourcetracing.tracing.job import Outputs, trace_files
from sourcetracing.tracing.tracer import FileTrace
from sourcetracing.training.runs import TrainingRun


class FakeTracer:
    """Answers by file name: odd.wav breaks, stop.wav is where somebody presses Ctrl-C."""

    trace = SimpleNamespace(top_k=2)
    rule = calibration = levels = None
    system = SimpleNamespace(classes=["a", "b"])

    def levels_of(self, result: FileTrace) -> list:
        return []

    def __call__(self, path: Path) -> FileTrace:
        if path.name == "odd.wav":
            raise ZeroDivisionError("float division by zero")
        if path.name == "stop.wav":
            raise KeyboardInterrupt
        return FileTrace(str(path), 1.0, 0, np.zeros(1), np.array([[0.7, 0.3]]), None, np.array([0.7, 0.3]), None, None, [], np.zeros(4))


@pytest.fixture
def trace(tmp_path, monkeypatch):
    monkeypatch.setattr(job.Tracer, "load", classmethod(lambda cls, folder, changes: FakeTracer()))
    monkeypatch.setattr(job, "about", lambda system: "a system")
    monkeypatch.setattr(job, "header_of", lambda tracer: {"format": 1, "when_not_to_believe": []})

    def run(*names: str, **outputs: Path) -> None:
        for name in names:
            (tmp_path / name).touch()
        trace_files([str(tmp_path / name) for name in names], "run", [], Outputs(json=tmp_path / "o.json", **outputs))

    return run


def entries(tmp_path: Path) -> dict[str, str]:
    content = json.loads((tmp_path / "o.json").read_text())
    return {Path(entry["path"]).name: entry.get("reason", entry["status"]) for entry in content["files"]}


def test_an_odd_file_is_a_failure_of_its_own(trace, tmp_path, capsys):
    with pytest.raises(UserError, match=r"1 of 3 files could not be traced.*odd\.wav"):
        trace("1.wav", "odd.wav", "2.wav")
    assert entries(tmp_path) == {"1.wav": "traced", "odd.wav": "ZeroDivisionError: float division by zero", "2.wav": "traced"}
    assert "odd.wav: NOT TRACED: ZeroDivisionError" in capsys.readouterr().out


def test_answers_are_saved_when_somebody_stops_it_and_those_of_before_stay(trace, tmp_path):
    trace("1.wav", "2.wav", "3.wav")
    with pytest.raises(KeyboardInterrupt):
        trace("0.wav", "1.wav", "stop.wav", "2.wav", "3.wav")
    assert list(entries(tmp_path)) == ["0.wav", "1.wav", "2.wav", "3.wav"]


def test_a_timeline_that_cannot_be_drawn_costs_no_answer(trace, tmp_path, monkeypatch, capsys):
    def broken(*_):
        raise ValueError("Expected end of text, found '$'")

    monkeypatch.setattr(job, "draw_timeline", broken)
    trace("1.wav", "2.wav", timeline=tmp_path / "pictures")
    assert entries(tmp_path) == {"1.wav": "traced", "2.wav": "traced"}
    assert "1.wav.png was not drawn: ValueError" in capsys.readouterr().out


def test_two_runs_do_not_write_one_file(trace, tmp_path):
    with held(tmp_path / ".o.json.lock", "busy"), pytest.raises(UserError, match=r"another process is writing .*o\.json"):
        trace("1.wav")


def test_a_run_that_must_not_be_written_to_is_calibrated_all_the_same(tmp_path, monkeypatch, capsys):
    def refused(*_):
        raise PermissionError(13, "Permission denied")

    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 60)
    logits = generator.normal(0, 1, (60, 2)) + 2 * np.eye(2)[labels]
    rows = pd.DataFrame({"label": labels, "logit_0": logits[:, 0], "logit_1": logits[:, 1]})
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    run = TrainingRun("system", "en", 1, Settings(), tmp_path)
    monkeypatch.setattr(calibration, "score_splits", lambda *_: None)
    monkeypatch.setattr(calibration, "calibration_sets", lambda run: {"dev": rows, "eval": rows})
    expected = calibration.calibrate(run, None)
    run.files.calibration.unlink()
    capsys.readouterr()
    monkeypatch.setattr(calibration, "write_json", refused)
    assert calibration.calibrate(run, None) == expected
    assert "calibration.json cannot be written (Permission denied)" in capsys.readouterr().out
