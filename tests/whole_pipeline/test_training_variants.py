"""Codec, RawBoost and telephone variants from 04 to 13: two systems that heard different ones, over one store, without any noises."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sourcetracing.features.store import FeatureStore
from sourcetracing.layout import Layout
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.settings.reading import read_config
from sourcetracing.training.runs import load_runs
from tests.support.audio_doors import needs_ffmpeg
from tests.support.finished_street import write_audio
from tests.support.fork_server import ForkServer

pytestmark = [pytest.mark.slow, needs_ffmpeg]
VARIANTS = ["original", "codec", "rawboost", "telephone"]
SYSTEMS = """
name: heard
experiment: {systems: [clean, channels], floor: [clean_floor, channels_floor], train_sets: [en+de], seeds: [3]}
systems:
  clean: {base: lfcc_ecapa_tdnn, train: {variants: [original]}}
  channels: {base: lfcc_ecapa_tdnn}
  clean_floor: {base: stats_logreg, train: {variants: [original]}}
  channels_floor: {base: stats_logreg}
"""
SCRIPTS = ("02_build_protocols", "04_preprocess_dataset", "05_train_matrix", "06_get_classification_metrics", "12_test_robustness")
SCRIPTS += ("13_make_tables",)


def words(root: Path) -> list[str]:
    settings = root / "heard.yaml"
    settings.write_text(SYSTEMS, encoding="utf-8")
    # There are neither noises nor rooms.
    paths = [f"paths.corpus={root}/corpus", f"paths.musan={root}/none", f"paths.rirs={root}/none", f"paths.exp={root}/exp"]
    corpus = ["corpus.reader=folder", "corpus.languages=[en,de]", "corpus.sources=[quiet,loud]", "augment.telephones=[mu_law,a_law]"]
    sizes = ["audio.crop_seconds=0.4", "ecapa_tdnn.channels=8", "train.epochs=1", "evaluation.bootstrap_samples=20", "compute.workers=1"]
    more = ["compute.device=cpu", f"augment.variants=[{','.join(VARIANTS)}]", "robustness.operations=[mp3_32k,lowpass_3k4]"]
    return [str(settings), *paths, *corpus, *sizes, *more]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ForkServer]:
    with ForkServer(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def street(tmp_path_factory, server) -> tuple[Path, dict[str, str]]:
    """The folder, and what each script printed."""
    root = tmp_path_factory.mktemp("heard")
    write_audio(root)
    shutil.rmtree(root / "musan"), shutil.rmtree(root / "rirs")
    shown = {}
    for script in SCRIPTS:
        outcome = server.run(f"scripts/{script}.py", words(root))
        assert outcome.status == 0, f"{script}: {outcome.err}"
        shown[script] = outcome.out
    return root, shown


def test_all_systems_share_one_store(street):
    root, _ = street
    layout = Layout.of(read_config(words(root)).resolve())
    [store] = layout.features.glob("lfcc-*")
    runs = load_runs(read_config(words(root)))
    assert FeatureStore.open(store).index["variant"].tolist()[: len(VARIANTS)] == VARIANTS
    heard = {run.system: set(run.settings.train.variants or VARIANTS) for run in runs}
    assert heard == {
        "clean": {"original"},
        "clean_floor": {"original"},
        "channels": set(VARIANTS),
        "channels_floor": set(VARIANTS),
    }
    assert np.unique([digest_of_file(run.files.weights) for run in runs]).size == 4


def test_every_script_says_what_each_system_heard(street):
    root, shown = street
    said = "Trained on different acoustic variants. clean, clean_floor: original; "
    said += "channels, channels_floor: original, codec, rawboost, telephone."
    for script in ("05_train_matrix", "06_get_classification_metrics", "13_make_tables"):
        assert said in " ".join(shown[script].split()), script
    layout = Layout.of(read_config(words(root)).resolve())
    assert said in next(layout.tables.rglob("table4.md")).read_text(encoding="utf-8")


def test_tables_have_a_row_for_each_variant(street):
    root, _ = street
    cells = pd.read_csv(next(Layout.of(read_config(words(root)).resolve()).tables.rglob("table4.csv")))
    assert set(cells["variant"]) == {"pooled", *VARIANTS}


def test_what_the_variants_buy_stands_beside_the_robustness_table(street):
    root, shown = street
    layout = Layout.of(read_config(words(root)).resolve())
    gains = pd.read_csv(layout.robustness_gains)
    assert set(zip(gains["system"], gains["than"], strict=True)) == {("channels", "clean"), ("channels_floor", "clean_floor")}
    assert gains["operation"].tolist() == ["clean", "mp3_32k", "lowpass_3k4"] * 2
    table = pd.read_csv(layout.robustness_table).set_index(["system", "operation"])
    for row in gains.itertuples():
        own, other = (table.loc[(system, row.operation), "macro_f1"] for system in (row.system, row.than))
        assert row.gain == pytest.approx(own - other, abs=2e-6)
        assert row.macro_f1 == pytest.approx(own, abs=1e-6)
    assert "channels against clean, trained on en+de, seed 3" in shown["12_test_robustness"]


def test_a_missing_variant_is_named(street, server):
    root, _ = street
    outcome = server.run("scripts/05_train_matrix.py", [*words(root), "systems.clean.train.variants=[original,noise]"])
    assert outcome.status != 0 and "train.variants: 'noise' is not among augment.variants" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
