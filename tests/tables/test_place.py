"""Tables of other settings lie beside those that are there; the same settings find their own again."""

from __future__ import annotations

import json

import pytest

from sourcetracing.layout import Layout
from sourcetracing.report import experiment as experiment_report
from sourcetracing.settings.recorded import name_of_table_recipe, table_recipe
from sourcetracing.settings.schema import Settings
from tests.support.fake_scores import ResolvedSources, fake_runs, fake_settings, trained_run


@pytest.fixture
def reported(tmp_path, monkeypatch):
    """Makes the tables of settings that differ in what `change` does; returns (settings, text)."""
    runs: list = []
    monkeypatch.setattr(experiment_report, "load_runs", lambda config: runs)

    def report(change=lambda settings: None):
        settings = fake_settings(languages=["en", "de"])
        settings.paths.exp = str(tmp_path)
        if not runs:
            runs.extend(trained_run(run, settings) for run in fake_runs(settings, tmp_path / settings.name / "runs"))
        change(settings)
        return settings, experiment_report.report_experiment(ResolvedSources(settings))

    return report


def fewer_samples(settings: Settings) -> None:
    settings.evaluation.bootstrap_samples = 50


def longer(settings: Settings) -> None:
    settings.train.epochs, settings.evaluation.zero_division = 7, 1.0


def test_tables_of_other_settings_are_not_replaced(reported, tmp_path):
    first, text = reported()
    folder = tmp_path / "demo"
    assert Layout.of(first).tables == folder / "tables"
    assert "stays" not in text
    before = {path: path.read_bytes() for path in [folder / "report.html", *(folder / "tables").glob("*.*")]}
    other, text = reported(fewer_samples)
    own = Layout.of(other).tables
    assert own.parent == folder / "tables"
    assert (own / "table4.csv").is_file() and (own / "report.html").is_file()
    assert {path: path.read_bytes() for path in before} == before
    line = text.splitlines()[-1]
    assert line.startswith(f"{folder / 'tables'} was made with evaluation.bootstrap_samples=200, and stays")
    assert line.endswith(f"(evaluation.bootstrap_samples=50) lie in {own}")
    third, _ = reported(longer)
    assert len({Layout.of(settings).tables for settings in (first, other, third)}) == 3
    assert (own / "table4.csv").read_bytes() != before[folder / "tables" / "table4.csv"]


def test_the_same_settings_go_to_the_same_place_again(reported):
    settings, text = reported()
    other, of_other = reported(fewer_samples)
    places = [Layout.of(one).report.stat().st_mtime_ns for one in (settings, other)]
    assert (reported()[1], reported(fewer_samples)[1]) == (text, of_other)
    assert [Layout.of(one).report.stat().st_mtime_ns for one in (settings, other)] == places


def test_what_only_says_where_and_how_fast_is_no_other_table(reported, tmp_path):
    settings, _ = reported()

    def elsewhere(changed: Settings) -> None:
        changed.compute.workers, changed.evaluation.batch_size, changed.paths.corpus = 3, 7, "elsewhere"
        changed.train.languages, changed.train.seed = ["en"], 5

    assert Layout.of(reported(elsewhere)[0]).tables == Layout.of(settings).tables


def test_tables_from_before_settings_were_noted_stay(reported, tmp_path):
    settings, _ = reported()
    (tmp_path / "demo" / "tables" / "made_with.json").unlink()
    old = (tmp_path / "demo" / "report.html").stat().st_mtime_ns
    again, text = reported()
    assert Layout.of(again).tables != tmp_path / "demo" / "tables"
    assert "before its settings were noted" in text.splitlines()[-1]
    assert (tmp_path / "demo" / "report.html").stat().st_mtime_ns == old


def test_a_setting_that_comes_later_renames_nothing(tmp_path):
    settings = Settings()
    settings.train.epochs = 9
    recipe = table_recipe(settings)
    older = {name: value for name, value in recipe.items() if name != "train.dev_languages"}
    assert name_of_table_recipe(older) == name_of_table_recipe(recipe)
    settings.paths.exp = str(tmp_path)
    record = Layout.of(settings).tables_record
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"settings": older}) + "\n")
    assert Layout.of(settings).tables == tmp_path / "demo" / "tables"
    settings.train.dev_languages = ["all"]
    assert Layout.of(settings).tables != tmp_path / "demo" / "tables"
