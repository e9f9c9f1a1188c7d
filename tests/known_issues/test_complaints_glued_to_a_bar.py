"""`check audio:  40%|####      | 4/10error: data/a.wav: holds no samples`: a complaint in the line of the bar that it interrupts."""

from __future__ import annotations

import pytest

from sourcetracing.errors import UserError
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.progress import bar
from tests.support.places import ROOT

DEMO = str(ROOT / "configs/demo.yaml")


@pytest.mark.parametrize("mistake", [UserError("it is broken"), KeyboardInterrupt(), PermissionError(13, "Permission denied", "x")])
def test_the_bars_line_ends_before_a_complaint(mistake, capsys):
    def work(config):
        progress = bar(total=10, desc="outer")  # moved by hand: an exception does not end it, as it ends a loop over one
        progress.update(1)
        raise mistake

    with pytest.raises(SystemExit):
        run_script(work, doc="", uses=[], argv=[DEMO])
    shown = capsys.readouterr().err
    complaint = next(line for line in shown.replace("\r", "").split("\n") if "error: " in line or "interrupted" in line)
    assert "outer" in shown and complaint.startswith(("error: ", "interrupted: "))


def test_bars_that_ended_are_not_ended_again(capsys):
    def work(config):
        for _ in bar(range(3), desc="whole"):
            pass
        raise UserError("something else")

    with pytest.raises(SystemExit):
        run_script(work, doc="", uses=[], argv=[DEMO])
    assert capsys.readouterr().err.endswith("]\nerror: something else\n")
