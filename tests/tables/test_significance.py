"""Paired comparisons, ranks over seeds, and the paper's claims."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sourcetracing.runtime.seeding import rng
from sourcetracing.scoring.scores import with_transcripts_as_units
from sourcetracing.tables.claims import CLAIMS, check_claims
from sourcetracing.tables.making import Tables, make_tables
from sourcetracing.tables.scored_runs import ScoredRun
from sourcetracing.tables.significance import cells_of_kind, compare_systems, contrast, rank_stability
from sourcetracing.training.table_plans import read_plan
from tests.support.fake_scores import fake_scores, fake_settings, runs_of


def tables_with(tmp_path, accuracies: dict[str, float], seeds=(1,), same_errors: bool = False) -> Tables:
    """Systems that are right with some probability, independently or on nested sets of utterances (`same_errors`)."""
    settings = fake_settings(languages=["en", "de"], systems=list(accuracies), seeds=list(seeds), variants=["original"])
    runs = []
    for system, accuracy in accuracies.items():
        for train in ("en", "de"):
            for seed in seeds:
                scores = fake_scores(settings, "x", train, seed, per_class=40)
                luck = rng("luck", *(() if same_errors else (system, train, seed))).random(len(scores))
                scores["prediction"] = np.where(luck < accuracy, scores["label"], (scores["label"] + 1) % 4)
                runs.append(ScoredRun(system, train, seed, tmp_path, scores))
    return make_tables(runs, settings)


def test_a_clear_difference_is_sure_and_none_is_open(tmp_path):
    tables = tables_with(tmp_path, {"good": 0.9, "bad": 0.6, "twin": 0.9}, same_errors=True)
    compared = compare_systems(tables).set_index(["system", "other", "train", "test"])
    assert set(compared.loc[("good", "bad")]["better"]) == {"good"}
    assert set(compared.loc[("bad", "twin")]["better"]) == {"twin"}
    twins = compared.loc[("good", "twin")]
    assert set(twins["better"]) == {""} and (twins[["difference", "ci_low", "ci_high"]] == 0).all(axis=None)
    row = compared.loc[("good", "bad", "en", "de")]
    assert row["difference"] == pytest.approx(row["macro_f1"] - row["other_macro_f1"])


def test_pairing_makes_small_differences_sure(tmp_path):
    """Errors of the worse system include those of the better one: paired, half as wide an interval as with errors of their own."""
    widths = []
    for same_errors in (True, False):
        tables = tables_with(tmp_path, {"a": 0.80, "b": 0.74}, same_errors=same_errors)
        found = contrast(tables, ("a", [("en", "en")]), ("b", [("en", "en")]))
        widths.append(found.high - found.low)
        if same_errors:
            assert found.low > 0 and found.p < 0.05
    assert widths[0] < 0.6 * widths[1]


def test_a_side_without_scores_is_none(tmp_path):
    tables = tables_with(tmp_path, {"a": 0.8, "b": 0.7})
    assert contrast(tables, ("a", [("en", "en")]), ("nobody", [("en", "en")])) is None
    assert cells_of_kind(tables, "mono") == [("en", "en"), ("de", "de")]


def test_ranks_over_seeds(tmp_path):
    stable = rank_stability(tables_with(tmp_path, {"a": 0.9, "b": 0.5}, seeds=(1, 2, 3)))
    assert set(stable["kendall_tau"]) == {1.0} and list(stable["kind"]) == ["mono", "mono", "cross", "cross"]
    assert stable.set_index(["kind", "system"]).loc[("mono", "a"), "mean_rank"] == 1
    assert rank_stability(tables_with(tmp_path, {"a": 0.9, "b": 0.5})).empty


def made_tables(tmp_path, *names: str, systems=("lfcc_ecapa_tdnn", "lfcc_aasist")) -> list[Tables]:
    settings = fake_settings(languages=["en", "de", "fr"], systems=systems)
    made = []
    for name in names:
        plan, runs = read_plan(name, settings), runs_of(settings, name, tmp_path)
        ids = sorted(runs[0].scores["utt_id"].unique())
        groups = pd.DataFrame({"utt_id": ids, "published_group": ["seen", "unseen"] * (len(ids) // 2), "strict_group": "frequent"})
        made.append(make_tables(runs, settings, plan=plan, speakers=dict.fromkeys(plan.train_sets, groups)))
    return made


def test_claims_hold_or_not_by_the_scores(tmp_path):
    found = check_claims(made_tables(tmp_path, "table4", "figure4", "table5", "table6")).set_index(["claim", "first"])
    known = found.loc[("a known language is easier than another one", "lfcc_ecapa_tdnn mono")]  # 90 % right at home, 65 % abroad
    assert known["outcome"] == "holds" and known["difference"] > 0.1
    assert found.loc["seen languages are easier than an unseen one"]["outcome"].eq("holds").all()
    assert found.loc[("fine-tuning for the training language helps within it", "w2v2_language_aasist mono")]["outcome"] == "not tested"


@pytest.mark.parametrize(
    ("wrong", "difference", "outcome"),
    [({0, 1}, 0.0, "no difference found"), ({1, 3}, 2 / 3, "does not hold"), ({0, 2}, -2 / 3, "does not hold")],
    ids=["one wrong in each group", "two wrong among the unseen", "two wrong among the seen"],
)
def test_a_claim_of_no_difference_falls_with_a_difference(tmp_path, wrong, difference, outcome):
    """Even utterances of each class are of seen speakers, odd ones of unseen. Two of three wrong in a cycle: F1 1/3 of each class."""
    settings = fake_settings(languages=["en", "de", "fr"], systems=["lfcc_aasist"], variants=["original"])
    plan, runs = read_plan("table6", settings), runs_of(settings, "table6", tmp_path)
    for run in runs:
        number = run.scores["utt_id"].str[-1].astype(int)
        run.scores["prediction"] = (run.scores["label"] + number.isin(wrong)) % 4
    ids = sorted(runs[0].scores["utt_id"].unique())
    seen = ["unseen" if int(utt_id[-1]) % 2 else "seen" for utt_id in ids]
    groups = pd.DataFrame({"utt_id": ids, "published_group": seen, "strict_group": "frequent"})
    made = make_tables(runs, settings, plan=plan, speakers=dict.fromkeys(plan.train_sets, groups))
    found = check_claims([made]).set_index("claim").loc["it makes no difference whether a speaker was seen"]
    assert found["difference"] == pytest.approx(difference, abs=1e-12) and found["outcome"] == outcome


def test_claims_about_absent_tables_are_not_tested(tmp_path):
    found = check_claims(made_tables(tmp_path, "table4"))
    assert set(found.loc[found["table"] != "table4", "outcome"]) == {"not tested"}
    assert len(set(found["claim"])) == len(CLAIMS)


def test_utterances_of_one_transcript_are_drawn_together(tmp_path):
    """Copies of an utterance are no new evidence: by transcript the interval is that of one copy, by utterance it is narrower."""
    settings = fake_settings(languages=["en", "de"], systems=["a"], variants=["original"])
    settings.evaluation.bootstrap_samples = 2000
    once = fake_scores(settings, "a", "en", 1, per_class=20)
    copies = pd.concat([once.assign(utt_id=once["utt_id"] + f"#{number}") for number in range(4)])
    utterances = pd.DataFrame({"utt_id": copies["utt_id"], "transcript": copies["utt_id"].str.partition("#")[0]})
    widths = []
    for scores in (once, copies, with_transcripts_as_units(copies, utterances)):
        cells = make_tables([ScoredRun("a", "en", 1, tmp_path, scores)], settings).cells
        row = cells[(cells["test"] == "en") & (cells["variant"] == "pooled")].iloc[0]
        widths.append(row["ci_high"] - row["ci_low"])
    assert widths[1] < 0.7 * widths[0]
    assert widths[2] == pytest.approx(widths[0], rel=0.15)
    unknown = with_transcripts_as_units(copies, utterances.assign(transcript=""))
    assert (unknown["unit"] == unknown["utt_id"]).all()


def test_a_comparison_says_what_it_speaks_of_and_how_many_there_were(tmp_path):
    one = compare_systems(tables_with(tmp_path, {"a": 0.9, "b": 0.6, "c": 0.7}))
    assert set(one["scope"]) == {"between these two trained systems"} and set(one["seeds"]) == {1}
    assert set(one["comparisons"]) == {3 * 4} == {len(one)}  # pairs of systems x cells
    order = np.argsort(one["p"].to_numpy())
    expected = np.maximum.accumulate(np.minimum(1, one["p"].to_numpy()[order] * np.arange(12, 0, -1)))
    np.testing.assert_allclose(one["p_holm"].to_numpy()[order], expected)
    assert ((one["better"] != "") == (one["p_holm"] < 0.05)).all()
    two = compare_systems(tables_with(tmp_path, {"a": 0.9, "b": 0.6}, seeds=(1, 2)))
    assert set(two["scope"]) == {"between the systems of these 2 seeds"}
    three = compare_systems(tables_with(tmp_path, {"a": 0.9, "b": 0.6}, seeds=(1, 2, 3)))
    assert set(three["scope"]) == {"3 training seeds x utterances"}


def test_seeds_that_disagree_make_nothing_sure(tmp_path):
    """One system is far better with two seeds and far worse with the third: clear for each pair of networks, not for the systems."""
    settings = fake_settings(languages=["en"], systems=["a", "b"], seeds=[1, 2, 3], variants=["original"])
    runs = []
    for system in ("a", "b"):
        for seed in (1, 2, 3):
            scores = fake_scores(settings, "x", "en", seed, per_class=40)
            accuracy = 0.95 if (system == "a") == (seed != 3) else 0.5
            luck = rng("luck", system, seed).random(len(scores))
            scores["prediction"] = np.where(luck < accuracy, scores["label"], (scores["label"] + 1) % 4)
            runs.append(ScoredRun(system, "en", seed, tmp_path, scores))
    (row,) = compare_systems(make_tables(runs, settings)).itertuples()
    assert row.difference > 0.1 and row.better == "" and row.ci_low < 0 < row.ci_high
    for seed in (1, 2, 3):
        settings.experiment.seeds = [seed]
        (row,) = compare_systems(make_tables([run for run in runs if run.seed == seed], settings)).itertuples()
        assert row.better == ("b" if seed == 3 else "a")


def test_one_draw_of_all_utterances_serves_every_test_set(tmp_path):
    """A network that is right on some utterances only: what is drawn of a language in the test set of two is what is drawn of it alone."""
    settings = fake_settings(languages=["en", "de"], systems=["a"], variants=["original"])
    settings.experiment.train_sets, settings.experiment.test_sets = ["en"], ["en", "de", "en+de"]
    tables = make_tables([ScoredRun("a", "en", 1, tmp_path, fake_scores(settings, "a", "en", 1, per_class=20))], settings)
    parts = [tables.resampled["a", "en", test, "pooled", 1] for test in ("en", "de", "en+de")]
    assert np.corrcoef(parts[0] + parts[1], parts[2])[0, 1] > 0.95
    assert abs(np.corrcoef(parts[0], parts[1])[0, 1]) < 0.25


def test_two_systems_are_compared_on_the_cells_and_seeds_that_both_have(tmp_path):
    """One system lacks a training set and a seed: what the other reached there, here much more, does not count for it."""
    settings = fake_settings(languages=["en", "de"], systems=["a", "b"], seeds=[1, 2], variants=["original"])
    runs = []
    for system, train, seed in (("a", "en", 1), ("a", "de", 1), ("a", "en", 2), ("b", "en", 1)):
        scores = fake_scores(settings, "x", train, seed, per_class=40)
        accuracy = 0.5 if (train, seed) == ("en", 1) else 1.0
        luck = rng("luck", system, train, seed).random(len(scores))
        scores["prediction"] = np.where(luck < accuracy, scores["label"], (scores["label"] + 1) % 4)
        runs.append(ScoredRun(system, train, seed, tmp_path, scores))
    tables = make_tables(runs, settings)
    found = contrast(tables, ("a", cells_of_kind(tables, "cross")), ("b", cells_of_kind(tables, "cross")))
    cells = tables.cells[(tables.cells["variant"] == "pooled") & (tables.cells["seed"] == 1)].set_index(["system", "train", "test"])
    assert found.first == pytest.approx(cells.loc[("a", "en", "de"), "macro_f1"])
    assert found.second == pytest.approx(cells.loc[("b", "en", "de"), "macro_f1"])
    assert found.seeds == 1 and found.networks == 2


def test_without_resamples_nothing_is_tested(tmp_path):
    settings = fake_settings(languages=["en", "de"], systems=["a"], seeds=[1], variants=["original"])
    settings.evaluation.bootstrap_samples = 0
    runs = [ScoredRun("a", train, 1, tmp_path, fake_scores(settings, "x", train, 1, per_class=10)) for train in ("en", "de")]
    claims = check_claims([make_tables(runs, settings)])
    assert set(claims["outcome"]) == {"not tested"}
    assert claims.loc[claims["macro_f1"].notna(), "reason"].str.contains("nothing was resampled").all()


def test_seeds_that_change_nothing_are_one(tmp_path):
    """Three equal runs of two fitted systems say what one of each says; of a fitted system and a network three seeds are compared."""
    settings = fake_settings(languages=["en", "de"], systems=["a", "b", "c"], seeds=[1, 2, 3], variants=["original"])
    runs = []
    for system, accuracy, is_fitted in (("a", 0.8, True), ("b", 0.74, True), ("c", 0.7, False)):
        for seed in (1, 2, 3):
            scores = fake_scores(settings, "x", "en", seed, per_class=40)
            luck = rng("luck", system, 0 if is_fitted else seed).random(len(scores))
            scores["prediction"] = np.where(luck < accuracy, scores["label"], (scores["label"] + 1) % 4)
            runs.append(ScoredRun(system, "en", seed, tmp_path, scores))
    cells = [("en", "en"), ("en", "de")]
    three = contrast(make_tables(runs, settings), ("a", cells), ("b", cells))
    one = contrast(make_tables([run for run in runs if run.seed == 1], settings), ("a", cells), ("b", cells))
    assert (three.seeds, three.networks) == (one.seeds, one.networks) == (1, 2)
    assert [three.difference, three.low, three.high, three.p] == pytest.approx([one.difference, one.low, one.high, one.p])
    assert contrast(make_tables(runs, settings), ("a", cells), ("c", cells)).seeds == 3


def test_networks_are_counted_over_systems_training_sets_and_seeds(tmp_path):
    tables = tables_with(tmp_path, {"a": 0.9, "b": 0.7}, seeds=(1, 2))
    found = contrast(tables, ("a", cells_of_kind(tables, "mono")), ("b", cells_of_kind(tables, "mono")))
    assert (found.networks, found.seeds) == (8, 2)  # 2 systems x 2 training sets x 2 seeds


def test_a_claim_that_is_not_tested_names_its_sides_and_counts_no_seed(tmp_path):
    found = check_claims(made_tables(tmp_path, "table4"))
    rows = found[found["table"] != "table4"]
    assert (rows["seeds"] == 0).all()
    for claim in CLAIMS:
        for row in rows[rows["claim"] == claim.text].itertuples():
            assert (row.first, row.second) == (" ".join(claim.first), " ".join(claim.second))
