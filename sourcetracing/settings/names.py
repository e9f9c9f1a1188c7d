"""Names. Of sources and languages: data, so almost anything goes. Of what becomes a folder or a file: one part of a path, no more.

What would mean two things in files and tables is refused, in one line with what to write instead.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Hashable, Iterable, Sequence

from sourcetracing.errors import UserError

# Of a language: it is part of folder names, and + and : join the names of training and test sets.
LANGUAGE_SEPARATORS = "/\\+:,;|*?\"'<>% "
RESERVED_LANGUAGES = ("all", "pooled", "total", "-", ".", "..")
# corpus.unknown_sources=[all] means every other one; the others are columns of the counts that have one column for each source.
UNKNOWN_COLUMN = "unknown_sources"
RESERVED_SOURCES = ("all", "-", "language", "utterances", "train", "dev", "eval", "hours", UNKNOWN_COLUMN)
MOST_BYTES = 255  # of a file name, on Linux's file systems
# What spreadsheets, editors and web pages leave around a word: blanks of all widths, zero-width signs, byte order marks.
EDGES = "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
EDGES += "\xad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_MOST_NAME_BYTES = 100  # of a name that a user gives to what becomes a folder: there is more to come behind it


def fitting_name(name: str, most_bytes: int = MOST_BYTES) -> str:
    """A file name of at most so many bytes: the name itself, or its beginning, a hash of it, and its suffix."""
    if len(os.fsencode(name)) <= most_bytes:
        return name
    stem, suffix = os.path.splitext(name)
    suffix = suffix if len(os.fsencode(suffix)) <= 16 else ""
    tail = f"-{hashlib.blake2b(os.fsencode(name), digest_size=4).hexdigest()}{suffix}"
    return os.fsencode(stem)[: most_bytes - len(os.fsencode(tail))].decode("utf-8", "ignore") + tail


def require_folder_name(setting: str, name: str, separators: str = "/\\") -> None:
    """Raises `UserError` unless the name can be that of one folder, below its parent; separators: signs that have a meaning there."""
    _refuse_blank(setting, name)
    if name in (".", ".."):
        raise UserError(f"{setting}={name!r} is not the name of a folder. Give it a name of letters, such as {setting}=trial")
    if found := [sign for sign in name if sign in separators]:
        where = ". Where everything goes says paths.exp" if setting == "name" else ""
        raise UserError(f"{setting}={name!r}: a name without {found[0]!r} is expected, since a folder or file is called so{where}")
    if len(name.encode()) > _MOST_NAME_BYTES:
        raise UserError(f"{setting}={name[:40]}...: {len(name.encode())} bytes long, at most {_MOST_NAME_BYTES} are possible. Shorten it")


def require_usable_names(languages: Sequence[str], sources: Sequence[str], unknown_sources: Sequence[str] = ()) -> None:
    """Raises `UserError` for the first name that cannot be told from something else, with what to write instead.

    A source may be called nan, 007 or acme/tts-v2, and hold commas and blanks: no file is named after it.
    """
    for name in languages:
        _refuse_blank("corpus.languages", name)
        if name in RESERVED_LANGUAGES:
            raise UserError(
                f"corpus.languages: {name!r} has another meaning in the tables. Rename it, such as {name.strip('.-') or 'xx'}_1"
            )
        if found := [sign for sign in name if sign in LANGUAGE_SEPARATORS]:
            hint = "".join("_" if sign in LANGUAGE_SEPARATORS else sign for sign in name)
            raise UserError(f"corpus.languages: {name!r} holds {found[0]!r}, which separates names of sets and folders. Rename it: {hint}")
    _refuse_sources("corpus.sources", sources)
    if "all" in unknown_sources and len(unknown_sources) > 1:
        raise UserError("corpus.unknown_sources: all means every other source; write [all] alone, or name them without it")
    _refuse_sources("corpus.unknown_sources", [name for name in unknown_sources if name != "all"])
    if both := [name for name in unknown_sources if name in sources]:
        raise UserError(f"corpus.unknown_sources: {both[0]!r} is in corpus.sources too; take it out of one of the two")


def _refuse_sources(setting: str, names: Sequence[str]) -> None:
    for name in names:
        _refuse_blank(setting, name)
        if name in RESERVED_SOURCES:
            raise UserError(f"{setting}: {name!r} has another meaning in the tables. Rename it, such as {name.strip('-') or 'source'}_1")


def require_distinct(setting: str, items: Iterable[object]) -> None:
    """Raises `UserError` for an item that is listed twice, also where only its Unicode form differs: it would count twice."""
    seen: dict[object, object] = {}
    for item in items:
        key = unicodedata.normalize("NFC", item) if isinstance(item, str) else item
        if not isinstance(key, Hashable):  # a list or group, in a setting that may be anything: its own check refuses it by what is expected
            continue
        if key in seen:
            forms = "" if seen[key] == item else f" (in two Unicode forms, {form_of(str(seen[key]))} and {form_of(str(item))})"
            raise UserError(f"{setting}: {item if isinstance(item, (int, float)) else repr(item)} is listed twice{forms}; name it once")
        seen[key] = item


def form_of(text: str) -> str:
    """Which Unicode form letters with marks have: NFC (one sign each), NFD (letter and mark apart), or neither."""
    return next((form for form in ("NFC", "NFD") if unicodedata.is_normalized(form, text)), "mixed")


def same_but_for_form(text: str, others: Iterable[str]) -> str | None:
    """The first of other names that is the same but for invisible signs and the Unicode form; None if there is none."""
    plain = _plain(text)
    return next((other for other in others if other != text and _plain(other) == plain), None)


def why_different(text: str, other: str) -> str:
    """What keeps two names apart that look the same: `holds the invisible sign U+200B`, `is written in NFC, not in NFD`."""
    if sign := invisible_sign(text) or invisible_sign(other):
        return f"{'holds' if invisible_sign(text) else 'lacks'} the invisible sign U+{ord(sign):04X}"
    return f"is in Unicode form {form_of(text)}, not {form_of(other)}"


def invisible_sign(text: str) -> str:
    """The first sign that takes no room, such as a zero-width space or a byte order mark; "" without one."""
    return next((sign for sign in text if unicodedata.category(sign) == "Cf"), "")


def printable(text: str) -> str:
    """On one line, in UTF-8: line breaks, other control signs, and bytes of a name that are no UTF-8, become \\n, \\x1b, \\xff."""
    if text.isprintable():
        return text
    return "".join(_escaped(sign) if unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") else sign for sign in text)


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode().replace("\\udc", "\\x")


def refuse_undecodable(paths: Iterable[str]) -> None:
    """Raises `UserError` for a file whose name is not UTF-8: no table can hold it."""
    if bad := next((path for path in paths if not is_utf_8(path)), None):
        raise UserError(f"{printable(bad)}: the file name is not UTF-8. Rename it")


def is_utf_8(text: str) -> bool:
    """Whether a text can be encoded; names of files and words of a command line may hold bytes that cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def trimmed(text: str) -> str:
    """Without `EDGES` at both ends."""
    return text.strip(EDGES)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", "".join(sign for sign in text if unicodedata.category(sign) != "Cf"))


def _refuse_blank(setting: str, name: str) -> None:
    if sign := invisible_sign(name):
        raise UserError(f"{setting}: {name.replace(sign, '')!r} holds the invisible sign U+{ord(sign):04X}. Type the name anew")
    if name != name.strip() or not name or not name.isprintable():
        what = "is empty, begins or ends with a blank, or holds a sign that cannot be printed, such as a line break"
        raise UserError(f"{setting}: '{printable(name)}' {what}. Rename it")
