"""A corpus from outside the project: one function and one entry, nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sourcetracing.detection.data.corpora.rows import audio_below, make_rows
from sourcetracing.detection.data.manifest_building import build_manifest
from sourcetracing.settings.detection import CORPORA, CorpusEntry
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings


def read_mine(settings: Settings, subset: str, root: Path) -> pd.DataFrame:
    """real/*.wav and fake/*.wav."""
    paths = [*audio_below(root, "real"), *audio_below(root, "fake")]
    return make_rows(paths, ["bonafide" if path.startswith("real") else "spoof" for path in paths])


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Its folder, with one file of each class; registered as `mine`."""
    monkeypatch.setitem(sys.modules, "my_corpus", sys.modules[__name__])
    for seed, folder in enumerate(("real", "fake")):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "a.wav", np.random.default_rng(seed).normal(0, 0.1, 8000), 16000)
    CORPORA.add("mine", CorpusEntry("my_corpus:read_mine", root=str(tmp_path), subsets={"mine": "{id}"}))
    yield tmp_path
    del CORPORA["mine"]


@pytest.mark.parametrize("origin", ["layout", "lists"])
def test_a_corpus_is_one_function_and_one_entry(mine, origin):
    (mine / "mine_systems.csv").write_text("real/a.wav|bonafide\nfake/a.wav|spoof\n")
    sets = ["detection.sets={MINE: [mine]}", "detection.train=[MINE]", "detection.test=[mine]", "detection.baseline_train=[mine]"]
    lists = [f"detection.origin={origin}", f"detection.lists={mine}", "detection.list_files.mine=mine_systems.csv"]
    settings = load_settings([f"paths.exp={mine / 'exp'}", *sets, "detection.baseline_test=[mine]", *lists, "compute.workers=1"])
    rows = build_manifest(settings).rows
    assert rows["file_id"].tolist() == ["mine/real/a", "mine/fake/a"]
    assert rows["label"].tolist() == ["bonafide", "spoof"]
