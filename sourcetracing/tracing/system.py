"""A trained system from its run folder alone: waveforms in, embeddings and logits out, as if they had come by way of the feature store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sourcetracing.audio.conditioning import shaped
from sourcetracing.errors import UserError
from sourcetracing.features.blocks import crop_samples
from sourcetracing.features.front_end import FrontEnd, build_front_end
from sourcetracing.features.rows import open_store
from sourcetracing.layout import RunLayout
from sourcetracing.runtime.compute import autocast
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.runtime.words import remember_words
from sourcetracing.scoring.scores import is_scored, score_run
from sourcetracing.settings.reading import read_config
from sourcetracing.settings.recorded import CURE_SETTINGS, value_of
from sourcetracing.settings.schema import Settings
from sourcetracing.training.checkpoints import load_trained
from sourcetracing.training.label_classes import head_sizes, recorded_classes
from sourcetracing.training.networks import build_model
from sourcetracing.training.runs import TrainingRun, set_name, system_label

NUM_NAMED = 3


class TracingSystem:
    """Front-end and back-end of one run, in evaluation mode.

    `classes` are its sources in the order of the logits, `run` is the run with its settings, `weights` the digest of its checkpoint,
    `label_classes` those of its further heads (`train.labels`), by label; their logits come behind those of the sources in `model`.
    front_end: one of the same settings that is there already.
    """

    def __init__(self, run: TrainingRun, device: torch.device, front_end: FrontEnd | None = None):
        self.run, self.settings, self.device = run, run.settings, device
        self.classes: list[str] = run.settings.corpus.sources
        self.window_samples = crop_samples(run.settings)
        weights = run.files.weights
        self.front_end = front_end or build_front_end(run.settings)
        self.feature_shape = self.front_end.output_shape(self.window_samples)
        self.label_classes = recorded_classes(run.files, run.settings)
        model = build_model(run.settings, self.feature_shape, head_sizes(self.label_classes))
        load_trained(model, weights)
        self.model = model.eval().to(device)
        self.weights = digest_of_file(weights)

    @torch.inference_mode()
    def __call__(self, waveforms: np.ndarray | Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Waveforms (B, samples) float32 at `audio.sample_rate`, each a window long -> embeddings (B, E), logits (B, C), float32.

        They are shaped (`sourcetracing.audio.conditioning`) and their features rounded to `store.dtype`, as those that the network was
        trained on. Rows that do not fit it come out as NaN.
        """
        return self.judge(self.features(waveforms))

    def features(self, waveforms: np.ndarray | Tensor) -> Tensor:
        """What of waveforms (B, samples) a store would hold, (B, ...) in `store.dtype`: the same for all runs of one front-end."""
        heard = shaped(np.asarray(waveforms, dtype=np.float32), self.settings.audio)
        return self.front_end(torch.as_tensor(heard)).to(getattr(torch, self.settings.store.dtype))

    @torch.inference_mode()
    def judge(self, features: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings (B, E), logits (B, C), float32, of `features`."""
        stored = features.to(self.device).float()
        with autocast(self.device, self.settings.compute.precision):
            embedding, logits = self.model(stored)
        return embedding.float().cpu().numpy(), logits[:, : len(self.classes)].float().cpu().numpy()


def run_in_folder(run_folder: str | Path, changes: Sequence[str] = ()) -> TrainingRun:
    """The run of a run folder, by the config.yaml in it and then `changes`, key=value words.

    Raises `UserError` for a folder that holds no run or one of other classes.
    """
    folder, config = Path(run_folder), RunLayout(Path(run_folder)).config
    if not config.is_file():
        raise UserError(f"--run {folder} {_what_is_wrong(folder)}")
    settings = read_config([str(config), *changes]).resolve()
    _check_sound(folder, settings, read_config([str(config)]).resolve())
    remember_words([str(config), f"system={settings.system}", *changes])  # commands that messages name are about this run
    encoder = RunLayout(folder).encoder
    if settings.ssl.model == encoder.name and encoder.is_dir():
        settings.ssl.model = str(encoder)
    _check_classes(folder, settings)
    train_set = set_name(settings.train.languages or settings.corpus.languages)
    return TrainingRun(system_label(settings), train_set, settings.train.seed, settings, folder)


def _what_is_wrong(folder: Path) -> str:
    if not folder.is_dir():
        return "is no folder. Runs lie in exp/<name>/runs/<system>/; train one: python scripts/05_train_matrix.py CONFIG.yaml"
    below = [path for pattern in ("*", "*/*", "*/*/*") for path in folder.glob(pattern)]
    runs = sorted(path for path in below if RunLayout(path).config.is_file())
    if not runs:
        return "is no run folder: there is no config.yaml in it. Train one: python scripts/05_train_matrix.py CONFIG.yaml"
    more = f" and {len(runs) - NUM_NAMED} more" if len(runs) > NUM_NAMED else ""
    return f"is no run folder, but holds some; name one of them: {', '.join(map(str, runs[:NUM_NAMED]))}{more}"


def _check_sound(folder: Path, settings: Settings, trained: Settings) -> None:
    """What a system hears must be what it was trained on: its cures, sampling rate and crop; its channel may be another."""
    names = [f"audio.{name}" for name in (*CURE_SETTINGS, "sample_rate", "crop_seconds")]
    if changed := [name for name in names if value_of(settings, name) != value_of(trained, name)]:
        now, was = (f"{changed[0]}={value_of(one, changed[0])}" for one in (settings, trained))
        raise UserError(f"{now}: {folder} was trained with {was}, and hears nothing else. Leave it out, or train a system with it")


def _check_classes(folder: Path, settings: Settings) -> None:
    path = RunLayout(folder).classes
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


def score_splits(run: TrainingRun, splits: Sequence[str], device: torch.device) -> None:
    """Scores those splits of a run that have no scores yet; needs its feature store then. Raises `UserError`."""
    missing = [split for split in splits if not is_scored(run, split)]
    if not missing:
        return
    print(f"scoring {', '.join(missing)} of {run.folder} (once)", flush=True)
    evaluation = replace(run.settings.evaluation, splits=missing, embeddings=True)
    score_run(replace(run, settings=replace(run.settings, evaluation=evaluation)), open_store(run.settings), device)
