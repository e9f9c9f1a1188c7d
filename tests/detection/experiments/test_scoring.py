"""Score files, EERs by set and part, and the sizes of the parts: by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from sourcetracing.detection.classifier.logistic import LinearModel
from sourcetracing.detection.experiments.scoring import ScoreFile, eers_by_part, masks_of, part_masks, scores_of, selection_mask
from sourcetracing.settings.reading import load_settings
from tests.support.detection import detection_settings, make_detection


def test_a_score_file_is_that_of_its_recipe_alone(tmp_path):
    file = ScoreFile(tmp_path / "scores.parquet", {"layer": 1})
    assert file.is_made is False
    scores = pd.DataFrame({"dataset": ["A"], "file_id": ["a"], "label": [1], "score": [0.5]}, index=[7])
    file.write(scores)
    assert file.is_made and not ScoreFile(file.path, {"layer": 2}).is_made
    pd.testing.assert_frame_equal(file.read(), scores.reset_index(drop=True))
    scores.to_parquet(file.path)  # of somebody else: no recipe in it
    assert not file.is_made


def test_scores_of_sets_are_decision_values_in_the_order_of_their_files():
    sets = [
        SimpleNamespace(files=pd.DataFrame({"dataset": "A", "file_id": ["a", "b", "c"], "label": [1, 0, 1]})),
        SimpleNamespace(files=pd.DataFrame({"dataset": "B", "file_id": ["d"], "label": [0]})),
    ]
    blocks = [[np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[2.0, 2.0]])], [np.array([[-1.0, 3.0]])]]
    found = scores_of(LinearModel(np.array([1.0, -2.0]), 0.5), sets, blocks)
    assert found["score"].tolist() == [1.5, -1.5, -1.5, -6.5]
    assert found["file_id"].tolist() == ["a", "b", "c", "d"] and found.index.tolist() == [0, 1, 2, 3]
    assert found["label"].tolist() == [1, 0, 1, 0] and found["dataset"].tolist() == ["A", "A", "A", "B"]


def test_each_set_and_part_has_the_eer_of_its_rows_and_the_mean_is_over_sets():
    """Z comes first, as in the scores. 1 of 4 of each class of Z is on the wrong side: none in its first half, 1 of 2 in the second."""
    labels, scores = [1, 1, 0, 0, 1, 1, 0, 0], [4, 3, 2, 1, 4, 1.5, 2.5, 1]
    one = pd.DataFrame({"dataset": "Z", "label": labels, "score": np.array(scores, dtype=float)})
    other = pd.DataFrame({"dataset": "A", "label": [1, 0, 1, 0], "score": [2.0, 1.0, 1.0, 2.0]})
    frame = pd.concat([one, other], ignore_index=True)
    first = np.array([True] * 4 + [False] * 4 + [True, True, False, False])
    masks = {"all": np.ones(12, dtype=bool), "selection": first, "report": ~first}
    found = eers_by_part(frame, masks, load_settings([]))
    assert list(zip(found["dataset"], found["part"], strict=True)) == [
        (name, part) for part in ("all", "selection", "report") for name in ("Z", "A", "MEAN")
    ]
    table = found.set_index(["part", "dataset"])
    assert table.loc["all", "eer"].tolist() == pytest.approx([0.25, 0.5, 0.375])
    assert table.loc["selection", "eer"].tolist() == pytest.approx([0, 0, 0])
    assert table.loc["report", "eer"].tolist() == pytest.approx([0.5, 1, 0.75])
    assert table["files"].tolist() == [8, 4, 12, 4, 2, 6, 4, 2, 6]
    thresholds = table["threshold"].unstack("dataset")
    assert thresholds["MEAN"].isna().all() and thresholds[["Z", "A"]].notna().all(axis=None)
    assert 2 <= thresholds.loc["selection", "Z"] <= 3


def test_masks_follow_the_files_and_not_the_manifest(tmp_path):
    settings = detection_settings(tmp_path)
    manifest = make_detection(settings)
    real_life = manifest[manifest["corpus"].isin(["itw", "ai4trust"])].reset_index(drop=True)
    chosen = dict(zip(real_life["file_id"], selection_mask(settings, real_life), strict=True))
    shuffled = real_life.sample(frac=1, random_state=3)[["file_id"]].rename(index=lambda place: place + 100)
    masks = masks_of(settings, shuffled)
    assert masks["selection"].tolist() == [chosen[file_id] for file_id in shuffled["file_id"]]
    assert (masks["report"] == ~masks["selection"]).all() and masks["all"].all()


def lone_files(bonafide: int, spoof: int) -> pd.DataFrame:
    rows = [("itw", f"b{number}", "bonafide") for number in range(bonafide)] + [("itw", f"s{number}", "spoof") for number in range(spoof)]
    return pd.DataFrame(rows, columns=["corpus", "group", "label"])


@pytest.mark.parametrize(("fraction", "bonafide", "spoof"), [(0.4, 4, 8), (0.25, 2, 5), (0.5, 5, 10), (0.72, 7, 14)])
def test_of_files_that_are_groups_of_their_own_the_fraction_is_taken_of_each_class(fraction, bonafide, spoof):
    """10 bona fide and 20 spoofed files; 2.5 are wanted at 0.25 of ten: where one more would be as far off it is left."""
    rows = lone_files(10, 20)
    chosen = rows[selection_mask(load_settings([f"selection.fraction={fraction}"]), rows)]
    assert chosen["label"].value_counts().to_dict() == {"bonafide": bonafide, "spoof": spoof}


def test_a_group_too_big_for_the_part_is_left_out_and_the_part_filled_by_others():
    sizes = {"big": 50, **{f"small{number}": 5 for number in range(10)}}
    rows = pd.DataFrame(
        [("itw", f"{label}-{name}", label) for label in ("bonafide", "spoof") for name, size in sizes.items() for _ in range(size)],
        columns=["corpus", "group", "label"],
    )
    for seed in range(6):
        settings = load_settings(["selection.fraction=0.2", f"selection.seed={seed}"])
        parts = part_masks(settings, rows)
        chosen = rows[parts["selection"]]
        assert chosen["label"].value_counts().to_dict() == {"bonafide": 20, "spoof": 20}  # 20 of 100 files: four small groups
        assert not chosen["group"].str.contains("big").any()


def test_corpora_are_told_apart_by_their_rows_in_any_order():
    one, other = lone_files(10, 10), lone_files(10, 10).assign(corpus="ai4trust")
    settings = load_settings(["selection.fraction=0.4"])
    mixed = pd.concat([one, other]).sample(frac=1, random_state=1)
    chosen = mixed[selection_mask(settings, mixed)]
    assert chosen.groupby(["corpus", "label"]).size().tolist() == [4, 4, 4, 4]
    names = {corpus: set(own["group"]) for corpus, own in chosen.groupby("corpus")}
    assert names["itw"] != names["ai4trust"]  # each corpus draws for itself
