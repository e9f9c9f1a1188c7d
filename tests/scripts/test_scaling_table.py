"""docs/scaling.md holds what benchmarks/scaling_table.py prints; its numbers are computed here once more, from the rates it names."""

from __future__ import annotations

import runpy

import pytest

from tests.support.places import ROOT


@pytest.fixture(scope="module")
def script() -> dict:
    return runpy.run_path(str(ROOT / "benchmarks" / "scaling_table.py"))


def cells(printed: str, first: str) -> list[str]:
    return next([cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith(f"| {first} |"))


def test_the_tables_of_the_docs_are_those_of_the_script(script, capsys):
    script["main"](100e12)
    printed = capsys.readouterr().out.strip()
    assert printed.count("| LFCC |") == 2
    assert printed in (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")


def test_a_system_of_table_4(script):
    step, utterance = script["RATES"]["LFCC-AASIST"].seconds, script["RATES"]["LFCC"].seconds
    run = 50 * 366 * step  # 1,170 training utterances of a language in five variants, 16 at a time
    found = cells("\n".join(script["system_lines"](None)), "LFCC-AASIST")
    hours = (6 * run + 11_700 * utterance) / 3600
    assert found[1:3] == [f"{hours:,.0f} h", f"{(run + 117 * utterance) / 3600:.1f} h"]
    assert found[3:5] == ["not measured", "not measured"]  # nobody has run this on a GPU
    assert found[5:8] == ["3.7 GB", "0.50 GB", f"{hours:,.0f}"]
    assert found[8] == f"`{script['RATES']['LFCC-AASIST'].measured_by}`"


def test_money_only_at_a_price_that_was_named(script):
    free, priced = (cells("\n".join(script["system_lines"](price)), "LFCC-ResNet18")[7] for price in (None, 2.0))
    step, utterance = script["RATES"]["LFCC-ResNet18"].seconds, script["RATES"]["LFCC"].seconds
    money = 2.0 * (6 * 50 * 366 * step + 11_700 * utterance) / 3600
    assert priced == f"{free} ({money:,.2f})"


def test_noises_are_in_the_disk_figures(script):
    """The bank is a second copy of MUSAN that no figure had."""
    lines = "\n".join(script["noise_lines"]())
    assert cells(lines, "MUSAN, 109 h")[2] == "12.6 GB (16-bit)"  # 109 h x 3,600 s x 16,000 samples x 2 bytes
    assert cells(lines, "RIRS_NOISES, 60,000 simulated rooms")[2] == "at most 10 GB (float32)"


def test_every_rate_says_what_measured_it(script):
    for rate in script["RATES"].values():
        assert (ROOT / "benchmarks" / rate.measured_by).is_file()
        assert rate.date and rate.cpu and rate.seconds > 0
