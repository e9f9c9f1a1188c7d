"""Pseudo-speakers: clusters against golden ones, the elbow, groups of a hand-made protocol."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings
from sourcetracing.speakers.clustering import elbow, objective_curve, settle, spherical_kmeans, unit_rows
from sourcetracing.speakers.counts import count_groups
from sourcetracing.speakers.groups import balancing_threshold, check_thresholds, load_groups
from sourcetracing.speakers.records import labels_of
from tests.support.places import GOLDEN

GOLDEN = GOLDEN / "spherical_kmeans"
RATE = 16000


# --- clusters


def golden_case(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
    arrays = np.load(GOLDEN.with_suffix(".npz"))
    facts = json.loads(GOLDEN.with_suffix(".json").read_text())["cases"][number]
    return *(arrays[f"case{number}/{name}"] for name in ("x", "labels_canonical", "centroids_unit")), facts


@pytest.mark.parametrize("number", [0, 1])
def test_clusters_are_the_golden_ones(number: int):
    rows, labels, centroids, facts = golden_case(number)
    found = spherical_kmeans(rows, facts["K"], 20, seed=1)
    assert (found.labels == labels).all()
    np.testing.assert_allclose(found.centroids, centroids, atol=1e-6)
    assert found.objective == pytest.approx(facts["objective_sum_cosine"], abs=1e-6)
    assert np.bincount(found.labels).tolist() == facts["sizes"]


def test_objective_is_the_sum_of_cosines_to_the_own_unit_centroid():
    rows = np.random.default_rng(1).normal(size=(300, 7)) * 5
    found = spherical_kmeans(rows, 6, 3, seed=2)
    cosines = unit_rows(rows) @ found.centroids.T
    np.testing.assert_allclose(np.linalg.norm(found.centroids, axis=1), 1)
    assert (cosines.argmax(axis=1) == found.labels).all()
    assert found.objective == pytest.approx(cosines[np.arange(300), found.labels].sum())
    for cluster in range(6):
        total = unit_rows(rows)[found.labels == cluster].sum(axis=0)
        np.testing.assert_allclose(found.centroids[cluster], total / np.linalg.norm(total))


def test_lloyds_steps_end_at_the_golden_clusters_from_any_rows_of_them():
    rows, labels, centroids, facts = golden_case(0)
    start = unit_rows(rows)[[np.flatnonzero(labels == cluster)[0] for cluster in range(facts["K"])]]
    found = settle(unit_rows(rows), start)
    np.testing.assert_allclose(found.centroids, centroids, atol=1e-6)
    assert (found.labels == labels).all()


def test_more_restarts_find_a_better_optimum_and_the_seed_decides():
    rows = np.random.default_rng(3).normal(size=(30, 16))[np.arange(600) % 30] + np.random.default_rng(4).normal(size=(600, 16)) / 3
    once, often = (spherical_kmeans(rows, 30, restarts, seed=1).objective for restarts in (1, 30))
    assert often > once + 1
    again = spherical_kmeans(rows, 30, 30, seed=1)
    assert again.objective == often
    assert spherical_kmeans(rows, 30, 1, seed=2).objective != once


def test_more_clusters_than_different_rows_leave_some_empty():
    rows = np.eye(3)[np.arange(30) % 3]
    found = spherical_kmeans(rows, 5, 5, seed=1)
    assert found.objective == pytest.approx(30)
    assert found.labels[:3].tolist() == [0, 1, 2] and found.centroids.shape == (5, 3)


def test_curve_does_not_depend_on_the_number_of_workers():
    rows = np.random.default_rng(5).normal(size=(80, 6))
    one, two = (objective_curve(rows, 12, 3, seed=1, num_workers=workers) for workers in (1, 2))
    assert (one == two).all()
    assert one[0] == pytest.approx(np.linalg.norm(unit_rows(rows).sum(axis=0)))
    assert one[11] == spherical_kmeans(rows, 12, 3, seed=1).objective


def test_elbow_of_known_curves():
    bent_at_5 = [10 * k if k <= 5 else 50 + (k - 5) for k in range(1, 41)]
    assert elbow(bent_at_5) == 5
    assert elbow(1e-3 * np.array(bent_at_5) + 7) == 5
    assert elbow([4.0, 4.0, 4.0]) == 1


# --- groups


def write_groups_case(tmp_path: Path, *words: str) -> tuple[Settings, pd.DataFrame, pd.DataFrame]:
    """Three languages; with French held out, training has 20 utterances: 12 of speaker 0, 6 of 1, 2 of 2 and none of 3."""
    settings = load_settings([f"paths.exp={tmp_path}", "name=groups", "corpus.languages=[en,de,fr]", *words])
    training = [("en", "train", 0)] * 8 + [("de", "dev", 0)] * 4 + [("de", "train", 1)] * 6 + [("en", "dev", 2)] * 2
    tests = [("en", "eval", 0)] * 3 + [("en", "eval", 1)] * 2 + [("de", "eval", 2)] * 4 + [("de", "eval", 3)]
    french = [("fr", "train", 3)] * 30 + [("fr", "eval", 1)] * 2 + [("fr", "eval", 3)] * 5
    rows = pd.DataFrame(training + tests + french, columns=["language", "split", "pseudo_speaker"])
    rows["utt_id"] = [f"u{number:03d}" for number in range(len(rows))]
    rows["path"] = "fake/" + rows["utt_id"] + ".wav"
    layout = Layout.of(settings)
    layout.speakers.mkdir(parents=True)
    rows[["utt_id", "pseudo_speaker"]].sample(frac=1, random_state=1).to_csv(layout.pseudo_speakers, index=False)
    return settings, rows[["utt_id", "path", "language", "pseudo_speaker"]], rows[["utt_id", "split"]]


def counts_by_speaker(groups: pd.DataFrame, utterances: pd.DataFrame) -> dict[int, tuple[str, str, int]]:
    table = groups.merge(utterances, on="utt_id").groupby("pseudo_speaker")
    return {speaker: (*part.iloc[0][["published_group", "strict_group"]], len(part)) for speaker, part in table}


def test_groups_are_tested_on_the_training_languages(tmp_path: Path):
    settings, utterances, protocol = write_groups_case(tmp_path, "speakers.thresholds={en: 0.9, de: 0.9, fr: 0.3}")
    groups = load_groups(settings, "fr", utterances, protocol)
    assert list(groups.columns) == ["utt_id", "published_group", "strict_group"]
    # Speaker 1 has exactly theta of the training data: not above it, hence unseen although it was there.
    assert counts_by_speaker(groups, utterances) == {
        0: ("seen", "frequent", 3),
        1: ("unseen", "rare", 2),
        2: ("unseen", "rare", 4),
        3: ("unseen", "never_seen", 1),  # its French training data are not of the training languages
    }


def test_groups_are_tested_on_the_held_out_language_if_asked(tmp_path: Path):
    words = ("speakers.thresholds={en: 0.9, de: 0.9, fr: 0.2}", "speakers.test_set=unseen_language")
    settings, utterances, protocol = write_groups_case(tmp_path, *words)
    groups = load_groups(settings, "fr", utterances, protocol)
    assert counts_by_speaker(groups, utterances) == {1: ("seen", "frequent", 2), 3: ("unseen", "never_seen", 5)}


def test_searched_threshold_balances_the_groups(tmp_path: Path):
    settings, utterances, protocol = write_groups_case(tmp_path)
    groups = load_groups(settings, "fr", utterances, protocol)
    assert groups["published_group"].value_counts().to_dict() == {"seen": 5, "unseen": 5}
    assert set(groups["utt_id"][groups["published_group"] == "seen"].map(utterances.set_index("utt_id")["pseudo_speaker"])) == {0, 1}


def test_search_takes_the_lowest_of_equals_halfway_between_two_shares():
    assert balancing_threshold(np.array([0.1] * 3 + [0.2] * 2 + [0.3] * 4)) == pytest.approx(0.25)
    assert balancing_threshold(np.array([0.1, 0.2, 0.2, 0.4])) == pytest.approx(0.15)  # 3 of 4, as good as 1 of 4
    assert balancing_threshold(np.array([0.5, 0.5])) == 0.0
    assert balancing_threshold(np.array([0.0, 0.0, 0.5, 0.6])) == 0.0  # whoever was there at all is seen


def test_table_2_has_a_row_for_each_language_and_the_paper_beside_it(tmp_path: Path):
    settings, utterances, protocol = write_groups_case(tmp_path, "speakers.thresholds=published")
    table = count_groups(settings, utterances, protocol).set_index("held_out")
    assert pd.read_csv(Layout.of(settings).speaker_counts)["held_out"].tolist() == ["en", "de", "fr"]
    own = table.loc["fr", ["threshold", "p_min", "p_max", "seen", "unseen", "never_seen", "rare", "frequent", "total"]]
    assert own.tolist() == [0.079, 0.0, 0.6, 9, 1, 1, 0, 9, 10]
    assert table.loc["fr", ["published_seen", "published_unseen", "published_total", "published_threshold"]].tolist() == [
        908,
        1012,
        1920,
        0.079,
    ]
    assert (table["published_seen"].tolist(), table["threshold"].tolist()) == ([938, 1029, 908], [0.085, 0.075, 0.079])


def test_imported_lists_decide_and_pseudo_speakers_add_the_strict_group(tmp_path: Path):
    settings, utterances, protocol = write_groups_case(tmp_path, "speakers.thresholds={en: 0.9, de: 0.9, fr: 0.3}")
    tested = utterances[utterances["pseudo_speaker"].isin([0, 3]) & (protocol["split"] == "eval") & (utterances["language"] != "fr")]
    lists = tested[["path", "language"]].assign(source="a", heldout="fr", group="unseen")
    lists.loc[len(utterances)] = [utterances["path"][0], "en", "a", "fr", "seen"]  # an utterance of training is no test utterance
    lists.to_csv(Layout.of(settings).speaker_groups, index=False)
    groups = load_groups(settings, "fr", utterances, protocol)
    assert counts_by_speaker(groups, utterances) == {0: ("unseen", "frequent", 3), 3: ("unseen", "never_seen", 1)}
    Layout.of(settings).pseudo_speakers.unlink()
    assert load_groups(settings, "fr", utterances, protocol)["strict_group"].tolist() == [""] * 4
    with pytest.raises(UserError, match="names no eval utterance for held-out language en; it has: fr"):
        load_groups(settings, "en", utterances, protocol)


def test_table_rows_name_the_lists_that_made_the_groups(tmp_path: Path):
    """Imported lists decide what is tested and seen, whatever speakers.test_set says; theta divides the strict groups only."""
    settings, utterances, _ = write_groups_case(tmp_path, "speakers.thresholds={en: 0.9, de: 0.9, fr: 0.3}")
    by_labels = labels_of(settings)
    assert by_labels.endswith('theta={"en": 0.9, "de": 0.9, "fr": 0.3} on seen_languages')
    lists = utterances[["path", "language"]].assign(source="a", heldout="fr", group="unseen")
    path = Layout.of(settings).speaker_groups
    lists.to_csv(path, index=False)
    assert re.fullmatch(
        r"[0-9a-f]{8} imported lists; strict groups: " + re.escape(by_labels.removesuffix(" on seen_languages")), labels_of(settings)
    )
    with_lists = labels_of(settings)
    lists.assign(group="seen").to_csv(path, index=False)
    assert labels_of(settings) != with_lists
    Layout.of(settings).pseudo_speakers.unlink()
    assert re.fullmatch(r"[0-9a-f]{8} imported lists", labels_of(settings))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["speakers.thresholds=balance"], "'balance': must be search, published, or fractions by language"),
        (["speakers.thresholds={en: 8.5}"], "must be search, published, or fractions by language"),
        (["speakers.thresholds={en: 0.1}"], "has none for de. Use speakers.thresholds=search"),
        (["speakers.thresholds=published", "corpus.languages=[en,es]"], "'published' has none for es"),
    ],
)
def test_wrong_thresholds_are_refused(words: list[str], message: str):
    with pytest.raises(UserError, match=re.escape(message)):
        check_thresholds(load_settings(words))


def test_missing_labels_name_the_script(tmp_path: Path):
    settings, utterances, protocol = write_groups_case(tmp_path)
    with pytest.raises(UserError, match="held-out language 'it' is not in corpus.languages"):
        load_groups(settings, "it", utterances, protocol)
    path = Layout.of(settings).pseudo_speakers
    path.write_text("utt_id,pseudo_speaker\nu000,0\n")
    with pytest.raises(UserError, match="does not have u001. Run: python scripts/03_label_speakers.py"):
        load_groups(settings, "fr", utterances, protocol)
    path.unlink()
    with pytest.raises(UserError, match="is missing. Run: python scripts/03_label_speakers.py"):
        load_groups(settings, "fr", utterances, protocol)
