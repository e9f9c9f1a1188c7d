"""Names of sources and languages: data, so almost anything goes; what would mean two things in files and tables is refused."""

from __future__ import annotations

from collections.abc import Sequence

from sourcetracing.errors import UserError

# Of a language: it is part of folder names, and + and : join the names of training and test sets.
LANGUAGE_SEPARATORS = "/\\+:,;|*?\"'<>% "
RESERVED_LANGUAGES = ("all", "pooled", "total", "-", ".", "..")
# corpus.unknown_sources=[all] means every other one; the others are columns of the counts that have one column for each source.
UNKNOWN_COLUMN = "unknown_sources"
RESERVED_SOURCES = ("all", "-", "language", "utterances", "train", "dev", "eval", "hours", UNKNOWN_COLUMN)


def require_usable_names(languages: Sequence[str], sources: Sequence[str]) -> None:
    """Raises `UserError` for the first name that cannot be told from something else, with what to write instead.

    A source may be called nan, 007 or acme/tts-v2, and hold commas and blanks: no file is named after it.
    """
    for name in languages:
        _refuse_blank("language", name)
        if name in RESERVED_LANGUAGES:
            raise UserError(
                f"corpus.languages: {name!r} has another meaning in the tables. Rename it, such as {name.strip('.-') or 'xx'}_1"
            )
        if found := [sign for sign in name if sign in LANGUAGE_SEPARATORS]:
            hint = "".join("_" if sign in LANGUAGE_SEPARATORS else sign for sign in name)
            raise UserError(f"corpus.languages: {name!r} holds {found[0]!r}, which separates names of sets and folders. Rename it: {hint}")
    for name in sources:
        _refuse_blank("source", name)
        if name in RESERVED_SOURCES:
            raise UserError(
                f"corpus.sources: {name!r} has another meaning in the tables. Rename it, such as {name.strip('-') or 'source'}_1"
            )


def _refuse_blank(what: str, name: str) -> None:
    if name != name.strip() or not name or not name.isprintable():
        raise UserError(f"corpus.{what}s: {name!r} is empty, begins or ends with a blank, or holds a line break. Rename it")
