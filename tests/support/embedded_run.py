"""A small trained run of two languages and three sources, one of them unknown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from sourcetracing.features.rows import open_store
from sourcetracing.layout import Layout
from sourcetracing.scoring.scores import score_run
from sourcetracing.training.loop import train_run
from sourcetracing.training.runs import load_run
from tests.support.small_experiment import SmallExperiment

CPU = torch.device("cpu")


def write_trained_run(root):
    """24 utterances of three sources, the third unknown and never in train; the same stems in two languages; a run of one epoch."""
    experiment = SmallExperiment.write(root, 24)
    number = np.arange(24)
    language = np.where(number < 12, "en", "de")
    ids = [f"{code}/source{n % 3}/{n % 12}" for code, n in zip(language, number, strict=True)]
    experiment.utterances = experiment.utterances.assign(utt_id=ids, language=language, source=[f"source{n % 3}" for n in number])
    experiment.protocol["utt_id"] = ids
    settings = experiment.settings("embedded")
    settings.corpus.languages, settings.corpus.unknown_sources = ["en", "de"], ["source2"]
    settings.train.epochs, settings.train.batch_size = 1, 8
    settings.embedding_pictures.projections = ["pca", "tsne"]
    experiment.prepare(settings)
    folder = Layout.of(settings).root
    table = pd.read_csv(folder / "utterances.csv", dtype=str)
    table["speaker"] = [f"speaker{n % 4}" if n % 6 else "" for n in number]  # not every speaker is known
    table.to_csv(folder / "utterances.csv", index=False)
    lines = [f"{name:<50}|{n:<3}|{'OOD' if n == 2 else 'ID'}\n" for n, name in enumerate(["source0", "source1", "source2"])]
    Layout.of(settings).label_assignment.write_text("".join(lines))
    run = load_run(settings)
    train_run(run, open_store(settings), CPU)
    return run


def score_here(run):
    """Scores train, dev and eval in this process."""
    everything = replace(run.settings, evaluation=replace(run.settings.evaluation, splits=["train", "dev", "eval"]))
    score_run(replace(run, settings=everything), open_store(run.settings), CPU)


def modification_times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
