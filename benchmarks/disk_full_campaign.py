"""Runs every script on a disk that becomes full: does each say so in one line, and end with the same bytes once there is space again?

Every script first runs undisturbed, on a corpus of seconds. Then, for each script and `points` shares of what it writes: the folder lies on
a tmpfs with room for that share alone; the script must end with 2 and one line `error: No space left on device: <file>`; then the disk
grows, the same command runs again, and the folder must hold what the undisturbed one holds, times apart (`_street.contents`). The tmpfs is
mounted in a namespace of this process; where the system refuses one to a user, run it as root.
Run: python benchmarks/disk_full_campaign.py [points=3] [seed=1] [only=05,train] [folder=/dev/shm/full]     (half an hour on 2 cores)
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from _street import Stage, Street, differences

PAGE, IN_NAMESPACE, SHOWN = 4096, "SOURCETRACING_CAMPAIGN", 12
AMPLE = "2g"


def enter_namespace() -> None:
    """Starts this program anew where it may mount."""
    if IN_NAMESPACE not in os.environ:
        own = ["--mount"] if os.geteuid() == 0 else ["--map-root-user", "--mount"]
        os.execvpe("unshare", ["unshare", *own, sys.executable, *sys.argv], {**os.environ, IN_NAMESPACE: "1"})


def pages(root: Path) -> int:
    """Pages of memory that the files of a folder take on a tmpfs."""
    return sum(-(-path.stat().st_size // PAGE) for path in root.rglob("*") if path.is_file())


def run_trial(street: Street, stage: Stage, share: float) -> list[str]:
    """Runs a stage on a disk for that share of what it writes, then with space; returns what is wrong."""
    number = street.number(stage)
    before, after = street.copies / str(number), street.copies / str(number + 1)
    room = pages(before) + round(share * max(1, pages(after) - pages(before)))
    street.place.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={room * PAGE}", "tmpfs", street.place)
    try:
        shutil.copytree(before, street.place, symlinks=True, dirs_exist_ok=True)
        full = street.run(stage)
        _mount("-o", f"remount,size={AMPLE}", street.place)
        again = street.run(stage)
        wrong = _complaints(full) + (
            [] if again.returncode == 0 else [f"run again it ends with {again.returncode}: {again.stderr[-1500:]}"]
        )
        return wrong + differences(street.after(number), street.now())
    finally:
        subprocess.run(["umount", street.place], check=True)


def _complaints(full: subprocess.CompletedProcess) -> list[str]:
    """A script that puts up with a full disk (what it lacked was no more than a temporary file) is fine too."""
    if full.returncode == 0:
        return []
    last = (full.stderr.strip().splitlines() or [""])[-1]
    says_so = last.startswith("error: No space left on device") or " are free there" in last
    is_plain = full.returncode == 2 and "Traceback" not in full.stderr and says_so
    return [] if is_plain else [f"on a full disk it ends with {full.returncode}: {full.stderr.strip()[-1500:]}"]


def _mount(*words: str | Path) -> None:
    subprocess.run(["mount", *words], check=True)


def main(points: int = 3, seed: int = 1, only: str = "", folder: str = "") -> int:
    """Walks the street, then fills disks; returns how many trials went wrong."""
    enter_namespace()
    root = Path(folder or tempfile.mkdtemp(prefix="full-"))
    words = [word for word in only.split(",") if word]
    street = Street(root / "place", root / "copies", lambda name: not words or any(word in name for word in words))
    generator, failed, count = random.Random(seed), 0, 0
    for stage in street.walk():
        for _ in range(points):
            share = generator.uniform(0, 0.98)
            wrong = run_trial(street, stage, share)
            failed, count = failed + bool(wrong), count + 1
            print(
                f"{count:4} {stage.name} with room for {100 * share:.0f} %: {'one line, the same bytes' if not wrong else 'WRONG'}",
                flush=True,
            )
            print("".join(f"       {line}\n" for line in wrong[:SHOWN]), end="", flush=True)
    print(f"{count} full disks: {count - failed} ended in one line and, with space, with the same bytes")
    return failed


if __name__ == "__main__":
    options = dict(word.split("=", 1) for word in sys.argv[1:])
    sys.exit(bool(main(**{name: int(text) if text.isdecimal() else text for name, text in options.items()})))
