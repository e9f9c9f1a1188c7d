"""A second run of everything took 65 s: tables, intervals, pictures and the report were computed again from the same scores."""

from __future__ import annotations

import pytest

from sourcetracing.runtime import outcomes
from sourcetracing.runtime.files import noted_files, write_text
from sourcetracing.runtime.outcomes import digest_of_inputs, made_once
from sourcetracing.settings.reading import read_config


class Work:
    """Writes two files and counts how often."""

    def __init__(self, folder):
        self.folder, self.record, self.times = folder, folder / "made.json", 0

    def __call__(self) -> str:
        self.times += 1
        write_text(self.folder / "table.csv", "1,2\n")
        write_text(self.folder / "more/report.html", "<p>\n")
        return "what a terminal shows"

    def run(self, inputs: str = "inputs") -> int:
        assert made_once(self.record, inputs, self) == "what a terminal shows"
        return self.times


def test_the_same_inputs_are_worked_on_once(tmp_path):
    work = Work(tmp_path)
    assert [work.run(), work.run(), work.run("others"), work.run("others"), work.run()] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("spoil", ["edit", "delete", "record"])
def test_results_that_are_not_as_they_were_left_are_made_again(tmp_path, spoil):
    work = Work(tmp_path)
    work.run()
    path = {"edit": tmp_path / "table.csv", "delete": tmp_path / "more/report.html", "record": work.record}[spoil]
    path.unlink() if spoil == "delete" else path.write_text("{")
    assert [work.run(), work.run()] == [2, 2]
    assert (tmp_path / "table.csv").read_text() == "1,2\n"


def test_a_kill_in_the_middle_leaves_nothing_to_believe(tmp_path, monkeypatch):
    work = Work(tmp_path)
    work.run()
    monkeypatch.setattr(work, "folder", tmp_path / "table.csv")  # a file in the way of the second file
    with pytest.raises(OSError, match="table.csv"):
        made_once(work.record, "others", work)
    monkeypatch.undo()
    assert work.run() == 3


def test_inputs_are_content_and_not_times(tmp_path, monkeypatch):
    path = tmp_path / "scores.parquet"
    absent = digest_of_inputs(["facts"], [path])
    path.write_bytes(b"scores")
    first = digest_of_inputs(["facts"], [path])
    path.touch()
    assert digest_of_inputs(["facts"], [path]) == first != absent
    assert digest_of_inputs(["other facts"], [path]) != first
    path.write_bytes(b"SCORES")
    assert digest_of_inputs(["facts"], [path]) != first
    path.write_bytes(b"scores")
    monkeypatch.setattr(outcomes, "_digest_of_code", lambda: "another version")
    assert digest_of_inputs(["facts"], [path]) != first


def test_only_what_was_written_meanwhile_is_noted(tmp_path):
    write_text(tmp_path / "before", "")
    with noted_files() as noted:
        write_text(tmp_path / "a", "")
        with pytest.raises(IsADirectoryError):
            write_text(tmp_path, "")
    write_text(tmp_path / "after", "")
    assert noted == [tmp_path / "a"]


def test_each_run_has_settings_of_its_own():
    config = read_config(["configs/tiny.yaml"])
    runs = [config.resolve({"train.languages": [code], "train.seed": seed}) for code in ("en", "de") for seed in range(3)]
    assert [(run.train.languages, run.train.seed) for run in runs] == [([code], seed) for code in ("en", "de") for seed in range(3)]
    runs[0].corpus.sources.append("changed")
    assert "changed" not in config.resolve().corpus.sources + runs[1].corpus.sources
