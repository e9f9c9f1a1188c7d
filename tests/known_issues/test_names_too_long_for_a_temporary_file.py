"""A file whose name has 240 bytes ended tracing with --timeline: its temporary name was longer than the 255 that file systems admit."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from sourcetracing.downloads import archives
from sourcetracing.layout import RunLayout
from sourcetracing.runtime.files import atomic_path, partial_path, write_text
from sourcetracing.settings.names import MOST_BYTES, fitting_name
from sourcetracing.tracing.job import Answers, Outputs
from tests.support.places import ROOT

LONG = ["n" * 251 + ".wav", "日" * 83 + ".wav", "x" * 255, ". " + "y" * 250]


@pytest.mark.parametrize("name", LONG)
def test_a_file_of_any_possible_name_is_written(tmp_path, name):
    write_text(tmp_path / name, "whole")
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).read_text() == "whole"


def test_temporary_names_tell_long_names_apart_and_keep_the_suffix(tmp_path):
    one, other = (partial_path(tmp_path / f"{'n' * 230}{number}.safetensors") for number in (1, 2))
    assert one != other and one.suffix == ".safetensors" and one.name.startswith(".n")
    with atomic_path(tmp_path / "short.csv") as partial:
        assert partial.name == f".short.{os.getpid()}.partial.csv"
        partial.write_text("")


def test_archives_unpack_long_names(tmp_path):
    import io

    archives._write(io.BytesIO(b"abc"), 3, tmp_path / LONG[0], lambda count: None)
    assert os.listdir(tmp_path) == [LONG[0]]


def test_a_picture_of_a_long_name_gets_a_shorter_one(tmp_path):
    answers = Answers.__new__(Answers)
    answers.outputs, answers.names = Outputs(timeline=tmp_path), {}
    paths = [answers._timeline(SimpleNamespace(name=name, __str__=None)) for name in (LONG[0], LONG[0][1:] + "x")]
    assert len(set(paths)) == 2
    for path in paths:
        write_text(path, "")


def test_many_languages_fit_into_the_names_of_files(tmp_path):
    languages = "+".join(f"language{number:02d}" for number in range(40))
    write_text(RunLayout(tmp_path).class_report("eval", languages), "")
    assert fitting_name("en+de") == "en+de"
    assert len(fitting_name(languages, 150)) == 150


def test_nobody_else_makes_up_temporary_names():
    own = ("runtime/files.py", "downloads/", "layout.py", "features/store.py")  # the last two: features.partial.npy, a fixed name
    for path in sorted((ROOT / "sourcetracing").rglob("*.py")):
        if not path.relative_to(ROOT / "sourcetracing").as_posix().startswith(own):
            text = path.read_text(encoding="utf-8")
            assert "getpid()" not in text or ".partial" not in text, path
    assert MOST_BYTES == 255
