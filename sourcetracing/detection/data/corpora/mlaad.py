"""The set MLAAD: synthetic speech of MLAAD v5, bona fide speech of M-AILABS."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sourcetracing.corpora.mlaad import read_meta, reader_of, utterance_id
from sourcetracing.detection.data.corpora.rows import audio_below, make_rows, stem
from sourcetracing.detection.data.manifest import BONAFIDE, SPOOF, root_of
from sourcetracing.errors import UserError
from sourcetracing.settings.schema import Settings


def read_mlaad(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """MLAAD v5: fake/<language>/<model_dir>/meta.csv (N. M. Mueller et al. 2024, arXiv:2401.09512), of detection.mlaad_languages.

    The recording is the M-AILABS file whose sentence is said.
    """
    meta = pd.concat([read_meta(folder / "meta.csv") for folder in _model_folders(settings, root)], ignore_index=True)
    paths, originals = meta["path"].str.removeprefix("./"), meta["original_file"].str.removesuffix(".wav")
    return make_rows(paths, [SPOOF] * len(meta), id=paths.map(utterance_id), recording=originals, source=meta["model_name"])


def read_mailabs(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """M-AILABS: <locale>/by_book/<female|male>/<speaker>/<book>/wavs/*.wav, or by_book/mix/<book>/wavs, which several people read.

    The recordings that MLAAD's sentences come from, each once, sorted (detection.mailabs_files=originals), or all.
    """
    if settings.detection.mailabs_files == "originals":
        paths = sorted({f"{name}.wav" for name in read_mlaad(settings, "mlaad", root_of(settings, "mlaad"))["recording"] if name})
    else:
        paths = _all_recordings(root)
    recordings, speakers = [stem(path) for path in paths], [reader_of(path) for path in paths]
    return make_rows(paths, [BONAFIDE] * len(paths), speaker=speakers, recording=recordings)


def _all_recordings(root: Path) -> list[str]:
    locales = sorted(path.parent.name for path in root.glob("*/by_book"))
    if not locales:
        raise UserError(f"{root} holds no <locale>/by_book. See detection.roots and docs/detection_data.md")
    return [path for locale in locales for path in audio_below(root, f"{locale}/by_book") if "/wavs/" in path]


def _model_folders(settings: Settings, root: Path) -> list[Path]:
    there = sorted(path.name for path in (root / "fake").glob("*") if path.is_dir())
    if not there:
        raise UserError(f"{root / 'fake'} holds no languages. See detection.roots and docs/detection_data.md")
    for language in settings.detection.mlaad_languages:
        if language not in there:
            raise UserError(f"detection.mlaad_languages: unknown language {language!r}; {root / 'fake'} holds {', '.join(there)}")
    languages = settings.detection.mlaad_languages or there
    return [folder for language in languages for folder in sorted((root / "fake" / language).iterdir()) if folder.is_dir()]
