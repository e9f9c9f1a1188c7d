"""Published figures on unknown sources, with their protocol and what differs from ours: openset.csv beside this module, see README.md."""

from __future__ import annotations

from functools import cache

import pandas as pd

from sourcetracing.published.numbers import FOLDER
from sourcetracing.runtime.files import read_csv

OFFICIAL = "official lists of the special session"  # the protocol that configs/mlaad5_source_tracing.yaml follows


def published_openset() -> pd.DataFrame:
    """Columns work, source, corpus, protocol, system, figure (in the words of the work), percent, evidence, differs; OFFICIAL rows first.

    evidence: where the number was seen: readme, abstract, or third-party (somebody else's digest). It is as printed, in percent.
    """
    return _rows().copy()


@cache
def _rows() -> pd.DataFrame:
    return read_csv(FOLDER / "openset.csv", numbers=["percent"])
