"""Corpora of bona fide and synthetic speech. A new one is a function like `Reader` in a file of its own, and one entry.

The entries are `sourcetracing.settings.detection.CORPORA`; docs/detection_data.md says how to add one without touching this project.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pandas as pd

from sourcetracing.detection.data.corpora import author_lists, listed
from sourcetracing.detection.data.manifest import root_of
from sourcetracing.errors import UserError
from sourcetracing.settings.detection import CORPORA, corpus_of_subset
from sourcetracing.settings.schema import Settings


class Reader(Protocol):
    """What a corpus can do: list its files from its own protocol or folders."""

    def __call__(self, settings: Settings, subset: str, root: Path) -> pd.DataFrame:
        """The files of a subset of the corpus below `root`, in the published order: `rows.make_rows`. Raises `UserError`."""


def read_subset(settings: Settings, subset: str) -> tuple[pd.DataFrame, list[str]]:
    """(rows of a subset in the published order, remarks), from where detection.origin says. Raises `UserError`."""
    root, corpus = root_of(settings, subset), corpus_of_subset()[subset]
    if not root.is_dir():
        raise UserError(f"detection.roots.{corpus}={root} is no folder. docs/detection_data.md says where to get it")
    if settings.detection.origin == "demo":
        return listed.read_demo(settings, subset, root), []
    read: Reader = CORPORA[corpus].load()
    if not author_lists.has_list(settings, subset):
        return read(settings, subset, root), []
    rows = author_lists.read(settings, subset)
    notes = author_lists.count_notes(subset, rows)
    try:
        official = read(settings, subset, root)
    except UserError as error:
        official = None
        notes += [] if corpus == "ai4trust" else [f"{subset}: no speakers or recordings, since its own protocol cannot be read ({error})"]
    rows = rows if official is None else author_lists.with_known_facts(rows, official, subset)
    return author_lists.with_recordings(rows) if corpus == "ai4trust" else rows, notes
