"""One store serves every corpus.label: its file keeps the true sources, rows get the label when it is opened, runs are told apart by it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.features.rows import known_rows, open_store
from sourcetracing.layout import Layout
from sourcetracing.settings.schema import Settings
from sourcetracing.training.runs import load_run, run_of
from tests.support.small_experiment import SmallExperiment


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Settings:
    """An experiment with features whose utterances.csv has a column vocoder: every third file's is unlike its source's."""
    experiment = SmallExperiment.write(tmp_path_factory.mktemp("labels"), 12)
    settings = experiment.settings("labels")
    settings.augment.variants = ["original"]
    experiment.prepare(settings)
    write_vocoders(settings, [("hifigan", "lpc", "lpc")[number % 3] for number in range(12)])
    return settings


def write_vocoders(settings: Settings, vocoders: list[str]) -> None:
    path = Layout.of(settings).utterances
    pd.read_csv(path, keep_default_na=False).assign(vocoder=vocoders, technique=vocoders).to_csv(path, index=False)


def by_vocoder(settings: Settings) -> Settings:
    return replace(deepcopy(settings), corpus=replace(settings.corpus, label="vocoder", sources=["lpc", "hifigan"]))


def test_rows_have_the_label_and_the_file_the_source(plain):
    store, other = open_store(plain), open_store(by_vocoder(plain))
    assert other.folder == store.folder
    utterances = pd.read_csv(Layout.of(plain).utterances, keep_default_na=False).set_index("utt_id")
    assert (store.index["source"] == utterances["source"].reindex(store.index["utt_id"]).to_numpy()).all()
    vocoders = utterances["vocoder"].reindex(other.index["utt_id"]).to_numpy()
    assert (other.index["source"] == vocoders).all()
    rows, labels = known_rows(other, by_vocoder(plain), "train", ["en"])
    wanted = {"lpc": 0, "hifigan": 1}
    np.testing.assert_array_equal(labels, [wanted[vocoders[row]] for row in rows])


def test_runs_of_a_label_are_their_own_and_those_of_sources_are_called_as_ever(plain):
    store = open_store(plain)
    assert store.name == store.folder.name
    assert load_run(plain).folder == run_of(plain, store.folder.name).folder
    first = load_run(by_vocoder(plain)).folder
    assert first == load_run(by_vocoder(plain)).folder
    # Classes of the same names, by another column:
    same_names = replace(by_vocoder(plain), corpus=replace(plain.corpus, label="technique", sources=["lpc", "hifigan"]))
    assert first != load_run(same_names).folder
    corrected = by_vocoder(plain)
    before = pd.read_csv(Layout.of(plain).utterances, keep_default_na=False)["vocoder"].tolist()
    write_vocoders(plain, ["hifigan", *before[1:-1], "hifigan"])
    assert load_run(corrected).folder != first
    write_vocoders(plain, before)
    assert load_run(corrected).folder == first


def test_a_column_that_utterances_csv_lacks_is_named(plain):
    settings = replace(by_vocoder(plain), corpus=replace(plain.corpus, label="architecture"))
    with pytest.raises(UserError, match="has no column 'architecture'; it has: .*vocoder.* run: python scripts/02_build_protocols.py"):
        open_store(settings)
