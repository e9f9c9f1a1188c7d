"""Whole scripts with random words, and with a damaged file in the experiment: status 0 or 2, one line, no traceback, bounded memory."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest
from hypothesis import strategies as st

from tests.fuzz.test_settings import QUIET, fitting_words, words
from tests.support.finished_street import SCRIPTS, finish, street_words
from tests.support.fork_server import HUNG, ForkServer, Outcome
from tests.support.fuzzing import run_cases

DETECTION = ("00_build_manifest", "01_extract_layers", "02_layer_sweep", "03_augmented_baseline", "04_dataset_mixing", "05_pruning")
DETECTION += ("06_augment_pruned", "07_report")
DOORS = [
    *(f"scripts/{name}.py" for name in SCRIPTS),
    *(f"scripts/detection/{name}.py" for name in DETECTION),
    "train_refd.py",
    "train_ge2e.py",
]
DOORS += [
    "scripts/trace_audio.py",
    "scripts/explain_runs.py",
    "scripts/group_audio.py",
    "scripts/export_model.py",
    "scripts/detection/segment_recordings.py",
    "scripts/01_download_resources.py",
]
FLAGS = (
    "--help",
    "--audit",
    "--only",
    "--shard",
    "--run",
    "--export-npy",
    "--if-needed",
    "--check",
    "--list",
    "--source",
    "--csv",
    "--json",
)
FLAGS += ("--onnx", "--folder", "--licence", "--timeline", "-x", "--", "-", "--shard=1/2", "--only=*", "--audit=1")
ODD_PATHS = (
    "/proc/x",
    "/proc/self/mem",
    "/dev/null",
    "/dev/full",
    "",
    ".",
    "a\0b",
    "x" * 300,
    "/nonexistent/x",
    "street.yaml",
    "\udcff",
    "~",
)
PATHS = {"name", "folder.table", "mcl_mlaad.lists", "detection.lists", "detection.demo_folder"}
# How long a run may take, and what may leave the folder of the test, are left as they are.
FIXED = {"train.epochs", "evaluation.bootstrap_samples", "compute.workers", "speakers.k_max", "speakers.k_restarts", "speakers.restarts"}
FIXED |= {"metric_learning.batches_per_epoch", "embedding_pictures.projections", "augment.variants", "paths.exp", "download.attempts"}
# Networks of some size are a matter of time; that they fit memory is seen in test_settings.
FIXED |= {"audio.crop_seconds", "audio.sample_rate", "system", "backend", "frontend", "experiment.systems", "detection.roots"}


@st.composite
def command(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A script and words behind those of the experiment."""
    found = []
    for _ in range(draw(st.integers(1, 2))):
        kind = draw(st.sampled_from(["fitting"] * 8 + ["setting", "setting", "path", "flag", "bare"]))
        if kind in ("fitting", "setting"):
            word = draw(fitting_words() if kind == "fitting" else words())
            found.append(
                word if not any(word.startswith((f"{key}=", f"{key}.")) for key in FIXED | PATHS | QUIET | {"paths"}) else "seed=1"
            )
        elif kind == "path":
            key = draw(st.sampled_from(["paths.corpus", "paths.musan", "paths.rirs", "paths.protocols", *sorted(PATHS)]))
            found.append(f"{key}={draw(st.sampled_from(ODD_PATHS))}")
        else:
            found.append(draw(st.sampled_from(FLAGS if kind == "flag" else ODD_PATHS)))
    return draw(st.sampled_from(DOORS)), found


def check_command(server: ForkServer, root: Path, case: tuple[str, list[str]]) -> None:
    script, odd = case
    usual = [] if script.endswith(("trace_audio.py", "group_audio.py", "export_model.py")) else street_words(root)
    check_outcome(server.run(script, [*usual, *(word.replace("\0", "") for word in odd)]))


def check_outcome(outcome: Outcome) -> None:
    """Bars apart, a mistake is one line that begins with `error: `."""
    assert outcome.status != HUNG, outcome.err
    assert outcome.status in (0, 2), f"status {outcome.status}: {outcome.err}"
    assert "Traceback" not in outcome.err
    if outcome.status == 2:
        lines = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, outcome.err
        assert outcome.err.rstrip("\n").splitlines()[-1] == lines[0], outcome.err


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doors") / "a" / "b"
    folder.mkdir(parents=True)
    with ForkServer(folder) as server:
        yield server


@pytest.fixture(scope="module")
def street(server) -> Path:
    """The experiment, finished."""
    finish(server.folder, server)
    return server.folder


@pytest.mark.slow
def test_commands(server, street):
    run_cases("scripts", True, command(), partial(check_command, server, street), limit=False)


DAMAGES = {
    "cut off": lambda content, place: content[: int(len(content) * place)],
    "empty": lambda content, place: b"",
    "zeros": lambda content, place: content[: int(len(content) * place)] + bytes(len(content) - int(len(content) * place)),
    "a bit": lambda content, place: _with_a_bit_turned(content, int((len(content) - 1) * place)) if content else b"",
    "text": lambda content, place: b"<html>502</html>",
}


TEXT = {".csv", ".json", ".yaml"}  # another letter in these is an edit, not damage


def _with_a_bit_turned(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


def check_damage(server: ForkServer, root: Path, case: tuple[float, str, float, str]) -> None:
    """One file of the experiment is damaged while a script runs, and put back."""
    which, kind, place, script = case
    files = sorted(
        path for path in (root / "exp").rglob("*") if path.suffix in {".csv", ".json", ".npy", ".parquet", ".safetensors", ".yaml"}
    )
    path = files[int(which * len(files))]
    if kind == "a bit" and path.suffix in TEXT:
        kind = "cut off"
    copy = root / "whole"
    shutil.copytree(root / "exp", copy)
    try:
        path.write_bytes(DAMAGES[kind](path.read_bytes(), place))
        check_outcome(server.run(f"scripts/{script}.py", street_words(root)))
    finally:
        shutil.rmtree(root / "exp")
        copy.rename(root / "exp")


SHARES = st.floats(0, 0.9999)


@pytest.mark.slow
def test_damaged_files(server, street):
    cases = st.tuples(SHARES, st.sampled_from(sorted(DAMAGES)), SHARES, st.sampled_from(SCRIPTS))
    run_cases("own_files", True, cases, partial(check_damage, server, street), limit=False)
