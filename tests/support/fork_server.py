"""Runs scripts in forks of a process that has imported everything: a tenth of a second instead of seconds, each within time and memory.

`ForkServer().run("train_refd.py", words)`; the server itself is `python -m tests.support.fork_server`, reading JSON lists.
"""

from __future__ import annotations

import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from tests.support.fuzzing import MOST_BYTES, data_bytes
from tests.support.places import ROOT

HUNG = -signal.SIGKILL


@dataclass(frozen=True)
class Outcome:
    """status: of the exit, HUNG where it was killed for taking too long."""

    status: int
    out: str
    err: str
    seconds: float


class ForkServer:
    """Use as a context manager. folder: where the scripts run."""

    def __init__(self, folder: Path, seconds: float = 120) -> None:
        self.folder, self.seconds = folder, seconds

    def __enter__(self) -> ForkServer:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "tests.support.fork_server"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, cwd=self.folder, env={**environment, "HF_HUB_OFFLINE": "1"}, **pipes)
        return self

    def __exit__(self, *error: object) -> None:
        self.process.stdin.close()
        self.process.wait()

    def run(self, script: str, words: list[str]) -> Outcome:
        """Runs a script of the checkout."""
        self.process.stdin.write(json.dumps([script, words, self.seconds]) + "\n")
        self.process.stdin.flush()
        return Outcome(**json.loads(self.process.stdout.readline()))


def _serve() -> None:
    import matplotlib.pyplot  # noqa: F401
    import sklearn.linear_model  # noqa: F401
    import sklearn.manifold  # noqa: F401
    import torch
    import transformers  # noqa: F401

    torch.set_num_threads(1)
    sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]
    for path in (ROOT / "sourcetracing").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if "ray" not in name:
            __import__(name)
    for module in ("sourcetracing.training.matrix", "sourcetracing.embeddings.visualizing"):  # their workers would import torch each time
        sys.modules[module].map_unordered = _in_this_process
    for line in sys.stdin:
        answer = json.dumps(_fork(*json.loads(line)))
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


def _in_this_process(function, items, *, num_workers, initializer=None, initargs=()):
    return ((item, function(item)) for item in items)


def _fork(script: str, words: list[str], seconds: float) -> dict:
    started, status = time.monotonic(), None
    with tempfile.TemporaryFile("w+", errors="backslashreplace") as out, tempfile.TemporaryFile("w+", errors="backslashreplace") as err:
        if not (child := os.fork()):
            _run(script, words, out.fileno(), err.fileno())
        while status is None:
            time.sleep(0.002)
            ended, code = os.waitpid(child, os.WNOHANG)
            if ended:
                status = os.waitstatus_to_exitcode(code)
            elif time.monotonic() - started > seconds:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                status = HUNG
        texts = [(file.seek(0), file.read())[1] for file in (out, err)]
    return {"status": status, "out": texts[0], "err": texts[1], "seconds": time.monotonic() - started}


def _run(script: str, words: list[str], out: int, err: int) -> None:
    """In the child: becomes the script, and ends the process."""
    status = 1
    try:
        os.setsid()
        os.dup2(out, 1)
        os.dup2(err, 2)
        resource.setrlimit(resource.RLIMIT_DATA, (data_bytes() + MOST_BYTES, resource.RLIM_INFINITY))
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False, errors="backslashreplace")  # noqa: SIM115
        sys.argv = [str(ROOT / script), *words]
        sys.path.insert(0, str((ROOT / script).parent))
        runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1 if error.code else 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
