"""Run folders to trace with: one that was trained on a small corpus with an unknown source, others with random weights."""

from __future__ import annotations

from pathlib import Path

import torch

from sourcetracing.features.blocks import crop_samples
from sourcetracing.features.front_end import build_front_end
from sourcetracing.features.rows import open_store
from sourcetracing.scoring.scores import score_run
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings
from sourcetracing.training.checkpoints import learned_tensors, save_checkpoint
from sourcetracing.training.loop import train_run
from sourcetracing.training.networks import build_model
from sourcetracing.training.run_folder import RunFolder
from sourcetracing.training.runs import TrainingRun, load_run
from tests.support.small_experiment import SmallExperiment

CPU = torch.device("cpu")


def trained_run(root: Path, *, unknown: bool = True, num_utterances: int = 48) -> TrainingRun:
    """A narrow ECAPA-TDNN on half-second crops of two sources; with `unknown`, a third one has utterances in dev and eval."""
    experiment = SmallExperiment.write(root, num_utterances=num_utterances)
    if unknown:
        later = (experiment.protocol["split"] != "train") & (experiment.protocol.index % 4 == 3)
        experiment.utterances.loc[later, "source"] = "stranger"
    settings = experiment.settings("open" if unknown else "closed")
    settings.corpus.unknown_sources = ["stranger"] if unknown else []
    settings.train.epochs = 2
    experiment.prepare(settings)
    run = load_run(settings)
    train_run(run, open_store(settings), CPU)
    score_run(run, open_store(settings), CPU)  # eval alone
    return run


def random_run(folder: Path, *words: str) -> Path:
    """A run folder whose network was never trained."""
    basics = [
        "corpus.languages=[en]",
        "corpus.sources=[a,b,c]",
        "audio.crop_seconds=0.4",
        "compute.device=cpu",
        "augment.variants=[original]",
    ]
    small = ["aasist.channels=[4,8]", "aasist.gat_dims=[8,4]", "resnet18.width=4", "ecapa_tdnn.channels=8", "ecapa_raw.channels=16"]
    return write_run(folder, load_settings([*basics, *small, "aasist_raw.channels=[4,8]", "aasist_raw.gat_dims=[8,4]", *words]))


def write_run(folder: Path, settings: Settings) -> Path:
    """The files of a run with initial weights whose BatchNorm statistics are not all 0 and 1."""
    shape = build_front_end(settings).output_shape(crop_samples(settings))
    model = build_model(settings, shape)
    generator = torch.Generator().manual_seed(1)
    for name, tensor in model.named_buffers():
        if "running" in name:
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    RunFolder(folder).open(settings, CPU)
    save_checkpoint(folder / "model.safetensors", learned_tensors(model), {})
    return folder
