"""Under configs/ai4t.yaml RawBoost and codec copies were made of all training sets, hundreds of thousands of files, before any was pruned.

Now script 01 makes those that script 03 trains on, and script 06 those of the kept files it has drawn: counted here, with the same scores
as from copies of everything.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sourcetracing.detection.data.layout import DetectionLayout
from sourcetracing.detection.data.manifest import COLUMNS, load_manifest
from sourcetracing.detection.experiments.augment_pruned import AugmentationPlan, run_augmentation
from sourcetracing.detection.experiments.pruning import PruningPlan, run_pruning
from sourcetracing.detection.features.layer_features import extract_files, extract_layers, wanted_stores
from sourcetracing.detection.features.layer_store import LayerStore
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings
from tests.support.audio_files import write_wav
from tests.support.tiny_ssl import save_tiny

SETS = {"A": "asv19_train", "B": "odss", "C": "for", "ITW": "itw"}
NUM_FILES = 12


@pytest.fixture(scope="module")
def audio(tmp_path_factory) -> Path:
    """A few short files of each subset."""
    root = tmp_path_factory.mktemp("audio")
    for subset in SETS.values():
        for number in range(NUM_FILES):
            path = root / subset / f"{number}.wav"
            write_wav(path, 0.3 + 0.05 * (number % 5), number)
    return root


def manifest_of(root: Path) -> pd.DataFrame:
    rows = []
    for subset in SETS.values():
        for number in range(NUM_FILES):
            digest, label = digest_of_file(root / subset / f"{number}.wav"), ("bonafide", "spoof")[number % 2]
            rows.append(
                (f"{subset}/{number}", subset, f"{number}.wav", label, "", f"{subset}{number}", "", 0.3 + 0.05 * (number % 5), digest)
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def settings_of(root: Path, exp: Path, *words: str) -> Settings:
    corpora = [f"detection.sets={{{', '.join(f'{name}: [{subset}]' for name, subset in SETS.items())}}}"]
    corpora += ["detection.train=[A,B,C]", "detection.test=[ITW]", "detection.baseline_train=[A]", "detection.baseline_test=[ITW]"]
    corpora += [f"detection.roots={{asv19: {root}/asv19_train, odss: {root}/odss, for: {root}/for, itw: {root}/itw}}"]
    pruning = ["pruning.strategies=[random]", "pruning.fractions=[0.5]", "pruning.seeds=[1]", "pruning.augment_list=random_kept50_seed1"]
    features = ["layer_features.copies=[clean,rawboost,codec]", "compute.device=cpu", "logreg.c=1"]
    settings = load_settings([f"paths.exp={exp}", "name=small", *corpora, *pruning, *features, *words])
    DetectionLayout(settings).manifest.parent.mkdir(parents=True)
    manifest_of(root).to_csv(DetectionLayout(settings).manifest, index=False)
    return settings


def finished(settings: Settings) -> dict[str, LayerStore]:
    return {path.name.rpartition("-")[0]: LayerStore.open(path) for path in DetectionLayout(settings).features.iterdir() if path.is_dir()}


@pytest.mark.parametrize("kind", ["lfcc", pytest.param("xls-r", marks=pytest.mark.slow)])
def test_copies_are_made_of_the_drawn_files_alone(audio, tmp_path, kind, monkeypatch):
    words = ["layer_features.kind=lfcc", "logreg.layer=0"]
    if kind != "lfcc":
        words = [f"ssl.model={save_tiny(kind, tmp_path / 'encoder')}", "logreg.layer=2", "layer_features.copy_layers=[1,2]"]
    few, all_of_them = (settings_of(audio, tmp_path / name, *words) for name in ("few", "all"))
    scores = {}
    for settings in (few, all_of_them):
        extract_layers(settings)
        assert len(finished(settings)) == len(wanted_stores(settings)) == len(SETS) + 2  # copies: of A, which the baseline trains on
        if settings is all_of_them:
            for subset in ("odss", "for"):
                rows = load_manifest(settings)
                for copy in ("rawboost", "codec"):
                    extract_files(settings, rows[rows["corpus"] == subset].reset_index(drop=True), copy, {})
        run_pruning(settings)
        run_augmentation(settings)
        plan = AugmentationPlan(PruningPlan(settings, settings.logreg.layer))
        scores[settings is few] = pd.read_parquet(plan.place.scores)
    parts = pd.read_csv(AugmentationPlan(PruningPlan(few, few.logreg.layer)).place.parts)
    stores = finished(few)
    for subset in ("odss", "for"):
        for copy in ("rawboost", "codec"):
            drawn = parts[(parts["corpus"] == subset) & (parts["copy"] == copy)]["file_id"]
            made = stores.pop(f"{subset}-{copy}", None)
            assert (made.index["file_id"].tolist() if made else []) == sorted(drawn, key=lambda name: int(name.split("/")[1]))
            assert made is None or made.layers == [few.logreg.layer]
    assert len(stores) == len(SETS) + 2
    copied = sum(store.num_files for name, store in finished(few).items() if not name.endswith("-clean"))
    others = parts[(parts["corpus"] != "asv19_train") & (parts["copy"] != "clean")]
    assert copied == 2 * NUM_FILES + len(others) and 0 < len(others) < NUM_FILES
    np.testing.assert_array_equal(scores[True]["score"], scores[False]["score"])
    assert scores[True]["file_id"].equals(scores[False]["file_id"])
    monkeypatch.setattr("sourcetracing.detection.features.layer_features.build_layer_means", lambda *_: pytest.fail("it loads a network"))
    run_augmentation(few)  # a second run makes nothing
