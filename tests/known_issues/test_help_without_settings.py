"""A tool that reads no settings shows none: no heading with nothing below it, no key=value that it would refuse."""

from __future__ import annotations

import pytest

from sourcetracing.runtime.cli import run_tool


def test_no_heading_of_settings(capsys):
    with pytest.raises(SystemExit) as ended:
        run_tool(lambda *_: None, doc="Does a thing.", uses=[], things="FOLDER", flags={"--out FILE": "a file"}, argv=["--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert "FOLDER [--out FILE]" in shown
    assert "settings" not in shown and "key=value" not in shown
