"""Makes the demo corpora for detection. Bona fide is PLAYED BY synthetic speech (`demo_plan`): results say nothing about real voices."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path

from sourcetracing.detection.data.demo_plan import STAND_INS, DemoFile, plan_files, repeated
from sourcetracing.detection.data.demo_speech import Job, run_job
from sourcetracing.detection.data.groups import used_subsets
from sourcetracing.detection.data.manifest import root_of
from sourcetracing.errors import UserError
from sourcetracing.runtime.extras import ABSENT, version_of
from sourcetracing.runtime.files import atomic_path, write_json
from sourcetracing.runtime.parallel import map_unordered, resolve_workers
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.schema import Settings
from sourcetracing.synthesis import make
from sourcetracing.synthesis.espeak import require_espeak
from sourcetracing.synthesis.tiny_encoder import FOLDER_NAME, is_complete, write_tiny_encoder

RECIPE_VERSION = 2  # goes up with every change that makes other bytes from the same settings
LIST_COLUMNS = ("path", "label", "speaker", "recording", "source")
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
        Job(file, str(root_of(settings, subset)), settings.seed)
        for subset, files in plans.items()
        for file in files
        if not (root_of(settings, subset) / file.path).exists()
    ]
    if jobs:
        require_espeak()
    _claim(folder, settings)
    if jobs:
        _run(jobs, resolve_workers(settings.compute.workers))
    for subset, files in plans.items():
        _write_list(list_path(settings, subset), [*files, *repeated(files)])
    if not is_complete(encoder := folder / FOLDER_NAME):
        write_tiny_encoder(encoder, settings.seed)
    return len(jobs)


def list_path(settings: Settings, subset: str) -> Path:
    """The list of a subset's files: path, label, speaker, recording, and the source that made it."""
    return root_of(settings, subset) / f"{subset}.csv"


def _run(jobs: list[Job], workers: int) -> None:
    """One process per worker, since espeak-ng is not thread-safe; a folder of its own for each."""
    with tempfile.TemporaryDirectory(prefix="espeak-") as folder:
        made = map_unordered(run_job, jobs, num_workers=workers, initializer=make.start_worker, initargs=(folder,))
        for _ in bar(made, total=len(jobs), desc="Synthesizing", unit="file"):
            pass


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
        with atomic_path(folder / "README.txt") as partial:
            partial.write_text(READ_ME, encoding="utf-8")
        write_json(path, recipe)
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    if differing := [key for key in recipe if recipe[key] not in (found.get(key), ABSENT)]:
        was, now = (", ".join(f"{key}={each.get(key)}" for key in differing) for each in (found, recipe))
        raise UserError(f"{folder} was made with {was}, the settings say {now}. Delete that folder or give another detection.demo_folder")


def _write_list(path: Path, files: list[DemoFile]) -> None:
    with atomic_path(path) as partial, open(partial, "w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(LIST_COLUMNS)
        for file in files:
            writer.writerow((file.path, file.label, file.utterance.voice.name, file.recording, _source_text(file)))


def _source_text(file: DemoFile) -> str:
    source = file.utterance.source
    return f"{source} (plays bona fide)" if source in STAND_INS else source
