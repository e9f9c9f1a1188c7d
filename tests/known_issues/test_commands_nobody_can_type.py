"""`next: python scripts/04_preprocess_dataset.py CONFIG.yaml`, printed to somebody whose file has another name and who stands elsewhere."""

from __future__ import annotations

import ast
import os

import pytest

from sourcetracing.errors import UserError
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import in_users_words, remember_words
from tests.support.places import ROOT

DEMO = str(ROOT / "configs/demo.yaml")
COMMAND = "python scripts/04_preprocess_dataset.py CONFIG.yaml"


def typed(argv, work, capsys) -> str:
    with pytest.raises(SystemExit):
        run_script(work, doc="", uses=[], flags={"--check": "looks"}, argv=argv)
    return capsys.readouterr().err


def test_a_complaint_names_the_files_and_words_of_this_run_and_no_flags(tmp_path, capsys, monkeypatch):
    (tmp_path / "my own.yaml").write_text("name: mine\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def work(config, chosen):
        raise UserError(f"it is missing. Run: {COMMAND}, or another")

    shown = typed([DEMO, "--check", "my own.yaml", "train.languages=[en]"], work, capsys)
    script = os.path.relpath(ROOT / "scripts/04_preprocess_dataset.py")
    assert shown == f"error: it is missing. Run: python {script} {DEMO} 'my own.yaml' 'train.languages=[en]', or another\n"
    monkeypatch.chdir(ROOT)
    assert f"Run: python scripts/04_preprocess_dataset.py {DEMO}, or" in typed([DEMO], work, capsys)


def test_without_a_command_line_the_placeholder_stays(monkeypatch):
    monkeypatch.chdir(ROOT)
    remember_words([])
    assert in_users_words(f"Run: {COMMAND}") == f"Run: {COMMAND}"


def test_other_words_of_a_command_stay(monkeypatch):
    monkeypatch.chdir(ROOT)
    remember_words(["a.yaml"])
    text = "next: python scripts/trace_audio.py FILE.wav --run exp/a   or: python train_refd.py CONFIG.yaml --run x"
    assert in_users_words(text) == text.replace("CONFIG.yaml", "a.yaml")
    remember_words([])


def test_every_command_that_is_printed_goes_through_it():
    """print(...) of a text with a command in it, in a script or in the library; complaints pass the door anyway."""
    constants = {"NEXT_COMMAND", "TRAIN_COMMAND", "LABEL_COMMAND", "MAKE_COMMAND", "BUILD_COMMAND", "DOWNLOAD_COMMAND", "PROTOCOL_COMMAND"}
    for path in [*ROOT.glob("*.py"), *ROOT.glob("scripts/**/*.py"), *ROOT.glob("sourcetracing/**/*.py")]:
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print"):
                continue
            if any(isinstance(node, ast.Call) and getattr(node.func, "id", "") == "in_users_words" for node in ast.walk(call)):
                continue
            texts = [node.value for node in ast.walk(call) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
            names = {node.id for node in ast.walk(call) if isinstance(node, ast.Name)}
            assert not any("python scripts/" in text or "python train_" in text for text in texts), (path, call.lineno)
            assert not names & constants, (path, call.lineno)
