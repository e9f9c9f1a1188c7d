"""Many random cases of one property: how many, from which seed, and within how much time and memory each.

The cases are the same each time, so that a failure in CI is one here. FUZZ_SEED=<number> draws others (make fuzz); what they find becomes a
test in tests/known_issues/.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis.strategies import SearchStrategy

SHORT_AND_LONG = pytest.mark.parametrize("is_long", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["short", "long"])
MOST_BYTES = 2 << 30  # that a case may take on top of what the process has
MOST_SECONDS = 20.0
CASES: dict[str, tuple[int, int]] = {  # property -> how many in `make test`, how many in `make test-all`
    "settings_words": (30, 1200),
    "fitting_settings": (5, 200),
    "settings_files": (40, 1500),
    "audio": (60, 3000),
    "lists": (100, 3950),
    "scripts": (0, 150),
    "own_files": (0, 50),
}


def run_cases(name: str, is_long: bool, cases: SearchStrategy, check: Callable[[Any], None], *, limit: bool = True) -> None:
    """Calls `check` with as many different cases as CASES says; the smallest one that fails is shown.

    limit: time and memory of this process (`limited`); a fork server has limits of its own.
    """
    wanted, seed = CASES[name][is_long], os.environ.get("FUZZ_SEED")
    rules = hypothesis.settings(
        max_examples=wanted,
        derandomize=not seed,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )
    seen = 0

    @rules
    @given(cases)
    def each(case: Any) -> None:
        nonlocal seen
        seen += 1
        with limited() if limit else nullcontext():
            check(case)

    (hypothesis.seed(int(seed))(each) if seed else each)()
    assert seen >= wanted, f"only {seen} different cases"


@contextmanager
def limited(seconds: float = MOST_SECONDS, num_bytes: int = MOST_BYTES) -> Iterator[None]:
    """Raises TimeoutError after some time, MemoryError for an allocation that goes too far. On Linux, in the main thread."""

    def stop(signum: int, frame: object) -> None:
        raise TimeoutError(f"still busy after {seconds:g} s")

    before, old = signal.signal(signal.SIGALRM, stop), resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (data_bytes() + num_bytes, old[1]))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_DATA, old)


def data_bytes() -> int:
    """What RLIMIT_DATA counts of this process by now."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmData")) * 1024
