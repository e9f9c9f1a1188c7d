"""An exported folder: a model card that the Hub accepts, a run folder that gives the same answers, nothing of this machine in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard, metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results

from sourcetracing.errors import UserError
from sourcetracing.runtime.compute import encoder_precision
from sourcetracing.scoring.scores import read_scores
from sourcetracing.tracing import export
from sourcetracing.tracing.export import export_system
from sourcetracing.tracing.tracer import Tracer
from sourcetracing.training.runs import TrainingRun
from tests.support.audio_files import write_wav
from tests.support.traced_runs import trained_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    return trained_run(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def folder(run: TrainingRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "system"
    export_system(str(run.folder), [], onnx=None, folder=folder, licence="cc-by-nc-4.0")
    return folder


def test_the_card_is_one_of_the_hub_s(run, folder):
    metadata = metadata_load(folder / "README.md")
    assert metadata["license"] == "cc-by-nc-4.0"
    assert metadata["language"] == ["en"]
    assert metadata["pipeline_tag"] == "audio-classification"
    card = ModelCard.load(folder / "README.md")  # refuses a broken header or model-index
    _, results = model_index_to_eval_results(metadata["model-index"])
    measured = {(result.dataset_config, result.metric_type): result.metric_value for result in results}
    scores = read_scores(run, "eval")
    assert measured["eval", "accuracy"] == pytest.approx((scores["label"] == scores["prediction"]).mean(), abs=1e-4)
    assert set(measured) == {(name, kind) for name in ("dev", "eval") for kind in ("f1", "accuracy")}
    for words in ("does not tell fake from genuine", "source0, source1", "cc-by-nc-4.0", "English", "@software", "equal error on dev"):
        assert words in card.text
    for line in card.text.split("## Files")[1].split("## Licence")[0].strip().splitlines():
        assert (folder / line.split("`")[1]).is_file()


def test_an_undecided_licence_says_so(run, tmp_path):
    export_system(str(run.folder), [], onnx=None, folder=tmp_path / "a")
    assert metadata_load(tmp_path / "a" / "README.md")["license_name"] == "to-be-decided"
    assert "Not decided yet" in (tmp_path / "a" / "README.md").read_text()


def test_it_traces_like_the_run_without_anything_else(run, folder, tmp_path):
    moved = Path(shutil.copytree(folder, tmp_path / "moved"))
    write_wav(tmp_path / "a.wav", 2, 1)
    here, there = (Tracer.load(path, [])(tmp_path / "a.wav") for path in (run.folder, moved))
    np.testing.assert_array_equal(here.window_probabilities, there.window_probabilities)
    assert (here.unknown_score, here.is_unknown) == (there.unknown_score, there.is_unknown)


def test_what_goes_to_onnx_is_float32_by_torch_whatever_the_run_is(run, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(export, "export_onnx", lambda system, *_: given.append(system.settings.compute) or 0.0)
    words = ["compute.encoder_precision=bf16", "compute.engine=openvino", "compute.compile=true"]
    export_system(str(run.folder), words, onnx=tmp_path / "a.onnx", folder=None)
    (compute,) = given
    assert (encoder_precision(compute), compute.precision, compute.engine, compute.compile) == ("float32", "float32", "torch", False)


def test_no_path_of_this_machine_is_in_it(run, folder):
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    assert settings["paths"]["exp"] == "exp"
    private = run.settings.paths.exp.encode()
    assert not [path for path in folder.rglob("*") if path.is_file() and private in path.read_bytes()]


def test_a_folder_with_other_things_is_refused(run, folder, tmp_path):
    (tmp_path / "diary.txt").touch()
    for target, line in ((tmp_path, r"holds other things \(diary.txt\)"), (run.folder, "is the run itself")):
        with pytest.raises(UserError, match=line):
            export_system(str(run.folder), [], onnx=None, folder=target)
    export_system(str(run.folder), [], onnx=None, folder=folder, licence="cc-by-nc-4.0")  # an earlier export is renewed
