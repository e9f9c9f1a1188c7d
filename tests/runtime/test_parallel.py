"""Worker processes: results, errors, and no orphans after a kill -9 of the parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from sourcetracing.errors import UserError
from sourcetracing.runtime import parallel
from sourcetracing.runtime.parallel import map_unordered, memory_budget
from tests.support.places import ROOT


def square(number: int) -> tuple[int, str]:
    return number * number, os.environ["OMP_NUM_THREADS"]


def fail_on_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


def test_every_item_once_with_one_thread_each():
    before = os.environ.get("OMP_NUM_THREADS")
    results = dict(map_unordered(square, range(7), num_workers=2))
    assert results == {number: (number * number, "1") for number in range(7)}
    assert os.environ.get("OMP_NUM_THREADS") == before


def budget_of_a_terabyte(number: int) -> int:
    parallel.psutil.virtual_memory = lambda: SimpleNamespace(available=10**12)
    return memory_budget()


def test_workers_share_half_of_the_free_memory(monkeypatch):
    """Each of eight workers once took half of what was free for its own rows."""
    monkeypatch.setattr(parallel.psutil, "virtual_memory", lambda: SimpleNamespace(available=10**12))
    assert memory_budget() == 10**12 // 2
    assert set(dict(map_unordered(budget_of_a_terabyte, range(2), num_workers=2)).values()) == {10**12 // 4}


def test_processes_of_torchrun_share_it_too(monkeypatch):
    monkeypatch.setattr(parallel.psutil, "virtual_memory", lambda: SimpleNamespace(available=10**12))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert memory_budget() == 10**12 // 8
    for odd in ("", "0", "-2", "x"):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", odd)
        assert memory_budget() == 10**12 // 2


def test_nobody_looks_at_free_memory_alone():
    """The one place that knows how many processes share it is `memory_budget`."""
    asking = [path.name for path in (ROOT / "sourcetracing").rglob("*.py") if "virtual_memory" in path.read_text(encoding="utf-8")]
    assert asking == ["parallel.py"]


def test_an_error_reaches_the_parent_and_ends_the_workers():
    with pytest.raises(ValueError, match="three"):
        list(map_unordered(fail_on_three, range(100), num_workers=2))
    deadline = time.monotonic() + 5
    while psutil.Process().children(recursive=True) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_worker_that_the_system_kills_is_one_clear_line():
    with pytest.raises(UserError, match="compute.workers=1"):
        list(map_unordered(die, range(3), num_workers=2))


SLEEPER = """
import time
from sourcetracing.errors import UserError
from sourcetracing.runtime.parallel import map_unordered
if __name__ == "__main__":
    list(map_unordered(time.sleep, [60] * 4, num_workers=2))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_never_outlive_their_parent(tmp_path, how):
    script = tmp_path / "sleeper.py"
    script.write_text(SLEEPER, encoding="utf-8")
    parent = subprocess.Popen([sys.executable, str(script)], cwd=ROOT, env={**os.environ, "PYTHONPATH": "."}, stderr=subprocess.DEVNULL)
    children: list[psutil.Process] = []
    deadline = time.monotonic() + 20
    while len(children) < 3 and time.monotonic() < deadline:  # two workers and the resource tracker
        children = psutil.Process(parent.pid).children(recursive=True)
        time.sleep(0.1)
    time.sleep(0.5)
    parent.send_signal(how)
    parent.wait(timeout=10)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
