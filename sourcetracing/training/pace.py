"""How far a run is within its round and how fast it goes: a small file in its folder, for whoever watches it from another process."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from sourcetracing.layout import RunLayout
from sourcetracing.runtime.files import atomic_path

SECONDS_BETWEEN_NOTES = 1.0
MEASURED_STEPS = 10  # from which on a rate is worth telling


@dataclass(frozen=True)
class Pace:
    """`step` of `num_steps` are done of the round behind `rounds_done` whole ones.

    `measured_steps` of this process, with `measured_rows` training rows, took `measured_seconds`: without the first step of each round,
    which waits for kernels and memory, and without dev.
    """

    rounds_done: int
    step: int
    num_steps: int
    measured_steps: int
    measured_rows: int
    measured_seconds: float


def read_pace(files: RunLayout) -> Pace | None:
    """What a run last noted; None where it noted nothing, or has come to its end."""
    try:
        return Pace(**json.loads(files.progress.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def measured_rate(paces: Iterable[Pace | None]) -> tuple[float, int]:
    """(median seconds of a training row over the runs that noted a pace, steps that were measured); (nan, 0) where these are too few."""
    known = [pace for pace in paces if pace and pace.measured_steps >= MEASURED_STEPS]
    rates = [pace.measured_seconds / pace.measured_rows for pace in known]
    return (median(rates), sum(pace.measured_steps for pace in known)) if known else (math.nan, 0)


class Pacer:
    """Notes the pace of one run, at most once a second: the file is replaced whole, but not waited for, since nothing depends on it."""

    def __init__(self, path: Path):
        self.path = path
        self.steps, self.rows, self.seconds = 0, 0, 0.0
        self.last_round, self.last_step_at, self.noted_at = -1, 0.0, -SECONDS_BETWEEN_NOTES

    def note(self, rounds_done: int, step: int, num_steps: int, num_rows: int) -> None:
        """After step `step` (from 1) of a round, which computed `num_rows` rows."""
        now = time.perf_counter()
        if self.last_round == rounds_done:
            self.steps, self.rows, self.seconds = self.steps + 1, self.rows + num_rows, self.seconds + now - self.last_step_at
        self.last_round, self.last_step_at = rounds_done, now
        if now - self.noted_at >= SECONDS_BETWEEN_NOTES:
            self.noted_at = now
            pace = Pace(rounds_done, step, num_steps, self.steps, self.rows, self.seconds)
            with atomic_path(self.path, sync=False) as partial:
                partial.write_text(json.dumps(asdict(pace)), encoding="utf-8")


def duration_in_words(seconds: float) -> str:
    """`about 12 min`."""
    minutes = seconds / 60
    return f"about {seconds:.0f} s" if seconds < 90 else f"about {minutes:.0f} min" if minutes < 90 else f"about {minutes / 60:.1f} h"
