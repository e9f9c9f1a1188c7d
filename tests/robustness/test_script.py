"""Script 12 as a process of its own: Ctrl-C in the middle, the same command again, one at a time, and the report's tab at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from sourcetracing.runtime.locks import held
from tests.support.finished_street import street_words, write_audio
from tests.support.fork_server import ForkServer
from tests.support.places import ROOT

pytestmark = pytest.mark.slow
SLOW = "mp3_64k,mp3_32k,mp3_16k,aac_64k,aac_32k,aac_16k,opus_32k,opus_16k,opus_8k,opus_6k,vorbis_q0,vorbis_q3"


def start(script: str, words: list[str]) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *words]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def server():
    with ForkServer(ROOT) as server:
        yield server


@pytest.fixture(scope="module")
def words(tmp_path_factory, server) -> list[str]:
    root = tmp_path_factory.mktemp("script-twelve")
    write_audio(root)
    words = [word for word in street_words(root) if not word.startswith("robustness.")]
    for script in ("02_build_protocols", "04_preprocess_dataset", "05_train_matrix", "06_get_classification_metrics"):
        outcome = server.run(f"scripts/{script}.py", words)
        assert outcome.status == 0, outcome.err
    return [*words, f"robustness.operations=[{SLOW}]", "robustness.utterances=0"]


def test_ctrl_c_loses_nothing_and_the_report_shows_it(words, server):
    exp = Path(next(word for word in words if word.startswith("paths.exp=")).partition("=")[2]) / "street"
    process = start("12_test_robustness", words)
    until = time.monotonic() + 120
    while not (kept := list(exp.glob("robustness/*/*/answers-*/[!.]*.parquet"))) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "run the same command again and it goes on from here" in err and "Traceback" not in err
    assert not list(exp.rglob("*.partial*")) and not (exp / "tables" / "robustness.csv").is_file()
    before = {path: path.read_bytes() for path in kept}
    with held(exp / "robustness" / ".lock", "held by the test"):
        waiting = start("12_test_robustness", words)
        for line in waiting.stderr:
            if "another process is writing" in line:
                break
    out, err = waiting.communicate(timeout=300)
    assert waiting.returncode == 0, err
    assert "next: python scripts/13_make_tables.py" in out and "lfcc_ecapa_tdnn trained on en, seed 688" in out
    assert before == {path: path.read_bytes() for path in before}
    table = pd.read_csv(exp / "tables" / "robustness.csv")
    assert table["operation"].tolist() == ["clean", *SLOW.split(",")] and table["macro_f1"].between(0, 1).all()
    outcome = server.run("scripts/13_make_tables.py", words)
    assert outcome.status == 0, outcome.err
    page = (exp / "report.html").read_text(encoding="utf-8")
    assert "What survives post-processing?" in page and "vorbis q0" in page


def test_a_wrong_name_is_one_line_and_the_nearest_one(words, server):
    outcome = server.run("scripts/12_test_robustness.py", [*words, "robustness.operations=[opus_61]"])
    assert outcome.status == 2 and "Traceback" not in outcome.err
    assert "robustness.operations: unknown operation 'opus_61'; did you mean 'opus_" in outcome.err
