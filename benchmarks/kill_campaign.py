"""Kills scripts at random moments while a second start of the same command runs beside them: do they end with the same bytes?

Every script first runs undisturbed, on a corpus of seconds. Then, `kills` times: the folder is put back to where it stood before a random
script; the script starts twice, a moment apart; one of the two is killed (SIGKILL, the process alone or with its workers) after a random
part of the time that it takes; the command runs once more to its end. The folder must then hold what the undisturbed one holds, times apart
(`_street.contents`). The second start may end with 0 or with 2 and one line (`another process is ...`), never with a traceback.
Run: python benchmarks/kill_campaign.py [kills=100] [seed=1] [only=05,train] [folder=/dev/shm/kills]     (an hour on 2 cores)
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from _street import Stage, Street, differences

SHOWN = 12  # differences of a trial


@dataclass(frozen=True)
class Trial:
    """What one kill is. share: of the script's time after which it comes; pause: seconds between the two starts."""

    stage: Stage
    share: float
    pause: float
    kills_second: bool
    kills_group: bool

    @classmethod
    def draw(cls, chosen: list[Stage], generator: random.Random) -> Trial:
        """At random; short pauses, so that both starts are at work when the kill comes."""
        stage = generator.choice(chosen)
        return cls(stage, generator.uniform(0.1, 1.1), generator.uniform(0, 1.5), generator.random() < 0.5, generator.random() < 0.5)


def run_trial(street: Street, trial: Trial) -> list[str]:
    """Runs it; returns what is wrong afterwards."""
    number = street.number(trial.stage)
    street.reset(number)
    first = street.start(trial.stage)
    time.sleep(trial.pause)
    second = street.start(trial.stage)
    killed, other = (second, first) if trial.kills_second else (first, second)
    time.sleep(trial.share * street.seconds[trial.stage.name])
    _kill(killed, trial.kills_group)
    killed.communicate()
    wrong = _complaints(other, "the start beside it")
    again = street.start(trial.stage)
    wrong += _complaints(again, "the command run again", may_refuse=False)
    return wrong + differences(street.after(number), street.now())


def _kill(process: subprocess.Popen, with_group: bool) -> None:
    with contextlib.suppress(ProcessLookupError):  # it was faster
        os.killpg(process.pid, signal.SIGKILL) if with_group else process.kill()


def _complaints(process: subprocess.Popen, who: str, may_refuse: bool = True) -> list[str]:
    try:
        _, err = process.communicate(timeout=600)
    except subprocess.TimeoutExpired:
        _kill(process, with_group=True)
        return [f"{who} hangs"]
    if process.returncode == 0 or (may_refuse and process.returncode == 2 and "Traceback" not in err):
        return []
    return [f"{who} ended with {process.returncode}: {err.strip()[-1500:]}"]


def main(kills: int = 100, seed: int = 1, only: str = "", folder: str = "") -> int:
    """Walks the street, then kills; returns how many trials ended otherwise."""
    root = Path(folder or tempfile.mkdtemp(prefix="kills-"))
    words = [word for word in only.split(",") if word]
    street = Street(root / "place", root / "copies", lambda name: not words or any(word in name for word in words))
    chosen = street.walk()
    generator, failed, killed = random.Random(seed), 0, Counter()
    for count in range(1, kills + 1):
        trial = Trial.draw(chosen, generator)
        wrong = run_trial(street, trial)
        failed, killed[trial.stage.name] = failed + bool(wrong), killed[trial.stage.name] + 1
        print(f"{count:4} {trial.stage.name} at {100 * trial.share:.0f} %: {'the same bytes' if not wrong else 'OTHERWISE'}", flush=True)
        print("".join(f"       {line}\n" for line in wrong[:SHOWN]), end="", flush=True)
    print(f"{kills} kills of {len(killed)} scripts: {kills - failed} ended with the same bytes")
    return failed


if __name__ == "__main__":
    options = dict(word.split("=", 1) for word in sys.argv[1:])
    sys.exit(bool(main(**{name: int(text) if text.isdecimal() else text for name, text in options.items()})))
