"""Systems against the floor: figures by an independent bootstrap, words for planted cases, what cannot be compared, marks in texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from sourcetracing.report.table_tabs import floor_part, table_tab
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.schema import Settings
from sourcetracing.tables.claims import check_claims
from sourcetracing.tables.floor import BEATS, DOES_NOT_BEAT, FLOOR_COLUMNS, NOT_COMPARED, against_floor, heading, sentences
from sourcetracing.tables.making import Tables, make_tables
from sourcetracing.tables.scored_runs import ScoredRun
from sourcetracing.tables.text import latex, markdown, terminal
from sourcetracing.training.table_plans import read_plan
from tests.support.fake_scores import fake_scores, fake_settings, runs_of

FLOOR = "stats_logreg"


def settings_with(systems: list[str], *, seeds: tuple[int, ...] = (1,), variants: tuple[str, ...] = ("original",)) -> Settings:
    settings = fake_settings(languages=["en", "de"], systems=systems, seeds=list(seeds), variants=list(variants))
    settings.experiment.floor, settings.evaluation.bootstrap_samples = [FLOOR], 400
    return settings


def planted(settings: Settings, mono: Mapping[str, float], cross: Mapping[str, float], per_class: int = 40) -> list[ScoredRun]:
    """A run for each system and training set, right with these shares of nested utterances: who is right more often is right wherever
    the others are."""
    runs = []
    for system in mono:
        for train in ("en", "de"):
            for seed in settings.experiment.seeds:
                scores = fake_scores(settings, "x", train, seed, per_class=per_class)
                share = np.where(scores["language"] == train, mono[system], cross[system])
                luck = rng("luck", train).random(len(scores))
                scores["prediction"] = np.where(luck < share, scores["label"], (scores["label"] + 1) % 4)
                runs.append(ScoredRun(system, train, seed, Path("nowhere"), scores, protocol="abcd0123"))
    return runs


def found_in(runs: list[ScoredRun], settings: Settings) -> tuple[pd.DataFrame, Tables]:
    tables = make_tables(runs, settings)
    frame = against_floor([tables])
    assert list(frame.columns) == FLOOR_COLUMNS
    return frame.set_index(["system", "kind"]), tables


# ------------------------------------------------------------------------------------------------ figures


def macro_f1_of(scores: pd.DataFrame) -> float:
    return f1_score(scores["label"], scores["prediction"], average="macro", labels=sorted(scores["label"].unique()))


def cross_mean(runs: list[ScoredRun], system: str, drawn: Mapping[str, int] | None = None) -> float:
    """Mean macro-F1 over the cells whose test language was not trained on, of utterances as often as they were drawn."""
    figures = []
    for run in runs:
        if run.system == system:
            tested = run.scores[run.scores["language"] != run.train_set]
            times = 1 if drawn is None else tested["utt_id"].map(drawn)
            figures.append(macro_f1_of(tested.loc[tested.index.repeat(times)]))
    return float(np.mean(figures))


def test_the_difference_and_its_interval_are_those_of_a_bootstrap_by_hand():
    """Utterances drawn with numpy, n - 1 of n in each language and class, the same for both systems; macro-F1 by scikit-learn."""
    settings = settings_with(["network"], variants=("original", "noise"))
    runs = planted(settings, {"network": 0.9, FLOOR: 0.8}, {"network": 0.55, FLOOR: 0.7}, per_class=20)
    row = found_in(runs, settings)[0].loc[("network", "cross")]
    assert row["macro_f1"] == pytest.approx(cross_mean(runs, "network"))
    assert row["other_macro_f1"] == pytest.approx(cross_mean(runs, FLOOR))
    assert row["difference"] == pytest.approx(cross_mean(runs, "network") - cross_mean(runs, FLOOR))
    generator, members = np.random.default_rng(5), runs[0].scores.drop_duplicates("utt_id").groupby(["language", "label"])["utt_id"]
    differences = []
    for _ in range(150):
        drawn: dict[str, int] = {}
        for _, ids in members:
            chosen = generator.choice(ids.to_numpy(), len(ids) - 1)
            drawn |= dict.fromkeys(ids, 0) | pd.Series(chosen).value_counts().to_dict()
        differences.append(cross_mean(runs, "network", drawn) - cross_mean(runs, FLOOR, drawn))
    low, high = np.quantile(differences, [0.025, 0.975])
    assert row["ci_low"] == pytest.approx(low, abs=0.015) and row["ci_high"] == pytest.approx(high, abs=0.015)
    assert row["ci_high"] - row["ci_low"] == pytest.approx(high - low, rel=0.25)


# ------------------------------------------------------------------------------------------------ words


def test_words_for_better_worse_and_the_same():
    settings = settings_with(["good", "twin"])
    runs = planted(settings, {"good": 0.95, "twin": 0.8, FLOOR: 0.8}, {"good": 0.5, "twin": 0.7, FLOOR: 0.7})
    found, tables = found_in(runs, settings)
    assert found.loc[("good", "mono"), "outcome"] == BEATS and found.loc[("good", "mono"), "reason"] == ""
    worse = found.loc[("good", "cross")]
    assert worse["outcome"] == DOES_NOT_BEAT and worse["reason"] == "" and worse["ci_high"] < 0
    assert set(found.loc["twin", "outcome"]) == {DOES_NOT_BEAT}
    assert set(found.loc["twin", "reason"]) == {"open: the interval holds 0"}
    assert (found["comparisons"] == 4).all() and set(found["protocol"]) == {"abcd0123"} and set(found["seeds"]) == {1}
    assert (found["cells"] == 2).all() and (found["expected_cells"] == 2).all()
    lines = sentences(tables)
    difference, low, high = (f"{100 * worse[name]:+.1f}" for name in ("difference", "ci_low", "ci_high"))
    assert f"good does not beat the floor {FLOOR} (cross: {difference} points, 95 % CI {low} to {high})" in lines
    assert any(line.startswith(f"good beats the floor {FLOOR} (mono: +") for line in lines)
    assert f"twin does not beat the floor {FLOOR} (mono: +0.0 points, 95 % CI +0.0 to +0.0; open: the interval holds 0)" in lines
    assert "between these 4 trained systems" in heading(tables)


def test_a_small_difference_among_many_comparisons_stays_open():
    """Its own interval lies above 0; among so many systems such a one comes by chance."""
    settings = settings_with(["a", *(f"twin{number}" for number in range(30))])
    same = dict.fromkeys(settings.experiment.systems, 0.8) | {FLOOR: 0.8}
    runs = planted(settings, {**same, "a": 0.818}, same)
    row = found_in(runs, settings)[0].loc[("a", "mono")]
    assert row["ci_low"] > 0 and row["p_holm"] > 0.05
    assert row["outcome"] == DOES_NOT_BEAT and "with Holm's correction for 62 comparisons" in row["reason"]


def test_tables_are_one_family_and_each_gets_its_own_rows(tmp_path):
    settings = fake_settings(languages=["en", "de", "fr"], systems=["lfcc_one"])
    settings.experiment.floor, made = ["lfcc_two"], []
    for name in ("table4", "table5", "table6"):
        plan = read_plan(name, settings)
        settings.experiment.systems = ["lfcc_one", "lfcc_two"]  # of the scores that are made up
        runs = runs_of(settings, name, tmp_path)
        ids = sorted(runs[0].scores["utt_id"].unique())
        groups = pd.DataFrame({"utt_id": ids, "published_group": ["seen", "unseen"] * (len(ids) // 2), "strict_group": "frequent"})
        made.append(make_tables(runs, settings, plan=plan, speakers=dict.fromkeys(plan.train_sets, groups)))
    found = against_floor(made)
    kinds = {name: list(rows["kind"]) for name, rows in found.groupby("table", sort=False)}
    groups_of_speakers = ["seen", "unseen", "never_seen", "rare", "frequent"]
    assert kinds == {"table4": ["mono", "cross"], "table5": ["mono", "cross"], "table6": groups_of_speakers}
    lacking = found[found["kind"].isin(["never_seen", "rare"])]
    assert set(lacking["outcome"]) == {NOT_COMPARED} and (lacking["cells"] == 0).all()
    assert set(found["comparisons"]) == {7} and set(found["system"]) == {"lfcc_one"} and set(found["floor"]) == {"lfcc_two"}
    for tables in made:
        assert len(sentences(tables)) == len(kinds[tables.plan.name]) and set(tables.against_floor["table"]) == {tables.plan.name}


# ------------------------------------------------------------------------------------------------ what cannot be compared


def test_a_side_without_scores_is_named():
    settings = settings_with(["network"])
    runs = planted(settings, {"network": 0.9, FLOOR: 0.8}, {"network": 0.7, FLOOR: 0.7})
    for name, own in ((FLOOR, "network"), ("network", FLOOR)):
        found, tables = found_in([run for run in runs if run.system == own], settings)
        assert set(found["outcome"]) == {NOT_COMPARED} and set(found["reason"]) == {f"{name} has no scores"}
        assert found["p"].isna().all() and (found["comparisons"] == 0).all()
        assert f"network is not compared with the floor {FLOOR} (mono: {name} has no scores)" in sentences(tables)
        assert f"{FLOOR} (floor)" in terminal(tables)  # its row is there, empty


def test_missing_cells_and_seeds_are_left_out_on_both_sides_and_said():
    settings = settings_with(["network"], seeds=(1, 2))
    runs = planted(settings, {"network": 0.9, FLOOR: 0.8}, {"network": 0.7, FLOOR: 0.7})
    for run in runs:
        if (run.system, run.train_set) == ("network", "de"):
            run.scores["prediction"] = run.scores["label"]  # all right where the floor has nothing
    kept = [run for run in runs if run.system == "network" or (run.train_set, run.seed) == ("en", 1)]
    row = found_in(kept, settings)[0].loc[("network", "mono")]
    cell = next(run for run in runs if (run.system, run.train_set, run.seed) == ("network", "en", 1)).scores
    assert row["macro_f1"] == pytest.approx(macro_f1_of(cell[cell["language"] == "en"]))
    assert (row["cells"], row["expected_cells"], row["seeds"]) == (1, 4, 1) and row["reason"].endswith("1 of 4 cells")
    none = found_in([run for run in runs if (run.system == FLOOR) == (run.seed == 2)], settings)[0]
    assert set(none["outcome"]) == {NOT_COMPARED}
    assert set(none["reason"]) == {"no training set, test set and seed that both have scores of"}


def test_other_variants_are_compared_on_what_both_have():
    settings = settings_with(["network"], variants=("original", "noise"))
    runs = planted(settings, {"network": 0.9, FLOOR: 0.8}, {"network": 0.7, FLOOR: 0.7})
    clean = [run.scores["variant"] == "original" for run in runs]
    for run, is_clean in zip(runs, clean, strict=True):
        if run.system == "network":
            run.scores = run.scores[is_clean]
    found, _ = found_in(runs, settings)
    assert set(found["variant"]) == {"original"} and found["reason"].str.contains("different acoustic variants: on original alone").all()
    floor = next(run for run in runs if (run.system, run.train_set) == (FLOOR, "en")).scores
    other = next(run for run in runs if (run.system, run.train_set) == (FLOOR, "de")).scores
    cells = [floor[(floor["language"] == "en")], other[(other["language"] == "de")]]
    expected = np.mean([macro_f1_of(cell[cell["variant"] == "original"]) for cell in cells])
    assert found.loc[("network", "mono"), "other_macro_f1"] == pytest.approx(expected)
    for run in runs:
        if run.system == FLOOR:
            run.scores = run.scores[run.scores["variant"] == "noise"]
    found, _ = found_in(runs, settings)
    assert set(found["reason"]) == {"scored on different acoustic variants"} and set(found["outcome"]) == {NOT_COMPARED}


def test_without_resamples_there_is_a_difference_and_no_verdict():
    settings = settings_with(["network"])
    settings.evaluation.bootstrap_samples = 0
    found, tables = found_in(planted(settings, {"network": 0.9, FLOOR: 0.8}, {"network": 0.7, FLOOR: 0.7}), settings)
    assert set(found["outcome"]) == {NOT_COMPARED} and found["difference"].notna().all()
    assert "nothing was resampled" in sentences(tables)[0] and "nan" not in "".join(sentences(tables))


def test_an_experiment_without_a_floor_or_with_nothing_else_says_nothing():
    settings = settings_with(["network"])
    runs = planted(settings, {"network": 0.9, FLOOR: 0.8}, {"network": 0.7, FLOOR: 0.7})
    settings.experiment.floor = []
    found, tables = found_in(runs, settings)
    assert found.empty and sentences(tables) == [] and "floor" not in terminal(tables) + markdown(tables) and not floor_part(tables)
    settings.experiment.floor, settings.experiment.systems = [FLOOR], [FLOOR]
    found, tables = found_in([run for run in runs if run.system == FLOOR], settings)
    assert found.empty and f"{FLOOR} (floor)" in terminal(tables)


# ------------------------------------------------------------------------------------------------ texts


def test_every_text_marks_the_floor_and_says_what_it_found():
    settings = settings_with(["network"])
    found, tables = found_in(planted(settings, {"network": 0.9, FLOOR: 0.8}, {"network": 0.6, FLOOR: 0.7}), settings)
    assert tables.axes.systems == ["network", FLOOR]  # behind the experiment's own
    shown = terminal(tables)
    assert f"\n{FLOOR} (floor)\n" in shown and "\nnetwork\n" in shown
    assert f"network does not beat the floor {FLOOR} (cross: -" in shown
    text = markdown(tables)
    assert f"| {FLOOR} (floor) | en |" in text and f"| {FLOOR} (floor) | pooled |" in text
    assert "## Does it earn its place?" in text and f"* network beats the floor {FLOOR} (mono: +" in text
    assert "stats\\_logreg (floor)" in latex(tables) and "network (floor)" not in shown + text
    html = str(table_tab(tables))
    assert "Does it earn its place?" in html and f"<h3>{FLOOR} (floor)</h3>" in html and f"network does not beat the floor {FLOOR}" in html
    assert set(tables.cells["system"]) == {"network", FLOOR}  # CSV files have plain names


def test_the_papers_claims_are_not_about_the_floor():
    settings = settings_with(["lfcc_ecapa_tdnn"])
    names = {"lfcc_ecapa_tdnn": 0.9, FLOOR: 0.8}
    claims = check_claims([make_tables(planted(settings, names, names), settings)])
    assert not claims["first"].str.contains(FLOOR).any() and claims["first"].str.contains("lfcc_ecapa_tdnn").any()
