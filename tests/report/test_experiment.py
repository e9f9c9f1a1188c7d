"""The last step from run folders on disk to tables, pictures and the page."""

import pytest

from sourcetracing.errors import UserError
from sourcetracing.report import experiment as experiment_report
from tests.support.fake_scores import ResolvedSources, fake_runs, fake_settings, trained_run


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """An experiment of four runs with weights and scores on disk."""
    settings = fake_settings(languages=["en", "de"])
    settings.paths.exp = str(tmp_path)
    runs = [trained_run(run, settings) for run in fake_runs(settings, tmp_path / settings.name / "runs")]
    monkeypatch.setattr(experiment_report, "load_runs", lambda config: runs)
    return settings, runs


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_writes_everything_and_the_same_again(experiment, tmp_path):
    settings, _ = experiment
    text = experiment_report.report_experiment(ResolvedSources(settings))
    assert text.splitlines()[-1] == f"report: {tmp_path}/demo/report.html"
    before = files_of(tmp_path)
    names = {str(path) for path in before}
    assert {f"demo/tables/{name}" for name in ("table4.csv", "table4.md", "table4.tex", "lfcc_one_matrix.png", "variants.png")} <= names
    assert experiment_report.report_experiment(ResolvedSources(settings)) == text
    assert files_of(tmp_path) == before


def test_unfinished_runs_and_scores_older_than_their_weights_count_as_missing(experiment):
    settings, runs = experiment
    (runs[1].folder / "model.safetensors").write_bytes(b"trained again")
    (runs[3].folder / "model.json").unlink()
    assert [run.folder for run in experiment_report.scored_runs(runs)] == [runs[0].folder, runs[2].folder]
    text = experiment_report.report_experiment(ResolvedSources(settings))
    assert "2 of 4 runs have no scores yet (first: lfcc_one de 688)" in text
    for run in runs:
        (run.folder / "scores" / "eval.parquet").unlink()
    with pytest.raises(UserError, match="none of the 4 runs"):
        experiment_report.report_experiment(ResolvedSources(settings))


def test_environment_shows_where_runs_differ(experiment):
    environment = experiment_report.environment_of(experiment_report.scored_runs(experiment[1]))
    assert environment == {"git_commit": "0123abcd", "device": "lfcc_one | lfcc_two"}
