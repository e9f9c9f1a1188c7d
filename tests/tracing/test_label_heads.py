"""A run with several heads, traced and exported: the classes' logits alone come out, and what heads said travels along."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from sourcetracing.features.rows import open_store
from sourcetracing.scoring.scores import is_scored, read_scores, score_run
from sourcetracing.tracing.export import COPIED
from sourcetracing.tracing.onnx_export import WholeSystem
from sourcetracing.tracing.system import TracingSystem, run_in_folder
from sourcetracing.training.loop import train_run
from sourcetracing.training.runs import load_run
from tests.support.small_experiment import SmallExperiment

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    experiment = SmallExperiment.write(tmp_path_factory.mktemp("heads"), num_utterances=24)
    experiment.utterances["vocoder"] = ["one", "", "two", "one"] * 6
    settings = experiment.settings("heads")
    settings.train.epochs, settings.train.labels = 1, ["source", "vocoder"]
    experiment.prepare(settings)
    run = load_run(settings)
    train_run(run, open_store(settings), CPU)
    score_run(run, open_store(settings), CPU)
    return run


def test_tracing_gives_the_logits_of_the_classes(run):
    system = TracingSystem(run, CPU)
    waveforms = np.random.default_rng(0).normal(size=(3, system.window_samples)).astype(np.float32)
    embeddings, logits = system(waveforms)
    assert system.label_classes == {"vocoder": ["one", "two"]}
    assert logits.shape == (3, 2) and embeddings.shape == (3, system.model.embedding_dim)
    with torch.inference_mode():
        everything = system.model(system.front_end(torch.from_numpy(waveforms)).to(torch.float16).float())[1]
        exported, _ = WholeSystem(system).eval()(torch.from_numpy(waveforms))
    assert everything.shape == (3, 2 + 2)
    np.testing.assert_allclose(logits, everything[:, :2].numpy(), rtol=1e-5)
    np.testing.assert_allclose(exported.numpy(), logits, rtol=1e-3, atol=1e-4)


def test_what_an_export_copies_is_a_run_with_scores(run, tmp_path):
    for name in (*COPIED, "config.yaml", "classes.json"):
        if (run.folder / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run.folder / name, tmp_path / name)
    copied = run_in_folder(tmp_path)
    assert json.loads((tmp_path / "label_classes.json").read_text())["vocoder"] == {"one": 4 * 5, "two": 2 * 5}  # utterances x variants
    assert is_scored(copied, "eval") and len(read_scores(copied, "eval")) == len(read_scores(run, "eval"))
    assert TracingSystem(copied, CPU).label_classes == {"vocoder": ["one", "two"]}
