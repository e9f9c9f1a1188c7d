"""A trained system from its run folder alone: waveforms in, embeddings and logits out, as if they had come by way of the feature store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sourcetracing.checkpoints import load_checkpoint, load_weights
from sourcetracing.compute import autocast
from sourcetracing.config import Settings
from sourcetracing.errors import UserError
from sourcetracing.experiments import Cell, set_name, system_label
from sourcetracing.extraction import crop_samples
from sourcetracing.feature_data import open_store
from sourcetracing.files import digest_of_file
from sourcetracing.front_end import build_front_end
from sourcetracing.networks import build_model
from sourcetracing.run_folder import RunFolder
from sourcetracing.scoring import is_scored, score_cell
from sourcetracing.settings_io import read_layers

NUM_NAMED = 3


class TracingSystem:
    """Front-end and back-end of one run, in evaluation mode.

    `classes` are its sources in the order of the logits, `cell` is the run with its settings, `weights` the digest of its checkpoint.
    """

    def __init__(self, cell: Cell, device: torch.device):
        self.cell, self.settings, self.device = cell, cell.settings, device
        self.classes: list[str] = cell.settings.corpus.sources
        self.window_samples = crop_samples(cell.settings)
        weights = RunFolder(cell.folder).weights
        tensors, _ = load_checkpoint(weights)
        self.front_end = build_front_end(cell.settings)
        self.feature_shape = self.front_end.output_shape(self.window_samples)
        model = build_model(cell.settings, self.feature_shape)
        load_weights(model, tensors, str(weights))
        self.model = model.eval().to(device)
        self.weights = digest_of_file(weights)

    @torch.inference_mode()
    def __call__(self, waveforms: np.ndarray | Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Waveforms (B, samples) float32 at `audio.sample_rate`, each a window long -> embeddings (B, E), logits (B, C), float32.

        Features are rounded to `store.dtype`, as those that the network was trained on. Rows that do not fit it come out as NaN.
        """
        features = self.front_end(torch.as_tensor(waveforms, dtype=torch.float32))
        stored = features.to(getattr(torch, self.settings.store.dtype)).to(self.device).float()
        with autocast(self.device, self.settings.compute.precision):
            embedding, logits = self.model(stored)
        return embedding.float().cpu().numpy(), logits.float().cpu().numpy()


def load_system(run_folder: str | Path, device: torch.device, changes: Sequence[str] = ()) -> TracingSystem:
    """The system of a run folder. changes: key=value words that differ from its config.yaml. Raises `UserError`."""
    return TracingSystem(load_run(run_folder, changes), device)


def load_run(run_folder: str | Path, changes: Sequence[str] = ()) -> Cell:
    """The cell of a run folder, from the config.yaml in it. Raises `UserError` for a folder that holds no run or one of other classes."""
    folder = Path(run_folder)
    if not (folder / "config.yaml").is_file():
        raise UserError(f"--run {folder} {_what_is_wrong(folder)}")
    settings = read_layers([str(folder / "config.yaml"), *changes]).resolve()
    _check_classes(folder, settings)
    train_set = set_name(settings.train.languages or settings.corpus.languages)
    return Cell(system_label(settings), train_set, settings.train.seed, settings, folder)


def _what_is_wrong(folder: Path) -> str:
    if not folder.is_dir():
        return "is no folder. Runs lie in exp/<name>/runs/<system>/; train one: python scripts/05_train_matrix.py CONFIG.yaml"
    runs = sorted(
        path.parent for path in [*folder.glob("*/config.yaml"), *folder.glob("*/*/config.yaml"), *folder.glob("*/*/*/config.yaml")]
    )
    if not runs:
        return "is no run folder: there is no config.yaml in it. Train one: python scripts/05_train_matrix.py CONFIG.yaml"
    more = f" and {len(runs) - NUM_NAMED} more" if len(runs) > NUM_NAMED else ""
    return f"is no run folder, but holds some; name one of them: {', '.join(map(str, runs[:NUM_NAMED]))}{more}"


def _check_classes(folder: Path, settings: Settings) -> None:
    path = folder / "classes.json"
    if not path.is_file():
        return
    try:
        classes = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{path} is damaged. Run the training of {folder} again") from None
    if classes != settings.corpus.sources:
        raise UserError(
            f"{folder} was trained on the classes {classes}, but its settings say corpus.sources={settings.corpus.sources}: "
            "the names would be wrong. Use the config.yaml that belongs to the run"
        )


def score_splits(cell: Cell, splits: Sequence[str], device: torch.device) -> None:
    """Scores those splits of a run that have no scores yet; needs its feature store then. Raises `UserError`."""
    missing = [split for split in splits if not is_scored(cell, split)]
    if not missing:
        return
    print(f"scoring {', '.join(missing)} of {cell.folder} (once)", flush=True)
    evaluation = replace(cell.settings.evaluation, splits=missing, embeddings=True)
    score_cell(replace(cell, settings=replace(cell.settings, evaluation=evaluation)), open_store(cell.settings), device)
