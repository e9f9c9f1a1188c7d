"""Tables from score tables: figures, means, order, missing cells, refusals."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from sourcetracing.errors import UserError
from sourcetracing.runtime.seeding import rng
from sourcetracing.tables import text as table_text
from sourcetracing.tables.axes import CROSS, MONO, POOLED, kind_of_cell
from sourcetracing.tables.making import CELL_COLUMNS, expected_runs, make_tables, matrix_of, mean_of
from sourcetracing.tables.scored_runs import ScoredRun, environment_of
from sourcetracing.tables.writing import write_csv
from sourcetracing.training.table_plans import read_plan
from tests.support.fake_scores import fake_runs, fake_scores, fake_settings


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    folder, settings = tmp_path_factory.mktemp("tables"), fake_settings()
    runs = fake_runs(settings, folder / "runs")
    tables = make_tables(runs, settings)
    write_csv(tables, folder / "tables")
    return settings, runs, tables, folder / "tables"


def cell(tables, *key):
    rows = tables.cells.set_index(["system", "train", "test", "variant", "seed"])
    return rows.loc[key]


@pytest.mark.parametrize("variant", [POOLED, "original", "noise"])
def test_every_cell_is_scikit_learns_macro_f1_of_its_rows(example, variant):
    _, runs, tables, _ = example
    for run in runs:
        for test in ("en", "de", "fr"):
            rows = run.scores[run.scores["language"] == test]
            rows = rows if variant == POOLED else rows[rows["variant"] == variant]
            row = cell(tables, run.system, run.train_set, test, variant, run.seed)
            assert row["macro_f1"] == pytest.approx(f1_score(rows["label"], rows["prediction"], average="macro"), abs=1e-12)
            assert row["n"] == len(rows)


def test_means_are_over_the_diagonal_and_the_rest(example):
    _, _, tables, _ = example
    matrix = matrix_of(tables, "lfcc_two").to_numpy()
    diagonal = np.eye(3, dtype=bool)
    assert mean_of(tables, "lfcc_two", MONO).macro_f1 == pytest.approx(matrix[diagonal].mean())
    assert mean_of(tables, "lfcc_two", CROSS).macro_f1 == pytest.approx(matrix[~diagonal].mean())
    assert mean_of(tables, "lfcc_two", CROSS).cells == 6


def test_interval_of_a_mean_is_narrower_than_those_of_its_cells(example):
    _, _, tables, _ = example
    mean = mean_of(tables, "lfcc_one", CROSS)
    cells = tables.cells[(tables.cells["variant"] == POOLED) & (tables.cells["train"] != tables.cells["test"])]
    assert mean.ci_high - mean.ci_low < (cells["ci_high"] - cells["ci_low"]).min()


def test_csv_is_long_sorted_in_fractions_and_the_same_for_any_order_of_runs(example, tmp_path):
    settings, runs, _, folder = example
    table = pd.read_csv(folder / "table4.csv")
    assert list(table.columns) == CELL_COLUMNS
    assert len(table) == 2 * 3 * 3 * 3  # systems, train, test, pooled + two variants
    assert table["macro_f1"].between(0, 1).all()
    assert list(table.loc[:2, "variant"]) == [POOLED, "original", "noise"]
    shuffled = [type(run)(**{**vars(run), "scores": run.scores.sample(frac=1, random_state=0)}) for run in reversed(runs)]
    tables = make_tables(shuffled, settings)
    write_csv(tables, tmp_path)
    table_text.write_text_tables(tables, tmp_path)
    table_text.write_text_tables(example[2], folder)
    for name in ("table4.csv", "means.csv", "per_class.csv", "confusion.csv", "table4.md", "table4.tex"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_confusion_and_per_class_agree_with_the_scores(example):
    _, runs, tables, folder = example
    confusion = pd.read_csv(folder / "confusion.csv")
    assert confusion[confusion["variant"] == POOLED]["count"].sum() == sum(len(run.scores) for run in runs)
    per_class = pd.read_csv(folder / "per_class.csv")
    own = per_class.groupby(["system", "train", "test", "variant", "seed"])["f1"].mean()
    cells = tables.cells.set_index(["system", "train", "test", "variant", "seed"])["macro_f1"]
    np.testing.assert_allclose(own.loc[cells.index], cells, atol=1e-6)


def test_several_seeds_give_mean_and_spread(tmp_path):
    settings = fake_settings(systems=["lfcc_one"], seeds=[1, 2, 3])
    tables = make_tables(fake_runs(settings, tmp_path), settings)
    values = [cell(tables, "lfcc_one", "en", "de", POOLED, seed)["macro_f1"] for seed in (1, 2, 3)]
    expected = f"{100 * np.mean(values):.1f} ± {100 * np.std(values, ddof=1):.1f}"
    assert table_text.cell_text(tables, "lfcc_one", "en", "de") == expected
    assert expected in table_text.markdown(tables)
    assert expected.replace(" ± ", "\\,$\\pm$\\,") in table_text.latex(tables)
    row = mean_of(tables, "lfcc_one", MONO)
    by_seed = [np.mean([cell(tables, "lfcc_one", x, x, POOLED, seed)["macro_f1"] for x in ("en", "de", "fr")]) for seed in (1, 2, 3)]
    assert (row.macro_f1, row.sd) == pytest.approx((np.mean(by_seed), np.std(by_seed, ddof=1)))


def test_what_is_the_same_with_every_seed_has_no_spread_and_a_line_says_so(tmp_path):
    """A fitted system draws nothing: `± 0.0` looked like a measurement of three trainings."""
    settings = fake_settings(systems=["lfcc_one", "stats_logreg"], seeds=[1, 2, 3])
    runs = fake_runs(settings, tmp_path)
    first = {run.train_set: run.scores for run in runs if run.system == "stats_logreg" and run.seed == 1}
    fitted = [replace(run, scores=first[run.train_set]) if run.system == "stats_logreg" else run for run in runs]
    tables = make_tables(fitted, settings)
    assert "±" not in table_text.mean_text(tables, "stats_logreg", MONO) + table_text.cell_text(tables, "stats_logreg", "en", "de")
    assert "±" in table_text.mean_text(tables, "lfcc_one", MONO)
    assert "± 0.0" not in table_text.markdown(tables) + table_text.terminal(tables)
    assert "over 3 seeds; without ±: the same with every seed" in table_text.markdown(tables)
    assert "without ±" not in table_text.markdown(make_tables(runs, settings))


def test_an_interval_over_seeds_stays_within_what_macro_f1_can_be(tmp_path):
    """Two perfect seeds and one at chance: the report said 86.1 (20.8 to 108.6)."""
    settings = fake_settings(languages=["en"], systems=["a"], seeds=[1, 2, 3], variants=["original"])
    runs = []
    for seed, right in ((1, 1.0), (2, 1.0), (3, 0.4)):
        scores = fake_scores(settings, "a", "en", seed, per_class=20)
        luck = rng("luck", seed).random(len(scores))
        scores["prediction"] = np.where(luck < right, scores["label"], (scores["label"] + 1) % 4)
        runs.append(ScoredRun("a", "en", seed, tmp_path, scores))
    row = mean_of(make_tables(runs, settings), "a", MONO)
    assert 0 <= row.ci_low < row.macro_f1 < row.ci_high == 1


def test_missing_cells_are_shown_and_counted(tmp_path):
    settings = fake_settings()
    tables = make_tables(fake_runs(settings, tmp_path, missing={("lfcc_two", "de", 688)}), settings)
    assert tables.missing == [("lfcc_two", "de", 688)]
    text = table_text.terminal(tables)
    assert "1 of 6 runs have no scores yet (first: lfcc_two de 688)" in text
    assert "(2 of 3 cells)" in text
    assert text.rstrip().endswith("python scripts/06_get_classification_metrics.py CONFIG.yaml")
    assert "| lfcc_two | de | – | **–** | – |" in table_text.markdown(tables)


def test_no_scores_at_all_names_the_next_command():
    with pytest.raises(UserError, match=r"none of the 6 runs .* Run: python scripts/06_get_classification_metrics.py"):
        make_tables([], fake_settings())


def test_terminal_fits_in_100_columns(tmp_path):
    settings = fake_settings(languages=["en", "de", "fr", "it", "pl", "ru"], systems=["lfcc_ecapa_tdnn"])
    text = table_text.terminal(make_tables(fake_runs(settings, tmp_path), settings))
    assert max(map(len, text.splitlines())) <= 100
    rows = [line for line in text.splitlines() if line.startswith("  en ")]
    assert len(rows) == 1
    assert rows[0].count("[") == 1


def test_sets_of_languages(tmp_path):
    settings = fake_settings(systems=["lfcc_one"])
    settings.experiment.train_sets, settings.experiment.test_sets = ["en+de", "fr"], ["en+de", "fr", "de+fr"]
    runs = fake_runs(settings, tmp_path)
    tables = make_tables(runs, settings)
    rows = runs[0].scores[runs[0].scores["language"].isin(["en", "de"])]
    figure = f1_score(rows["label"], rows["prediction"], average="macro")
    assert cell(tables, "lfcc_one", "en+de", "en+de", POOLED, 688)["macro_f1"] == pytest.approx(figure, abs=1e-12)
    assert mean_of(tables, "lfcc_one", MONO).cells == 2
    assert mean_of(tables, "lfcc_one", CROSS).cells == 2


def test_kind_of_cell():
    assert kind_of_cell("en+de", "de") == MONO
    assert kind_of_cell("en+de", "fr") == CROSS
    assert kind_of_cell("en", "en+de") == "partial"


def test_expected_runs_in_order():
    settings = fake_settings(languages=["en", "de"], seeds=[1, 2])
    first = expected_runs(settings, read_plan("table4", settings))[:3]
    assert first == [("lfcc_one", "en", 1), ("lfcc_one", "en", 2), ("lfcc_one", "de", 1)]


def test_scores_that_do_not_fit_together_are_refused(tmp_path):
    settings = fake_settings()
    runs = fake_runs(settings, tmp_path)
    runs[1].scores = runs[1].scores[runs[1].scores["utt_id"] != "de/lpc_vocoder/003"]
    with pytest.raises(UserError, match=r"test set de are of other utterances .*\(23 and 24\)"):
        make_tables(runs, settings)
    runs[1].scores = pd.concat([runs[0].scores, runs[0].scores.iloc[:1]])
    with pytest.raises(UserError, match="en/espeak_formant/000 is scored twice"):
        make_tables(runs, settings)
    runs[1].scores = runs[0].scores.assign(split="dev")
    with pytest.raises(UserError, match="no scores of split eval"):
        make_tables(runs, settings)


def test_what_is_left_out_or_absent_is_noted(tmp_path):
    settings = fake_settings(languages=["en", "de"], systems=["lfcc_one"])
    runs = fake_runs(settings, tmp_path)
    for run in runs:
        absent = (run.scores["language"] == "de") & (run.scores["label"] == 2)
        run.scores.loc[absent, "label"] = -1
    tables = make_tables(runs, settings)
    assert "lfcc_one en seed 688: 12 rows of sources outside the class list are left out of these tables." in tables.notes
    assert "Test set de has items of 3 of 4 classes (none of griffin_lim): its macro-F1 is over those 3." in tables.notes
    assert cell(tables, "lfcc_one", "en", "de", POOLED, 688)["n"] == 36


def test_zero_bootstrap_samples_leave_the_interval_empty(tmp_path):
    settings = fake_settings(languages=["en"], systems=["lfcc_one"])
    settings.evaluation.bootstrap_samples = 0
    tables = make_tables(fake_runs(settings, tmp_path), settings)
    write_csv(tables, tmp_path)
    assert tables.cells["ci_low"].isna().all()
    assert ",,," in (tmp_path / "table4.csv").read_text().splitlines()[1]
    assert "95 % CI –" in table_text.terminal(tables)


def test_latex_names_a_system_and_its_means_once_in_its_first_row(example):
    _, _, tables, _ = example
    rows = [line for line in table_text.latex(tables).splitlines() if " & " in line][1:]
    assert [row.split(" & ")[0] for row in rows] == ["lfcc\\_one", "", "", "lfcc\\_two", "", ""]
    assert [row.split(" & ")[-1] == " \\\\" for row in rows] == [False, True, True] * 2


def test_an_environment_that_differs_shows_each_value(tmp_path):
    runs = fake_runs(fake_settings(systems=["a", "b"], languages=["en"]), tmp_path)
    for run, device in zip(runs, ("cpu", "cuda:0"), strict=True):
        (run.folder / "environment.json").write_text(json.dumps({"python": "3.12", "device": device}), encoding="utf-8")
    assert environment_of(runs) == {"python": "3.12", "device": "cpu | cuda:0"}


def test_the_spans_of_families_are_where_their_languages_lie(example):
    _, _, tables, _ = example
    axes = replace(tables.axes, family_of={"en": "germanic", "de": "germanic", "fr": "romance", "it": "romance", "pl": "slavic"})
    assert axes.family_spans(["en", "de", "fr", "it", "pl"]) == [("germanic", 0, 2), ("romance", 2, 2), ("slavic", 4, 1)]
    assert axes.family_spans(["en", "fr", "de"]) == []  # not family by family
    assert axes.family_spans(["en", "xx"]) == []
