"""A file name that is not UTF-8 (from an old archive) ended trace_audio.py --json while it wrote: every answer was lost."""

from __future__ import annotations

import io
import json
import os
import sys

import pytest

from sourcetracing.detection.data.corpora.rows import audio_below
from sourcetracing.errors import UserError
from sourcetracing.runtime import cli
from sourcetracing.runtime.files import digest_of_json, write_json
from sourcetracing.settings.names import printable
from sourcetracing.settings.reading import load_settings
from sourcetracing.tracing.output import Failure, entry_of, text_of, write_results_csv

NAME = os.fsdecode(b"gr\xfc\xdfe.wav")


def test_json_holds_the_very_name(tmp_path):
    write_json(tmp_path / "out.json", {"path": NAME})
    (tmp_path / "out.json").read_bytes().decode("utf-8")
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["path"] == NAME
    assert digest_of_json([NAME]) != digest_of_json(["gr.wav"])


def test_csv_and_terminal_show_it(tmp_path):
    failure = Failure(NAME, "is missing")
    tracer = type("Tracer", (), {"rule": None, "levels": None, "system": type("System", (), {"classes": ["a"]})})
    write_results_csv(tmp_path / "out.csv", tracer, [entry_of(failure, tracer)])
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()[1].startswith("gr\\xfc\\xdfe.wav,failed,")
    assert text_of(failure, tracer) == "gr\\xfc\\xdfe.wav: NOT TRACED: is missing"


def test_a_terminal_that_cannot_show_a_name_ends_nothing(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert cli._run(lambda words: print(f"日本 {NAME}") or True, []) == 0
    terminal.flush()
    assert terminal.buffer.getvalue().startswith(b"\\u65e5\\u672c gr\\udcfc\\udcdfe.wav")


def test_a_complaint_stays_one_line(capsys):
    def act(words):
        raise UserError(f"a\nb{NAME}\x1b: is missing")

    assert cli._run(act, []) == cli.EXIT_USER_ERROR
    assert capsys.readouterr().err == "error: a\\nbgr\\xfc\\xdfe.wav\\x1b: is missing\n"


def test_corpora_refuse_it_in_one_line(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / NAME).write_bytes(b"")
    with pytest.raises(UserError, match=r"^set/gr\\xfc\\xdfe.wav: the file name is not UTF-8. Rename it$"):
        audio_below(tmp_path, "set")


def test_settings_refuse_it_in_one_line():
    with pytest.raises(UserError, match=r"^paths.corpus=gr\\xfc\\xdfe.wav: is not UTF-8"):
        load_settings([f"paths.corpus={NAME}"])


def test_plain_names_stay_as_they_are():
    for name in ("a b", "日本語", "naïve", "a\u200cb", "x\xa0y"):
        assert printable(name) == name
