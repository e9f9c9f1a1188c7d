"""Corpora of bona fide and synthetic speech: one module each, with `read(settings, subset, root) -> rows` (`rows.ROW_COLUMNS`).

A new corpus is one file here, one line in `MODULES`, its subsets in `groups.SUBSETS`, its folder in detection.roots.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pandas as pd

from sourcetracing.detection.data.corpora import author_lists
from sourcetracing.detection.data.manifest import corpus_of, root_of
from sourcetracing.errors import UserError
from sourcetracing.settings.schema import Settings

MODULES = {
    "asv19": "asvspoof19",
    "asv21": "asvspoof21",
    "asv5": "asvspoof5",
    "for": "fake_or_real",
    "itw": "in_the_wild",
    "mailabs": "mailabs",
    "mlaad": "mlaad",
    "odss": "odss",
    "timit": "timit_tts",
    "ai4trust": "ai4trust",
}


def read_subset(settings: Settings, subset: str) -> tuple[pd.DataFrame, list[str]]:
    """(rows of a subset in the published order, remarks), from where detection.origin says. Raises `UserError`."""
    root = root_of(settings, subset)
    if not root.is_dir():
        raise UserError(f"detection.roots.{corpus_of(subset)}={root} is no folder. docs/detection_data.md says where to get it")
    if settings.detection.origin == "demo":
        return import_module(f"{__name__}.demo").read(settings, subset, root), []
    if author_lists.has_list(settings, subset):
        return _read_list(settings, subset, root)
    return _module(subset).read(settings, subset, root), []


def _module(subset: str):
    return import_module(f"{__name__}.{MODULES[corpus_of(subset)]}")


def _read_list(settings: Settings, subset: str, root: Path) -> tuple[pd.DataFrame, list[str]]:
    rows = author_lists.read(settings, subset, root)
    notes = author_lists.count_notes(subset, rows)
    try:
        official = _module(subset).read(settings, subset, root)
    except UserError as error:
        return rows, [*notes, f"{subset}: no speakers or recordings, since its own protocol cannot be read ({error})"]
    return author_lists.with_known_facts(rows, official, subset), notes
