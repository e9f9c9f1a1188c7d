"""Where noises and room responses for a corpus of the user's own may lie already."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sourcetracing.corpora import noise_corpora
from sourcetracing.corpora.looking import is_musan, is_rirs, noise_folders_in
from sourcetracing.errors import UserError
from sourcetracing.features.noise_files import find_clips
from sourcetracing.settings.frontends import VARIANTS
from sourcetracing.settings.paths import Paths
from sourcetracing.settings.schema import Settings

_USUAL = {"musan": ("data/musan", Paths().musan), "rirs": ("data/RIRS_NOISES", Paths().rirs)}


def find_noises(place: Path) -> dict[str, str]:
    """{"musan": folder, "rirs": folder} where both are complete: in the corpus folder, beside it, or where this project puts them."""
    folder = place if place.is_dir() else place.parent
    near = [found for near in (folder, folder.parent) for found in _noise_folders(near)]
    found = {key: _first(near, key, fits) for key, fits in (("musan", is_musan), ("rirs", is_rirs))}
    return {key: str(path) for key, path in found.items() if path} if all(found.values()) and _are_complete(found) else {}


def _noise_folders(folder: Path) -> list[Path]:
    try:
        return noise_folders_in(folder)
    except OSError:  # a folder that may not be read
        return []


def _first(near: list[Path], key: str, fits: Callable[[Path], bool]) -> Path | None:
    return next((path for path in [*near, *map(Path, _USUAL[key])] if path.is_dir() and fits(path)), None)


def _are_complete(found: dict[str, Path | None]) -> bool:
    settings = Settings()
    settings.augment.variants = list(VARIANTS)
    settings.paths.musan, settings.paths.rirs = str(found["musan"]), str(found["rirs"])
    try:
        for noise in noise_corpora.needed_corpora(settings):
            noise_corpora.check(noise, settings)
        find_clips(settings)
    except UserError:
        return False
    return True
