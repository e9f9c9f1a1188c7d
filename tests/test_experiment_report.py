"""The last step from run folders on disk to tables, pictures and the page."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_scores import fake_runs, fake_settings

from sourcetracing import experiment_report
from sourcetracing.errors import UserError
from sourcetracing.experiments import Cell
from sourcetracing.files import digest_of_file


class FixedLayers:
    """Stands for the words of a command line that are already resolved."""

    def __init__(self, settings):
        self.settings = settings

    def resolve(self):
        return self.settings


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """An experiment of four runs with weights and scores on disk."""
    settings = fake_settings(languages=["en", "de"])
    settings.paths.exp = str(tmp_path)
    cells = []
    for run in fake_runs(settings, tmp_path / settings.name / "runs"):
        (run.folder / "model.safetensors").write_bytes(run.system.encode())
        (run.folder / "environment.json").write_text(json.dumps({"git_commit": "0123abcd", "device": run.system}))
        (run.folder / "scores").mkdir()
        story = json.dumps({"weights": digest_of_file(run.folder / "model.safetensors")})
        table = pa.Table.from_pandas(run.scores, preserve_index=False)
        pq.write_table(table.replace_schema_metadata({b"story": story.encode()}), run.folder / "scores" / "eval.parquet")
        cells.append(Cell(run.system, run.train_set, run.seed, settings, run.folder))
    monkeypatch.setattr(experiment_report, "load_cells", lambda layers: cells)
    return settings, cells


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_writes_everything_and_the_same_again(experiment, tmp_path):
    settings, _ = experiment
    text = experiment_report.report_experiment(FixedLayers(settings))
    assert text.splitlines()[-1] == f"report: {tmp_path}/demo/report.html"
    before = files_of(tmp_path)
    names = {str(path) for path in before}
    assert {f"demo/tables/{name}" for name in ("table4.csv", "table4.md", "table4.tex", "lfcc_one_matrix.png", "variants.png")} <= names
    assert experiment_report.report_experiment(FixedLayers(settings)) == text
    assert files_of(tmp_path) == before


def test_unfinished_runs_and_scores_older_than_their_weights_count_as_missing(experiment):
    settings, cells = experiment
    (cells[1].folder / "model.safetensors").write_bytes(b"trained again")
    (cells[3].folder / "model.json").unlink()
    assert [run.folder for run in experiment_report.scored_runs(cells)] == [cells[0].folder, cells[2].folder]
    text = experiment_report.report_experiment(FixedLayers(settings))
    assert "2 of 4 runs have no scores yet (first: lfcc_one de 688)" in text
    for cell in cells:
        (cell.folder / "scores" / "eval.parquet").unlink()
    with pytest.raises(UserError, match="none of the 4 runs"):
        experiment_report.report_experiment(FixedLayers(settings))


def test_environment_shows_where_runs_differ(experiment):
    environment = experiment_report.environment_of(experiment_report.scored_runs(experiment[1]))
    assert environment == {"git_commit": "0123abcd", "device": "lfcc_one | lfcc_two"}
