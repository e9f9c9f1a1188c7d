"""Files that are either complete or absent."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import disk_usage
from typing import IO, TYPE_CHECKING, Any

from sourcetracing.errors import UserError
from sourcetracing.settings.names import fitting_name

if TYPE_CHECKING:
    import pandas as pd

_FULL_BYTES = 1 << 20  # a disk with less counts as full


_NOTED: list[list[Path]] = []  # of the `noted_files` that are open
_MOST_KEPT_BYTES = 150  # of a name within that of its temporary file


def partial_path(path: Path) -> Path:
    """Where this process writes `path` before it is complete: beside it, hidden, with its suffix, its name cut where it is long."""
    name = Path(fitting_name(path.name, _MOST_KEPT_BYTES))
    return path.with_name(f".{name.stem}.{os.getpid()}.partial{name.suffix}")


@contextmanager
def atomic_path(path: str | Path, *, sync: bool = True) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`; on success it is synced and renamed, on failure removed.

    sync: wait until the disk has it. What may be lost with the power (never cut off by a kill) can do without, and costs nothing then.
    The temporary name keeps the suffix, so libraries that choose a format by it work unchanged. An error that says neither what nor
    where, as numpy's, soundfile's and safetensors' on a full disk, comes out as an `OSError` with both.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        yield partial
        _let_others_read(partial)
        if sync:
            with open(partial, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(partial, path)
        for noted in _NOTED:
            noted.append(path)
    except Exception as error:
        if (named := _as_os_error(error, path)) is None:
            raise
        raise named from error
    finally:
        partial.unlink(missing_ok=True)


def _let_others_read(partial: Path) -> None:
    """Gives a file that a library wrote for its owner alone, as safetensors does, the rights that the umask gives every new file."""
    if stat.S_IMODE(partial.stat().st_mode) == stat.S_IRUSR | stat.S_IWUSR:
        usual = partial.with_suffix(".rights")
        usual.touch()  # to ask for the umask is to change it, for all threads
        partial.chmod(stat.S_IMODE(usual.stat().st_mode))
        usual.unlink()


@contextmanager
def noted_files() -> Iterator[list[Path]]:
    """The paths that this process has written by `atomic_path` since, whoever wrote them."""
    noted: list[Path] = []
    _NOTED.append(noted)
    try:
        yield noted
    finally:
        _NOTED.remove(noted)


@contextmanager
def written_together(record: Path) -> Iterator[None]:
    """Around replacing files that belong together, `record`, which tells of them, last of all: until then they are not `is_whole`.

    A mark beside the record says so, which a kill or an error leaves behind. The record itself stays, for it says whose place this is.
    """
    mark = _mark_of(record)
    write_text(mark, f"{record.name} and the files that it tells of were not all written\n")
    yield
    mark.unlink(missing_ok=True)


def is_whole(record: Path) -> bool:
    """Whether a record is there and all files that it tells of were written after their last change began."""
    return record.is_file() and not is_half_written(record)


def is_half_written(record: Path) -> bool:
    """Whether a process is replacing the files that a record tells of, or was killed while it did."""
    return _mark_of(record).is_file()


def _mark_of(record: Path) -> Path:
    return record.with_name(f".{record.name}.unfinished")


def _as_os_error(error: Exception, path: Path) -> OSError | None:
    """The same error about `path`, with the system's number where a library keeps it to itself; None where no disk is to blame."""
    if isinstance(error, OSError) and error.errno is not None:
        number = error.errno  # pyarrow has words of its own for it
    elif found := re.search(r"os error (\d+)", str(error)):  # safetensors
        number = int(found[1])
    elif disk_usage(path.parent).free < _FULL_BYTES and not isinstance(error, UserError):
        number = errno.ENOSPC
    elif isinstance(error, OSError):  # numpy: "160000 requested and 4096 written"
        number = errno.EIO
    else:
        return None
    named = str(getattr(error, "filename", None) or path)
    return OSError(number, os.strerror(number), str(path) if ".partial" in named else named)


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text to a file that is complete or absent; what cannot be encoded is written as JSON writes it, such as \\udcff."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_csv(frame: pd.DataFrame, path: str | Path, **how: Any) -> None:
    """Writes a table without its row numbers to a CSV file that is complete or absent. how: of `to_csv`."""
    with atomic_path(path) as partial:
        frame.to_csv(partial, index=False, **how)


def read_csv(source: str | Path | IO, *, numbers: Collection[str] = (), texts: Collection[str] | None = None, **how: Any) -> pd.DataFrame:
    """A CSV whose cells stay what they are: a source called nan, NA, 007, 1e3 or True is a name. The one place that reads CSV files.

    Columns are text, "" where empty, but for `numbers`; or, with `texts`, all but those are numbers: whole ones or floats, or truth values,
    not-a-number where empty. A column that is named but not there is nothing to complain about. how: of pandas' read_csv. Raises
    `ValueError` for a cell that is no number where one should be.
    """
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:  # without index_col the first cells of rows that are longer than the header would become their names, and all others move
            table = pd.read_csv(source, **{"dtype": "str", "keep_default_na": False, "index_col": False, **how})
        except pd.errors.ParserWarning:
            raise pd.errors.ParserError("row 2: more cells than the header has columns") from None
    for column in table.columns:
        if column in numbers if texts is None else column not in texts:
            table[column] = _to_numbers(table[column])
    return table


def _to_numbers(cells: pd.Series) -> pd.Series:
    import pandas as pd

    if len(cells) and cells.isin(["True", "False"]).all():
        return cells == "True"
    return pd.to_numeric(cells.where(~cells.isin(["", "nan"])))


def require_inside(names: Iterable[str], where: str) -> None:
    """Raises `UserError` for the first name of a user's list that is no path to a file below the folder that the list is about.

    where: the list. Absolute paths, . and .. as parts (a leading ./ apart), empty names, folders and control signs are refused.
    """
    for name in names:
        parts = name.removeprefix("./").replace("\\", "/").split("/")
        is_strange = re.match(r"[A-Za-z]:[/\\]", name) or any(sign < " " for sign in name)
        if not parts[0] or not parts[-1] or not {".", ".."}.isdisjoint(parts) or is_strange:
            raise UserError(f"{where}: {name!r} is no path to a file below its folder; write it without .. and a leading /")


def write_json(path: str | Path, value: object) -> None:
    """Writes indented JSON (keys in the given order) to a file that is complete or absent."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_frame(frame: pd.DataFrame, path: str | Path) -> None:
    """Writes a CSV file, complete or absent, whose numbers have six digits; an absent one is empty."""
    write_csv(frame, path, float_format="%.6f", lineterminator="\n")


def digest_of_file(path: str | Path) -> str:
    """32 hex digits of the BLAKE2b hash of a file's bytes."""
    with open(path, "rb") as file:
        return digest_of_open_file(file)


def digest_of_open_file(file: IO[bytes]) -> str:
    """`digest_of_file` of a file that is open, from where it stands."""
    return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def digest_of_bytes(content: bytes) -> str:
    """32 hex digits of the BLAKE2b hash of some bytes; equals `digest_of_file` of a file that holds them."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def digest_of_json(value: object) -> str:
    """32 hex digits that depend on a JSON-able value alone (not on the order of keys)."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
