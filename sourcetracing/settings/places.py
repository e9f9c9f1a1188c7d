"""Where configs/ lies: in a checkout beside the package, in an installed package inside it (setup.py puts it there)."""

from __future__ import annotations

from pathlib import Path

PACKAGE_ROOT = Path(__file__).resolve().parents[1]
PROJECT_ROOT = PACKAGE_ROOT.parent  # of a checkout; of an installed package the folder that Python finds it in
IS_CHECKOUT = not (PACKAGE_ROOT / "configs").is_dir()
_CONFIGS = (PROJECT_ROOT if IS_CHECKOUT else PACKAGE_ROOT) / "configs"


def config_path(path: str | Path) -> Path:
    """`configs/...` as the working folder has it, else as this project brings it; any other path, and one that neither has, as it is."""
    path = Path(path)
    if path.parts[:1] != ("configs",) or path.exists():
        return path
    ours = _CONFIGS.joinpath(*path.parts[1:])
    return ours if ours.exists() else path


def config_files(folder: str) -> dict[str, Path]:
    """The YAML files of configs/<folder> by name, those of this project and those of the working folder, which win."""
    places = (_CONFIGS, Path("configs"))
    return {file.stem: file for place in places for file in sorted((place / folder).glob("*.yaml"))}
