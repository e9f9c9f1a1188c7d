"""A run trained on sources a and b, scored on train, dev and eval, with the lists that script 02 writes; source c is unknown."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from sourcetracing.features.store import FeatureStore
from sourcetracing.layout import Layout
from sourcetracing.scoring.scores import score_run
from sourcetracing.training.loop import train_run
from sourcetracing.training.runs import TrainingRun, run_of
from tests.support.small_store import small_settings, write_store

WORDS = ("corpus.sources=[a,b]", "corpus.unknown_sources=[c]", "train.languages=[en,de]", "evaluation.bootstrap_samples=40")
CPU = torch.device("cpu")


def verified_run(root: Path, *words: str) -> tuple[TrainingRun, FeatureStore]:
    """The run and its store; every utterance says something of its own, in one of two voices."""
    store = write_store(root / "features", utterances_per_group=14)
    settings = small_settings(root, *WORDS, "evaluation.splits=[train,dev,eval]", "train.lr=0.002", "train.mixup=none", *words)
    _write_lists(store, Layout.of(settings))
    run = run_of(settings, "some-store")
    train_run(run, store, CPU)
    score_run(run, store, CPU)
    return run, store


def _write_lists(store: FeatureStore, layout: Layout) -> None:
    index = store.index[store.index["variant"] == "original"]
    number = index["utt_id"].str.rpartition("/")[2].astype(int)
    table = index[["utt_id", "language", "source"]].assign(path=index["utt_id"] + ".wav", duration_s=1.0, digest="0")
    table["speaker"], table["transcript"] = [f"voice{n // 2 % 2}" for n in number], [f"sentence {n}" for n in range(len(table))]
    layout.root.mkdir(parents=True, exist_ok=True)
    table.to_csv(layout.root / "utterances.csv", index=False)
    pd.DataFrame(index[["utt_id", "split"]]).to_csv(layout.root / "protocol.csv", index=False)
