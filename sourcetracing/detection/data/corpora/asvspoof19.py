"""ASVspoof 2019 LA: ASVspoof2019_LA_cm_protocols/*.txt and ASVspoof2019_LA_<part>/flac (X. Wang et al. 2020, arXiv:1911.01601)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sourcetracing.detection.data.corpora.rows import make_rows, read_columns, to_labels
from sourcetracing.settings.schema import Settings

PROTOCOLS = {  # evaluation and development are trial lists (trl), training is a training list (trn)
    "asv19_train": ("train", "ASVspoof2019.LA.cm.train.trn.txt"),
    "asv19_dev": ("dev", "ASVspoof2019.LA.cm.dev.trl.txt"),
    "asv19_eval": ("eval", "ASVspoof2019.LA.cm.eval.trl.txt"),
}
COLUMNS = ("speaker", "id", "unused", "attack", "key")


def read(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """Rows of one of the three parts, in the protocol's order. Raises `UserError`."""
    part, name = PROTOCOLS[subset]
    path = root / "ASVspoof2019_LA_cm_protocols" / name
    table = read_columns(path, COLUMNS, len(COLUMNS))
    return make_rows(
        {
            "id": table["id"],
            "path": [f"ASVspoof2019_LA_{part}/flac/{name}.flac" for name in table["id"]],
            "label": to_labels(table["key"], path),
            "speaker": table["speaker"],
            "source": table["attack"].replace("-", ""),
        }
    )
