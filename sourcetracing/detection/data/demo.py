"""Makes the demo corpora for detection. Bona fide is PLAYED BY synthetic speech (`demo_plan`): results say nothing about real voices."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from sourcetracing.detection.data.corpora.listed import DEMO_COLUMNS, demo_list
from sourcetracing.detection.data.demo_plan import STAND_INS, DemoFile, plan_files, repeated
from sourcetracing.detection.data.demo_speech import make_file
from sourcetracing.detection.data.groups import used_subsets
from sourcetracing.detection.data.manifest import root_of
from sourcetracing.errors import UserError
from sourcetracing.runtime.extras import ABSENT, version_of
from sourcetracing.runtime.files import write_csv, write_json, write_text
from sourcetracing.runtime.parallel import resolve_workers
from sourcetracing.settings.schema import Settings
from sourcetracing.synthesis import make
from sourcetracing.synthesis.espeak import require_espeak
from sourcetracing.synthesis.tiny_encoder import FOLDER_NAME, is_complete, write_tiny_encoder

RECIPE_VERSION = 2  # goes up with every change that makes other bytes from the same settings
READ_ME = (
    f"Synthetic speech, all of it. Bona fide is PLAYED BY the sources {' and '.join(STAND_INS)}; "
    "the others are the spoof. Numbers made with these files mean nothing about real speech.\n"
)


def make_demo(settings: Settings) -> int:
    """Makes what is missing of every subset in use and its list, and a tiny encoder; returns the number of files made now.

    Raises `UserError` where the folder was made with other settings.
    """
    folder = Path(settings.detection.demo_folder)
    plans = {subset: plan_files(settings, subset) for subset in used_subsets(settings)}
    jobs = [
        make.Job(make_file, file, str(root_of(settings, subset)), settings.seed)
        for subset, files in plans.items()
        for file in files
        if not (root_of(settings, subset) / file.path).exists()
    ]
    if jobs:
        require_espeak()
    _claim(folder, settings)
    if jobs:
        make.make_all(jobs, resolve_workers(settings.compute.workers))
    for subset, files in plans.items():
        _write_list(demo_list(root_of(settings, subset), subset), [*files, *repeated(files)])
    if not is_complete(encoder := folder / FOLDER_NAME):
        write_tiny_encoder(encoder, settings.seed)
    return len(jobs)


def _claim(folder: Path, settings: Settings) -> None:
    """Writes the recipe and a warning into a new folder. Raises `UserError` for one that was made from another recipe."""
    path = folder / "recipe.json"
    detection = settings.detection
    recipe = {
        "recipe_version": RECIPE_VERSION,
        "seed": settings.seed,
        "detection.demo_files": detection.demo_files,
        "detection.demo_test_files": detection.demo_test_files,
        "espeakng-loader": version_of("espeakng-loader"),
    }
    if not path.exists():
        write_text(folder / "README.txt", READ_ME)
        write_json(path, recipe)
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    if differing := [key for key in recipe if recipe[key] not in (found.get(key), ABSENT)]:
        was, now = (", ".join(f"{key}={each.get(key)}" for key in differing) for each in (found, recipe))
        raise UserError(f"{folder} was made with {was}, the settings say {now}. Delete that folder or give another detection.demo_folder")


def _write_list(path: Path, files: list[DemoFile]) -> None:
    rows = [(file.path, file.label, file.utterance.voice.name, file.recording, _source_text(file)) for file in files]
    write_csv(pd.DataFrame(rows, columns=list(DEMO_COLUMNS)), path, lineterminator="\r\n")


def _source_text(file: DemoFile) -> str:
    source = file.utterance.source
    return f"{source} (plays bona fide)" if source in STAND_INS else source
