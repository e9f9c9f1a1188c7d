"""The work of trace_audio.py: many files, one after the other; broken ones are named, the others go on; what is done is kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sourcetracing.audio.bad_audio import KEEP_HINT, BadAudio, Truncated
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import digest_of_json
from sourcetracing.runtime.locks import held
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.names import fitting_name, printable
from sourcetracing.tracing.enrolled import EnrolledAnswer, EnrolledSources
from sourcetracing.tracing.inputs import list_files, require_no_overwriting
from sourcetracing.tracing.output import Failure, entry_of, header_of, text_of, write_results_csv, write_results_json
from sourcetracing.tracing.phrases import about
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
    report: Path | None = None  # whoever writes it


Explain = Callable[[Tracer, FileTrace], str]  # returns what to print below a file's answer
Report = Callable[[Tracer, Sequence[FileTrace | Failure], EnrolledSources | None, Mapping[str, EnrolledAnswer]], None]


def trace_files(
    words: Sequence[str],
    run_folder: str,
    changes: list[str],
    outputs: Outputs,
    library: Path | None = None,
    report: Report | None = None,
    explain: Explain | None = None,
) -> None:
    """Traces what the words name and prints each answer. Raises `UserError` at the end when some files could not be traced.

    Answers that the JSON file holds for the same files, system and settings are kept; it is written every 20 s and when anything ends the
    run, so it can be killed. library: of enrolled sources, among which each file is looked for as well. report: gets all results at the
    end, the library and by path what it says. explain: is called with each file's answer. With either, every file is traced anew.
    """
    files, num_left_out = list_files(words)
    require_no_overwriting([outputs.json, outputs.csv, outputs.report], files)
    tracer = Tracer.load(run_folder, changes)
    enrolled = EnrolledSources.load(library, tracer) if library else None
    with _only_writer(outputs.json):
        _trace_files(files, num_left_out, tracer, outputs, enrolled, report, explain)


def _trace_files(
    files: Sequence[Path],
    num_left_out: int,
    tracer: Tracer,
    outputs: Outputs,
    enrolled: EnrolledSources | None,
    report: Report | None,
    explain: Explain | None,
) -> None:
    print(about(tracer.system), flush=True)
    if num_left_out:
        print(f"{num_left_out} files in these folders were left out: their names are not those of audio")
    header = header_of(tracer)
    if enrolled:
        header["library"] = enrolled.header()
        header["when_not_to_believe"] += enrolled.limits()
    answers = Answers(outputs, tracer, header, files, enrolled, keeps_results=report is not None, explain=explain)
    try:
        with bar(total=len(files), desc="trace", unit="file", disable=len(files) == 1) as progress:
            for path in files:
                progress.write(answers.add(path))
                progress.update(1)
    finally:
        answers.save()
    print("When not to believe this:")
    print("\n".join(f"  - {line}" for line in header["when_not_to_believe"]))
    if report is not None:
        report(tracer, answers.results, enrolled, answers.of_library)
    if failed := [entry for entry in answers.entries if entry["status"] == "failed"]:
        named = ", ".join(entry["path"] for entry in failed[:NUM_NAMED]) + (" ..." if len(failed) > NUM_NAMED else "")
        raise UserError(f"{len(failed)} of {len(files)} files could not be traced (their lines above say why): {named}")


class Answers:
    """The entries of the JSON, in the order of `files`; those of an earlier run that still hold are taken over.

    keeps_results: every file is traced anew; `results` has what was found, `of_library` by path what the library says.
    """

    def __init__(
        self,
        outputs: Outputs,
        tracer: Tracer,
        header: dict[str, Any],
        files: Sequence[Path],
        enrolled: EnrolledSources | None = None,
        *,
        keeps_results: bool = False,
        explain: Explain | None = None,
    ):
        self.outputs, self.tracer, self.header, self.files, self.enrolled = outputs, tracer, header, files, enrolled
        self.entries: list[dict[str, Any]] = []
        self.names: dict[str, str] = {}
        self.known = _read_known(outputs.json, header)
        self.keeps_results, self.results, self.of_library = keeps_results, list[FileTrace | Failure](), dict[str, EnrolledAnswer]()
        self.explain, self.saved_at = explain, time.monotonic()

    def add(self, path: Path) -> str:
        """Traces a file, or finds it traced; returns what to print of it."""
        facts = _facts(path)
        timeline = self._timeline(path)
        known = None if self.keeps_results or self.explain else self.known.get(str(path))
        if known and known["facts"] == facts and (timeline is None or timeline.is_file()):
            self.entries.append(known)
            return f"{printable(str(path))}: traced before, kept ({self.outputs.json})"
        result = trace_or_say_why(self.tracer, path)
        entry, text = entry_of(result, self.tracer), text_of(result, self.tracer)
        if self.keeps_results:
            self.results.append(result)
        if self.enrolled and isinstance(result, FileTrace):
            answer = self.enrolled(result)
            entry |= answer.entry()
            text += f"\n{line}" if (line := answer.text()) else ""
            if self.keeps_results:
                self.of_library[result.path] = answer
        self.entries.append({**entry, "facts": facts})
        if timeline and isinstance(result, FileTrace):
            text += self._draw(result, timeline)
        if self.explain and isinstance(result, FileTrace):
            text += self.explain(self.tracer, result)
        if time.monotonic() - self.saved_at > SECONDS_BETWEEN_SAVES:
            self.save()
        return text

    def _draw(self, result: FileTrace, timeline: Path) -> str:
        """Draws a timeline; returns what to print of one that cannot be drawn. The answer counts all the same."""
        try:
            draw_timeline(result, self.tracer, timeline)
        except Exception as error:
            return f"\n  note: {timeline} was not drawn: {type(error).__name__}: {error}"
        return ""

    def _timeline(self, path: Path) -> Path | None:
        """One picture per file; two files of the same name get two, told apart by a digest of the path."""
        if self.outputs.timeline is None:
            return None
        name = path.name
        if self.names.setdefault(name, str(path)) != str(path):
            name = f"{path.name}-{digest_of_json(str(path))[:8]}"
        return self.outputs.timeline / fitting_name(f"{name}.png")

    def save(self) -> None:
        """Writes JSON and CSV; in the JSON also what an earlier run knew of files whose turn has not come."""
        if self.outputs.json:
            later = [self.known[path] for path in map(str, self.files[len(self.entries) :]) if path in self.known]
            write_results_json(self.outputs.json, self.header, [*self.entries, *later])
        if self.outputs.csv:
            write_results_csv(self.outputs.csv, self.tracer, self.entries, with_enrolled=self.enrolled is not None)
        self.saved_at = time.monotonic()


def trace_or_say_why(tracer: Tracer, path: Path) -> FileTrace | Failure:
    """Whatever goes wrong with one file is that file's failure: the answers for the others are not lost by it."""
    try:
        return tracer(path)
    except Truncated as error:
        return Failure(str(path), f"{error.reason}; {KEEP_HINT}")
    except BadAudio as error:
        return Failure(str(path), error.reason)
    except Exception as error:
        return Failure(str(path), f"{type(error).__name__}: {error}")


def _only_writer(path: Path | None) -> AbstractContextManager[None]:
    """Holds a lock beside a JSON file that answers are read from and added to. Raises `UserError` when another process has it."""
    return nullcontext() if path is None else held(path.with_name(f".{path.name}.lock"), f"another process is writing {path}")


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
