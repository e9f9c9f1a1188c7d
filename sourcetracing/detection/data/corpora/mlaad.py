"""MLAAD v5, the synthetic half of the set MLAAD: fake/<language>/<model_dir>/meta.csv (N. M. Mueller et al. 2024, arXiv:2401.09512)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sourcetracing.corpora.mlaad import read_meta, utterance_id
from sourcetracing.detection.data.corpora.rows import make_rows
from sourcetracing.detection.data.manifest import SPOOF
from sourcetracing.errors import UserError
from sourcetracing.settings.schema import Settings


def read(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """Rows of detection.mlaad_languages (empty: all); the recording is the M-AILABS file whose sentence is said. Raises `UserError`."""
    meta = pd.concat([read_meta(folder / "meta.csv") for folder in _model_folders(settings, root)], ignore_index=True)
    paths = meta["path"].str.removeprefix("./")
    return make_rows(
        {
            "id": paths.map(utterance_id),
            "path": paths,
            "label": [SPOOF] * len(meta),
            "recording": meta["original_file"].str.removesuffix(".wav"),
            "source": meta["model_name"],
        }
    )


def original_files(settings: Settings, root: Path) -> list[str]:
    """The M-AILABS files that MLAAD's texts come from, each once, sorted: <locale>/by_book/.../wavs/<x>.wav."""
    return sorted({f"{name}.wav" for name in read(settings, "mlaad", root)["recording"] if name})


def _model_folders(settings: Settings, root: Path) -> list[Path]:
    there = sorted(path.name for path in (root / "fake").glob("*") if path.is_dir())
    if not there:
        raise UserError(f"{root / 'fake'} holds no languages. See detection.roots and docs/detection_data.md")
    for language in settings.detection.mlaad_languages:
        if language not in there:
            raise UserError(f"detection.mlaad_languages: unknown language {language!r}; {root / 'fake'} holds {', '.join(there)}")
    languages = settings.detection.mlaad_languages or there
    return [folder for language in languages for folder in sorted((root / "fake" / language).iterdir()) if folder.is_dir()]
