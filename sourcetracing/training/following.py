"""The progress bar of trainings, read off their run folders, whichever process or machine trains; and how long it will take."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from sourcetracing.runtime.progress import bar
from sourcetracing.training.pace import Pace, duration_in_words, measured_rate, read_pace
from sourcetracing.training.rounds import num_rounds, rows_per_round, word_for_rounds
from sourcetracing.training.runs import TrainingRun

SECONDS_BETWEEN_LOOKS = 1.0
BAR = "{l_bar}{bar}| {n:.2f}/{total} {unit}s [{elapsed}<{remaining}, {rate_fmt}{postfix}]"


def rounds_done(run: TrainingRun, stale: Pace | None = None) -> float:
    """Rounds of a run that are done, with the share of the one that is under way; all of them once it is finished, were it early.

    stale: a note that counts for nothing, such as that of a process that was killed: not all that it had done was saved.
    """
    if run.files.is_finished:
        return num_rounds(run.settings)
    done, pace = run.files.num_epochs_done(), read_pace(run.files)
    return done + (pace.step / pace.num_steps if pace and pace != stale and pace.rounds_done == done else 0.0)


@contextmanager
def following(runs: Sequence[TrainingRun], num_rows: Mapping[Path, int], at_once: int) -> Iterator[tqdm]:
    """A bar that counts the rounds of runs while they are trained, `at_once` of them at a time. num_rows: run folder -> training rows.

    Of each system that nothing is known of yet it says how long it will take, once ten steps were measured.
    """
    stale = [read_pace(run.files) for run in runs]  # where a run is being trained elsewhere, a new note comes in a second

    def done() -> float:
        return sum(map(rounds_done, runs, stale))

    total, unit = sum(num_rounds(run.settings) for run in runs), word_for_rounds([run.settings for run in runs])
    estimates, is_over = Estimates(runs, num_rows, at_once), threading.Event()
    with bar(total=total, initial=done(), desc="train", unit=unit) as progress:
        progress.bar_format = BAR

        def look() -> None:
            progress.update(done() - progress.n)

        def follow() -> None:
            while not is_over.wait(SECONDS_BETWEEN_LOOKS):
                look()
                for line in estimates.new():
                    progress.write(line)

        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        try:
            yield progress
        finally:
            is_over.set()
            follower.join()
            look()


class Estimates:
    """How long each system will take that has no round behind it yet, as soon as its first steps were measured."""

    def __init__(self, runs: Sequence[TrainingRun], num_rows: Mapping[Path, int], at_once: int):
        self.num_rows, self.at_once = num_rows, at_once
        by_system = {run.system: [one for one in runs if one.system == run.system] for run in runs}
        self.open = {system: own for system, own in by_system.items() if not any(run.files.num_epochs_done() for run in own)}

    def new(self) -> list[str]:
        """Lines on systems that there was none on before."""
        found = {system: line for system, own in self.open.items() if (line := self._line(system, own))}
        self.open = {system: own for system, own in self.open.items() if system not in found}
        return list(found.values())

    def _line(self, system: str, runs: Sequence[TrainingRun]) -> str:
        rate, num_steps = measured_rate(read_pace(run.files) for run in runs)
        if not num_steps:
            return ""
        left = [run for run in runs if not run.files.is_finished]
        rows = sum(self._rows_left(run) for run in left)
        seconds = rows * rate / max(1, min(self.at_once, len(left)))
        return f"{system}: {duration_in_words(seconds)} left besides dev, measured over {num_steps} steps"

    def _rows_left(self, run: TrainingRun) -> float:
        rounds_left = num_rounds(run.settings) - rounds_done(run)
        return rounds_left * rows_per_round(run.settings, self.num_rows[run.folder])
