"""Benchmarks run as their first lines say: from any folder, with nothing installed, within their budget; all of them in miniature."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
import time

import psutil
import pytest

from sourcetracing.errors import UserError
from tests.support.places import ROOT

FOLDER = ROOT / "benchmarks"
BENCHMARKS = sorted(FOLDER.glob("*.py"))
PATH_SETTERS = {"_rounds", "_bench_audio", "preprocessing", "ssl_extraction", "_small_figures", "_documents"}  # which set it themselves


@pytest.fixture
def module_of(monkeypatch):
    """A file of benchmarks/ as a module."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


@pytest.fixture
def bench_of(module_of, tmp_path, monkeypatch):
    """A started benchmark whose clock stands still until `tick`; others are not looked for."""
    rounds = module_of("_rounds")
    monkeypatch.setattr(rounds, "others_at_work", lambda **how: "")

    def make(*words: str, **options: object):
        clock = Clock()
        return rounds.Bench("thing.py", [f"json={tmp_path / 'rows'}", *words], {"rounds": 3, **options}, {"files": 1}, clock), clock

    return make


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def taking(self, seconds: float):
        """A way that takes so long."""

        def way() -> None:
            self.now += seconds

        return way


def names_of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_the_project_is_on_the_path_before_it_is_imported(path):
    """`python benchmarks/rawboost.py` once ended with: No module named 'sourcetracing'."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    is_on_path = False
    for node in sorted((node for node in ast.walk(tree) if hasattr(node, "lineno")), key=lambda node: (node.lineno, node.col_offset)):
        names = names_of(node)
        is_on_path |= isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path.insert"
        is_on_path |= bool(PATH_SETTERS & set(names))
        assert is_on_path or not any(name.split(".")[0] == "sourcetracing" for name in names), f"{path.name}:{node.lineno}"


def rows_of(tmp_path) -> list[dict]:
    return [json.loads(line) for line in (tmp_path / "rows").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("fils=3", "unknown word 'fils=3'. Known: --help, miniature, rounds=, files=, device=, own=, share=, budget=, json=, record="),
        ("3", "unknown word '3'"),
        ("files=many", "files=many is no whole number of at least 1"),
        ("files=0", "files=0 is no whole number of at least 1"),
        ("files=1.5", "files=1.5 is no whole number of at least 1"),
        ("budget=nan", "budget=nan is no number above 0"),
        ("share=-1", "share=-1 is no number above 0"),
        ("device=tpu", "device=tpu is none of: auto, cpu"),
        ("own=yes", "own=yes is none of: true, false"),
    ],
)
def test_a_word_that_nobody_knows_is_one_line_and_2(bench_of, capsys, word, told):
    with pytest.raises(SystemExit) as ended:
        bench_of(word, files=10, device=("auto", "cpu"), own=False, share=0.5)
    complaint = capsys.readouterr().err
    assert ended.value.code == 2 and complaint.startswith(f"error: {told}") and complaint.count("\n") == 1


def test_options_have_their_defaults_types_and_sizes_in_miniature(bench_of):
    bench, _ = bench_of("device=cpu", "own=true", "batch=0", files=10, device=("auto", "cpu"), own=False, batch=0)
    assert (bench["files"], bench["device"], bench["own"], bench["batch"], bench["rounds"], bench["budget"]) == (10, "cpu", True, 0, 3, 150)
    bench, _ = bench_of("miniature", files=10)
    assert (bench["files"], bench["rounds"]) == (1, 1)
    bench, _ = bench_of("miniature", "files=7", files=10)
    assert bench["files"] == 7


def test_times_and_ratios_are_of_neighbours(bench_of, tmp_path, capsys):
    bench, clock = bench_of()
    own = iter((1.0, 2.0, 4.0))
    with bench:
        ways = {"straightforward": clock.taking(8), "ours": lambda: next(own), "other": clock.taking(16)}
        times = bench.compare("a thing", ways, unit="ms", per=4, each="a file")
    assert times == {"straightforward": [2000] * 3, "ours": [250, 500, 1000], "other": [4000] * 3}
    (row,) = rows_of(tmp_path)
    assert row == {
        "benchmark": "thing",
        "what": "a thing",
        "unit": "ms",
        "each": "a file",
        "ours": [250, 500, 1000],
        "straightforward": [2000] * 3,
        "stopped": "",
        "busy": "",
    }
    shown = capsys.readouterr().out
    assert "ours                                   500 (250–1,000) ms   4.00 (2.00–8.00)x" in shown
    assert "other                                  4,000 (4,000–4,000) ms   0.500 (0.500–0.500)x" in shown


def test_a_round_is_begun_only_if_it_would_end_in_time(bench_of, tmp_path, capsys):
    bench, clock = bench_of("budget=25", rounds=5)
    with bench:
        bench.compare("a thing", {"straightforward": clock.taking(6), "ours": clock.taking(4)})
    assert clock.now == 20 and rows_of(tmp_path)[0]["ours"] == [4, 4]
    assert "2 of 5 rounds: the time is up" in capsys.readouterr().out


def test_one_whole_round_is_done_however_small_the_budget(bench_of, tmp_path):
    bench, clock = bench_of("budget=1")
    with bench:
        clock.now = 30.0  # what it took to get ready
        bench.compare("a thing", {"straightforward": clock.taking(6), "ours": clock.taking(4)})
    assert rows_of(tmp_path)[0]["straightforward"] == [6] and rows_of(tmp_path)[0]["stopped"] == "1 of 3 rounds: the time is up"


def test_parts_share_what_is_left_of_the_budget(bench_of, tmp_path):
    bench, clock = bench_of("budget=100", rounds=100)
    with bench:
        for number in range(2):
            bench.compare("a thing", {"straightforward": clock.taking(3), "ours": clock.taking(2)}, parts=2 - number)
    assert [len(row["ours"]) for row in rows_of(tmp_path)] == [10, 10]


def test_ctrl_c_keeps_whole_rounds(bench_of, tmp_path, capsys):
    bench, clock = bench_of()
    calls = iter((1.0, 2.0))

    def interrupted() -> float:
        for value in calls:
            return value
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended, bench:
        bench.compare("a thing", {"straightforward": clock.taking(6), "ours": interrupted})
    assert ended.value.code == 130
    row, shown = rows_of(tmp_path)[0], capsys.readouterr().out
    assert (row["ours"], row["straightforward"], row["stopped"]) == ([1, 2], [6, 6], "interrupted")
    assert "round 3  straightforward" in shown and "interrupted: what stands above is all" in shown


def test_a_size_that_would_not_fit_is_made_smaller_by_a_probe(bench_of, capsys):
    bench, clock = bench_of("budget=110")
    with bench:
        assert bench.fitted("files", 100, 10, clock.taking(10)) == 50  # 100 s a round, 100 s left: two of 50 files fit
        assert "files: 50 instead of 100; a round of 100 would take about 100 s here, and 100 s are left" in capsys.readouterr().out
        assert bench.fitted("files", 100, 10, clock.taking(4)) == 100
        assert bench.fitted("files", 100, 10, clock.taking(80), least=7) == 7


def test_a_probe_may_tell_its_own_seconds(bench_of):
    bench, clock = bench_of("budget=100")
    with bench:
        assert bench.fitted("rows", 100, 10, lambda: 10.0, rounds=1) == 100
        assert bench.fitted("rows", 100, 10, lambda: 20.0, rounds=1) == 50


def test_a_busy_machine_is_told_and_recorded(bench_of, module_of, tmp_path, capsys, monkeypatch):
    bench, clock = bench_of()
    monkeypatch.setattr(module_of("_rounds"), "others_at_work", lambda **how: "others used 1.0 of 2 cores")
    with bench:
        bench.compare("a thing", {"ours": clock.taking(1)})
    assert rows_of(tmp_path)[0]["busy"] == "others used 1.0 of 2 cores"
    assert "warning: others used 1.0 of 2 cores; the times are worth little" in capsys.readouterr().out


def test_a_program_that_computes_is_seen(module_of):
    machine = module_of("_machine")
    with subprocess.Popen([sys.executable, "-c", "print(1, flush=True)\nwhile True: pass"], stdout=subprocess.PIPE) as other:
        other.stdout.read(1)
        told = machine.others_at_work(0.3, with_load=False)
        other.kill()
    assert told.startswith("others used ") and f" of {machine.num_cores()} cores (" in told and "python" in told


def test_an_idle_machine_is_no_warning(module_of, monkeypatch):
    machine = module_of("_machine")
    monkeypatch.setattr(machine.psutil, "cpu_times", lambda: type("Times", (), {"user": 5.0, "steal": 1.0, "idle": 9.0})())
    monkeypatch.setattr(machine.psutil, "getloadavg", lambda: (0.2, 3.0, 3.0))
    assert machine.others_at_work(0.01) == ""
    monkeypatch.setattr(machine.psutil, "getloadavg", lambda: (1.26, 0.0, 0.0))
    assert machine.others_at_work(0.01) == "the load of the minute before was 1.3"


def row_of(what: str, ours: list[float], straightforward: list[float], *, each: str = "", stopped: str = "", busy: str = "") -> dict:
    row = {"benchmark": "nsd", "what": what, "unit": "ms", "each": each, "ours": ours, "straightforward": straightforward}
    return {**row, "stopped": stopped, "busy": busy}


def test_the_table_has_a_row_for_each_result_and_each_failure(module_of):
    runner = module_of("all")
    rows = [
        row_of("a thing", [2.0, 1.0, 4.0], [8.0] * 3, each="a file"),
        row_of("more", [300.0], [], stopped="1 of 3 rounds", busy="others"),
    ]
    outcomes = [runner.Outcome("nsd", 3.0, "", rows), runner.Outcome("mixing", 1.0, "failed: a|b"), runner.Outcome("rawboost")]
    assert runner.table_of(outcomes)[2:] == [
        "| a thing, ms for a file | `python benchmarks/nsd.py` | 2.00 (1.00–4.00) | 8.00 (8.00–8.00) | **4.00 (2.00–8.00)×** |",
        "| more, ms (1 of 3 rounds) | `python benchmarks/nsd.py` | 300 | – | – |",
        "| mixing | `python benchmarks/mixing.py` | failed: a/b | – | – |",
        "| rawboost | `python benchmarks/rawboost.py` | no result | – | – |",
    ]
    assert runner.busy_while("load", outcomes) == "at the start: load; before nsd: others"
    assert "**busy while it ran: load**" in runner.headline("load") and "no other program at work" in runner.headline("")
    assert "no other program" not in runner.headline("", is_miniature=True)


def test_a_document_keeps_all_but_what_stands_between_its_markers(module_of):
    runner = module_of("all")
    begin, end = runner.MARKERS
    assert (
        runner.with_table(f"before\n{begin}\nold\n{end}\nafter\n", ["new", "lines"], runner.MARKERS)
        == f"before\n{begin}\nnew\nlines\n{end}\nafter\n"
    )
    for document in ("none", begin, f"{end}{begin}", f"{begin}{begin}{end}"):
        with pytest.raises(UserError, match="once each"):
            runner.with_table(document, [], runner.MARKERS)
    assert runner.with_table((FOLDER / "README.md").read_text(encoding="utf-8"), [], runner.MARKERS)


def test_a_part_that_fails_or_does_not_end_is_an_outcome(module_of, tmp_path):
    runner = module_of("all")
    (tmp_path / "failing.py").write_text("import sys\nprint('half', flush=True)\nraise ValueError('no such thing')", encoding="utf-8")
    failed = runner.run_part(tmp_path / "failing.py", [], 60)
    assert (failed.failure, failed.printed, failed.rows) == ("failed: ValueError: no such thing", "half\n", [])
    lines = ["import sys, time", "file = sys.argv[-1].split('=')[1]", "open(file, 'w').write('{\"what\": \"a\"}\\n')", "time.sleep(60)"]
    (tmp_path / "endless.py").write_text("\n".join(lines), encoding="utf-8")
    late = runner.run_part(tmp_path / "endless.py", [], 0.5)
    assert late.failure == "did not end in 0 s" and late.rows == [{"what": "a"}]
    (tmp_path / "cut.py").write_text("\n".join([*lines[:2], 'open(file, \'w\').write(\'{"what": "a"}\\n{"wh\')']), encoding="utf-8")
    assert runner.run_part(tmp_path / "cut.py", [], 60).rows == [{"what": "a"}]


@pytest.mark.parametrize("name", ["record", "readme"])
def test_what_cannot_be_written_is_refused_before_the_measuring(module_of, tmp_path, monkeypatch, name):
    runner = module_of("all")
    monkeypatch.setattr(runner, "run_part", lambda *_: pytest.fail("measured"))
    with pytest.raises(UserError, match="cannot be written"):
        runner.main(["miniature", "only=rawboost", f"{name}={tmp_path}"])


def test_a_signal_to_the_runner_ends_its_part(tmp_path):
    command = [sys.executable, str(FOLDER / "all.py"), "only=growth", f"record={tmp_path / 'r.md'}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as runner:
        children = []
        while not children and runner.poll() is None:
            time.sleep(0.2)
            children = psutil.Process(runner.pid).children(recursive=True)
        runner.terminate()
        runner.wait(60)
    assert children
    assert not psutil.wait_procs(children, timeout=10)[1]


@pytest.mark.parametrize("words", [["only="], ["only=,"], ["only=nsd,none"]])
def test_a_list_of_parts_with_a_name_that_is_none_is_refused(module_of, words):
    with pytest.raises(UserError, match="names no benchmark"):
        module_of("all").main(words)


def test_every_file_that_times_something_is_run(module_of):
    """The others: of parts, campaigns, what judges figures or tests, computes from rates, takes minutes, needs 3 GB, was not taken up."""
    campaigns = {"mutation", "kill_campaign", "disk_full_campaign", "bootstrap_coverage", "enrolment_growth"}
    alone = {"gpu", "gpu_limits", "scaling_table", "real_scale", "small_corpora", "enrolment_search", "training_ensemble"}
    helpers = {path.stem for path in BENCHMARKS if path.stem.startswith("_")} | {"straightforward_networks"}
    assert {path.stem for path in BENCHMARKS} == set(module_of("all").PARTS) | {"all"} | alone | campaigns | helpers


def run_all(tmp_path, *words: str) -> tuple[str, str]:
    """The runner in miniature from another folder: what it prints and records."""
    readme, record = tmp_path / "README.md", tmp_path / "record.md"
    begin, end = importlib.import_module("all").MARKERS
    readme.write_text(f"{begin}\n{end}\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(FOLDER / "all.py"), "miniature", f"readme={readme}", f"record={record}", *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    table = [line for line in readme.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert set(table) <= set(record.read_text(encoding="utf-8").splitlines())
    return done.stdout, readme.read_text(encoding="utf-8")


def test_one_that_failed_starts_in_another_folder(module_of, tmp_path):
    _, table = run_all(tmp_path, "only=rawboost")
    assert table.count("`python benchmarks/rawboost.py`") == 3 and table.count("×**") == 3


@pytest.mark.parametrize(
    "name",
    [
        "gpu_limits",
        "nsd",
        "all",
        "gpu",
        "scaling_table",
        "mutation",
        "bootstrap_coverage",
        "small_corpora",
        "enrolment_growth",
        "training_ensemble",
    ],
)
def test_each_tells_of_itself(name):
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Run " in done.stdout and f"benchmarks/{name}.py" in done.stdout


@pytest.mark.slow
def test_the_limits_of_a_gpu_are_computed():
    command = [sys.executable, str(FOLDER / "gpu_limits.py"), "utterances=2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [line.count("|") for line in done.stdout.splitlines()[2:]] == [7] * 4 and "wav2vec2-base, layer 5" in done.stdout


@pytest.mark.slow
def test_networks_trained_as_one_have_the_losses_of_networks_trained_apart(tmp_path):
    command = [sys.executable, str(FOLDER / "training_ensemble.py"), "miniature", f"json={tmp_path / 'rows'}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    first_losses = re.search(r"^ +ensemble +losses of the first step (\S+) apart", done.stdout, re.MULTILINE)
    assert float(first_losses[1]) < 1e-4
    assert "training step of the demo, ensemble" in [row["what"] for row in rows_of(tmp_path)]


@pytest.mark.slow
def test_every_benchmark_runs_in_miniature(module_of, tmp_path):
    before = (FOLDER / "README.md").read_bytes()
    printed, table = run_all(tmp_path)
    assert printed.startswith("miniature: ") and "mean nothing" in printed.splitlines()[0]
    assert [line.split()[0] for line in printed.splitlines()[1:-1]] == list(module_of("all").PARTS)
    assert "fail" not in table and (FOLDER / "README.md").read_bytes() == before
