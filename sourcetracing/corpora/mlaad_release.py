"""Where a version of MLAAD is: v5 is pinned, of others is used what the settings say, and what nobody said is said in a line."""

from __future__ import annotations

from dataclasses import dataclass

from sourcetracing.errors import UserError
from sourcetracing.settings.corpora import PINNED_VERSION, Mlaad


@dataclass(frozen=True)
class Release:
    """revision: of the data set on the Hub. notes: what is not known, a line each."""

    revision: str
    notes: tuple[str, ...] = ()


def release_of(mlaad: Mlaad) -> Release:
    """A version other than v5 whose revision the settings leave at v5's is taken from the branch main, with a note.

    Raises `UserError` where parts of an archive are wanted whose names the settings leave at v5's.
    """
    if mlaad.version == PINNED_VERSION:
        return Release(mlaad.hub_revision)
    pinned = Mlaad()
    if mlaad.origin == "archive" and (mlaad.archive_url, mlaad.archive_name) == (pinned.archive_url, pinned.archive_name):
        raise UserError(
            f"mlaad.origin=archive: where the archive of MLAAD {mlaad.version} lies is not known here. Give mlaad.archive_url, "
            "mlaad.archive_name and mlaad.archive_parts, or mlaad.origin=hub"
        )
    if mlaad.hub_revision != pinned.hub_revision:
        return Release(mlaad.hub_revision)
    note = f"the Hub's commit of {mlaad.version} is not known here; the branch main is taken (mlaad.hub_revision pins one)"
    return Release("main", (note,))


def refuse_other_version(mlaad: Mlaad, reader: str) -> None:
    """Raises `UserError` for official lists of another version than the one that they were made of."""
    if mlaad.version != PINNED_VERSION:
        raise UserError(
            f"mlaad.version={mlaad.version}: corpus.reader={reader} reads lists of MLAAD {PINNED_VERSION}, and there are none of other "
            "versions. Use corpus.reader=mlaad, and let script 02 --propose FILE.yaml draw known and unknown sources"
        )
