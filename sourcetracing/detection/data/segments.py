"""Cuts long recordings into segments of ten seconds, as AI4T's are, in flat memory and so that a killed run goes on.

A recording's segments are numbered from 0; its list `<recording>.done.json` is written last, so it is complete or done again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.audio.reading import BadAudio
from sourcetracing.audio.streaming import open_audio
from sourcetracing.audio.writing import write_audio
from sourcetracing.detection.data.corpora.listed import SEGMENTS_LIST
from sourcetracing.detection.data.corpora.rows import LABEL_WORDS, read_lines
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import write_csv, write_json
from sourcetracing.runtime.parallel import map_unordered, resolve_workers
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.names import trimmed
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
    sample_rate: int
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
        name = Path(fields[0]).as_posix().strip("/").replace("/", "__")
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
    rate, detection = settings.audio.sample_rate, settings.detection
    lengths = (detection.segment_seconds, detection.min_segment_seconds)
    jobs = [_Job(recording, source / recording.path, target, rate, *lengths) for recording in read_recordings(listing)]
    waiting = [job for job in jobs if _read_done(job) is None]
    failed: dict[str, str] = {}
    if waiting:
        (target / SEGMENTS_LIST).unlink(missing_ok=True)  # an earlier list would be taken for the whole
    made = map_unordered(_cut, waiting, num_workers=resolve_workers(settings.compute.workers)) if waiting else iter(())
    for job, reason in bar(made, total=len(jobs), initial=len(jobs) - len(waiting), desc="cut", unit="recording"):
        if reason:
            failed[job.recording.name] = reason
    return _write_lists(jobs, failed, target, settings)


def _write_lists(jobs: list[_Job], failed: dict[str, str], target: Path, settings: Settings) -> tuple[pd.DataFrame, list[str]]:
    failures = target / FAILED_NAME
    reasons = [(job, failed[job.recording.name]) for job in jobs if job.recording.name in failed]
    lines = [f"{job.source}: {reason}" for job, reason in reasons]
    if lines:
        write_csv(pd.DataFrame([(job.recording.path, reason) for job, reason in reasons], columns=["path", "reason"]), failures)
        if settings.audio.on_bad_audio == "fail":
            count = f"{len(lines)} of {len(jobs)} recordings cannot be cut: {lines[0]}"
            raise UserError(f"{count}. All are in {failures}. Mend them, or leave them out with audio.on_bad_audio=skip")
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
    return f"{recording.name}/{number:05d}.wav"


def _done_path(job: _Job) -> Path:
    return job.target / f"{job.recording.name}{_DONE_SUFFIX}"


def _recipe(job: _Job) -> dict[str, object]:
    """What decides the segments of a recording: the file as it is, and the settings."""
    found = job.source.stat()
    settings = {"sample_rate": job.sample_rate, "seconds": job.seconds, "min_seconds": job.min_seconds}
    return {"size": found.st_size, "changed": found.st_mtime_ns, **settings}


def _read_done(job: _Job) -> list[float] | None:
    """Lengths in seconds of the segments of a finished recording; None if it has to be cut (again)."""
    try:
        done = json.loads(_done_path(job).read_text(encoding="utf-8"))
        return done["segments"] if done["recipe"] == _recipe(job) else None
    except FileNotFoundError:
        return None


def _cut(job: _Job) -> str:
    """Cuts one recording, in a worker process; returns "" or why it cannot be read."""
    folder = job.target / job.recording.name
    try:
        recipe = _recipe(job)
    except OSError as error:
        return "is missing" if isinstance(error, FileNotFoundError) else str(error.strerror)
    for old in folder.glob("*.wav"):  # of a killed run, or of other settings
        old.unlink()
    num_samples = round(job.seconds * job.sample_rate)
    lengths = []
    try:
        with open_audio(job.source, job.sample_rate, to_its_end=True) as audio:
            for segment in cut(audio.blocks, num_samples, round(job.min_seconds * job.sample_rate)):
                write_audio(job.target / _segment_path(job.recording, len(lengths)), segment.clip(-1, 1), job.sample_rate)
                lengths.append(len(segment) / job.sample_rate)
    except BadAudio as error:
        return error.reason
    if not lengths:
        return f"shorter than detection.min_segment_seconds={job.min_seconds:g}"
    write_json(_done_path(job), {"recipe": recipe, "segments": lengths})
    return ""


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
