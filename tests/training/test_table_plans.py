"""Which cells each table of the paper has; each training cell once, however many tables use it."""

from __future__ import annotations

import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.settings.places import config_files
from sourcetracing.settings.reading import read_config
from sourcetracing.settings.schema import Settings
from sourcetracing.tables import text as table_text
from sourcetracing.tables.making import make_tables, matrix_of, mean_of
from sourcetracing.tables.pictures import write_pictures
from sourcetracing.tables.writing import write_csv
from sourcetracing.training.runs import settings_of_runs
from sourcetracing.training.runs import test_sets as sets_tested
from sourcetracing.training.table_plans import plans_of, read_plan
from tests.support.fake_scores import SIX, fake_settings, runs_of

ALL_TABLES = "experiment.tables=[table4,figure4,table5,table6]"


def test_the_papers_tables_have_the_papers_cells():
    plans = {name: read_plan(name, Settings()) for name in ("table4", "figure4", "table5", "table6")}
    assert plans["table4"].cells == tuple((train, test) for train in SIX for test in SIX)
    families = ["en+de", "fr+it", "pl+ru"]
    assert plans["figure4"].cells == tuple((train, test) for train in families for test in families)
    assert plans["table5"].cells[:2] == (("de+fr+it+pl+ru", "de+fr+it+pl+ru"), ("de+fr+it+pl+ru", "en"))
    assert plans["table5"].places[:3] == (("-en", "seen"), ("-en", "unseen"), ("-de", "seen"))
    assert len(plans["table5"].cells) == 12
    assert plans["table6"].cells[:2] == (("de+fr+it+pl+ru", "de+fr+it+pl+ru:seen"), ("de+fr+it+pl+ru", "de+fr+it+pl+ru:unseen"))
    assert [plan.needs_speakers for plan in plans.values()] == [False, False, False, True]


def test_table_6_on_the_held_out_language_when_asked():
    settings = Settings()
    settings.speakers.test_set = "unseen_language"
    assert read_plan("table6", settings).cells[0] == ("de+fr+it+pl+ru", "en:seen")


def test_a_corpus_with_other_languages_has_what_it_can():
    settings = Settings()
    settings.corpus.languages = ["en", "fr", "it", "xx"]
    assert read_plan("figure4", settings).train_sets == ["en", "fr+it"]
    assert read_plan("table5", settings).train_sets == ["fr+it+xx", "en+it+xx", "en+fr+xx", "en+fr+it"]


def test_ones_own_families_take_the_place_of_ours():
    settings = read_config(["experiment.families={West: [de, en, nl], South: [fr]}", "corpus.languages=[en,de,fr,xx]"]).resolve()
    assert read_plan("figure4", settings).train_sets == ["en+de", "fr"]  # in the corpus's order; xx belongs to no family
    settings.experiment.families["South"].append("de")
    with pytest.raises(UserError, match="de is in West and in South"):
        read_plan("figure4", settings)
    settings.experiment.families = {"North": ["sv"]}
    with pytest.raises(UserError, match="figure4 needs language families, but experiment.families has none of en, de"):
        read_plan("figure4", settings)
    with pytest.raises(UserError, match="experiment.families=.*: a mapping from names to lists of words is expected"):
        read_config(["experiment.families={West: en}"])


def test_a_path_names_a_table_and_its_files(tmp_path):
    (tmp_path / "mine.yaml").write_text("title: x\ntrain_sets: languages\ntest_sets: families\n")
    plan = read_plan(str(tmp_path / "mine.yaml"), Settings())
    assert (plan.name, plan.tab, plan.file_prefix) == ("mine", "x", "mine_")
    assert plan.cells[:2] == (("en", "en+de"), ("en", "fr+it")) and plan.has_details


def test_tables_that_would_overwrite_each_other_are_refused(tmp_path):
    settings, path = Settings(), tmp_path / "copy.yaml"
    path.write_text(config_files("experiments")["table4"].read_text())
    settings.experiment.tables = ["table4", str(path)]
    with pytest.raises(UserError, match="table4 and copy have the same tab 'Table 4'. Give one of them another"):
        plans_of(settings)


def test_sets_of_the_experiment_take_the_place_of_single_languages_in_table_4():
    settings = Settings()
    settings.experiment.train_sets, settings.experiment.test_sets = ["en+de"], ["en", "pl+ru"]
    assert read_plan("table4", settings).cells == (("en+de", "en"), ("en+de", "pl+ru"))


def test_a_cell_is_trained_once_for_all_tables():
    words = ["experiment.systems=[lfcc_ecapa_tdnn,lfcc_resnet18]", "experiment.floor=[]"]
    cells = settings_of_runs(read_config([ALL_TABLES, *words]))
    assert len(cells) == 2 * (6 + 3 + 6)
    keys = [(settings.system, tuple(settings.train.languages)) for settings in cells]
    assert len(set(keys)) == len(keys)


def test_what_a_cell_is_tested_on_in_any_table():
    settings = read_config([ALL_TABLES]).resolve()
    assert sets_tested(settings, "en") == SIX
    assert sets_tested(settings, "en+de") == ["en+de", "fr+it", "pl+ru"]
    assert sets_tested(settings, "de+fr+it+pl+ru") == ["de+fr+it+pl+ru", "en"]
    assert sets_tested(settings, "en+ru") == SIX


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: x\ntrain_sets: languages\n", "title, train_sets and test_sets are expected"),
        ("title: x\ntrain_sets: languages\ntest_sets: languages\ntba: y\n", "tab and file_prefix are possible"),
        ("title: x\ntrain_sets: languagse\ntest_sets: languages\n", "train_sets='languagse': must be one of languages"),
        ("title: x\ntrain_sets: languages\ntest_sets: seen_and_unseen\n", "with train_sets=languages it must be one of languages"),
    ],
)
def test_a_broken_plan_is_one_clear_line(tmp_path, monkeypatch, text, message):
    folder = tmp_path / "configs" / "experiments"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        read_plan("mine", Settings())


def test_an_unknown_table_and_too_few_languages_are_named():
    settings = Settings()
    settings.experiment.tables = ["tabel5"]
    with pytest.raises(UserError, match="did you mean 'table5'"):
        plans_of(settings)
    settings.corpus.languages = ["en"]
    with pytest.raises(UserError, match="holds one language out"):
        read_plan("table5", settings)


def test_leave_one_out_has_a_row_for_each_held_out_language(tmp_path):
    settings = fake_settings(languages=["en", "de", "fr"])
    tables = make_tables(runs_of(settings, "table5", tmp_path), settings, plan=read_plan("table5", settings))
    write_csv(tables, tmp_path)
    matrix = matrix_of(tables, "lfcc_one")
    assert list(matrix.index) == ["-en", "-de", "-fr"] and list(matrix.columns) == ["seen", "unseen"]
    assert matrix.notna().all(axis=None) and (matrix["seen"] > matrix["unseen"]).all()
    written = pd.read_csv(tmp_path / "table5.csv")
    row = written.query("system == 'lfcc_one' and train == 'de+fr' and test == 'en' and variant == 'pooled'").iloc[0]
    assert row["macro_f1"] == pytest.approx(matrix.loc["-en", "unseen"], abs=1e-6)
    assert mean_of(tables, "lfcc_one", "mono").macro_f1 == pytest.approx(matrix["seen"].mean())
    text = table_text.terminal(tables)
    assert "[" in text and "-fr" in text and "held out" in text
    assert "| system | held out |" in table_text.markdown(tables)
    assert "Held out" in table_text.latex(tables)


def test_figures_of_several_tables_do_not_take_each_others_names(tmp_path):
    settings = fake_settings(languages=["en", "de", "fr"], systems=["lfcc_one"])
    written = []
    for name in ("table4", "figure4", "table5"):
        runs = runs_of(settings, name, tmp_path)
        written += write_pictures(make_tables(runs, settings, plan=read_plan(name, settings)), tmp_path)
    assert len(set(written)) == len(written) and all(path.is_file() for path in written)
    assert tmp_path / "table5_lfcc_one_matrix.png" in written


def test_groups_of_speakers_are_parts_of_a_test_set(tmp_path):
    settings = fake_settings(languages=["en", "de", "fr"], systems=["lfcc_one"])
    plan, runs = read_plan("table6", settings), runs_of(settings, "table6", tmp_path)
    speakers = {}
    for run in runs:
        ids = sorted(run.scores["utt_id"].unique())
        published = ["seen" if number % 3 else "unseen" for number in range(len(ids))]
        strict = ["frequent" if number % 3 else ("rare" if number % 2 else "never_seen") for number in range(len(ids))]
        speakers[run.train_set] = pd.DataFrame({"utt_id": ids, "published_group": published, "strict_group": strict})
    tables = make_tables(runs, settings, plan=plan, speakers=speakers)
    write_csv(tables, tmp_path)
    counts = tables.cells.query("variant == 'pooled'").set_index(["train", "test"])["n"]
    for train in plan.train_sets:
        seen, unseen = counts[train, f"{train}:seen"], counts[train, f"{train}:unseen"]
        assert seen + unseen == 2 * 4 * 6 * 2  # languages x sources x utterances x variants
        assert counts[train, f"{train}:frequent"] == seen
        assert counts[train, f"{train}:rare"] + counts[train, f"{train}:never_seen"] == unseen
    assert list(matrix_of(tables, "lfcc_one").columns) == ["seen", "unseen", "never_seen", "rare", "frequent"]
    assert "unseen" in table_text.terminal(tables)
    assert set(pd.read_csv(tmp_path / "table6_means.csv")["kind"]) == {"seen", "unseen", "never_seen", "rare", "frequent"}
