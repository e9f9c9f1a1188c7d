"""What trace_audio.py --explain does for each file: a picture, a table and a line; what the page of a case shows is kept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sourcetracing.errors import UserError
from sourcetracing.explanation.files import explain_file
from sourcetracing.explanation.pictures import draw_explanation
from sourcetracing.explanation.telling import LIMITS, line_of, write_explanation
from sourcetracing.runtime.files import digest_of_json
from sourcetracing.settings.names import fitting_name
from sourcetracing.tracing.tracer import FileTrace, Tracer


@dataclass(frozen=True)
class Shown:
    """For a page: the picture (PNG), what it says, and what it does not."""

    picture: bytes
    sentences: list[str]
    limits: tuple[str, ...] = LIMITS


class Explainer:
    """Explains traced files into a folder. shown: by path, what a page shows of those that were explained."""

    def __init__(self, folder: Path):
        if folder.exists() and not folder.is_dir():
            raise UserError(f"--explain {folder}: this is a file; name a folder")
        self.folder, self.shown = folder, dict[str, Shown]()
        self._names: dict[str, str] = {}

    def __call__(self, tracer: Tracer, result: FileTrace) -> str:
        """Writes <name>.png, .csv and .json; returns what to print. What cannot be explained is said: the answer counts all the same."""
        picture, csv, values = (self.folder / fitting_name(f"{self._name(result.path)}.{kind}") for kind in ("png", "csv", "json"))
        try:
            found = explain_file(tracer, result)
            write_explanation(found, tracer.system.weights, csv, values)
            draw_explanation(found, picture)
        except OSError:
            raise
        except Exception as error:
            return f"\n  note: not explained: {error if isinstance(error, UserError) else f'{type(error).__name__}: {error}'}"
        text = line_of(found)
        self.shown[result.path] = Shown(picture.read_bytes(), [_sentence(line) for line in text.splitlines()])
        return f"\n{text}"

    def _name(self, path: str) -> str:
        """Two files of the same name get two, told apart by a digest of the path: what an earlier call explained is not written over."""
        name = Path(path).name
        if name not in self._names:
            self._names[name] = _explained_in(self.folder / fitting_name(f"{name}.json")) or path
        return name if self._names[name] == path else f"{name}-{digest_of_json(path)[:8]}"


def _explained_in(path: Path) -> str:
    """The file that an explanation is of; "" without one."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["path"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _sentence(line: str) -> str:
    text = line.strip()
    return f"{text[:1].upper()}{text[1:]}."
