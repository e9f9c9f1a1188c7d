"""Names that look like HTML are text in every page, wherever they come from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape

from sourcetracing.detection.data.layout import DetectionLayout
from sourcetracing.detection.experiments.layer_sweep import run_sweep
from sourcetracing.detection.report.page import write_detection_report
from sourcetracing.embeddings.colouring import LABELS, colouring_of
from sourcetracing.embeddings.page import write_page
from sourcetracing.embeddings.projections import Projection
from sourcetracing.openset.relatives import FIGURE_COLUMNS, NAMED_COLUMNS
from sourcetracing.openset.tables import COLUMNS
from sourcetracing.protocols.relatives import COARSE_LEVELS
from sourcetracing.report.embeddings_tab import embeddings_tab
from sourcetracing.report.hierarchy_tab import hierarchy_tab
from sourcetracing.report.openset_tab import openset_tab
from sourcetracing.report.results_tab import tabs_of_tables, write_report
from sourcetracing.report.table_tabs import claims_tab, shortcuts_tab, speakers_tab
from sourcetracing.settings.reading import to_yaml
from sourcetracing.tables.claims import check_claims
from sourcetracing.tables.hierarchy import LevelledRun, make_hierarchy
from sourcetracing.tables.making import make_tables
from sourcetracing.tables.significance import compare_systems, rank_stability
from tests.support.detection import detection_settings, make_detection
from tests.support.fake_scores import fake_runs, fake_settings
from tests.support.web_pages import Page

NAME = '<b>x</b> & "y"'
NUMBERS = pd.DataFrame(
    {
        "system": NAME,
        "train": NAME,
        "seed": [1, 2],
        "label": NAME,
        "rows_of": NAME,
        "values": 2,
        "rows": 9,
        "silhouette": 0.5,
        "knn_purity": 0.5,
        "chance_purity": np.nan,
    }
)


def report(folder):
    settings = fake_settings(languages=["en", NAME], systems=["lfcc_one", NAME], seeds=[1, 2])
    settings.corpus.sources, settings.evaluation.bootstrap_samples = [NAME, "a", "b", "c"], 20
    runs = fake_runs(settings, folder / "runs")
    tables = make_tables(runs, settings)
    tables.notes.append(NAME)
    ranks = rank_stability(tables).assign(table=NAME)
    means = tables.means.assign(kind="mono")
    more = {
        **tabs_of_tables([tables]),
        NAME: claims_tab(check_claims([tables]), compare_systems(tables).assign(table=NAME), ranks),
        "Levels": hierarchy_tab(hierarchy(), [], {NAME: b"png"}),
        "Open set": openset_tab(*openset_tables(), {"run": {"curves.png": b"png"}}, (), relatives_table()),
        "Embeddings": embeddings_tab(NUMBERS, {NAME: {NAME: b"png"}}),
        "Speakers": speakers_tab(pd.DataFrame({NAME: [NAME]}), {"agreement": {NAME: {"adjusted_rand_index": 0.5}}}, b"png"),
        "Shortcuts": shortcuts_tab(means),
    }
    story = {"name": NAME, "settings_yaml": to_yaml(settings), "environment": {"git_commit": NAME, NAME: {NAME: NAME}}}
    return write_report(tables, runs, folder / "report.html", more_tabs=more, corpus=pd.DataFrame({"language": [NAME]}), **story)


def hierarchy():
    """Of one system, a known source and an unknown one, all of the same name, as are their labels."""
    labels = pd.DataFrame(NAME, index=[NAME, f"{NAME}2"], columns=list(COARSE_LEVELS)).rename_axis("source")
    rows = pd.DataFrame({"unit": [NAME, "2"], "language": NAME, "source": labels.index})
    made = make_hierarchy([LevelledRun(NAME, NAME, 1, [NAME], rows, np.ones((2, 1)))], [NAME], labels, 5, 1)
    made.notes.append(NAME)
    return made


def relatives_table():
    """tables/openset_relatives.csv of one detector."""
    facts = {"system": NAME, "train_set": NAME, "seed": 1, "subset": "unknown", "detector": NAME, "sources": 1}
    return pd.DataFrame([facts | {column: 0.5 for column in [*FIGURE_COLUMNS, *NAMED_COLUMNS] if column not in facts}])


def openset_tables():
    """tables/openset.csv and openset_by_language.csv of one detector."""
    facts = {
        "run": "run",
        "system": NAME,
        "train_set": NAME,
        "seed": 1,
        "split": "eval",
        "detector": NAME,
        "known": 9,
        "classes": 2,
        "unknown": 3,
    }
    figures = {f"{figure}{end}": 0.5 for figure in COLUMNS.values() for end in ("", "_low", "_high")}
    table = pd.DataFrame({**facts, **figures, "published_eer": np.nan, "variant": ["pooled", NAME], "language": "all"})
    return table, table.assign(language=[NAME, "en"], variant="pooled")


def detection_report(folder):
    settings = detection_settings(folder, "logreg.layer=sweep")
    settings.detection.sets[NAME] = settings.detection.sets.pop("ITW")
    settings.detection.test = [NAME, "AI4T"]
    settings.detection.baseline_test = ["B", NAME, "AI4T"]
    settings.name = NAME
    make_detection(settings, 30)
    run_sweep(settings)
    write_detection_report(settings)
    return DetectionLayout(settings).report


def explore_page(folder):
    columns = {"split": "eval", "variant": "original", "language": NAME, "source": NAME, "speaker": "", "pseudo_speaker": "", "known": True}
    index = pd.DataFrame({"utt_id": [NAME, "other"], **columns})
    projections = [Projection("pca", np.array([[0.0, 0.0], [1.0, 2.0]]), NAME)]
    colourings = [colouring_of(index, label, []) for label in LABELS]
    write_page(folder / "explore.html", index["utt_id"], projections, colourings, title=NAME, text=NAME, numbers=NUMBERS)
    return folder / "explore.html"


@pytest.mark.parametrize("write", [report, detection_report, explore_page])
def test_a_name_that_looks_like_html_is_text(tmp_path, write):
    text = write(tmp_path).read_text(encoding="utf-8")
    page = Page(text)
    assert page.open_tags == []
    assert "<b>x" not in text and "x</b> &" not in text
    assert str(escape(NAME)) in text
    assert any(NAME in shown for shown in page.texts)
