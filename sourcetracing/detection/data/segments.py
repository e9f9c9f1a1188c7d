"""Cuts long recordings into segments of ten seconds, as AI4T's are, in flat memory and so that a killed run goes on.

A recording's segments are numbered from 0. They are cut in a hidden folder, which gets its name `<recording>` when all are there; the list
`<recording>.done.json` belongs to it. A folder of that name with anything else in it is left alone, and the recording fails.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import pandas as pd

from sourcetracing.audio.bad_audio import BadAudio, Truncated
from sourcetracing.audio.checking import TRUNCATED_HINT, stops
from sourcetracing.audio.streaming import open_audio
from sourcetracing.audio.writing import write_audio
from sourcetracing.detection.data.corpora.listed import SEGMENTS_LIST
from sourcetracing.detection.data.corpora.rows import LABEL_WORDS, read_lines
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import require_inside, write_csv, write_json
from sourcetracing.runtime.locks import held
from sourcetracing.runtime.parallel import map_unordered, resolve_workers
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.frontends import Audio
from sourcetracing.settings.names import trimmed
from sourcetracing.settings.recorded import channel_recipe
from sourcetracing.settings.schema import Settings

FAILED_NAME = "segments_failed.csv"
LIST_COLUMNS = ("path", "label", "speaker", "recording", "start_s", "seconds")
_DONE_SUFFIX = ".done.json"


@dataclass(frozen=True)
class Recording:
    """One line of the list: a file, what it is, who speaks ("" = unknown). `name` is the folder of its segments."""

    path: str
    label: str
    speaker: str
    name: str


@dataclass(frozen=True)
class _Job:
    """A recording to cut, and how; travels to a worker process."""

    recording: Recording
    source: Path
    target: Path
    rules: Audio
    seconds: float
    min_seconds: float


def read_recordings(path: Path) -> list[Recording]:
    """Lines path|label[|speaker] of a list. Raises `UserError` with the line, and for two recordings whose names would be the same."""
    recordings: dict[str, Recording] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip() or (number == 1 and line.replace(" ", "").startswith("path|label")):
            continue
        fields = [trimmed(field) for field in line.split("|")]
        if len(fields) not in (2, 3) or not fields[0]:
            raise UserError(f"{path}, line {number}: expected path|label or path|label|speaker, found {line.strip()!r}")
        if fields[1] not in LABEL_WORDS:
            raise UserError(f"{path}, line {number}: {fields[1]!r} is no label; expected: {', '.join(LABEL_WORDS)}")
        require_inside([fields[0]], f"{path}, line {number}")
        name = Path(fields[0]).as_posix().replace("/", "__")
        if name in recordings:
            raise UserError(f"{path}, line {number}: {fields[0]} is listed before")
        recordings[name] = Recording(fields[0], LABEL_WORDS[fields[1]], fields[2] if len(fields) == 3 else "", name)
    if not recordings:
        raise UserError(f"{path} lists no recordings")
    return list(recordings.values())


def segment_recordings(listing: Path, source: Path, target: Path, settings: Settings) -> tuple[pd.DataFrame, list[str]]:
    """Cuts what is listed, relative to `source`, into `target`; returns (segments, one line for each recording that cannot be read).

    What is cut already, with the same settings, stays. Writes segments.csv (`LIST_COLUMNS`, in the order of the list) when all is done.
    Raises `UserError` if a recording fails and audio.on_bad_audio=fail: the others are cut all the same.
    """
    with held(target / ".lock", f"another process is cutting into {target}", wait=True):
        return _segment(listing, source, target, settings)


def _segment(listing: Path, source: Path, target: Path, settings: Settings) -> tuple[pd.DataFrame, list[str]]:
    detection = settings.detection
    lengths = (detection.segment_seconds, detection.min_segment_seconds)
    jobs = [_Job(recording, source / recording.path, target, settings.audio, *lengths) for recording in read_recordings(listing)]
    waiting = [job for job in jobs if _read_done(job) is None]
    failed: dict[str, BadAudio] = {}
    if waiting:
        (target / SEGMENTS_LIST).unlink(missing_ok=True)  # an earlier list would be taken for the whole
    made = map_unordered(_cut, waiting, num_workers=resolve_workers(settings.compute.workers)) if waiting else iter(())
    for job, problem in bar(made, total=len(jobs), initial=len(jobs) - len(waiting), desc="cut", unit="recording"):
        if problem:
            failed[job.recording.name] = problem
    return _write_lists(jobs, failed, target, settings)


def _write_lists(jobs: list[_Job], failed: dict[str, BadAudio], target: Path, settings: Settings) -> tuple[pd.DataFrame, list[str]]:
    failures = target / FAILED_NAME
    problems = [(job, failed[job.recording.name]) for job in jobs if job.recording.name in failed]
    lines = [f"{problem.path}: {problem.reason}" for _, problem in problems]
    if lines:
        write_csv(pd.DataFrame([(job.recording.path, it.reason) for job, it in problems], columns=["path", "reason"]), failures)
        if fatal := [problem for _, problem in problems if stops(isinstance(problem, Truncated), settings.audio)]:
            count = f"{len(fatal)} of {len(jobs)} recordings cannot be cut: {fatal[0].path}: {fatal[0].reason}"
            hint = f"; {TRUNCATED_HINT}" if any(isinstance(problem, Truncated) for problem in fatal) else ""
            raise UserError(f"{count}. All are in {failures}. Mend them, or leave them out with audio.on_bad_audio=skip{hint}")
    else:
        failures.unlink(missing_ok=True)
    rows = [row for job in jobs if job.recording.name not in failed for row in _rows_of(job)]
    segments = pd.DataFrame(rows, columns=list(LIST_COLUMNS))
    write_csv(segments, target / SEGMENTS_LIST)
    return segments, lines


def _rows_of(job: _Job) -> list[tuple]:
    recording = job.recording
    starts = np.arange(len(lengths := _read_done(job) or [])) * job.seconds
    return [
        (_segment_path(recording, number), recording.label, recording.speaker, recording.name, round(start, 3), round(seconds, 3))
        for number, (start, seconds) in enumerate(zip(starts.tolist(), lengths, strict=True))
    ]


def _segment_path(recording: Recording, number: int) -> str:
    return f"{recording.name}/{_segment_name(number)}"


def _segment_name(number: int) -> str:
    return f"{number:05d}.wav"


def _done_path(job: _Job) -> Path:
    return job.target / f"{job.recording.name}{_DONE_SUFFIX}"


def _recipe(job: _Job) -> dict[str, object]:
    """What decides the segments of a recording: the file as it is, and the settings."""
    found = job.source.stat()
    settings = {"sample_rate": job.rules.sample_rate, "seconds": job.seconds, "min_seconds": job.min_seconds, **channel_recipe(job.rules)}
    if job.rules.on_truncated == "keep":
        settings["on_truncated"] = "keep"
    return {"size": found.st_size, "changed": found.st_mtime_ns, **settings}


def _read_done(job: _Job) -> list[float] | None:
    """Lengths in seconds of the segments of a finished recording; None if it has to be cut (again)."""
    done, folder = _list_of(job), job.target / job.recording.name
    try:
        there = {path.name for path in folder.iterdir()}
        is_whole = done.get("recipe") == _recipe(job) and there == set(map(_segment_name, range(len(done["segments"]))))
    except OSError:  # the folder or the recording is not there
        return None
    return done["segments"] if is_whole else None


def _list_of(job: _Job) -> dict[str, Any]:
    """What a finished recording's list says; {} where there is none, or a damaged one."""
    try:
        done = json.loads(_done_path(job).read_text(encoding="utf-8"))
        return done if isinstance(done["segments"], list) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _cut(job: _Job) -> BadAudio | None:
    """Cuts one recording, in a worker process; returns why it cannot be, if so."""
    try:
        recipe = _recipe(job)
    except OSError as error:
        return BadAudio(job.source, "is missing" if isinstance(error, FileNotFoundError) else str(error.strerror))
    if strangers := _strangers(job):
        place = job.target / job.recording.name
        return BadAudio(job.source, f"{place} holds {strangers[0]}, which this script did not write; move that folder away")
    folder, rate = _private(job, "cutting"), job.rules.sample_rate
    num_samples = round(job.seconds * rate)
    lengths = []
    try:
        with open_audio(job.source, job.rules) as (_, blocks):
            for segment in cut(blocks, num_samples, round(job.min_seconds * rate)):
                write_audio(folder / _segment_name(len(lengths)), segment.clip(-1, 1), rate)
                lengths.append(len(segment) / rate)
    except BadAudio as error:
        return error
    if not lengths:
        return BadAudio(job.source, f"shorter than detection.min_segment_seconds={job.min_seconds:g}")
    _put_in_place(job, folder, {"recipe": recipe, "segments": lengths})
    return None


def _strangers(job: _Job) -> list[str]:
    """What lies in the folder of a recording beside the segments that its list tells of."""
    folder = job.target / job.recording.name
    if not folder.exists():
        return []
    ours = len(_list_of(job).get("segments", ()))
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    return sorted(there - set(map(_segment_name, range(ours))))


def _private(job: _Job, what: str) -> Path:
    """The name of a hidden folder of this script's own, nothing in it."""
    folder = job.target / f".{job.recording.name}.{what}"
    rmtree(folder, ignore_errors=True)
    return folder


def _put_in_place(job: _Job, folder: Path, done: dict) -> None:
    """In this order: wherever a kill comes, the list or its folder is missing until both are new, or both are still the old ones."""
    place, old = job.target / job.recording.name, _private(job, "old")
    if place.exists():
        os.replace(place, old)
    write_json(_done_path(job), done)
    os.replace(folder, place)
    rmtree(old, ignore_errors=True)


def cut(blocks: Iterator[np.ndarray], num_samples: int, min_samples: int) -> Iterator[np.ndarray]:
    """(samples,) blocks of any length as segments of `num_samples`; the rest is the last one unless it has fewer than `min_samples`."""
    waiting: list[np.ndarray] = []
    count = 0
    for block in blocks:
        waiting.append(block)
        count += len(block)
        if count >= num_samples:
            joined = np.concatenate(waiting)
            for start in range(0, count - num_samples + 1, num_samples):
                yield joined[start : start + num_samples]
            waiting = [joined[count // num_samples * num_samples :]]
            count = len(waiting[0])
    if count >= max(1, min_samples):
        yield np.concatenate(waiting)
