"""Layer sweep and augmented baseline: the tables, the choice without peeking, resumed, refused."""

import json

import numpy as np
import pandas as pd
import pytest

from sourcetracing.detection.classifier.logistic import fit
from sourcetracing.detection.data.layout import DetectionLayout
from sourcetracing.detection.data.manifest import load_manifest
from sourcetracing.detection.experiments.augmented_baseline import CLEAN, TRAININGS, AugmentedBaseline, one_of_both, run_augmented_baseline
from sourcetracing.detection.experiments.layer_sweep import choose_layer, run_sweep, working_layer
from sourcetracing.detection.experiments.scoring import selection_mask
from sourcetracing.detection.features.feature_sets import contiguous_layer
from sourcetracing.detection.features.layer_store import find_layers
from sourcetracing.errors import UserError
from sourcetracing.metrics.classification import equal_error_rate
from tests.support.detection import detection_settings, features_of, make_detection, write_layers

PARTS = ("selection", "report", "all")


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """settings, the texts of a finished sweep and of a finished augmented baseline."""
    settings = detection_settings(tmp_path_factory.mktemp("swept"), "detection.origin=demo")
    make_detection(settings)
    return settings, run_sweep(settings), run_augmented_baseline(settings)


def table_of(settings, name):
    return pd.read_csv(DetectionLayout(settings).root / "results" / f"{name}.csv")


def by_hand(settings, subset, layer, copies=("clean",)):
    """Labels and scores of a classifier trained on A (asv19_train, asv19_dev), without the code under test."""
    training = [find_layers(settings, name, copy) for copy in copies for name in ("asv19_train", "asv19_dev")]
    model = fit([store.layer(layer) for store in training], [store.labels for store in training], settings.logreg)
    store = find_layers(settings, subset)
    return store.labels, model.scores(store.layer(layer))


def test_every_layer_has_every_set_in_its_parts_and_the_averages(swept):
    table = table_of(swept[0], "layer_sweep")
    assert set(table["layer"]) == {0, 1, 2}
    whole = table[table["part"] == "all"].groupby("layer")["dataset"].agg(set)
    assert all(names == {"B", "C", "ITW", "AI4T", "AVG_ID", "AVG_OOD", "AVG_ALL", "ALL"} for names in whole)
    assert set(table[table["part"] == "report"]["dataset"]) == {"ITW", "AI4T", "AVG_OOD"}


def test_eers_and_averages_are_those_of_classifiers_fitted_by_hand(swept):
    settings, table = swept[0], table_of(swept[0], "layer_sweep").set_index(["layer", "dataset", "part"])["eer"]
    eers, pooled = {}, []
    for name, subset in {"B": "odss", "C": "for", "ITW": "itw", "AI4T": "ai4trust"}.items():
        pooled.append(by_hand(settings, subset, 2))
        eers[name] = equal_error_rate(*pooled[-1])[0]
        assert table[2, name, "all"] == pytest.approx(eers[name], abs=1e-6)
    assert table[2, "AVG_ID", "all"] == pytest.approx((eers["B"] + eers["C"]) / 2, abs=1e-6)
    assert table[2, "AVG_OOD", "all"] == pytest.approx((eers["ITW"] + eers["AI4T"]) / 2, abs=1e-6)
    assert table[2, "AVG_ALL", "all"] == pytest.approx(np.mean(list(eers.values())), abs=1e-6)
    together = equal_error_rate(*(np.concatenate(parts) for parts in zip(*pooled, strict=True)))[0]
    assert table[2, "ALL", "all"] == pytest.approx(together, abs=1e-6)


def test_parts_are_those_of_the_selection_mask(swept):
    settings, table = swept[0], table_of(swept[0], "layer_sweep").set_index(["layer", "dataset", "part"])["eer"]
    mask = selection_mask(settings, load_manifest(settings).query("corpus == 'itw'"))
    labels, scores = by_hand(settings, "itw", 1)
    assert table[1, "ITW", "selection"] == pytest.approx(equal_error_rate(labels[mask], scores[mask])[0], abs=1e-6)
    assert table[1, "ITW", "report"] == pytest.approx(equal_error_rate(labels[~mask], scores[~mask])[0], abs=1e-6)


def test_the_choice_is_written_and_used_downstream(swept):
    settings, text, _ = swept
    means = table_of(settings, "layer_sweep").query("dataset == 'AVG_OOD'").pivot_table(index="layer", columns="part", values="eer")
    choice = json.loads(DetectionLayout(settings).layer_choice.read_text())
    assert choice["layer"] == means["selection"].idxmin() and choice["report_eer"] == pytest.approx(
        means["report"][choice["layer"]], abs=1e-6
    )
    assert choice["published_way"]["layer"] == means["all"].idxmin()
    assert working_layer(settings) == 1  # a number wins
    settings.logreg.layer = "sweep"
    assert working_layer(settings) == choice["layer"]
    settings.logreg.layer = 1
    assert f"chosen: layer {choice['layer']}, by the selection part" in text and "published way: layer" in text


def test_what_is_reported_does_not_choose():
    rows = [
        (layer, part, eer)
        for layer, eers in {4: (0.3, 0.1, 0.2), 7: (0.1, 0.4, 0.25)}.items()
        for part, eer in zip(PARTS, eers, strict=True)
    ]
    choice = choose_layer(pd.DataFrame(rows, columns=["layer", "part", "eer"]).assign(dataset="AVG_OOD"))
    assert (choice["layer"], choice["report_eer"], choice["published_way"]["layer"]) == (7, 0.4, 4)


def test_published_values_stand_beside_and_the_demo_says_what_they_are(swept):
    settings, text, _ = swept
    table = table_of(settings, "layer_sweep").set_index(["layer", "dataset", "part"])
    assert table.at[(2, "ITW", "all"), "published"] == pytest.approx(0.2237) and table.at[(2, "ITW", "all"), "note"].startswith("D88")
    assert np.isnan(table.at[(2, "B", "all"), "published"]) and np.isnan(table.at[(2, "ITW", "report"), "published"])
    assert np.isnan(table.at[(2, "AVG_ID", "all"), "published"])  # an average over other sets
    assert "the differences say nothing" in text
    assert "(22.37)" in (DetectionLayout(settings).root / "results" / "layer_sweep.md").read_text()


def test_a_second_run_fits_nothing_and_a_lost_layer_is_made_again(swept):
    settings, text, _ = swept
    folder = DetectionLayout(settings).root / "scores" / "layer_sweep"
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    (folder / "layer_01.parquet").unlink()
    assert run_sweep(settings) == text
    changed = [path.name for path, time in times.items() if path.stat().st_mtime_ns != time]
    assert changed == ["layer_01.parquet"]
    assert not list(DetectionLayout(settings).root.glob("scratch_*"))


def test_a_layer_of_its_own_file_is_the_layer(swept, tmp_path):
    store = find_layers(swept[0], "itw")
    copy = contiguous_layer(store, 2, tmp_path)
    assert copy.flags.c_contiguous and not store.layer(2).flags.c_contiguous
    assert np.array_equal(copy, store.layer(2)) and np.array_equal(copy, contiguous_layer(store, 2, tmp_path))


def test_a_test_set_that_is_trained_on_is_refused(tmp_path):
    settings = detection_settings(tmp_path, "detection.baseline_train=[A,B]")
    make_detection(settings)
    with pytest.raises(UserError, match=r"odss would be tested \(in B\) though it is trained on \(in B\)"):
        run_sweep(settings)


def test_no_layer_before_the_sweep_and_none_that_is_no_number(tmp_path):
    settings = detection_settings(tmp_path, "logreg.layer=sweep")
    with pytest.raises(UserError, match="02_layer_sweep.py"):
        working_layer(settings)
    settings.logreg.layer = "nine"
    with pytest.raises(UserError, match="logreg.layer='nine'"):
        working_layer(settings)


def test_augmented_trainings_are_those_of_their_copies(swept):
    settings, _, text = swept
    table = table_of(settings, "augmented_baseline").set_index(["training", "dataset", "part"])
    assert set(table.index.get_level_values(0)) == set(TRAININGS)
    for training, copies in TRAININGS.items():
        if copies:
            expected = equal_error_rate(*by_hand(settings, "itw", 1, copies))[0]
            assert table.at[(training, "ITW", "all"), "eer"] == pytest.approx(expected, abs=1e-6)
            assert table.at[(training, "ITW", "all"), "train_rows"] == 120 * len(copies)
    assert '"clean + rawboost + codec" is the published training' in text


def testone_of_both_takes_one_augmented_copy_of_each_file(swept):
    settings = swept[0]
    scores = pd.read_parquet(DetectionLayout(settings).root / "scores" / "augmented_baseline" / "clean+oneofboth.parquet")
    others = [by_hand(settings, "itw", 1, copies)[1] for copies in TRAININGS.values() if copies]
    ours = scores[scores["dataset"] == "ITW"]["score"].to_numpy()
    assert all(np.abs(ours - other).max() > 1e-3 for other in others)
    clean, rawboost, codec = np.split(np.concatenate(one_of_both(settings, AugmentedBaseline(settings).copies[CLEAN])), 3)
    assert (clean == 1).all() and (rawboost + codec == 1).all() and 0.3 < rawboost.mean() < 0.7


def test_copies_of_other_files_are_refused(tmp_path):
    settings = detection_settings(tmp_path)
    manifest = make_detection(settings)
    index = manifest.query("corpus == 'asv19_dev'")[["file_id", "label"]].iloc[::-1].reset_index(drop=True)
    write_layers(find_layers(settings, "asv19_dev", "codec").folder, [0, 1, 2], index, features_of("asv19_dev", index))
    with pytest.raises(UserError, match="codec features of A are not of the same files"):
        run_augmented_baseline(settings)
