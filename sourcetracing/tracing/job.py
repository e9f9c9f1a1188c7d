"""The work of trace_audio.py: many files, one after the other; broken ones are named, the others go on; what is done is kept."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sourcetracing.audio.reading import BadAudio
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import digest_of_json
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.names import fitting_name, printable
from sourcetracing.tracing.inputs import list_files
from sourcetracing.tracing.output import Failure, entry_of, header_of, text_of, write_results_csv, write_results_json
from sourcetracing.tracing.phrases import about, limits
from sourcetracing.tracing.timelines import draw_timeline
from sourcetracing.tracing.tracer import FileTrace, Tracer

SECONDS_BETWEEN_SAVES = 20.0
NUM_NAMED = 3  # files that the last line names


@dataclass(frozen=True)
class Outputs:
    """Where the answers go besides the terminal."""

    json: Path | None = None
    csv: Path | None = None
    timeline: Path | None = None


def trace_files(words: Sequence[str], run_folder: str, changes: list[str], outputs: Outputs) -> None:
    """Traces what the words name and prints each answer. Raises `UserError` at the end when some files could not be traced.

    Answers that the JSON file holds for the same files, system and settings are kept; it is written every 20 s, so a run can be killed.
    """
    files, num_left_out = list_files(words)
    tracer = Tracer.load(run_folder, changes)
    print(about(tracer.system), flush=True)
    if num_left_out:
        print(f"{num_left_out} files in these folders were left out: their names are not those of audio")
    header = header_of(tracer)
    answers = Answers(outputs, tracer, header)
    with bar(total=len(files), desc="trace", unit="file", disable=len(files) == 1) as progress:
        for path in files:
            if line := answers.add(path):
                progress.write(line)
            progress.update(1)
    answers.save()
    print("When not to believe this:")
    print("\n".join(f"  - {line}" for line in limits(tracer.system, tracer.calibration, tracer.rule)))
    if failed := [entry for entry in answers.entries if entry["status"] == "failed"]:
        named = ", ".join(entry["path"] for entry in failed[:NUM_NAMED]) + (" ..." if len(failed) > NUM_NAMED else "")
        raise UserError(f"{len(failed)} of {len(files)} files could not be traced (their lines above say why): {named}")


class Answers:
    """The entries of the JSON, in the order in which files were added; those of an earlier run that still hold are taken over."""

    def __init__(self, outputs: Outputs, tracer: Tracer, header: dict[str, Any]):
        self.outputs, self.tracer, self.header = outputs, tracer, header
        self.entries: list[dict[str, Any]] = []
        self.names: dict[str, str] = {}
        self.known = _read_known(outputs.json, header)
        self.saved_at = time.monotonic()

    def add(self, path: Path) -> str:
        """Traces a file, or finds it traced; returns what to print of it."""
        facts = _facts(path)
        timeline = self._timeline(path)
        known = self.known.get(str(path))
        if known and known["facts"] == facts and (timeline is None or timeline.is_file()):
            self.entries.append(known)
            return f"{printable(str(path))}: traced before, kept ({self.outputs.json})"
        result = self._trace(path)
        self.entries.append({**entry_of(result, self.tracer), "facts": facts})
        if timeline and isinstance(result, FileTrace):
            draw_timeline(result, self.tracer, timeline)
        if time.monotonic() - self.saved_at > SECONDS_BETWEEN_SAVES:
            self.save()
        return text_of(result, self.tracer)

    def _trace(self, path: Path) -> FileTrace | Failure:
        try:
            return self.tracer(path)
        except BadAudio as error:
            return Failure(str(path), error.reason)

    def _timeline(self, path: Path) -> Path | None:
        """One picture per file; two files of the same name get two, told apart by a digest of the path."""
        if self.outputs.timeline is None:
            return None
        name = path.name
        if self.names.setdefault(name, str(path)) != str(path):
            name = f"{path.name}-{digest_of_json(str(path))[:8]}"
        return self.outputs.timeline / fitting_name(f"{name}.png")

    def save(self) -> None:
        """Writes JSON and CSV."""
        if self.outputs.json:
            write_results_json(self.outputs.json, self.header, self.entries)
        if self.outputs.csv:
            write_results_csv(self.outputs.csv, self.tracer, self.entries)
        self.saved_at = time.monotonic()


def _facts(path: Path) -> list[int]:
    """What changes when a file does: bytes, time of change; empty for a missing one."""
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


def _read_known(path: Path | None, header: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Traced entries of an earlier run by path, where its header is the same. Raises `UserError` for a file that is something else."""
    if path is None or not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files, before = content.pop("files"), content.pop("when_not_to_believe")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"--json {path} exists and is not a result of this script; name another file") from None
    is_same = {**content, "when_not_to_believe": before} == json.loads(json.dumps(header))
    return {entry["path"]: entry for entry in files if entry["status"] == "traced"} if is_same else {}
