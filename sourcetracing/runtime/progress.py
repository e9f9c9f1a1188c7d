"""One look for every progress bar, a plain line now and then where output is no terminal; and what the parts of a job take."""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

_bars: weakref.WeakSet[tqdm] = weakref.WeakSet()


def bar(
    iterable: Iterable | None = None,
    *,
    total: int | None = None,
    desc: str = "",
    unit: str = "it",
    initial: int = 0,
    unit_scale: bool = False,
    disable: bool = False,
) -> tqdm:
    """A tqdm bar on stderr; in a log file (no terminal) it prints every 10 seconds instead of 10 times a second.

    unit_scale: shows 1,000,000 as 1 M.
    """
    interactive = sys.stderr.isatty()
    made = tqdm(
        iterable,
        total=total,
        desc=desc,
        unit=unit,
        initial=initial,
        unit_scale=unit_scale,
        disable=disable,
        mininterval=0.1 if interactive else 10,
        maxinterval=10 if interactive else 60,
        dynamic_ncols=interactive,
        ncols=None if interactive else 100,
        leave=True,
        file=sys.stderr,
    )
    _bars.add(made)
    return made


@contextmanager
def whole_bars() -> Iterator[None]:
    """Ends the line of every bar that an exception leaves unfinished, so that what is said of it does not stick to one."""
    try:
        yield
    except BaseException:
        for unfinished in list(_bars):
            unfinished.close()
        raise


def advance_audio(progress: tqdm, num_items: int, hours_per_item: float) -> None:
    """Moves a bar on by items that hold so many hours of sound each, and shows the hours per minute of this run."""
    hours = (progress.n + num_items - progress.initial) * hours_per_item
    progress.set_postfix_str(f"{hours / progress.format_dict['elapsed'] * 60:.2f} h of sound/min", refresh=False)
    progress.update(num_items)


def say(line: str) -> None:
    """A line on stderr that leaves bars whole."""
    tqdm.write(line, file=sys.stderr)


class Stopwatch:
    """Adds up what the parts of a job take, in `seconds` by name; threads may share one. Time in an inner part is not the outer's."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._lock, self._thread = threading.Lock(), threading.local()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        before, self._thread.inner = getattr(self._thread, "inner", 0.0), 0.0
        started = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - started
            self.add(name, elapsed - self._thread.inner)
            self._thread.inner = before + elapsed

    def add(self, name: str, seconds: float) -> None:
        """For what was measured elsewhere."""
        with self._lock:
            self.seconds[name] += seconds
