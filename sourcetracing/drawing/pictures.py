"""PNG pictures: the style that all of them share, and how they get to disk."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # before pyplot: no display is needed anywhere

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names
from tqdm import tqdm

from sourcetracing.runtime.files import atomic_path
from sourcetracing.settings.names import printable

# A name is text, whatever it holds: $^$ is no formula.
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 9, "savefig.dpi": 160}
STYLE |= {"text.parse_math": False}
# Letters that matplotlib's own font does not have are taken from the first of these that is installed and has them.
FALLBACK_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR", "Source Han Sans SC"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "IPAexGothic", "NanumGothic", "Droid Sans Fallback"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "PingFang SC", "Hiragino Sans", "Arial Unicode MS"),
    *(
        "Noto Sans",
        "Noto Sans Devanagari",
        "Noto Sans Bengali",
        "Noto Sans Tamil",
        "Noto Sans Telugu",
        "Noto Sans Thai",
        "Noto Sans Arabic",
    ),
    *("Noto Sans Hebrew", "Noto Sans Ethiopic", "Noto Sans Symbols", "Symbola", "Unifont"),
)
MOST_LETTERS = 48  # of a name in a picture
_MISSING = re.compile(r"Glyph (\d+) .* missing from ")


@contextmanager
def picture_style(**more: Any) -> Iterator[None]:
    """The style of our pictures while one is drawn and saved; more: further matplotlib settings. A decorator, too.

    Letters that no installed font has are named in a line, once a process, and drawn as boxes.
    """
    with plt.rc_context({**STYLE, "font.family": _fonts(), **more}), warnings.catch_warnings():
        said, show = set(), warnings.showwarning

        def tell(message: Warning | str, *where: Any, **more_of_it: Any) -> None:
            if found := _MISSING.match(str(message)):
                said.add(chr(int(found[1])))
            else:
                show(message, *where, **more_of_it)

        warnings.filterwarnings("always", message=_MISSING.pattern)
        warnings.showwarning = tell
        yield
    if said:
        _say_missing("".join(sorted(said)))


def save_png(figure: Figure, path: Path) -> Path:
    """Writes a picture that is complete or absent, and closes it; returns its path."""
    # Without the default "Software" entry, the same scores give the same bytes with the next matplotlib, too.
    with atomic_path(path) as partial:
        figure.savefig(partial, metadata={"Software": None})
    plt.close(figure)
    return path


def label_of(name: str) -> str:
    """A name as a picture shows it: on one line, a long one without its middle, and not beginning with _, which legends leave out."""
    name = printable(name)
    if len(name) > MOST_LETTERS:
        name = f"{name[: MOST_LETTERS // 2]}…{name[-MOST_LETTERS // 2 + 1 :]}"
    return f" {name}" if name.startswith("_") else name


@cache
def _fonts() -> list[str]:
    installed = set(get_font_names())
    return ["DejaVu Sans", *(font for font in FALLBACK_FONTS if font in installed)]


_said: set[str] = set()


def _say_missing(letters: str) -> None:
    if new := [letter for letter in letters if letter not in _said]:
        if not _said:
            hint = "install a font that has them, such as Noto Sans CJK (Debian: apt install fonts-noto-cjk); pages and tables have them"
            tqdm.write(f"pictures: no installed font has {''.join(new[:20])}, drawn as boxes: {hint}")  # not into a progress bar
        _said.update(new)
