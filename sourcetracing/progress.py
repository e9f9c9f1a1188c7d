"""One look for every progress bar; a plain line now and then where output is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from tqdm import tqdm


def bar(
    iterable: Iterable | None = None,
    *,
    total: int | None = None,
    desc: str = "",
    unit: str = "it",
    initial: int = 0,
    unit_scale: bool = False,
) -> tqdm:
    """A tqdm bar on stderr; in a log file (no terminal) it prints every 10 seconds instead of 10 times a second.

    unit_scale: shows 1,000,000 as 1 M.
    """
    interactive = sys.stderr.isatty()
    return tqdm(
        iterable,
        total=total,
        desc=desc,
        unit=unit,
        initial=initial,
        unit_scale=unit_scale,
        mininterval=0.1 if interactive else 10,
        maxinterval=10 if interactive else 60,
        dynamic_ncols=interactive,
        ncols=None if interactive else 100,
        leave=True,
        file=sys.stderr,
    )
