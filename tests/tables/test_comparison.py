"""Published figures beside ours. Overlays: tests/whole_pipeline/test_as_published.py."""

from __future__ import annotations

import pandas as pd
import pytest

from sourcetracing.tables import text as table_text
from sourcetracing.tables.comparison import add_published, has_published
from sourcetracing.tables.making import Tables, make_tables
from sourcetracing.training.table_plans import read_plan
from tests.support.fake_scores import SIX, fake_settings, runs_of


def compared(plan_name: str, tmp_path, systems=("lfcc_ecapa_tdnn", "xlsr_aasist"), languages=SIX, reader="mcl_mlaad") -> Tables:
    settings = fake_settings(languages=languages, systems=systems)
    settings.evaluation.bootstrap_samples, settings.corpus.reader = 0, reader
    plan = read_plan(plan_name, settings)
    speakers = {train: pd.DataFrame(columns=["utt_id", "published_group", "strict_group"]) for train in plan.train_sets}
    if plan.needs_speakers:
        ids = sorted(runs_of(settings, plan_name, tmp_path)[0].scores["utt_id"].unique())
        groups = ["seen", "unseen"] * (len(ids) // 2)
        speakers = dict.fromkeys(plan.train_sets, pd.DataFrame({"utt_id": ids, "published_group": groups, "strict_group": "rare"}))
    tables = make_tables(runs_of(settings, plan_name, tmp_path), settings, plan=plan, speakers=speakers)
    add_published(tables)
    return tables


def cell(tables: Tables, system: str, train: str, test: str, variant: str) -> pd.Series:
    cells = tables.cells
    (found,) = cells[cells[["system", "train", "test", "variant"]].eq([system, train, test, variant]).all(axis=1)].itertuples()
    return found


def test_a_cell_stands_beside_the_papers_on_the_variants_that_the_paper_tested(tmp_path):
    tables = compared("table4", tmp_path)
    found = cell(tables, "xlsr_aasist", "en", "de", "original")
    assert found.published == pytest.approx(0.9189)
    assert found.difference == pytest.approx(found.macro_f1 - 0.9189)
    assert pd.isna(cell(tables, "xlsr_aasist", "en", "de", "pooled").published)  # clean speech only (D2)
    assert cell(tables, "lfcc_ecapa_tdnn", "en", "de", "pooled").published > 0.5
    assert pd.isna(cell(tables, "lfcc_ecapa_tdnn", "en", "de", "noise").published)
    assert has_published(tables)


def test_the_papers_errors_are_marked_where_they_appear(tmp_path):
    tables = compared("table4", tmp_path, systems=("w2v2_language_aasist", "w2v2_en_self_aasist"))
    means = tables.means.set_index(["system", "kind", "variant"])
    cross = means.loc[("w2v2_language_aasist", "cross", "original")]
    assert cross["published"] == pytest.approx(0.77714)
    assert "D71" in cross["note"] and "printed 73.45, the mean of its cells is 77.71" in cross["note"]
    assert "suspicious D81" in cell(tables, "w2v2_en_self_aasist", "de", "de", "original").note


@pytest.mark.parametrize(("plan", "num_published"), [("table4", 36), ("figure4", 9), ("table5", 12), ("table6", 12)])
def test_every_cell_of_the_papers_tables_has_its_number(tmp_path, plan, num_published):
    tables = compared(plan, tmp_path, systems=("lfcc_ecapa_tdnn",))
    assert tables.cells["published"].notna().sum() == num_published


def test_seen_and_unseen_are_not_mixed_up(tmp_path):
    tables = compared("table5", tmp_path, systems=("xlsr_aasist",))
    assert cell(tables, "xlsr_aasist", "de+fr+it+pl+ru", "de+fr+it+pl+ru", "original").published == pytest.approx(0.5450)
    tables = compared("table6", tmp_path, systems=("xlsr_aasist",))
    assert cell(tables, "xlsr_aasist", "de+fr+it+pl+ru", "de+fr+it+pl+ru:seen", "original").published == pytest.approx(0.5466)


def test_systems_that_the_paper_does_not_have_stand_alone(tmp_path):
    tables = compared("table4", tmp_path, systems=("lfcc_mine",), languages=["en", "de"])
    assert not has_published(tables)
    assert set(tables.cells["note"]) == {""}


def test_another_corpus_gets_no_published_figures(tmp_path):
    """The demo's cells stood beside the paper's, and differences of 60 points between two corpora."""
    tables = compared("table4", tmp_path, reader="folder")
    assert not has_published(tables)
    assert not {"published", "difference"} & {*tables.cells, *tables.means}
    assert "ublished" not in table_text.markdown(tables)


def test_markdown_shows_the_published_figure_the_difference_and_the_marks(tmp_path):
    tables = compared("table4", tmp_path, systems=("w2v2_en_self_aasist", "lfcc_mine"))
    found = cell(tables, "w2v2_en_self_aasist", "de", "de", "original")
    text = table_text.markdown(tables)
    assert f"66.21 ({100 * (found.macro_f1 - 0.6621):+.1f})" in text
    assert "* w2v2_en_self_aasist de → de: suspicious D81" in text
    assert "| lfcc_mine | pooled" in text.split("## Published")[0]
    assert "lfcc_mine" not in text.split("## Published")[1]


def test_w2v2_en_numbers_stand_with_the_checkpoint_that_they_are_of_and_the_other_says_why_it_has_none(tmp_path):
    """D4: printed 98.64 (en -> de) is of 960h-lv60-self; the LV-60 that the paper names has no published number, and a reason."""
    tables = compared("table4", tmp_path, systems=("w2v2_en_aasist", "w2v2_en_self_aasist"))
    theirs = tables.cells[(tables.cells["system"] == "w2v2_en_self_aasist") & (tables.cells["variant"] == "original")]
    assert len(theirs) == 36 and theirs["published"].notna().all()
    assert cell(tables, "w2v2_en_self_aasist", "en", "de", "original").published == pytest.approx(0.9864)
    for frame in (tables.cells, tables.means):
        without = frame[(frame["system"] == "w2v2_en_aasist") & (frame["variant"] == "original")]
        assert len(without) and without["published"].isna().all()
        assert without["note"].str.contains(r"cannot reproduce .* w2v2_en_self_aasist \(D4\)").all()
    text = table_text.markdown(tables).split("## Published")[1]
    assert text.count("w2v2_en_aasist") == 1 and "* w2v2_en_aasist all cells: cannot reproduce" in text
