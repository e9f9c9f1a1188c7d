"""Settings of the corpora for detection, and of how they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sourcetracing.setting import setting

SETS = {
    "ASV19": ["asv19_train", "asv19_dev"],
    "ASV19_eval": ["asv19_eval"],
    "ODSS": ["odss"],
    "FoR": ["for"],
    "TIMIT": ["timit"],
    "MLAAD": ["mlaad", "mailabs"],
    "ASV5": ["asv5_train", "asv5_dev"],
    "ASV21": ["asv21"],
    "ITW": ["itw"],
    "AI4T": ["ai4trust"],
}
ROOTS = {
    "asv19": "data/ASVspoof2019_LA",
    "asv21": "data/ASVspoof2021",
    "asv5": "data/ASVspoof5",
    "for": "data/FoR",
    "itw": "data/release_in_the_wild",
    "mailabs": "data/M-AILABS",
    "mlaad": "data/MLAADv5",
    "odss": "data/ODSS",
    "timit": "data/TIMIT-TTS",
    "ai4trust": "data/AI4T",
}


@dataclass
class Detection:
    """Bona fide or synthetic: the corpora of that question (configs/ai4t.yaml, docs/detection_data.md)."""

    sets: dict[str, Any] = setting(SETS, "name of a training or test set -> the subsets in it")
    train: list[str] = setting(
        ["ASV19", "ODSS", "FoR", "TIMIT", "MLAAD", "ASV5", "ASV21"], "training sets that are mixed and pruned, in the published order"
    )
    test: list[str] = setting(["ITW", "AI4T"], "real-life sets: never trained on")
    baseline_train: list[str] = setting(["ASV19"], "what the layer sweep trains on")
    baseline_test: list[str] = setting(
        ["ASV19_eval", "FoR", "ASV21", "TIMIT", "ODSS", "MLAAD", "ASV5", "ITW", "AI4T"], "what the layer sweep is tested on"
    )
    roots: dict[str, Any] = setting(ROOTS, "corpus -> its folder, as unpacked")
