"""What a look at a corpus of the user's own finds, and names that every later script takes.

`looking` fills it from a folder, `looking_at_tables` from a table; `sourcetracing.starting` makes an experiment of it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.settings.names import LANGUAGE_SEPARATORS, RESERVED_LANGUAGES, RESERVED_SOURCES, invisible_sign

UNKNOWN_LANGUAGE = "xx"  # of a corpus that does not say which languages it has
COLUMNS = ("path", "language", "source", "speaker", "transcript", "recording", "split")
NUM_NAMED = 3  # files or names that a note shows


@dataclass
class FoundFiles:
    """The audio files of a corpus.

    rows: columns `COLUMNS`, all text; path is relative to `root` with forward slashes, or absolute; speaker, transcript, recording and
    split are "" where nothing is known. root: the folder for paths.corpus. table: the user's own, if it was one. is_as_read: whether the
    reader `folder` sees just these rows without a table of ours. layout: what the rows were read from, in words. notes: what was assumed,
    renamed and left out, a line each.
    """

    rows: pd.DataFrame
    root: Path
    layout: str
    table: Path | None = None
    is_as_read: bool = True
    notes: list[str] = field(default_factory=list)

    @property
    def languages(self) -> list[str]:
        """In alphabetical order."""
        return sorted(self.rows["language"].unique())

    @property
    def sources(self) -> list[str]:
        """In alphabetical order."""
        return sorted(self.rows["source"].unique())

    def drop(self, mask: pd.Series, why: str, *, needs_table: bool = True) -> None:
        """Leaves out the rows of the mask, with a note. needs_table: the reader would not leave them out of itself."""
        if not mask.any():
            return
        self.notes.append(f"left out {files_in_words(int(mask.sum()))}, {why}: {some_of(self.rows['path'][mask].tolist())}")
        self.rows = self.rows[~mask].reset_index(drop=True)
        self.is_as_read &= not needs_table


def files_in_words(count: int) -> str:
    """`1 file`, `2 files`."""
    return f"{count} file{'s' * (count != 1)}"


def some_of(names: list[str]) -> str:
    """The first few, and how many more."""
    more = f" and {len(names) - NUM_NAMED} more" if len(names) > NUM_NAMED else ""
    return ", ".join(name if name.isprintable() else ascii(name) for name in names[:NUM_NAMED]) + more


def with_usable_names(found: FoundFiles) -> None:
    """Leaves out files whose paths no table can hold or whose ids would be the same; renames what is refused later."""
    paths = found.rows["path"]
    found.drop(~paths.map(_is_writable), "because their names hold signs that a table cannot hold")
    ids = found.rows["path"].str.replace(r"([^/])\.[^./]+$", r"\1", regex=True)
    found.drop(ids.duplicated(), "because another file has the same name but for its suffix")
    for column, usable in (("language", usable_language), ("source", usable_source)):
        _rename(found, column, usable)


def _is_writable(path: str) -> bool:
    return path.isprintable() and "\\" not in path and not path.startswith(" ")


def _rename(found: FoundFiles, column: str, usable: Callable[[str], str]) -> None:
    new = {name: usable(name) for name in found.rows[column].unique()}
    changed = {old: name for old, name in new.items() if old != name}
    if not changed:
        return
    shown = some_of([f"{old!r} is {name!r}" for old, name in changed.items()])
    found.notes.append(f"{column}s renamed, since later scripts refuse such names: {shown}")
    found.rows[column], found.is_as_read = found.rows[column].map(new), False


def usable_language(name: str) -> str:
    """The name of a language as folders and sets of languages can hold it."""
    name = _plain(name)
    name = "".join("_" if sign in LANGUAGE_SEPARATORS or sign.isspace() else sign for sign in name) or UNKNOWN_LANGUAGE
    return f"{name.strip('.-') or UNKNOWN_LANGUAGE}_1" if name in RESERVED_LANGUAGES or name == "???" else name


def usable_source(name: str) -> str:
    """The name of a source as tables can hold it."""
    name = _plain(name) or "unnamed"
    return f"{name.strip('-?') or 'source'}_1" if name in RESERVED_SOURCES or name == "???" else name


def _plain(name: str) -> str:
    """In one Unicode form, without invisible signs and blanks around it; `${` would be read as a reference to a setting."""
    name = unicodedata.normalize("NFC", name)
    while sign := invisible_sign(name):
        name = name.replace(sign, "")
    name = "".join(sign if sign.isprintable() else "_" for sign in name)
    return name.replace("${", "_{").strip()


def refuse_one_source(found: FoundFiles, place: Path) -> None:
    """Raises `UserError` where there is nothing to tell apart."""
    if len(found.sources) < 2:
        only = f"one source only, {found.sources[0]!r}" if found.sources else "no source"
        hint = "a folder for each source, <language>/<source>/*.wav or <source>/*.wav, or a table with columns path, language, source"
        raise UserError(f"{place} has {only} ({found.layout}): there is nothing to tell apart. Expected: {hint}")
