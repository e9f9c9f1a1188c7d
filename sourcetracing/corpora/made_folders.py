"""Folders of audio that the project synthesizes: claimed by a recipe before the first file, never continued with other settings or tools.

`recipe.json` in a folder names what determines its bytes. Noises and rooms are the same for every corpus that is made here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from sourcetracing.corpora.corpus import Resource
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import write_json
from sourcetracing.runtime.parallel import resolve_workers
from sourcetracing.settings.corpora import DEMO_CHANGES
from sourcetracing.settings.recorded import value_of
from sourcetracing.settings.schema import Settings
from sourcetracing.synthesis import make, plan
from sourcetracing.synthesis.espeak import require_espeak

RECIPE_VERSION = 2  # goes up with every change that makes other bytes from the same settings
RECIPE_NAME = "recipe.json"
# Settings that came later: at their defaults they are not written, and a folder that does not name them was made with those.
_ADDED_KEYS = {name: value_of(Settings(), name) for name in DEMO_CHANGES}
_NOISE_KEYS = ("noises_per_category", "noise_seconds", "long_noises_per_category", "long_noise_seconds")
_ROOM_KEYS = ("rirs_per_room_size",)


@dataclass(frozen=True)
class MadeFolder:
    """What shall be in one folder and how a file of it is made."""

    setting: str  # of paths, that names the folder
    root: Path
    recipe: dict[str, object]
    entries: list  # with a path below root: plan.Utterance, plan.NoiseFile, plan.RoomFile, awkward.AwkwardFile
    make_file: Callable

    def missing(self) -> list:
        return [entry for entry in self.entries if not (self.root / entry.path).exists()]

    def is_foreign(self) -> bool:
        """True where somebody put a real MUSAN or RIRS_NOISES: used as it is, never written to."""
        return not (self.root / RECIPE_NAME).exists() and any(self.root.glob("*/*/**/*.wav"))


def noise_folders(settings: Settings) -> list[MadeFolder]:
    """Noises and room responses; of a folder with somebody else's nothing is to be made."""
    demo, paths = settings.demo, settings.paths
    noises = plan.plan_noises(demo.noises_per_category, demo.noise_seconds, demo.long_noises_per_category, demo.long_noise_seconds)
    rooms = plan.plan_rooms(demo.rirs_per_room_size)
    return [
        _without_foreign(MadeFolder("musan", Path(paths.musan), recipe_of(settings, *_NOISE_KEYS), noises, make.make_noise_file)),
        _without_foreign(MadeFolder("rirs", Path(paths.rirs), recipe_of(settings, *_ROOM_KEYS), rooms, make.make_room_file)),
    ]


def recipe_of(settings: Settings, *keys: str) -> dict[str, object]:
    """What decides the bytes of a folder: the seed and these settings of the demo."""
    named = {f"demo.{key}": getattr(settings.demo, key) for key in keys}
    return {"recipe_version": RECIPE_VERSION, "seed": seed_of_audio(settings), **named}


def seed_of_audio(settings: Settings) -> int:
    """demo.seed, or `seed` where that is left open."""
    return settings.seed if settings.demo.seed < 0 else settings.demo.seed


def make_folders(folders: list[MadeFolder], settings: Settings) -> None:
    """Makes what is missing; existing files are kept. Raises UserError for a folder made otherwise, or with files of unknown origin."""
    for folder in folders:
        _claim(folder)
    seed = seed_of_audio(settings)
    jobs = [make.Job(folder.make_file, entry, str(folder.root), seed) for folder in folders for entry in folder.missing()]
    if not jobs:
        return
    require_espeak()
    for folder in folders:
        _require_same_tools(folder)
        _sweep(folder.root)
    make.make_all(jobs, resolve_workers(settings.compute.workers))


def made_resources(corpus: str, folders: list[MadeFolder]) -> list[Resource]:
    """For script 01 --dry-run; nothing is fetched, espeak-ng and numpy make them."""
    return [
        Resource(f"{corpus} {folder.setting} ({count} files)", "made here", 0, "MIT (yours)", str(folder.root), is_here=not count)
        for folder, count in [(folder, len(folder.missing())) for folder in folders]
    ]


def _without_foreign(folder: MadeFolder) -> MadeFolder:
    return replace(folder, entries=[]) if folder.is_foreign() else folder


def _claim(folder: MadeFolder) -> None:
    """Writes the recipe into a new folder. Raises UserError for a folder made from another recipe, or with files of unknown origin."""
    path = folder.root / RECIPE_NAME
    if not folder.entries:
        return
    if not path.exists():
        if folder.setting == "corpus" and (there := [entry.path for entry in folder.entries if (folder.root / entry.path).exists()]):
            raise UserError(
                f"{folder.root} holds audio that this script did not make ({there[0]}, and no {RECIPE_NAME}). Give another paths.corpus"
            )
        if folder.setting == "corpus" and any((folder.root / "fake").glob("*/*/*.wav")):
            raise UserError(f"{folder.root}/fake holds audio that this script did not make (no {RECIPE_NAME}). Give another paths.corpus")
        written = {key: value for key, value in folder.recipe.items() if key not in _ADDED_KEYS or value != _ADDED_KEYS[key]}
        write_json(path, {"settings": written, "made_with": _tools()})
        return
    found = _ADDED_KEYS | _read_recipe(path)["settings"]
    differing = [key for key in folder.recipe if found.get(key) != folder.recipe[key]]
    if differing:
        was, now = (", ".join(f"{key}={recipe.get(key)}" for key in differing) for recipe in (found, folder.recipe))
        raise UserError(
            f"{folder.root} was made with {was}, the settings say {now}. Delete that folder or give another paths.{folder.setting}"
        )


def _require_same_tools(folder: MadeFolder) -> None:
    """Half a corpus from one espeak-ng and half from another would be a corpus of twice as many sources."""
    if not folder.entries or not folder.missing():
        return
    found, now = _read_recipe(folder.root / RECIPE_NAME)["made_with"], _tools()
    if found != now:
        raise UserError(
            f"{folder.root} was begun with {found}, installed is {now}. Delete that folder or give another paths.{folder.setting}"
        )


def _tools() -> dict[str, str]:
    require_espeak()
    return {"espeakng-loader": version("espeakng-loader")}


def _read_recipe(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _sweep(root: Path) -> None:
    """Removes what killed processes left half-written."""
    for path in root.rglob(".*.partial.*"):
        path.unlink(missing_ok=True)
