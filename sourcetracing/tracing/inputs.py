"""Which files the words of a command line mean: files, folders (searched all the way down) and patterns."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from sourcetracing.audio.formats import is_audio_name
from sourcetracing.errors import UserError


def list_files(words: Sequence[str]) -> tuple[list[Path], int]:
    """(audio files, each once, in the order of the words; files that were left out since their names are not those of audio).

    A file that is named itself is taken whatever its name, and stays in the list when it is missing, so that its own line can say so.
    Raises `UserError` for no words, a folder without audio and a pattern that fits nothing.
    """
    if not words:
        raise UserError("which files? Name audio files, folders or patterns: python scripts/trace_audio.py file.wav --run RUN_FOLDER")
    found: dict[Path, None] = {}
    num_left_out = 0
    for word in words:
        files, others = _files_of(word)
        found |= dict.fromkeys(files)
        num_left_out += others
    return list(found), num_left_out


def require_no_overwriting(outputs: Sequence[Path | None], inputs: Sequence[Path]) -> None:
    """Raises `UserError` where something would be written over a file that is read, or over another thing that is written.

    outputs: None for what is not asked for. Recordings of a case may exist once.
    """
    read = {path.resolve() for path in inputs}
    written: set[Path] = set()
    for path in filter(None, outputs):
        if path.resolve() in read:
            raise UserError(f"{path} is one of the files that are read, and would be overwritten: name another file for the answer")
        if path.resolve() in written:
            raise UserError(f"{path} would be written twice: name a file for each answer")
        written.add(path.resolve())


def _files_of(word: str) -> tuple[list[Path], int]:
    path = Path(word)
    if path.is_dir():
        return _audio_below(path)
    if path.exists() or not glob.has_magic(word):
        return [path], 0
    matches = [Path(match) for match in sorted(glob.glob(word, recursive=True))]
    if not matches:
        raise UserError(f"{word}: no file fits this pattern")
    files = [match for match in matches if match.is_file()]
    below = [_audio_below(match) for match in matches if match.is_dir()]
    return [*files, *(file for some, _ in below for file in some)], sum(others for _, others in below)


def _audio_below(folder: Path) -> tuple[list[Path], int]:
    every = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    audio = [path for path in every if is_audio_name(path.name)]
    if not audio:
        rest = f" ({len(every)} other files)" if every else ""
        raise UserError(f"{folder}: there is no audio in this folder{rest}")
    return audio, len(every) - len(audio)
