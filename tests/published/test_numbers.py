"""Published numbers: complete, in our words, their averages recomputed, their errors exactly those noted, Figure 4 from its reports."""

import numpy as np
import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.metrics import classification as metrics
from sourcetracing.published import (
    notes_of_cell,
    notes_of_mean,
    paper_system,
    published_cells,
    published_means,
    published_notes,
    published_reports,
    published_table,
)
from sourcetracing.tables.axes import POOLED
from sourcetracing.tables.making import make_tables
from sourcetracing.tables.scored_runs import ScoredRun
from tests.support.fake_scores import fake_settings
from tests.support.places import ROOT

LANGUAGES = ["en", "de", "fr", "it", "pl", "ru"]
FAMILIES = ["en+de", "fr+it", "pl+ru"]
SCORE_TABLES = ["table4", "figure4", "table5", "table6"]
SYSTEMS = {file.stem for file in (ROOT / "configs/systems").glob("*.yaml")}
PAPER_SYSTEMS = {name for name in SYSTEMS if paper_system(name)}
THREE_SYSTEMS = {"xlsr_aasist", "lfcc_resnet18", "lfcc_ecapa_tdnn"}
KEY = ["system", "train", "test", "condition"]
TIES = {("table5", "xlsr_aasist", "unseen"), ("table6", "lfcc_ecapa_tdnn", "seen")}
PUBLISHED_ZERO_DIVISION = 1.0
VARIANTS = ["original", "reverb", "speech", "music", "noise"]


def others(language):
    return "+".join(code for code in LANGUAGES if code != language)


def in_order(language_set):
    members = language_set.split("+")
    return members == [code for code in LANGUAGES if code in members]


def cells_of_mean(table, system, kind):
    """The printed cells, in percent, that an average is over."""
    cells = published_cells("table4" if table == "section4.2" else table)
    cells = cells[cells["system"] == system]
    same = cells["train"] == cells["test"]
    chosen = {"mono": same, "cross": ~same, "en_to_others": ~same & (cells["train"] == "en")}.get(kind, cells["condition"] == kind)
    return (cells.loc[chosen, "macro_f1"] * 100).round(2)


@pytest.mark.parametrize(("table", "rows", "systems"), [("table4", 216, 6), ("figure4", 27, 3), ("table5", 36, 3), ("table6", 36, 3)])
def test_score_tables_are_complete_and_in_our_words(table, rows, systems):
    cells = published_cells(table)
    assert len(cells) == rows == len(cells.drop_duplicates(KEY))
    assert list(cells.columns) == [*KEY, "macro_f1"]
    assert set(cells["system"]) == (PAPER_SYSTEMS if systems == 6 else THREE_SYSTEMS)
    assert cells["macro_f1"].between(0.25, 1).all()
    assert all(in_order(language_set) for column in ("train", "test") for language_set in cells[column])


@pytest.mark.parametrize(("table", "sets"), [("table4", LANGUAGES), ("figure4", FAMILIES)])
def test_matrices_have_every_training_and_test_set(table, sets):
    cells = published_cells(table)
    for _, matrix in cells.groupby("system"):
        assert {(train, test) for train in sets for test in sets} == set(zip(matrix["train"], matrix["test"], strict=True))
    assert set(cells["condition"]) == {""}


@pytest.mark.parametrize("table", ["table5", "table6"])
def test_left_out_language_is_never_trained_on(table):
    """Table 5 tests on it when `unseen`; in Table 6 it is only absent."""
    cells = published_cells(table)
    for held_out in LANGUAGES:
        rows = cells[cells["train"] == others(held_out)]
        assert len(rows) == 6
        assert set(rows.loc[rows["condition"] == "seen", "test"]) == {others(held_out)}
        assert set(rows.loc[rows["condition"] == "unseen", "test"]) == {held_out if table == "table5" else others(held_out)}


@pytest.mark.parametrize(
    ("table", "cell", "value"),
    [
        ("table4", ("w2v2_en_self_aasist", "de", "de", ""), 0.6621),
        ("table4", ("w2v2_language_aasist", "en", "pl", ""), 0.9576),
        ("figure4", ("xlsr_aasist", "fr+it", "en+de", ""), 0.4004),
        ("table5", ("xlsr_aasist", "en+de+fr+it+pl", "ru", "unseen"), 0.2535),
        ("table6", ("xlsr_aasist", "en+de+fr+it+pl", "en+de+fr+it+pl", "unseen"), 0.4913),
    ],
)
def test_single_cells(table, cell, value):
    assert published_cells(table).set_index(KEY).loc[cell, "macro_f1"] == value


def test_systems_of_the_paper():
    assert len(PAPER_SYSTEMS) == 6
    assert paper_system("w2v2_language_aasist") == "W2V2 (xx)-AASIST"
    assert paper_system("xlsr_frozen_aasist") is None


def test_means_cover_what_the_paper_prints():
    means = published_means()
    assert means.groupby("table").size().to_dict() == {"table4": 12, "table5": 6, "table6": 6, "section4.2": 1}
    assert set(means["system"]) == PAPER_SYSTEMS
    assert means["basis"].isin(["quoted", "agrees"]).all()


@pytest.mark.parametrize("mean", published_means().to_dict("records"), ids=lambda m: f"{m['table']}-{m['system']}-{m['kind']}")
def test_printed_averages_are_wrong_exactly_where_noted(mean):
    name = (mean["table"], mean["system"], mean["kind"])
    cells = cells_of_mean(*name)
    assert len(cells) == {"mono": 6, "cross": 30, "en_to_others": 5}.get(mean["kind"], 6)
    assert mean["recomputed_percent"] == pytest.approx(cells.mean(), abs=0.00051)
    notes = notes_of_mean(*name)
    if np.isnan(mean["printed_percent"]):
        assert name in TIES
        assert cells.sum().round(2) * 100 % 6 == pytest.approx(3)  # halfway between two decimals
        assert mean["basis"] == "agrees"
    else:
        agrees = abs(mean["printed_percent"] - cells.mean()) <= 0.005
        assert agrees == ("error" not in set(notes["kind"]))
        assert agrees or mean["basis"] == "quoted"


def test_known_wrong_averages():
    means = published_means()
    wrong = means[(means["printed_percent"] - means["recomputed_percent"]).abs() > 0.005].round(2)
    assert wrong[["system", "kind", "printed_percent", "recomputed_percent"]].to_numpy().tolist() == [
        ["w2v2_language_aasist", "cross", 73.45, 77.71],
        ["lfcc_ecapa_tdnn", "mono", 97.78, 97.83],
        ["w2v2_en_self_aasist", "en_to_others", 95.76, 95.01],
    ]


def test_table_1_adds_up():
    table = published_table("table1")
    languages, total = table[:-1], table.iloc[-1]
    assert languages["code"].tolist() == LANGUAGES
    assert languages["utterances"].sum() == total["utterances"] == 11700
    assert int(languages["duration_seconds"].sum()) == total["duration_seconds"]
    parts = table["duration"].str.extract(r"(\d+)h (\d+)m ([\d.]+)s").astype(float)
    np.testing.assert_allclose(parts @ [3600, 60, 1], table["duration_seconds"], atol=1e-6)


def test_table_2_counts_the_test_sets_of_the_five_other_languages():
    """A fifth of each language is for testing; this is the ground for D10."""
    table2, table1 = published_table("table2"), published_table("table1")[:-1]
    assert table2["code"].tolist() == LANGUAGES
    test_sizes = table1["utterances"] / 5
    np.testing.assert_array_equal(table2["seen_utterances"] + table2["unseen_utterances"], test_sizes.sum() - test_sizes)
    assert table2["threshold"].between(0.07, 0.09).all()


def test_table_3_names_the_checkpoint_of_each_language():
    table3 = published_table("table3")
    assert table3["system"].tolist() == ["w2v2_en_self_aasist", "xlsr_aasist", *["w2v2_language_aasist"] * 6]
    assert table3["fine_tuned_language"].dropna().tolist() == LANGUAGES


def test_notes_point_to_numbers_that_exist():
    notes = published_notes()
    means = set(published_means()[["table", "system", "kind"]].itertuples(index=False, name=None))
    assert notes["kind"].isin(["error", "suspicious", "reading"]).all()
    assert notes["discrepancy"].str.fullmatch(r"D\d+").all()
    for note in notes.to_dict("records"):
        if note["about"] == "mean":
            assert (note["table"], note["system"], note["condition"]) in means
        elif note["table"] in SCORE_TABLES:
            cells = published_cells(note["table"])
            assert all(note[column] in {"", *cells[column]} for column in KEY), note
            if note["about"] == "cell":
                assert any(cell_is_noted(note, cell) for cell in cells.to_dict("records")), note


def cell_is_noted(note, cell):
    found = notes_of_cell(note["table"], *(cell[column] for column in KEY))
    return note["note"] in set(found["note"])


@pytest.mark.parametrize(
    ("cell", "discrepancies"),
    [
        (("table4", "w2v2_en_self_aasist", "de", "de"), ["D81"]),
        (("table4", "w2v2_en_self_aasist", "de", "en"), []),
        (("table4", "xlsr_aasist", "fr", "ru"), ["D20"]),
        (("table5", "lfcc_resnet18", others("de"), others("de"), "seen"), ["D83"]),
        (("table5", "lfcc_resnet18", others("de"), "de", "unseen"), []),
        (("table6", "lfcc_ecapa_tdnn", others("de"), others("de"), "unseen"), ["D83"]),
        (("figure4", "lfcc_ecapa_tdnn", "en+de", "pl+ru"), ["D89"]),
    ],
)
def test_notes_of_cells(cell, discrepancies):
    assert notes_of_cell(*cell)["discrepancy"].tolist() == discrepancies


def test_pooled_scores_far_outside_the_range_of_their_two_speaker_groups_are_noted():
    """Half a point is allowed: macro-F1 of a union need not lie between those of its parts, but nearly does."""
    table5, table6 = (published_cells(table).set_index(KEY)["macro_f1"] for table in ("table5", "table6"))
    for (system, train, test, condition), pooled in table5.items():
        if condition == "seen":
            groups = [table6.loc[system, train, test, group] for group in ("seen", "unseen")]
            is_outside = max(min(groups) - pooled, pooled - max(groups)) > 0.005
            noted = [notes_of_cell("table5", system, train, test, "seen")]
            noted += [notes_of_cell("table6", system, train, test, group) for group in ("seen", "unseen")]
            assert ["D83" in set(rows["discrepancy"]) for rows in noted] == [is_outside] * 3, (system, train)


def test_answers_are_copies():
    for answer in (lambda: published_cells("table4"), published_notes, published_means, lambda: published_table("table1")):
        first = answer()
        first.iloc[:, 0] = "spoilt"
        assert not (answer().iloc[:, 0] == "spoilt").any()


@pytest.mark.parametrize("ask", [published_cells, published_table])
def test_unknown_table_is_refused(ask):
    with pytest.raises(UserError, match="'table7' is none of table"):
        ask("table7")


def confusion_of(hits, support, predicted):
    """A confusion matrix (C, C) with this diagonal, these row sums and these column sums; errors are placed one at a time."""
    confusion = np.diag(hits)
    misses, false_alarms = support - hits, predicted - hits
    while misses.sum():
        # The class with most errors left, both ways, has to take part in every further one once it makes up half of them.
        worst = np.argmax(misses + false_alarms)
        sums = misses + false_alarms
        is_row = misses[worst] > 0
        partners = np.where(false_alarms if is_row else misses, sums, -1)
        partners[worst] = -1
        partner = np.argmax(partners)
        row, column = (worst, partner) if is_row else (partner, worst)
        confusion[row, column] += 1
        misses[row] -= 1
        false_alarms[column] -= 1
    return confusion


def reports():
    """(system, train, test) -> the rows of its report."""
    return dict(iter(published_reports().groupby(["system", "train", "test"], sort=False)))


@pytest.mark.parametrize("cell", list(reports()), ids="-".join)
def test_report_counts_give_figure_4_digit_for_digit(cell):
    report = reports()[cell]
    hits, support, predicted = (report[column].to_numpy() for column in ("hits", "support", "predicted"))
    confusion = confusion_of(hits, support, predicted)
    assert (confusion >= 0).all()
    assert confusion.sum(axis=0).tolist() == predicted.tolist()
    assert confusion.sum(axis=1).tolist() == support.tolist()
    figures = metrics.class_figures(confusion, PUBLISHED_ZERO_DIVISION)
    for name in ("precision", "recall", "f1"):
        assert [f"{value:.6f}" for value in getattr(figures, name)] == [f"{value:.6f}" for value in report[name]]
    printed = published_cells("figure4").set_index(KEY).loc[(*cell, ""), "macro_f1"]
    assert f"{metrics.macro_f1_declared(confusion, PUBLISHED_ZERO_DIVISION):.2%}" == f"{printed:.2%}"


def test_tables_made_of_the_reported_predictions_are_figure_4(tmp_path):
    """The whole way from score tables: LFCC systems on five variants, SSL on the clean one, as published."""
    systems = sorted(THREE_SYSTEMS)
    settings = fake_settings(languages=LANGUAGES, systems=systems, variants=VARIANTS)
    settings.experiment.train_sets = settings.experiment.test_sets = FAMILIES
    settings.evaluation.bootstrap_samples = 20
    settings.evaluation.zero_division = PUBLISHED_ZERO_DIVISION
    runs = []
    for system in systems:
        for train in FAMILIES:
            scores = pd.concat([scores_of_report(reports()[system, train, test], settings) for test in FAMILIES])
            runs.append(ScoredRun(system, train, settings.experiment.seeds[0], tmp_path, scores))
    cells = make_tables(runs, settings).cells
    pooled = cells[cells["variant"] == POOLED].set_index(["system", "train", "test"])["macro_f1"]
    printed = published_cells("figure4").set_index(["system", "train", "test"])["macro_f1"]
    assert len(pooled) == 27
    assert {cell: f"{value:.2%}" for cell, value in pooled.items()} == {cell: f"{value:.2%}" for cell, value in printed.items()}


def scores_of_report(report, settings):
    """A score table with the reported numbers of items and predictions; utterances are dealt to the variants of the system."""
    hits, support, predicted = (report[column].to_numpy() for column in ("hits", "support", "predicted"))
    confusion = confusion_of(hits, support, predicted)
    labels, predictions = (np.repeat(axis.ravel(), confusion.ravel()) for axis in np.indices(confusion.shape))
    variants = VARIANTS if report["system"].iloc[0].startswith("lfcc") else VARIANTS[:1]
    number = np.arange(len(labels)) // len(variants)  # rows are sorted by label, whose supports are multiples of the variants
    language = report["test"].iloc[0].split("+")[0]
    rows = {"utt_id": [f"{language}/{i:04d}" for i in number], "variant": np.resize(variants, len(labels)), "split": "eval"}
    rows |= {"language": language, "label": labels, "prediction": predictions}
    return pd.DataFrame(rows).assign(source=[settings.corpus.sources[label] for label in labels])
