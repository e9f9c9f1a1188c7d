"""Published figures of source verification, with their trials and what differs from ours: verification.csv beside this module."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

import pandas as pd

from sourcetracing.published.numbers import FOLDER
from sourcetracing.runtime.files import read_csv

SHOWN = ["work", "protocol", "trials", "system", "figure", "percent", "source", "evidence", "differs"]
THE_SAME = "the same list"
OTHERS = "other trials"
MLAAD_READER = "mlaad_source_tracing"
STOPA_LIST = re.compile(r"AA\d\d-(co|nc)-(\d+|all)_trials")


def published_verification(reader: str, lists: Mapping[str, int]) -> pd.DataFrame:
    """Columns SHOWN; `trials` is THE_SAME or OTHERS. Empty where nothing published is about the corpus at hand.

    reader: of the corpus; lists: name of each given list of trials (its stem) -> how many it has, empty for drawn ones. A published list
    is known by its name and its number of trials, so one that was cut or changed in length is not taken for it. evidence: where the number
    was seen: readme, abstract, table, or third-party (somebody else's digest). percent is as printed.
    """
    rows = _rows().copy()
    is_same = rows["list"].isin(list(lists)) & (rows["trials"] == rows["list"].map(lists))
    is_about = rows["corpus"].str.startswith("MLAAD") & (reader == MLAAD_READER)
    is_about |= rows["corpus"].str.contains("STOPA") & any(STOPA_LIST.fullmatch(name) for name in lists)
    rows["trials"] = [THE_SAME if same else OTHERS for same in is_same]
    found = rows[is_same] if is_same.any() else rows[is_about]
    return found[SHOWN].reset_index(drop=True)


@cache
def _rows() -> pd.DataFrame:
    return read_csv(FOLDER / "verification.csv", numbers=["trials", "percent"])
