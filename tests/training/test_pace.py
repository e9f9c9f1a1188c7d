"""Progress within rounds: what a run notes beside its weights, what is read of it elsewhere, how long it says that it will take."""

from __future__ import annotations

import json
import math
import threading
from dataclasses import asdict
from types import SimpleNamespace

import pandas as pd
import pytest

from sourcetracing.training import following as following_module
from sourcetracing.training import loop, pace
from sourcetracing.training.following import Estimates, following, rounds_done
from sourcetracing.training.loop import train_run
from sourcetracing.training.pace import Pace, Pacer, duration_in_words, measured_rate, read_pace
from sourcetracing.training.plan import describe_plan, make_plan
from sourcetracing.training.runs import run_of
from tests.support.interrupted_training import CPU, Killed, dying_at_step
from tests.support.small_store import small_settings


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """Its `now` is the time, in seconds."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(pace, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def write_pace(run, **facts) -> None:
    known = {"rounds_done": 0, "step": 3, "num_steps": 5, "measured_steps": 12, "measured_rows": 96, "measured_seconds": 48.0}
    run.folder.mkdir(parents=True, exist_ok=True)
    run.files.progress.write_text(json.dumps(known | facts))


def test_it_is_noted_at_most_once_a_second_and_measured_all_the_time(run, clock):
    pacer, seen = Pacer(run.files.progress), []
    for number in range(1, 41):  # 0.3 s each, four rounds of ten steps, between which dev takes 50 s
        clock.now += 0.3 + (50 if number % 10 == 1 else 0)
        pacer.note((number - 1) // 10, (number - 1) % 10 + 1, 10, 8)
        if (found := read_pace(run.files)) not in seen[-1:]:
            seen.append(found)
    assert [found.step + 10 * found.rounds_done for found in seen[:4]] == [1, 5, 9, 11]
    assert pacer.steps == 4 * 9 and pacer.rows == 4 * 9 * 8 and pacer.seconds == pytest.approx(4 * 9 * 0.3)
    assert [path.name for path in run.folder.iterdir()] == ["progress.json"]


def test_the_rate_is_that_of_the_median_run_and_needs_ten_steps():
    runs = [Pace(0, 3, 5, 20, 160, 80.0), Pace(0, 3, 5, 10, 80, 8.0), None, Pace(0, 3, 5, 9, 72, 1.0), Pace(1, 1, 5, 30, 240, 24.0)]
    assert measured_rate(runs) == (0.1, 20 + 10 + 30)
    rate, steps = measured_rate(runs[2:4])
    assert math.isnan(rate) and steps == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"step": 3}', "null"])
def test_a_note_that_says_nothing_is_none(run, text):
    assert read_pace(run.files) is None
    run.folder.mkdir(parents=True)
    run.files.progress.write_text(text)
    assert read_pace(run.files) is None and rounds_done(run) == 0


def test_a_training_notes_its_steps_and_leaves_nothing_behind(run, store, monkeypatch):
    monkeypatch.setattr(pace, "SECONDS_BETWEEN_NOTES", 0.0)
    seen = []

    step = loop.train_step
    monkeypatch.setattr(loop, "train_step", lambda *arguments: (seen.append(rounds_done(run)), step(*arguments))[1])
    train_run(run, store, CPU)
    assert seen == pytest.approx([number / 5 for number in range(20)])
    assert rounds_done(run) == 4 and not run.files.progress.exists()


def test_what_a_killed_process_noted_counts_within_its_round_only(run, store, monkeypatch):
    monkeypatch.setattr(loop, "train_step", dying_at_step(9))  # in the second round
    monkeypatch.setattr(pace, "SECONDS_BETWEEN_NOTES", 0.0)
    with pytest.raises(Killed):
        train_run(run, store, CPU)
    assert rounds_done(run) == pytest.approx(1 + 3 / 5)
    write_pace(run, rounds_done=0, step=4)
    assert rounds_done(run) == 1


def test_a_run_that_stopped_early_is_whole_for_the_bar(run, store, monkeypatch):
    monkeypatch.setattr(loop, "evaluate", lambda *arguments: {"dev_loss": 1.0, "dev_accuracy": 0.5, "dev_macro_f1": 0.5})
    run.settings.train.early_stop_looks = 1
    train_run(run, store, CPU)
    assert run.files.num_epochs_done() == 2 and rounds_done(run) == 4


def cells_of(tmp_path, *words: str):
    return [run_of(small_settings(tmp_path, f"train.languages={names}", *words), "some-store") for names in ("[en]", "[de]", "[en,de]")]


def test_after_ten_steps_of_a_run_it_says_how_long_all_of_its_system_take(tmp_path):
    runs = cells_of(tmp_path)
    num_rows = dict(zip((run.folder for run in runs), (36, 36, 72), strict=True))
    estimates = Estimates(runs, num_rows, at_once=2)
    write_pace(runs[0], measured_steps=9)
    assert estimates.new() == []
    write_pace(runs[0])  # half a second a row; 3 of 5 steps of the first of four epochs are done
    seconds = 0.5 * ((4 - 3 / 5) * 36 + 4 * 36 + 4 * 72) / 2
    assert estimates.new() == [f"lfcc_ecapa_tdnn: {duration_in_words(seconds)} left besides dev, measured over 12 steps"]
    assert duration_in_words(seconds) == "about 2 min"
    assert estimates.new() == []  # once
    runs[0].files.history.write_text("epoch\n1\n")
    assert Estimates(runs, num_rows, at_once=2).new() == []  # the plan said it


def test_the_plan_knows_it_too_from_the_first_epoch_on(store, tmp_path):
    runs, utterances = cells_of(tmp_path), store.index.drop_duplicates("utt_id")[["utt_id", "language", "split"]]
    write_pace(runs[2])
    (line,) = make_plan(runs, utterances)
    assert line.seconds == pytest.approx(0.5 * 4 * (36 + 36 + 72)) and line.measured_steps == 12
    assert " besides dev, measured over 12 steps" in describe_plan([line], runs)
    history = {"epoch": [1], "seconds": [7.2]}
    pd.DataFrame(history).to_csv(runs[2].files.history, index=False)
    (line,) = make_plan(runs, utterances)
    assert line.seconds == pytest.approx(0.1 * (4 * 36 + 4 * 36 + 3 * 72)) and line.measured_steps == 0
    assert "measured" not in describe_plan([line], runs)


def test_a_plan_in_steps_counts_rounds(store, tmp_path):
    runs, utterances = cells_of(tmp_path, "train.steps=40"), store.index.drop_duplicates("utt_id")[["utt_id", "language", "split"]]
    write_pace(runs[0])
    (line,) = make_plan(runs, utterances)
    assert line.epochs_left == 30 and line.seconds == pytest.approx(0.5 * 3 * 40 * 8)
    assert "rounds left" in describe_plan([line], runs).splitlines()[0]


def test_the_bar_moves_within_an_epoch_of_another_process(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(following_module, "SECONDS_BETWEEN_LOOKS", 0.02)
    runs, moved = cells_of(tmp_path)[:2], threading.Event()
    write_pace(
        runs[0], step=4, measured_steps=0
    )  # of a process that was killed: the bar would go back when the next one begins at what was saved
    with following(runs, {run.folder: 36 for run in runs}, at_once=2) as progress:
        update = progress.update
        monkeypatch.setattr(progress, "update", lambda step: (update(step), step and moved.set()))
        assert progress.n == 0 and progress.total == 8
        write_pace(runs[1], step=2)
        assert moved.wait(10) and progress.n == pytest.approx(2 / 5)
    shown = capsys.readouterr()
    assert "measured over 12 steps" in shown.out and "0.40/8 epochs" in shown.err


def test_a_pace_is_written_as_it_is_read(run):
    write_pace(run)
    assert asdict(read_pace(run.files)) == json.loads(run.files.progress.read_text())
