"""The demo corpus: synthetic speech, noises and rooms that the project makes itself, in the layouts of MLAAD, MUSAN and RIRS_NOISES.

`recipe.json` in each of the three folders is written first and names what determines its bytes, so a folder is never continued with
other settings. Languages and sources are not in it: more of them can be added to a corpus later.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import soundfile

from sourcetracing.corpora.corpus import Corpus, Resource, require_names
from sourcetracing.corpora.mlaad import META_COLUMNS, read_utterances
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import write_json, write_text
from sourcetracing.runtime.parallel import resolve_workers
from sourcetracing.settings.schema import Settings
from sourcetracing.synthesis import make, plan
from sourcetracing.synthesis.espeak import require_espeak
from sourcetracing.synthesis.tiny_encoder import FOLDER_NAME, is_complete, write_tiny_encoder
from sourcetracing.synthesis.vocoders import checkpoint_settings

RECIPE_VERSION = 2  # goes up with every change that makes other bytes from the same settings
RECIPE_NAME = "recipe.json"


@dataclass(frozen=True)
class _Part:
    """One of the three folders: what shall be in it and how a file of it is made."""

    setting: str  # that names the folder
    root: Path
    recipe: dict[str, object]
    entries: list  # of plan.Utterance, plan.NoiseFile or plan.RoomFile
    make_file: Callable

    def missing(self) -> list:
        return [entry for entry in self.entries if not (self.root / entry.path).exists()]

    def is_foreign(self) -> bool:
        """True where somebody put a real MUSAN or RIRS_NOISES: used as it is, never written to."""
        return not (self.root / RECIPE_NAME).exists() and any(self.root.glob("*/*/**/*.wav"))


class DemoCorpus(Corpus):
    """Its files are the noises and room responses too."""

    def download(self) -> None:
        """Makes what is missing below paths.corpus, paths.musan and paths.rirs; existing files are kept. Raises UserError (see `_claim`).

        Beside the speech lies an SSL encoder that has learned nothing, for systems that want one offline: ssl.model=<corpus>/tiny_wav2vec2.
        """
        settings, parts = self.settings, _parts(self.settings)
        for part in parts:
            _claim(part)
        jobs = [make.Job(part.make_file, entry, str(part.root), settings.seed) for part in parts for entry in part.missing()]
        if jobs:
            require_espeak()
            for part in parts:
                _require_same_tools(part)
                _sweep(part.root)
            make.make_all(jobs, resolve_workers(settings.compute.workers))
        _write_meta(parts[0])
        if not is_complete(encoder := self.root / FOLDER_NAME):
            write_tiny_encoder(encoder, settings.seed)

    def prepare(self) -> pd.DataFrame:
        return read_utterances(self.root, self.settings.corpus.languages, _sources(self.settings), plan.speaker_of)

    def files(self) -> pd.DataFrame:
        rows = [
            (str(part.root / entry.path), *_place_of(part, entry), (part.root / entry.path).exists())
            for part in _parts(self.settings)
            for entry in part.entries
        ]
        return pd.DataFrame(rows, columns=["path", "language", "source", "present"])

    def check(self) -> dict[str, int]:
        """Number of utterances, noises and room responses, all of which are there."""
        super().check()
        return {name: len(part.entries) for name, part in zip(("utterances", "noises", "rirs"), _parts(self.settings), strict=True)}

    def resources(self) -> list[Resource]:
        """The three folders; nothing is fetched, espeak-ng and numpy make them."""
        made = [(part, len(part.missing())) for part in _parts(self.settings)]
        return [
            Resource(f"demo {part.setting} ({count} files)", "made here", 0, "MIT (yours)", str(part.root), is_here=not count)
            for part, count in made
        ]


def _place_of(part: _Part, entry: plan.Utterance | plan.NoiseFile | plan.RoomFile) -> tuple[str, str]:
    """(language, source); those of a noise are "-" and its folder."""
    return (entry.language, entry.source) if part.setting == "corpus" else ("-", part.root.name)


def _sources(settings: Settings) -> list[str]:
    """Classes first; [all] = every other source that can be made."""
    corpus = settings.corpus
    unknown = list(plan.ARCHITECTURES) if corpus.unknown_sources == ["all"] else corpus.unknown_sources
    return list(dict.fromkeys([*corpus.sources, *unknown]))


def _parts(settings: Settings) -> list[_Part]:
    """Corpus, noises, room responses; a folder with somebody else's noises or responses is left out of the making."""
    demo, seed = settings.demo, settings.seed
    sources = _sources(settings)
    require_names("corpus.languages", settings.corpus.languages, plan.LOCALES, "the demo corpus")
    require_names("corpus.sources", sources, plan.ARCHITECTURES, "the demo corpus")
    utterances = plan.plan_utterances(settings.corpus.languages, sources, demo.utterances_per_source, demo.speakers_per_language, seed)
    noises = plan.plan_noises(demo.noises_per_category, demo.noise_seconds, demo.long_noises_per_category, demo.long_noise_seconds)
    rooms = plan.plan_rooms(demo.rirs_per_room_size)
    return [
        _Part("corpus", Path(settings.paths.corpus), _recipe(settings, *_CORPUS_KEYS), utterances, make.make_utterance),
        _without_foreign(_Part("musan", Path(settings.paths.musan), _recipe(settings, *_NOISE_KEYS), noises, make.make_noise_file)),
        _without_foreign(_Part("rirs", Path(settings.paths.rirs), _recipe(settings, *_ROOM_KEYS), rooms, make.make_room_file)),
    ]


_CORPUS_KEYS = ("utterances_per_source", "speakers_per_language")
_NOISE_KEYS = ("noises_per_category", "noise_seconds", "long_noises_per_category", "long_noise_seconds")
_ROOM_KEYS = ("rirs_per_room_size",)


def _recipe(settings: Settings, *keys: str) -> dict[str, object]:
    return {"recipe_version": RECIPE_VERSION, "seed": settings.seed, **{f"demo.{key}": getattr(settings.demo, key) for key in keys}}


def _without_foreign(part: _Part) -> _Part:
    return _Part(part.setting, part.root, part.recipe, [], part.make_file) if part.is_foreign() else part


def _claim(part: _Part) -> None:
    """Writes the recipe into a new folder. Raises UserError for a folder made from another recipe, or with files of unknown origin."""
    path = part.root / RECIPE_NAME
    if not part.entries:
        return
    if not path.exists():
        if part.setting == "corpus" and any((part.root / "fake").glob("*/*/*.wav")):
            raise UserError(f"{part.root}/fake holds audio that this script did not make (no {RECIPE_NAME}). Give another paths.corpus")
        write_json(path, {"settings": part.recipe, "made_with": _tools()})
        return
    found = _read_recipe(path)["settings"]
    differing = [key for key in part.recipe if found.get(key) != part.recipe[key]]
    if differing:
        was, now = (", ".join(f"{key}={recipe.get(key)}" for key in differing) for recipe in (found, part.recipe))
        raise UserError(f"{part.root} was made with {was}, the settings say {now}. Delete that folder or give another paths.{part.setting}")


def _require_same_tools(part: _Part) -> None:
    """Half a corpus from one espeak-ng and half from another would be a corpus of five sources."""
    if not part.entries or not part.missing():
        return
    found, now = _read_recipe(part.root / RECIPE_NAME)["made_with"], _tools()
    if found != now:
        raise UserError(f"{part.root} was begun with {found}, installed is {now}. Delete that folder or give another paths.{part.setting}")


def _tools() -> dict[str, str]:
    require_espeak()
    return {"espeakng-loader": version("espeakng-loader")}


def _read_recipe(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _sweep(root: Path) -> None:
    """Removes what killed processes left half-written."""
    for path in root.rglob(".*.partial.*"):
        path.unlink(missing_ok=True)


def _write_meta(part: _Part) -> None:
    """MLAAD's meta.csv for each model directory that has none."""
    by_folder: dict[Path, list[plan.Utterance]] = {}
    for utterance in part.entries:
        by_folder.setdefault((part.root / utterance.path).parent, []).append(utterance)
    for folder, utterances in by_folder.items():
        if not (folder / "meta.csv").exists():
            write_text(
                folder / "meta.csv",
                "\n".join(["|".join(META_COLUMNS), *(_meta_row(part.root, utterance) for utterance in utterances)]) + "\n",
            )


def _meta_row(root: Path, utterance: plan.Utterance) -> str:
    """One row, fields free of the separator; training_data names the vocoder's settings, the nearest thing it has."""
    settings = checkpoint_settings(utterance.source, utterance.language)
    fields = (
        f"./{utterance.path}",
        utterance.original_file,
        utterance.language,
        "True",
        f"{soundfile.info(root / utterance.path).duration:.4f}",
        " ".join(f"{key}={value}" for key, value in settings.items()) or "none",
        utterance.source,
        plan.ARCHITECTURES[utterance.source],
        utterance.transcript,
    )
    assert not any("|" in field for field in fields)
    return "|".join(fields)
