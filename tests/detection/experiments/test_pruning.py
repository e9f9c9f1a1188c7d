"""Pruning and augmentation after it, on small stores: right files, right labels, resumed, refused."""

import json

import numpy as np
import pandas as pd
import pytest

from sourcetracing.detection.classifier.logistic import fit, load_model
from sourcetracing.detection.data.groups import PRUNED, training_sets
from sourcetracing.detection.data.layout import DetectionLayout
from sourcetracing.detection.experiments import pruning
from sourcetracing.detection.experiments.augment_pruned import AugmentationPlan, run_augmentation
from sourcetracing.detection.experiments.pruning import (
    BY_SELECTION,
    BY_TEST,
    PruningPlan,
    choose_levels,
    make_lists,
    pruning_levels,
    run_pruning,
)
from sourcetracing.detection.features.file_pool import open_pool
from sourcetracing.detection.features.layer_store import find_layers
from sourcetracing.errors import UserError
from sourcetracing.settings.reading import load_settings
from tests.support.detection import detection_settings, make_detection

PUBLISHED = "configs/as_published/published_ai4t_pruning.yaml"


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """settings, manifest, plan of a finished pruning."""
    settings = detection_settings(tmp_path_factory.mktemp("pruned"))
    manifest = make_detection(settings)
    run_pruning(settings)
    return settings, manifest, PruningPlan(settings, 1)


def lists_of(plan):
    return json.loads(plan.finished.read_text())["lists"]


def kept_files(plan, name):
    return pd.read_csv(plan.folder / name / "files.csv")


def results_of(settings, name="pruning"):
    return pd.read_csv(DetectionLayout(settings).root / "results" / f"{name}.csv")


def test_every_strategy_and_step_has_a_list(pruned):
    names = lists_of(pruned[2])
    assert len(names) == len(set(names)) == 1 + 27 + 9 + 9 + 9 + 9
    assert {"everything", "random_kept10_seed987", "cluster-closest_kept50", "cluster-furthest_kept90", "margin-noisy_kept70"} <= set(names)


def test_names_labels_and_features_of_every_list_belong_together(pruned):
    """The classifier that lies beside a list is the one that the files named in it give (D64)."""
    settings, manifest, plan = pruned
    truth = manifest.set_index("file_id")
    features = {name: find_layers(settings, name).layer(1) for name in ("asv19_train", "asv19_dev", "odss", "for")}
    place = {row.file_id: (row.corpus, number) for name in features for number, row in enumerate(find_layers_index(settings, name))}
    for name in lists_of(plan):
        files = kept_files(plan, name)
        assert files["file_id"].is_unique
        assert (truth.loc[files["file_id"], "label"].to_numpy() == files["label"]).all()
        assert (truth.loc[files["file_id"], "corpus"].to_numpy() == files["corpus"]).all()
        chosen = np.stack([features[corpus][number] for corpus, number in map(place.get, files["file_id"])])
        model = fit(chosen, (files["label"] == "bonafide").to_numpy().astype(int), settings.logreg)
        np.testing.assert_allclose(load_model(plan.folder / name / "model.safetensors").coef, model.coef, atol=1e-4, rtol=1e-4)


def find_layers_index(settings, subset):
    return find_layers(settings, subset).index.assign(corpus=subset).itertuples()


def test_counts_are_those_of_the_files(pruned):
    results, plan = results_of(pruned[0]), pruned[2]
    assert (results["of"] == 240).all()
    for row in results.drop_duplicates("list").itertuples():
        files = kept_files(plan, row.list)
        assert (row.kept, row.bonafide, row.spoof) == (len(files), (files["label"] == "bonafide").sum(), (files["label"] == "spoof").sum())
        if row.step.startswith("kept") and not row.strategy.startswith("cluster"):
            assert row.kept == round(240 * float(row.step[4:]) / 100)


def test_choice_is_made_on_the_selection_part_and_the_published_one_beside_it(pruned):
    choices = results_of(pruned[0], "pruning_choice").set_index(["chosen_by", "among"])
    levels = results_of(pruned[0], "pruning_levels")
    for chosen_by, part in ((BY_SELECTION, "selection"), (BY_TEST, "all")):
        best = levels[(levels["dataset"] == "MEAN") & (levels["part"] == part)]["eer"].min()
        assert choices.loc[(chosen_by, "all"), f"MEAN_{part}"] == pytest.approx(best, abs=2e-6)
    assert (choices["MEAN_all"].xs(BY_TEST) <= choices["MEAN_all"].xs(BY_SELECTION) + 1e-9).all()


def test_levels_average_over_seeds_and_sets():
    rows = [("random_a_seed1", "random", "a", 0.1), ("random_a_seed2", "random", "a", 0.3), ("b", "margin-both", "b", 0.15)]
    results = pd.DataFrame(rows, columns=["list", "strategy", "step", "eer"]).assign(percent_kept=10.0)
    results = results.merge(pd.DataFrame({"dataset": ["MEAN"] * 3, "part": ["all", "selection", "report"]}), how="cross")
    levels = pruning_levels(results)
    random = levels[levels["strategy"] == "random"].iloc[0]
    assert (random["list"], random["eer"], random["sd"]) == (
        "random_a_seed1",
        pytest.approx(0.2),
        pytest.approx(np.std([0.1, 0.3], ddof=1)),
    )
    assert choose_levels(levels)["list"].iloc[0] == "b"


def test_a_second_run_does_nothing_and_an_interrupted_one_goes_on(tmp_path, monkeypatch):
    settings = detection_settings(tmp_path, "pruning.fractions=[0.5,0.8]", "pruning.refit_margins=true")
    make_detection(settings)
    plan, fits = PruningPlan(settings, 1), []

    def counted(*arguments, **options):
        if len(fits) == 9:
            raise KeyboardInterrupt
        fits.append(1)
        return fit(*arguments, **options)

    monkeypatch.setattr(pruning, "fit", counted)
    with pytest.raises(KeyboardInterrupt):
        make_lists(plan)
    assert not plan.is_finished
    before = {path: path.stat().st_mtime_ns for path in plan.folder.rglob("*") if path.is_file()}
    assert sum(path.name == "list.json" for path in before) == 9
    fits[:] = [1] * 100
    make_lists(plan)
    assert plan.is_finished and len(fits) == 100 + 15 - 9
    assert {path: path.stat().st_mtime_ns for path in before if path.name != "files.csv"} == {
        path: time for path, time in before.items() if path.name != "files.csv"
    }
    monkeypatch.setattr(pruning, "open_pool", None)  # a finished one reads no features
    run_pruning(settings)
    whole = detection_settings(tmp_path / "whole", "pruning.fractions=[0.5,0.8]", "pruning.refit_margins=true")
    make_detection(whole)
    monkeypatch.undo()
    make_lists(PruningPlan(whole, 1))
    for name in lists_of(plan):
        for file in ("files.csv", "scores.parquet"):
            assert (plan.folder / name / file).read_bytes() == (PruningPlan(whole, 1).folder / name / file).read_bytes()


def test_more_fractions_are_added_to_what_is_there(tmp_path):
    settings = detection_settings(tmp_path, "pruning.fractions=[0.5]", "pruning.strategies=[margin-noisy]")
    make_detection(settings)
    make_lists(PruningPlan(settings, 1))
    more = PruningPlan(detection_settings(tmp_path, "pruning.fractions=[0.5,0.7]", "pruning.strategies=[margin-noisy]"), 1)
    assert more.folder == PruningPlan(settings, 1).folder and not more.is_finished
    make_lists(more)
    assert lists_of(more) == ["everything", "margin-noisy_kept70", "margin-noisy_kept50"]


def test_published_overlay_changes_what_it_should(tmp_path):
    words = ["pruning.train=[asv19_train,asv19_dev,B,C]", "pruning.augment_list=chosen", "pruning.fractions=[0.1]", "pruning.seeds=[1]"]
    settings = detection_settings(tmp_path, PUBLISHED, *words)
    make_detection(settings)
    run_pruning(settings)
    plan = PruningPlan(settings, 1)
    names = lists_of(plan)
    assert {"margin-noisy_10", "margin-noisy_21", "margin-both_33"} <= set(names) and "margin-both_kept90" not in names
    facts = json.loads((plan.folder / "cluster-closest_kept10" / "list.json").read_text())
    assert (facts["samples"], facts["kept"]) == (8, 4 * (2 + 4))  # a mean for each of 4 groups x 2 classes; 20 and 40 files in them
    without = fit_of_list(settings, plan, "cluster-closest_kept10")
    assert np.abs(load_model(plan.folder / "cluster-closest_kept10" / "model.safetensors").coef - without.coef).max() > 1e-3
    parts = AugmentationPlan(plan).parts
    count = len(AugmentationPlan(plan).files)
    assert [len(rows) for rows in parts.values()] == [count // 2, count // 3, count // 3]
    run_augmentation(settings)


def fit_of_list(settings, plan, name):
    """A classifier on the files of a list and nothing else."""
    pool = open_pool(plan.sets, 1)
    rows = pool.files.index[pool.files["file_id"].isin(kept_files(plan, name)["file_id"])].to_numpy()
    return fit(pool.take(rows), pool.labels[rows], settings.logreg)


def test_published_overlay_names_nine_groups():
    sets = training_sets(load_settings([PUBLISHED]), PRUNED)
    assert len(sets) == 9 and sets["asv19_eval"] == ["asv19_eval"] and sets["MLAAD"] == ["mlaad", "mailabs"]


def test_augmented_files_are_drawn_once_with_labels_of_the_manifest(pruned):
    settings, manifest, plan = pruned
    text = run_augmentation(settings)
    done = AugmentationPlan(plan)
    assert done.place.record.is_file() and str(done.place.folder) in text
    parts, files = pd.read_csv(done.place.parts), kept_files(plan, done.list_name)
    assert sorted(parts["file_id"]) == sorted(files["file_id"]) and (parts["times"] == 1).all()
    assert (manifest.set_index("file_id").loc[parts["file_id"], "label"].to_numpy() == parts["label"]).all()
    shares = parts["copy"].value_counts() / len(parts)
    assert shares.to_dict() == pytest.approx({"codec": 3 / 7, "rawboost": 2 / 7, "clean": 2 / 7}, abs=0.03)
    model = load_model(done.place.model)
    rows = [copy_features(settings, row) for row in parts.itertuples()]
    expected = fit(np.stack(rows), (parts["label"] == "bonafide").to_numpy().astype(int), settings.logreg)
    np.testing.assert_allclose(model.coef, expected.coef, atol=1e-4, rtol=1e-4)


def copy_features(settings, row):
    store = find_layers(settings, row.corpus, row.copy)
    return store.layer(1)[store.index.index[store.index["file_id"] == row.file_id][0]]


def test_wrong_predictions_are_wrong_and_complete(pruned):
    settings, _, plan = pruned
    run_augmentation(settings)
    folder, results = AugmentationPlan(plan).place.folder, results_of(settings, "augment_pruned")
    scores = pd.read_parquet(folder / "scores.parquet").set_index("file_id")
    augmented = results[results["folder"] == str(folder)].set_index(["dataset", "part"])
    for name in ("ITW", "AI4T"):
        wrong = pd.read_csv(folder / f"wrong_predictions_{name}.csv")
        own = scores[scores["dataset"] == name]
        predicted = np.where(own["score"] >= augmented.loc[(name, "selection"), "threshold"], "bonafide", "spoof")
        assert len(wrong) and wrong["file_id"].tolist() == own.index[predicted != np.where(own["label"] == 1, "bonafide", "spoof")].tolist()
        assert (wrong["label"] != wrong["predicted"]).all() and set(wrong["part"]) <= {"selection", "report"}


def test_a_list_of_one_class_is_left_out_of_the_results(tmp_path):
    settings = detection_settings(
        tmp_path, "pruning.fractions=[0.01]", "pruning.strategies=[margin-noisy,random]", "pruning.seeds=[1,2,3,4]"
    )
    make_detection(settings)
    run_pruning(settings)
    facts = [json.loads(path.read_text()) for path in PruningPlan(settings, 1).folder.glob("*/list.json")]
    single = {one["list"] for one in facts if not one["bonafide"] or not one["spoof"]}
    assert single
    assert set(results_of(settings)["list"]) == {one["list"] for one in facts} - single


def test_mistakes_are_named(tmp_path, pruned):
    settings = detection_settings(tmp_path, "pruning.train=[A,Bee]")
    with pytest.raises(UserError, match="pruning.train: 'Bee'"):
        training_sets(settings, PRUNED)
    with pytest.raises(UserError, match=r"01_extract_layers"):
        PruningPlan(detection_settings(tmp_path), 1)
    make_detection(settings := detection_settings(tmp_path))
    with pytest.raises(UserError, match="asv19_dev is in the sets A and asv19_dev"):
        PruningPlan(detection_settings(tmp_path, "pruning.train=[A,asv19_dev]"), 1)
    with pytest.raises(UserError, match=r"05_pruning"):
        run_augmentation(settings)
    root = pruned[0].paths.exp
    with pytest.raises(UserError, match=r"augment_list=margin-both_kept35.*did you mean.*margin-both_kept"):
        run_augmentation(detection_settings(root, "pruning.augment_list=margin-both_kept35"))
