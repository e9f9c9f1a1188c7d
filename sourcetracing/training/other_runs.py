"""Runs of an experiment that were trained with other settings than those at hand, and what differs: by their own record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.settings.reading import read_yaml
from sourcetracing.settings.recorded import in_words, value_of
from sourcetracing.settings.schema import Settings
from sourcetracing.training.run_folder import RunFolder
from sourcetracing.training.runs import TrainingRun, settings_of_recipe

NUM_NAMED = 3  # settings of a run that was trained otherwise
LIST_COMMAND = "python scripts/list_runs.py CONFIG.yaml"


def trained_otherwise(run: TrainingRun, known: Sequence[TrainingRun] = ()) -> str:
    """`; with train.epochs=3 there is FOLDER`: the trained run of this system that differs least in its settings; "" where there is none.

    So runs of a GPU are found without one, and those of another command line. known: runs that are no news.
    """
    found = []
    for folder in sorted(run.folder.parent.glob("*-seed*-*")):
        if folder in {run.folder, *(one.folder for one in known)} or not (files := RunFolder(folder)).is_finished:
            continue
        if differing := what_differs(files, run.settings):
            found.append((len(differing), str(folder), differing))
    if not found:
        return ""
    count, folder, differing = min(found, key=lambda one: one[:2])
    more = f" and {count - NUM_NAMED} more" if count > NUM_NAMED else ""
    return f"; with {in_words(differing, list(differing)[:NUM_NAMED])}{more} there is {folder}"


def what_differs(files: RunFolder, settings: Settings) -> dict[str, Any]:
    """Name -> a run's own value, of the settings that decide what it learns and are not what `settings` (resolved) say."""
    recorded = recorded_settings(files, settings_of_recipe(settings))
    return {name: value for name, value in recorded.items() if value not in ("auto", value_of(settings, name))}


def recorded_settings(files: RunFolder, names: Sequence[str]) -> dict[str, Any]:
    """Name -> value of those settings that a run's config.yaml has; {} where that is missing or was cut off."""
    try:
        config = read_yaml(files.config)
    except UserError:
        return {}
    places = ((name, *name.split(".")) for name in names)
    return {name: config[group][key] for name, group, key in places if isinstance(config.get(group), dict) and key in config[group]}


def run_folders(settings: Settings) -> list[Path]:
    """Everything that lies where runs lie, exp/<name>/runs/<system>/*, in the order of names; hidden files apart."""
    return sorted(path for path in Layout.of(settings).runs.glob("*/*") if not path.name.startswith("."))


def others_line(runs: Sequence[TrainingRun]) -> str:
    """How many more runs the experiment of these has, and what tells of them; "" without any. runs: all that its settings ask for."""
    known = {run.folder for run in runs}
    others = [path for path in run_folders(runs[0].settings) if path not in known and RunFolder(path).config.is_file()] if runs else []
    if not others:
        return ""
    are = "1 more run is" if len(others) == 1 else f"{len(others)} more runs are"
    return f"{are} in {Layout.of(runs[0].settings).runs}, of other settings or training sets: {LIST_COMMAND} says what differs"
