"""ASVspoof 2019, 2021 and 5: protocols of columns between spaces, audio as flac."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sourcetracing.detection.data.corpora.rows import make_rows, read_columns, to_labels
from sourcetracing.errors import UserError
from sourcetracing.settings.schema import Settings

ASV19_COLUMNS = ("speaker", "id", "unused", "attack", "key")
# The LA keys end here; those of DF go on with the vocoder's kind and four columns about the Voice Conversion Challenge.
ASV21_COLUMNS = ("speaker", "id", "codec", "origin", "attack", "key", "trim", "phase")
ASV5_COLUMNS = ("speaker", "id", "gender", "codec", "codec_q", "codec_seed", "attack_tag", "attack", "key", "unused")
ASV19_PARTS = {"train": "train.trn", "dev": "dev.trl", "eval": "eval.trl"}  # a training list (trn), lists of trials (trl)
ASV5_PARTS = {"asv5_train": ("ASVspoof5.train.tsv", "flac_T"), "asv5_dev": ("ASVspoof5.dev.track_1.tsv", "flac_D")}


def read_asv19(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """2019 LA: ASVspoof2019_LA_cm_protocols/*.txt and ASVspoof2019_LA_<part>/flac (X. Wang et al. 2020, arXiv:1911.01601)."""
    part = subset.removeprefix("asv19_")
    path = root / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{ASV19_PARTS[part]}.txt"
    return _rows(read_columns(path, ASV19_COLUMNS, len(ASV19_COLUMNS)), f"ASVspoof2019_LA_{part}/flac", path)


def read_asv21(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """2021: keys/<track>/CM/trial_metadata.txt and ASVspoof2021_<track>_eval/flac (X. Liu et al. 2023, arXiv:2210.02437).

    Rows of detection.asv21_tracks and detection.asv21_phases.
    """
    tables = [_read_track(settings, root, track) for track in settings.detection.asv21_tracks]
    if not tables:
        raise UserError("detection.asv21_tracks is empty; it may hold DF and LA")
    return pd.concat(tables, ignore_index=True)


def _read_track(settings: Settings, root: Path, track: str) -> pd.DataFrame:
    path = root / "keys" / track / "CM" / "trial_metadata.txt"
    table = read_columns(path, ASV21_COLUMNS, len(ASV21_COLUMNS))
    if phases := settings.detection.asv21_phases:
        chosen = table["phase"].isin(phases)
        if not chosen.any():
            raise UserError(f"detection.asv21_phases={phases}: {path} has {', '.join(sorted(table['phase'].unique()))}")
        table = table[chosen].reset_index(drop=True)
    return _rows(table, f"ASVspoof2021_{track}_eval/flac", path)


def read_asv5(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """5, track 1: ASVspoof5.*.tsv (columns between spaces all the same), flac_T and flac_D (X. Wang et al. 2025, arXiv:2502.08857)."""
    name, folder = ASV5_PARTS[subset]
    # The archive of protocols unpacks into a folder of its own; many copies have its files beside the audio.
    path = next((place for place in (root / "ASVspoof5_protocols" / name, root / name) if place.is_file()), root / name)
    return _rows(read_columns(path, ASV5_COLUMNS, len(ASV5_COLUMNS) - 1), folder, path)


def _rows(table: pd.DataFrame, folder: str, path: Path) -> pd.DataFrame:
    """Columns id, speaker, attack (of spoofs), key of a protocol; audio in `folder`."""
    labels = to_labels(table["key"], path)
    sources = table["attack"].where(table["key"] == "spoof", "")
    return make_rows([f"{folder}/{name}.flac" for name in table["id"]], labels, id=table["id"], speaker=table["speaker"], source=sources)
