"""M-AILABS, the bona fide half of the set MLAAD: <locale>/by_book/<female|male>/<speaker>/<book>/wavs/*.wav, or by_book/mix/<book>/wavs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sourcetracing.detection.data.corpora import mlaad
from sourcetracing.detection.data.corpora.rows import audio_below, make_rows, stem
from sourcetracing.detection.data.manifest import BONAFIDE, root_of
from sourcetracing.errors import UserError
from sourcetracing.settings.schema import Settings


def read(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """The recordings that MLAAD's sentences come from (detection.mailabs_files=originals), or all. Raises `UserError`."""
    if settings.detection.mailabs_files == "originals":
        paths = mlaad.original_files(settings, root_of(settings, "mlaad"))
    else:
        paths = _all_recordings(root)
    return make_rows(
        {
            "id": [stem(path) for path in paths],
            "path": paths,
            "label": [BONAFIDE] * len(paths),
            "speaker": [speaker_of(path) for path in paths],
            "recording": [stem(path) for path in paths],
        }
    )


def speaker_of(path: str) -> str:
    """<locale>/<speaker>; "" for the books that several people read (mix)."""
    parts = path.split("/")
    is_named = len(parts) >= 5 and parts[1] == "by_book" and parts[2] in ("female", "male")
    return f"{parts[0]}/{parts[3]}" if is_named else ""


def _all_recordings(root: Path) -> list[str]:
    locales = sorted(path.parent.name for path in root.glob("*/by_book"))
    if not locales:
        raise UserError(f"{root} holds no <locale>/by_book. See detection.roots and docs/detection_data.md")
    return [path for locale in locales for path in audio_below(root, f"{locale}/by_book") if "/wavs/" in path]
