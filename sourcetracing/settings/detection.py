"""Settings of the corpora for detection, and of how they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sourcetracing.settings.declaring import setting

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
    "asv19": "data/ASVspoof2019/LA",
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


# {id}: the text of the list; {name}: its part behind the last /. ASVspoof's lists hold bare ids (D56).
TEMPLATES = {
    "asv19_train": "ASVspoof2019_LA_train/flac/{id}.flac",
    "asv19_dev": "ASVspoof2019_LA_dev/flac/{id}.flac",
    "asv19_eval": "ASVspoof2019_LA_eval/flac/{id}.flac",
    "asv21": "ASVspoof2021_DF_eval/flac/{id}.flac",
    "asv5_train": "flac_T/{id}.flac",
    "asv5_dev": "flac_D/{id}.flac",
    "for": "for-norm/{id}",
    "itw": "{id}",
    "mailabs": "{id}",
    "mlaad": "{id}",
    "odss": "{id}",
    "timit": "CLEAN/{id}",
    "ai4trust": "{name}",
}
LIST_FILES = {
    **{name: f"{name}_systems.csv" for name in TEMPLATES},
    "mlaad": "mlaad_v5_xls_systems.csv",
    "ai4trust": "ai4trust_segm_systems.csv",
}


@dataclass
class Detection:
    """Bona fide or synthetic: the corpora of that question (configs/ai4t.yaml, docs/detection_data.md)."""

    sets: dict[str, Any] = setting(SETS, "name of a training or test set -> the subsets in it")
    train: list[str] = setting(
        ["ASV19", "ODSS", "FoR", "TIMIT", "MLAAD", "ASV5", "ASV21"], "training sets that are mixed and pruned, in the published order"
    )
    test: list[str] = setting(["ITW", "AI4T"], "real-life sets: never trained on")
    baseline_train: list[str] = setting(["ASV19"], "what the layer sweep and the augmented baseline train on")
    baseline_test: list[str] = setting(
        ["ASV19_eval", "FoR", "ASV21", "TIMIT", "ODSS", "MLAAD", "ASV5", "ITW", "AI4T"], "what the layer sweep is tested on"
    )
    roots: dict[str, Any] = setting(ROOTS, "corpus -> its folder, as unpacked")
    origin: str = setting(
        "layout",
        "layout: each corpus' own protocol and folders; lists: the authors' path|label files; demo: made by script 00, nobody's real voice",
        choices=("layout", "lists", "demo"),
    )
    lists: str = setting("data/processed_metadata", "origin=lists: their folder")
    list_files: dict[str, Any] = setting(LIST_FILES, "origin=lists: subset -> file in it; a subset without one is read from its layout")
    templates: dict[str, Any] = setting(
        TEMPLATES, "origin=lists: subset -> path below its root of the entry {id}, or {name} without folders"
    )
    keep_duplicates: bool = setting(False, "keep files that a list names twice (430 of TIMIT), as published (D69)")
    asv21_tracks: list[str] = setting(["DF"], "tracks of ASVspoof 2021 that make up asv21; published: DF", choices=("DF", "LA"))
    asv21_phases: list[str] = setting([], "only these phases of them; empty = all", choices=("progress", "eval", "hidden"))
    for_version: str = setting("for-norm", "version of Fake-or-Real", choices=("for-norm", "for-original", "for-2sec", "for-rerec"))
    timit_version: str = setting("CLEAN", "version of TIMIT-TTS", choices=("CLEAN", "AUG", "DTW", "DTW_AUG"))
    mlaad_languages: list[str] = setting([], "languages of MLAAD (its codes, such as en); empty = all that are there")
    mailabs_files: str = setting(
        "originals", "originals: the recordings whose sentences MLAAD speaks; all of M-AILABS", choices=("originals", "all")
    )
    segment_seconds: float = setting(10.0, "length of a segment that segment_recordings.py cuts", at_least=1)
    min_segment_seconds: float = setting(2.0, "a shorter rest at the end of a recording is left out", at_least=0)
    demo_folder: str = setting("data/demo_detection", "origin=demo: where the made corpora go, a folder for each")
    demo_files: int = setting(140, "origin=demo: files in each training set, before near-duplicates", at_least=8)
    demo_test_files: int = setting(240, "origin=demo: files in each real-life set", at_least=8)
