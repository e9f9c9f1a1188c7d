"""Would the tests notice a fault? Small faults are put into the code that computes figures, one at a time, and its tests are run.

A mutant is killed when a test fails or runs past its time; one that survives is shown with its line, for a person to look at: either a
test is missing or the change means the same. The code is changed in copies of this tree below the system's temporary folder, never here.
The tests of a module are those of its package (`tests_of`), with `-x`, the slow ones left out.

Run     python benchmarks/mutation.py [number=80] [seed=1] [workers=2] [only=metrics,scoring] [seconds=0]      (10 to 60 s each)
        seconds: what the tests of a module take as it is, where that need not be measured (and is known to pass)
        python benchmarks/mutation.py miniature      (a dozen mutants of one small module: the tool itself, for CI)
Prints  each mutant and whether it survived, then killed / all by module
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Timer

from _mutants import Mutant, mutants_of
from _rounds import options_or_exit

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "metrics": "sourcetracing/metrics/*.py",
    "openset": "sourcetracing/openset/*.py",
    "protocols": "sourcetracing/protocols/*.py",
    "tables": "sourcetracing/tables/*.py",
    "scoring": "sourcetracing/scoring/*.py",
    "detection": "sourcetracing/detection/experiments/scoring.py",
}
LEFT_OUT = ("__init__.py", "pictures.py")  # what is drawn is looked at
COPIED = (
    "sourcetracing",
    "models",
    "scripts",
    "configs",
    "tests",
    "docs",
    "train_refd.py",
    "train_ge2e.py",
    "pyproject.toml",
    "benchmarks",
)
MINIATURE = ("sourcetracing/metrics/ranking.py", 12)
SLOWEST_TIMES_BASELINE, MORE_SECONDS = 4, 60
# A process of its own imports what is not ours once; each mutant's tests run in a fork of it.
SERVER = """
import json, os, sys
sys.path.insert(0, os.getcwd())
import numpy, pandas, pyarrow.parquet, pytest, scipy.stats, sklearn.metrics, torch
torch.set_num_threads(1)
print("ready", flush=True)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.setsid()
        quiet = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(quiet, number)
        os._exit(int(pytest.main(json.loads(line))))
    print(pid, flush=True)
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Tree:
    """A copy of the project in which one mutant after the other is tested."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in COPIED:
            ignore = shutil.ignore_patterns("__pycache__")
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy(ROOT / name, folder / name, **({"ignore": ignore} if (ROOT / name).is_dir() else {}))
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.server = subprocess.Popen([sys.executable, "-c", SERVER], cwd=folder, env=environment, **pipes)
        self._answer()

    def run_tests(self, tests: Sequence[str], seconds: float = 3600) -> int | None:
        """pytest's exit status; None past the time."""
        self.server.stdin.write(json.dumps(["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests]) + "\n")
        self.server.stdin.flush()
        pid, late = int(self._answer()), []
        timer = _after(seconds, lambda: (late.append(True), os.killpg(pid, signal.SIGKILL)))
        status = int(self._answer())
        timer.cancel()
        return None if late else status

    def survives(self, path: str, mutant: Mutant, tests: Sequence[str], seconds: float) -> bool:
        """Whether all tests pass with the mutant in its place."""
        whole = (ROOT / path).read_text(encoding="utf-8")
        (self.folder / path).write_text(mutant.applied_to(whole), encoding="utf-8")
        try:
            return self.run_tests(tests, seconds) == 0
        finally:
            (self.folder / path).write_text(whole, encoding="utf-8")

    def close(self) -> None:
        self.server.stdin.close()
        self.server.wait()

    def _answer(self) -> str:
        return self.server.stdout.readline().strip()


def _after(seconds: float, act: Callable[[], object]) -> Timer:
    timer = Timer(seconds, act)
    timer.daemon = True
    timer.start()
    return timer


def tests_of(path: str) -> list[str]:
    """The tests of a module: its package's, those that import it first; where none of them does, also those elsewhere that do."""
    module = path.removesuffix(".py").replace("/", ".")
    package, name = module.rsplit(".", 1)
    words = (f"from {module} import", f"from {package} import {name}", f"import {module}")
    files = sorted(
        (ROOT / "tests" / Path(path).parent.relative_to("sourcetracing")).glob("test_*.py"), key=lambda file: not _mentions(file, words)
    )
    if not any(_mentions(file, words) for file in files):
        files = [*(file for file in sorted((ROOT / "tests").rglob("test_*.py")) if _mentions(file, words)), *files]
    return [str(file.relative_to(ROOT)) for file in files if "whole_pipeline" not in file.parts]


def _mentions(file: Path, words: Sequence[str]) -> bool:
    text = file.read_text(encoding="utf-8")
    return any(word in text for word in words)


def drawn(paths: Sequence[str], number: int, seed: int) -> list[tuple[str, Mutant]]:
    """`number` mutants of these files, each equally likely."""
    everything = [(path, mutant) for path in paths for mutant in mutants_of((ROOT / path).read_text(encoding="utf-8"))]
    chosen = random.Random(seed).sample(range(len(everything)), min(number, len(everything)))
    return [everything[position] for position in sorted(chosen)]


class Baselines:
    """What the tests of each file take when nothing is wrong; measured once for each set of tests, when it is first needed."""

    def __init__(self, told: float) -> None:
        self.told = told
        self.known: dict[frozenset[str], float] = {}
        self.lock = Lock()

    def seconds(self, tree: Tree, path: str) -> float:
        """As told, else measured. Ends the process where the tests fail as it is."""
        if self.told:
            return self.told
        tests = tests_of(path)
        with self.lock:
            if (key := frozenset(tests)) not in self.known:
                started = time.perf_counter()
                if not tests or tree.run_tests(tests) != 0:
                    print(f"{path}: its tests do not pass as it is: {' '.join(tests) or 'there are none'}", flush=True)
                    os._exit(1)
                self.known[key] = time.perf_counter() - started
            return self.known[key]


def judged(chosen: Sequence[tuple[str, Mutant]], workers: int, seconds: float) -> Iterator[tuple[str, Mutant, bool]]:
    """(path, mutant, whether it survived)."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        trees: SimpleQueue[Tree] = SimpleQueue()
        made = [Tree(_new(Path(folder) / str(number))) for number in range(workers)]
        baselines = Baselines(seconds)
        for tree in made:
            trees.put(tree)

        def judge(one: tuple[str, Mutant]) -> bool:
            path, mutant = one
            tree = trees.get()
            try:
                most_seconds = SLOWEST_TIMES_BASELINE * baselines.seconds(tree, path) + MORE_SECONDS
                return tree.survives(path, mutant, tests_of(path), most_seconds)
            finally:
                trees.put(tree)

        with ThreadPoolExecutor(workers) as pool:
            for (path, mutant), survived in zip(chosen, pool.map(judge, chosen), strict=True):
                yield path, mutant, survived
        for tree in made:
            tree.close()


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def main(words: Sequence[str]) -> None:
    """Prints verdicts as they are found, then the score of each module and of all."""
    known = {"number": 80, "seed": 1, "workers": 2, "only": ",".join(PACKAGES), "seconds": 0.0}
    options = options_or_exit(__file__, [word for word in words if word != "miniature"], known)
    packages = options["only"].split(",")
    paths = [
        str(file.relative_to(ROOT))
        for name in packages
        for file in sorted(ROOT.glob(PACKAGES.get(name, name)))
        if file.name not in LEFT_OUT
    ]
    number = options["number"]
    if "miniature" in words:
        paths, number = [MINIATURE[0]], MINIATURE[1]
    chosen = drawn(paths, number, options["seed"])
    print(f"{len(chosen)} mutants of {len(paths)} files", flush=True)
    killed, all_of = Counter(), Counter()
    for path, mutant, survived in judged(chosen, options["workers"], options["seconds"]):
        all_of[path] += 1
        killed[path] += not survived
        verdict = "survived" if survived else "killed  "
        print(f"{verdict}  {path}:{mutant.line}  {mutant.kind}:  {mutant.before}  ->  {mutant.after}", flush=True)
    for path in all_of:
        print(f"{killed[path]:4} of {all_of[path]:<4} {path}")
    print(f"{killed.total()} of {all_of.total()} killed ({100 * killed.total() / all_of.total():.0f} %)")


if __name__ == "__main__":
    main(sys.argv[1:])
