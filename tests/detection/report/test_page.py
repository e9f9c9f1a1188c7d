"""The detection report: one file, all figures inside, every tab; what is missing is named; a browser lays it out."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape

from sourcetracing.detection.data.layout import DetectionLayout
from sourcetracing.detection.experiments.augment_pruned import run_augmentation
from sourcetracing.detection.experiments.augmented_baseline import run_augmented_baseline
from sourcetracing.detection.experiments.layer_sweep import run_sweep
from sourcetracing.detection.experiments.mixing import run_mixing
from sourcetracing.detection.experiments.pruning import run_pruning
from sourcetracing.detection.experiments.scoring import selection_mask
from sourcetracing.detection.report.page import TABLES, TEXTS, Results, _scores_tab, choices_table, scored_systems, write_detection_report
from sourcetracing.detection.report.pictures import draw_det, draw_kept
from sourcetracing.errors import UserError
from sourcetracing.metrics.classification import equal_error_rate
from sourcetracing.settings.reading import to_yaml
from tests.support.detection import detection_settings, make_detection
from tests.support.web_pages import Page, browser_width, needs_chromium

WORDS = ["logreg.layer=sweep", "pruning.fractions=[0.3,0.6]", "pruning.seeds=[1,2]", "detection.origin=demo"]
TITLES = ["Choices", "Layers", "Mixtures", "Pruning", "Augmentation", "Scores", "Corpora", "How to read", "Settings"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Settings of an experiment whose scripts 02 to 07 have run."""
    settings = detection_settings(tmp_path_factory.mktemp("report"), *WORDS)
    make_detection(settings)
    for run in (run_sweep, run_augmented_baseline, run_mixing, run_pruning, run_augmentation, write_detection_report):
        run(settings)
    return settings


def read(settings):
    return DetectionLayout(settings).report.read_text(encoding="utf-8")


def test_page_is_well_formed_has_every_tab_and_loads_nothing(finished):
    text = read(finished)
    page = Page(text)
    assert page.open_tags == [] and page.loads
    assert all(value.startswith(("#", "data:")) for value in page.loads)
    assert re.findall(r'name="tab" id="t\d+"(?: checked)?><label for="t\d+">([^<]+)', text) == TITLES
    assert not re.search(r"https?://|@import|url\(", text.replace(str(escape(to_yaml(finished))), ""))
    assert text.count("<img ") >= 3 + 2 + 3 + 2 + 2


def test_text_columns_are_those_of_the_tables(finished):
    """A column of words that TEXTS lacks is an error of the page; a name that no table has is a leftover."""
    columns, of_words = set(), set()
    for name in TABLES:
        table = pd.read_csv(DetectionLayout(finished).table(name), dtype=str, keep_default_na=False)
        columns |= set(table)
        numbers = table.apply(
            lambda cells: pd.to_numeric(cells.where(~cells.isin(["", "nan", "True", "False"]), "0"), errors="coerce").notna()
        )
        of_words |= {column for column in table if not numbers[column].all()}
    assert of_words <= set(TEXTS) <= columns


def test_numbers_of_the_results_are_in_the_page(finished):
    words = set(Page(read(finished)).texts)
    folder = DetectionLayout(finished).root / "results"
    for name in ("layer_sweep", "dataset_mixing", "pruning_choice", "augment_pruned"):
        table = pd.read_csv(folder / f"{name}.csv")
        column = "eer" if "eer" in table else "MEAN_report"
        shown = table[table["part"].isin(["report", "all"])] if "eer" in table and name != "layer_sweep" else table
        if name == "layer_sweep":
            shown = table[table["part"] == "all"]
        if name == "pruning_choice":
            shown = table[(table["chosen_by"] == "selection part") & (table["among"] != "all")]
        assert {f"{100 * eer:.2f}" for eer in shown[column]} <= words, name
    assert any("PLAYED BY" in word for word in words)


def test_choices_are_those_of_the_selection_part(finished):
    results = Results.read(finished)
    table = choices_table(results).set_index("decision")
    mixing = results.tables["dataset_mixing"]
    assert table.loc["mixture", "chosen"] == mixing.loc[mixing["MEAN_selection"].idxmin(), "mixture"]
    assert table.loc["mixture", "the published way"] == mixing.loc[mixing["MEAN_all"].idxmin(), "mixture"]
    assert table.loc["layer", "chosen"] == f"layer {results.layer_choice['layer']}"
    assert set(table.index) == {"layer", "baseline's augmentation", "mixture", "kept files", "pruning and augmentation"}
    assert len(scored_systems(results)) >= 4


def test_page_is_the_same_bytes_again(finished):
    before = DetectionLayout(finished).report.read_bytes()
    write_detection_report(finished)
    assert DetectionLayout(finished).report.read_bytes() == before


def test_what_is_missing_is_named(tmp_path, finished):
    settings = detection_settings(tmp_path, *WORDS)
    make_detection(settings)
    with pytest.raises(UserError, match="02_layer_sweep"):
        write_detection_report(settings)
    folder = DetectionLayout(settings).root / "results"
    folder.mkdir()
    for name in ("pruning_levels.csv", "pruning_choice.csv"):
        shutil.copy(DetectionLayout(finished).root / "results" / name, folder)
    assert "not there yet: 04_dataset_mixing.py" in write_detection_report(settings)
    text = read(settings)
    assert Page(text).open_tags == [] and "No results of 06_augment_pruned.py yet" in text
    assert re.findall(r'<label for="t\d+">([^<]+)', text) == ["Choices", "Pruning", "Corpora", "How to read", "Settings"]


def test_det_curve_of_a_system_that_separates_both_classes_can_be_drawn():
    scores = pd.DataFrame({"label": [0] * 5 + [1] * 5, "score": np.arange(10.0)})
    curve = draw_det({"perfect": scores}, "set").axes[0].lines[0]
    assert np.isfinite(curve.get_xydata()).all()


def test_pruning_curves_show_each_strategy_and_the_spread_of_seeds():
    rows = [("random", 30.0, 0.2, 0.01), ("random", 60.0, 0.1, 0.01), ("margin-both", 30.0, 0.15, np.nan)]
    panel = draw_kept(pd.DataFrame(rows, columns=["strategy", "percent_kept", "eer", "sd"]), 0.12, "title").axes[0]
    assert [line.get_label() for line in panel.lines] == ["random", "margin-both", "everything"]
    assert panel.lines[0].get_ydata().tolist() == [20.0, 10.0] and len(panel.collections) == 1


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize("width", [380, 1400])
def test_browser_lays_it_out_without_overflow_or_complaint(finished, tmp_path, width):
    shutil.copy(DetectionLayout(finished).report, tmp_path / "report.html")
    assert browser_width(tmp_path, width) == (width, "")


def test_scores_are_those_of_the_report_part_and_thresholds_those_of_the_selection_part(finished, monkeypatch):
    """What the pictures are given, against the stored scores and the manifest."""
    given = {}
    monkeypatch.setattr(
        "sourcetracing.detection.report.sections.scores_section", lambda *words: given.update(zip(WHAT, words, strict=True))
    )
    _tabs_of_scores(finished)
    assert given["tested"] == ["ITW", "AI4T"]
    manifest = pd.read_csv(DetectionLayout(finished).manifest, keep_default_na=False)
    is_chosen = pd.Series(selection_mask(finished, manifest), index=manifest["file_id"])
    stored = pd.read_parquet(list(scored_systems(Results.read(finished)).values())[-1])
    for name, corpus in {"ITW": "itw", "AI4T": "ai4trust"}.items():
        files = set(manifest.loc[manifest["corpus"] == corpus, "file_id"])
        reported = {file_id for file_id in files if not is_chosen[file_id]}
        assert 0 < len(reported) < len(files)
        for scores in given["systems"].values():
            assert set(scores.loc[scores["dataset"] == name, "file_id"]) == reported
        own = stored[stored["dataset"] == name]
        in_report = own["file_id"].isin(reported)
        thresholds = [equal_error_rate(part["label"], part["score"])[1] for part in (own[~in_report], own[in_report], own)]
        assert given["thresholds"][name] == pytest.approx(thresholds[0]) != pytest.approx(thresholds[1])
        assert given["thresholds"][name] != pytest.approx(thresholds[2])


WHAT = ("systems", "thresholds", "tested")


def _tabs_of_scores(settings):
    _scores_tab(Results.read(settings), ["ITW", "AI4T"])
