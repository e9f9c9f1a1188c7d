"""Corpora of other shapes than the demo's: classes without test items, cells with different classes. From simulated scores.

Every figure is checked against scikit-learn or by hand, never by the code that made it.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, classification_report, f1_score

from sourcetracing.report.experiment import compare
from sourcetracing.scoring import reports
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings
from sourcetracing.tables import class_lists
from sourcetracing.tables import text as table_text
from sourcetracing.tables.claims import check_claims
from sourcetracing.tables.making import Tables, make_tables, mean_of
from sourcetracing.tables.scored_runs import ScoredRun
from sourcetracing.tables.significance import contrast
from sourcetracing.training.table_plans import plans_of, read_plan
from tests.support.fake_scores import fake_runs, fake_settings, trained_run
from tests.support.places import ROOT

SPECIAL = "configs/mlaad5_source_tracing.yaml"
NONE = {"families.yaml", "mlaad_openset.yaml"}  # families alone; sources that `02 --propose` draws
CONFIGS = sorted(path.name for path in (ROOT / "configs").glob("*.yaml") if "experiment" in path.read_text() and path.name not in NONE)


def rows_of(present: dict[str, list[int]], sources: list[str], per_class: int = 4) -> pd.DataFrame:
    """Eval rows of clean speech without predictions; present: language -> class ids that it has."""
    rows = [
        [f"{language}/{label}/{number}", "original", "eval", language, sources[label], label]
        for language, labels in present.items()
        for label in labels
        for number in range(per_class)
    ]
    return pd.DataFrame(rows, columns=["utt_id", "variant", "split", "language", "source", "label"])


def tables_of(settings: Settings, rows: pd.DataFrame, predict, plan_name: str | None = None, speakers=None, seeds=(1,)) -> Tables:
    """A table in which every network predicts `predict(rows)`."""
    settings.evaluation.bootstrap_samples = 40
    settings.experiment.seeds = list(seeds)
    plan = plans_of(settings)[0] if plan_name is None else read_plan(plan_name, settings)
    runs = [
        ScoredRun(system, train, seed, ROOT, rows.assign(prediction=predict(rows)))
        for system in settings.experiment.systems
        for train in plan.train_sets
        for seed in seeds
    ]
    return make_tables(runs, settings, plan=plan, speakers=speakers)


def special_session() -> tuple[Settings, pd.DataFrame]:
    """24 known sources; the languages of training have 20 of them in eval, the others 4."""
    settings = load_settings([SPECIAL])
    home, abroad = (name.split("+") for name in settings.experiment.test_sets[:2])
    present = {language: list(range(20))[number::2] for number, language in enumerate(home[:2])}
    present |= {language: [18, 19, 20, 21] for language in abroad}
    return settings, rows_of(present, list(settings.corpus.sources))


def perfect(rows: pd.DataFrame) -> np.ndarray:
    return rows["label"].to_numpy()


@pytest.mark.parametrize("zero_division", [0.0, 1.0])
def test_perfect_predictions_are_100_in_the_special_sessions_shape(zero_division):
    settings, rows = special_session()
    settings.evaluation.zero_division = zero_division
    tables = tables_of(settings, rows, perfect)
    assert (tables.cells[["macro_f1", "macro_f1_harmonic", "balanced_accuracy", "ci_low", "ci_high"]] == 1).all(axis=None)
    pooled = tables.cells[tables.cells["variant"] == "pooled"].set_index("test")
    numbers = [20, 4, 22]  # in training's languages, in the others, in all
    assert pooled["num_classes"].tolist() == numbers
    assert pooled["chance"].tolist() == pytest.approx([1 / number for number in numbers])
    declared = [number / 24 for number in numbers] if zero_division == 0 else [1, 1, 1]
    assert pooled["macro_f1_declared"].tolist() == pytest.approx(declared)
    assert (tables.means[["macro_f1", "macro_f1_common"]] == 1).all(axis=None)
    assert {mean_of(tables, "w2v2_base_aasist", kind).num_classes for kind in ("mono", "cross")} == {"20", "4"}


@pytest.mark.parametrize("zero_division", [0.0, 1.0])
@pytest.mark.parametrize("answer", [0, 19, 23])  # in training's languages; in both; nowhere
def test_a_constant_answer_is_at_chance_in_the_special_sessions_shape(answer, zero_division):
    """Balanced accuracy is 1 / K where the answer is one of the K there; macro-F1 is scikit-learn's over them, never above 1 / K."""
    settings, rows = special_session()
    settings.evaluation.zero_division = zero_division
    tables = tables_of(settings, rows, lambda rows: np.full(len(rows), answer))
    for cell in tables.cells.itertuples():
        labels = rows.loc[rows["language"].isin(cell.test.split("+")), "label"]
        there, constant = sorted(set(labels)), np.full(len(labels), answer)
        expected = f1_score(labels, constant, labels=there, average="macro", zero_division=0)
        assert cell.macro_f1 == pytest.approx(expected, abs=1e-12)
        assert cell.balanced_accuracy == pytest.approx((answer in there) / len(there))
        assert cell.macro_f1 <= cell.chance == pytest.approx(1 / len(there))


@pytest.mark.parametrize("name", CONFIGS)
def test_every_shipped_config_with_classes_missing_here_and_there(name):
    """Each language lacks a class in turn, the last has two only. Perfect is 100, guessing evenly is chance, one answer never above it."""
    settings = load_settings([f"configs/{name}"])
    sources, languages = list(settings.corpus.sources), list(settings.corpus.languages)[:4]
    settings.corpus.languages, settings.experiment.tables = languages, ["table4"]
    settings.experiment.train_sets = settings.experiment.test_sets = []
    settings.experiment.systems = settings.experiment.systems[:1]
    present = {language: [k for k in range(len(sources)) if k != place] for place, language in enumerate(languages)}
    present[languages[-1]] = [0, 1]
    rows = rows_of(present, sources, per_class=120 if len(sources) < 10 else 60)
    tables = tables_of(settings, rows, perfect)
    assert (tables.cells[["macro_f1", "ci_low"]] == 1).all(axis=None) and (tables.means["macro_f1"] == 1).all()
    constant = tables_of(settings, rows, lambda rows: np.zeros(len(rows), dtype=int))
    for cell in constant.cells.itertuples():
        labels = rows.loc[rows["language"] == cell.test, "label"]
        assert cell.num_classes == labels.nunique()
        if 0 in set(labels):
            assert cell.balanced_accuracy == pytest.approx(cell.chance)
        assert cell.macro_f1 <= cell.chance + 1e-12

    def guess(rows: pd.DataFrame) -> np.ndarray:
        generator, there = np.random.default_rng(3), rows.groupby("language")["label"].unique()
        return np.array([generator.choice(there[language]) for language in rows["language"]])

    guessed = tables_of(settings, rows, guess)
    assert (guessed.cells["macro_f1"] - guessed.cells["chance"]).abs().max() < 0.12
    assert guessed.means["macro_f1"].tolist() == pytest.approx(guessed.means["chance"].tolist(), abs=0.05)


def test_a_group_of_speakers_that_lacks_a_source():
    settings = fake_settings(languages=["en", "de"], systems=["a"])
    rows = rows_of({"en": [0, 1, 2, 3], "de": [0, 1, 2, 3]}, list(settings.corpus.sources), per_class=6)
    lacking = rows["label"].isin([0, 1, 2]) & rows["utt_id"].str.endswith(("0", "1", "2"))
    groups = pd.DataFrame({"utt_id": rows["utt_id"], "published_group": np.where(lacking, "unseen", "seen"), "strict_group": "rare"})
    for predict, figure in ((perfect, 1.0), (lambda rows: np.full(len(rows), 1), 0.5 / 3)):  # F1 of the one answer: 2 * 3 / (9 + 3)
        tables = tables_of(settings, rows, predict, "table6", dict.fromkeys(["de", "en"], groups))
        unseen = mean_of(tables, "a", "unseen")
        assert unseen.macro_f1 == pytest.approx(figure)
        assert (unseen.num_classes, mean_of(tables, "a", "seen").num_classes) == ("3", "4")
        assert unseen.chance == pytest.approx(1 / 3)
    assert any("has items of 3 of 4 classes" in note for note in tables.notes)


def test_every_systems_means_are_looked_at():
    """The notes once looked at the first system alone, whose cells happened to have the same classes."""
    settings = fake_settings(languages=["en", "de"], systems=["b", "a"])
    settings.evaluation.bootstrap_samples, plan = 20, plans_of(settings)[0]
    rows = rows_of({"en": [0, 1, 2, 3], "de": [0, 1, 2]}, list(settings.corpus.sources))
    scored = rows.assign(prediction=perfect(rows))
    runs = [ScoredRun(system, train, 1, ROOT, scored) for system, train in (("b", "en"), ("a", "en"), ("a", "de"))]
    notes = make_tables(runs, settings, plan=plan).notes
    assert any(note.startswith("The cells of the mono mean of a have different classes (3 to 4, 3 in all of them)") for note in notes)
    assert "The mono means of the systems are over different classes (b 4, a 3 to 4): they do not compare as they stand." in notes
    assert any(note.startswith("Mono and cross cells of b have different classes (mono 4 and cross 3)") for note in notes)
    assert not any("Mono and cross cells of a" in note for note in notes)  # both 3 to 4


def test_a_class_of_few_utterances_that_resamples_lose_is_said():
    """Speakers of a group may have one or two of a class's utterances; which are drawn is up to the whole class."""
    settings = fake_settings(languages=["en", "de"], systems=["a"])
    rows = rows_of({"en": [0, 1, 2, 3], "de": [0, 1, 2, 3]}, list(settings.corpus.sources), per_class=6)
    few = (rows["label"] == 1) & ~rows["utt_id"].str.endswith("/1/0")
    groups = pd.DataFrame({"utt_id": rows["utt_id"], "published_group": np.where(few, "unseen", "seen"), "strict_group": "rare"})
    tables = tables_of(settings, rows, perfect, "table6", dict.fromkeys(["de", "en"], groups))
    lost = f"{settings.corpus.sources[1]} of test set en:seen, trained on de)"
    (note,) = [note for note in tables.notes if note.startswith("Some resamples hold none")]
    assert "in 2 places (first: " in note and lost.removesuffix(")").split(" of ")[0] in note
    assert (tables.cells[["macro_f1", "ci_low"]] == 1).all(axis=None)
    whole = tables_of(settings, rows, perfect)
    assert not any("resamples" in note for note in whole.notes)


def test_cells_with_other_classes_are_compared_on_those_in_common():
    """Mono has classes 0 to 19, cross 18 to 21. The network knows all but class 19, which it takes for 18."""
    settings, rows = special_session()
    settings.experiment.test_sets = settings.experiment.test_sets[:2]
    answer = rows["label"].where(rows["label"] != 19, 18).to_numpy()
    tables = tables_of(settings, rows, lambda rows: answer)
    claims = check_claims([tables]).set_index("claim").loc["a known language is easier than another one"]
    f1 = []
    for test in settings.experiment.test_sets:
        inside = rows["language"].isin(test.split("+"))
        f1.append(f1_score(rows.loc[inside, "label"], answer[inside], labels=[18, 19], average="macro", zero_division=0))
    assert claims["num_classes"] == "2 in common"
    assert [claims["macro_f1"], claims["other_macro_f1"]] == pytest.approx(f1)
    assert claims["difference"] == pytest.approx(0) and claims["outcome"] == "undecided"
    means = tables.means.query("variant == 'pooled'").set_index("kind")["macro_f1"]
    assert means["mono"] - means["cross"] > 0.25  # over its own classes each: not what the claim may rest on
    assert any("different classes (mono 20 and cross 4)" in note for note in tables.notes)


def test_cells_without_a_common_class_are_not_compared():
    settings = fake_settings(languages=["en", "de"], systems=["lfcc_aasist"])
    settings.experiment.train_sets = ["en"]
    rows = rows_of({"en": [0, 1], "de": [2, 3]}, list(settings.corpus.sources))
    tables = tables_of(settings, rows, perfect)
    row = check_claims([tables]).set_index("claim").loc["a known language is easier than another one"]
    assert row["outcome"] == "not comparable"
    assert row["reason"] == "its cells have 2 classes each and none that all of them have"
    assert math.isnan(row["difference"]) and math.isnan(row["p_holm"])
    assert compare([tables])["claims"]["outcome"].eq("not comparable").sum() == 1


def test_the_same_classes_as_often_on_both_sides_are_compared_as_they_are():
    """Each of three languages lacks a class. Every one is tested as often in mono as in cross, hence the means compare."""
    settings = fake_settings(languages=["en", "de", "fr"], systems=["a"])
    rows = rows_of({"en": [0, 1, 2], "de": [1, 2, 3], "fr": [0, 2, 3]}, list(settings.corpus.sources))
    tables = tables_of(settings, rows, perfect)
    cells = {
        "mono": [(x, x) for x in ("en", "de", "fr")],
        "cross": [(x, y) for x in ("en", "de", "fr") for y in ("en", "de", "fr") if x != y],
    }
    found = contrast(tables, ("a", cells["mono"]), ("a", cells["cross"]))
    assert (found.first, found.second, found.num_classes, found.reason) == (1, 1, "3", "")
    row = mean_of(tables, "a", "mono")
    assert (row.num_classes, row.common_classes) == ("3", 1)
    assert any("The cells of the mono mean have different classes (3, 1 in all of them)" in note for note in tables.notes)


def test_what_people_read_says_over_how_many_classes():
    settings, rows = special_session()
    tables = tables_of(settings, rows, perfect)
    terminal, markdown, latex = (make(tables) for make in (table_text.terminal, table_text.markdown, table_text.latex))
    assert "4 to 22 classes with test items, chance 5 to 25" in terminal
    assert "mono  mean 100.0 over 20 classes" in terminal and "cross mean 100.0 over 4 classes" in terminal
    assert "|  | classes | 20 | 4 | 22 |" in markdown and "chance 4.5 to 25.0" in markdown
    assert "over the 4 to 22 classes with test items" in latex


def test_reports_of_script_06_lead_with_the_classes_that_have_rows(tmp_path):
    settings = fake_settings(languages=["en", "de"], systems=["a"], variants=["original"])
    (run, *_) = fake_runs(settings, tmp_path)
    scores = run.scores[(run.scores["language"] == "en") | (run.scores["label"] < 2)].reset_index(drop=True)
    run.scores = scores
    line = reports.write_reports([trained_run(run, settings)]).splitlines()[1]
    german = scores[scores["language"] == "de"]
    headline = 100 * f1_score(german["label"], german["prediction"], labels=[0, 1], average="macro")
    declared = 100 * f1_score(german["label"], german["prediction"], labels=range(4), average="macro", zero_division=0)
    assert f"de {headline:5.1f} over 2 of 4 classes ({declared:.1f} over all declared)" in line
    english = scores[scores["language"] == "en"]
    assert f"en {100 * f1_score(english['label'], english['prediction'], average='macro'):5.1f}" in line
    text = next(run.folder.rglob("*eval_de.txt")).read_text(encoding="utf-8")
    assert f"over the 2 classes with rows: {headline / 100:.6f}" in text
    taken = int((german["prediction"] >= 2).sum())
    assert taken and sum(int(word.split()[0]) for word in text.split("predicted ")[1:3]) == taken
    accuracy = balanced_accuracy_score(german["label"], german["prediction"])
    assert f"{accuracy:.6f}" in text  # the macro average of recall, printed by scikit-learn


def test_a_test_set_names_what_it_lacks_and_counts_only_what_is_not_named():
    names = [f"s{number}" for number in range(class_lists.SHOWN_NAMES + 1)]
    assert "more" not in class_lists.note_on_test_set("en", names[:-1], 20)
    assert f"{names[-2]} and 1 more)" in class_lists.note_on_test_set("en", names, 20)


def test_the_report_by_class_is_scikit_learn_s_over_the_classes_with_rows(tmp_path):
    settings = fake_settings(languages=["en"], systems=["a"], variants=["original"])
    (run, *_) = fake_runs(settings, tmp_path)
    run.scores = run.scores[run.scores["label"] != 1].reset_index(drop=True)
    reports.write_reports([trained_run(run, settings)])
    text, sources = next(run.folder.rglob("*eval_en.txt")).read_text(encoding="utf-8"), settings.corpus.sources
    figures = classification_report(run.scores["label"], run.scores["prediction"], labels=range(4), output_dict=True, zero_division=0)
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.split()[:1] and line.split()[0] in sources}
    assert list(rows) == [sources[label] for label in (0, 2, 3)]
    for label in (0, 2, 3):
        expected = [figures[str(label)][name] for name in ("precision", "recall", "f1-score", "support")]
        assert [float(word) for word in rows[sources[label]]] == pytest.approx(expected, abs=1e-6)
