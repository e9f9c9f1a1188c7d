"""Which runs scripts 08 and 09 mean: the trained runs of the experiment, or one run folder, whatever experiment it is of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.settings.checking import did_you_mean
from sourcetracing.settings.reading import ConfigSources, load_settings
from sourcetracing.settings.schema import Settings
from sourcetracing.training.matrix import TRAIN_COMMAND, those_trained
from sourcetracing.training.other_runs import others_line
from sourcetracing.training.run_folder import RunFolder
from sourcetracing.training.runs import TrainingRun, load_runs, set_name, system_label


def chosen_runs(config: ConfigSources, folder: str | None = None) -> tuple[list[TrainingRun], str]:
    """The trained runs that are meant, and lines on those that are not trained and those of other settings. Raises `UserError` for none."""
    if folder is not None:
        return [run_in_folder(Path(folder), config.resolve())], ""
    runs = load_runs(config)
    trained, lack = those_trained(runs)
    lines = [f"{lack}; {TRAIN_COMMAND} trains them" if lack else "", others_line(runs)]
    return trained, "\n".join(filter(None, lines))


def run_in_folder(folder: Path, settings: Settings) -> TrainingRun:
    """The run that lies in a run folder, by the settings that lie there.

    How to compute and to draw it, and whose labels of speakers to show, is up to `settings`, but for the number types and the engine, which
    the run learned with. Raises `UserError`: no such folder, no run in it, not trained to its end.
    """
    files = RunFolder(folder)
    if not files.config.is_file():
        there = [str(path) for path in Layout.of(settings).runs.glob("*/*") if RunFolder(path).config.is_file()]
        what = "holds no run (it has no config.yaml)" if folder.is_dir() else "does not exist"
        raise UserError(f"--run {folder} {what}{did_you_mean(str(folder), there) if there else f'. Run: {TRAIN_COMMAND}'}")
    if not files.is_finished:
        raise UserError(f"--run {folder} is not trained to its end. Run: {TRAIN_COMMAND}")
    own = load_settings([str(files.config)])
    learned_from = {name: getattr(own.compute, name) for name in ("precision", "encoder_precision", "engine")}
    own.compute = replace(settings.compute, **learned_from)
    own.evaluation.batch_size = settings.evaluation.batch_size
    own.executor, own.embedding_pictures, own.speakers = settings.executor, settings.embedding_pictures, settings.speakers
    train_set = set_name(own.train.languages or own.corpus.languages)
    return TrainingRun(system_label(own), train_set, own.train.seed, own, folder)
