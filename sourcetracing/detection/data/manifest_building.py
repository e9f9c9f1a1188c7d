"""Builds the manifest: reads every subset, drops repeated rows, names what is missing, decodes every file once."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pandas as pd

from sourcetracing.audio.checking import CHECK_FORMAT, NUM_NAMED, check_file, name_notes, name_problems
from sourcetracing.detection.data import corpora
from sourcetracing.detection.data.groups import files_alone, used_subsets
from sourcetracing.detection.data.layout import DetectionLayout
from sourcetracing.detection.data.manifest import BONAFIDE, COLUMNS, SPOOF, load_manifest, root_of
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import digest_of_json, is_whole, read_csv, write_csv, write_json, write_text, written_together
from sourcetracing.runtime.lists import lookalike
from sourcetracing.runtime.locks import held
from sourcetracing.runtime.parallel import resolve_workers
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.recorded import audio_rules
from sourcetracing.settings.schema import Settings

BLOCK_FILES = 2000  # checked and made durable at a time
FACTS = ("duration_s", "digest", "reason", "is_truncated", "notes")  # what is known of a file
FACTS_OF_TEXT = ("digest", "reason", "notes")
STAND_IN_NOTE = "bona fide is played by synthetic speech: numbers mean nothing about real speech"


@dataclass(frozen=True)
class BuiltManifest:
    """The manifest, what there is to say about it, and whether it was written now."""

    rows: pd.DataFrame
    notes: list[str]
    is_new: bool

    @property
    def counts(self) -> pd.DataFrame:
        """Per subset: files, bona fide, spoof, speakers, groups, hours."""
        grouped = self.rows.groupby("corpus", sort=False)
        return pd.DataFrame(
            {
                "files": grouped.size(),
                BONAFIDE: grouped["label"].agg(lambda labels: int((labels == BONAFIDE).sum())),
                SPOOF: grouped["label"].agg(lambda labels: int((labels == SPOOF).sum())),
                "speakers": grouped["speaker"].agg(lambda speakers: speakers[speakers != ""].nunique()),
                "groups": grouped["group"].nunique(),
                "hours": (grouped["duration_s"].sum() / 3600).round(2),
            }
        ).reset_index()


def build_manifest(settings: Settings) -> BuiltManifest:
    """Reads, checks and writes; does nothing when no list, setting or file has changed. Raises `UserError`."""
    layout = DetectionLayout(settings)
    with held(layout.manifest_record.with_name(".manifest.lock"), f"another process is writing {layout.manifest}", wait=True):
        return _build(layout, settings)


def _build(layout: DetectionLayout, settings: Settings) -> BuiltManifest:
    listed, notes = _list_all(settings)
    listed, missing = _with_stats(listed, settings)
    _handle_missing(missing, len(listed) + len(missing), settings)
    if len(missing):
        notes.append(f"left out {len(missing)} missing files, named in {layout.missing_files}")
    if settings.detection.origin == "demo":
        notes.insert(0, STAND_IN_NOTE)
    digest = digest_of_json({"rows": listed.astype(str).to_numpy().tolist(), "audio": audio_rules(settings.audio), "notes": notes})
    record = _read_record(layout)
    if record.get("digest") == digest:
        return BuiltManifest(load_manifest(settings), record["notes"], is_new=False)
    rows, num_bad, odd = _check(listed, settings)
    notes += odd
    if num_bad:
        notes.append(f"left out {num_bad} bad audio files, named in {layout.bad_audio}")
    notes += _same_bytes_notes(rows)
    with written_together(layout.manifest_record):
        write_csv(rows[list(COLUMNS)], layout.manifest)
        write_json(layout.manifest_record, {"digest": digest, "origin": settings.detection.origin, "notes": notes})
    return BuiltManifest(rows[list(COLUMNS)], notes, is_new=True)


def _read_record(layout: DetectionLayout) -> dict:
    is_built = is_whole(layout.manifest_record) and layout.manifest.exists()
    return json.loads(layout.manifest_record.read_text(encoding="utf-8")) if is_built else {}


# --- rows


def _list_all(settings: Settings) -> tuple[pd.DataFrame, list[str]]:
    tables, notes = [], []
    for subset in used_subsets(settings):
        rows, remarks = corpora.read_subset(settings, subset)
        rows, repeated = _unique(rows, subset, settings.detection.keep_duplicates)
        notes += remarks + repeated
        tables.append(_to_manifest(rows, subset))
    if not tables:
        raise UserError("detection.train and detection.test are empty: there is nothing to list")
    listed = pd.concat(tables, ignore_index=True)
    if alone := files_alone(settings, listed):
        notes.append(f"{', '.join(alone)}: no speaker or recording is known, so the parts that choose and that report may share some")
    return listed, notes


def _unique(rows: pd.DataFrame, subset: str, keep: bool) -> tuple[pd.DataFrame, list[str]]:
    """(rows with unique ids, a line about repeated ones). Raises `UserError` for one file with two labels."""
    labels = rows.groupby("path")["label"].nunique()
    if (labels > 1).any():
        raise UserError(f"{subset}: {labels.idxmax()} is listed as {BONAFIDE} and as {SPOOF}")
    again = rows.duplicated("path")
    done = "kept" if keep else "dropped"
    notes = [f"{subset}: {again.sum()} rows repeat a file, {done} (detection.keep_duplicates)"] if again.any() else []
    rows = rows if keep else rows[~again].reset_index(drop=True)
    shared = rows.groupby("id")["path"].transform("nunique") > 1  # x.wav and x.mp3
    ids = rows["id"].where(~shared, rows["path"])
    turn = ids.groupby(ids).cumcount()
    return rows.assign(id=ids.where(turn == 0, ids + "#" + (turn + 1).astype(str))), notes


def _to_manifest(rows: pd.DataFrame, subset: str) -> pd.DataFrame:
    file_id = subset + "/" + rows["id"]
    group = rows["speaker"].where(rows["speaker"] != "", rows["recording"])
    return rows.assign(file_id=file_id, corpus=subset, group=group.where(group != "", file_id)).drop(columns=["id", "recording"])


# --- files


def _with_stats(rows: pd.DataFrame, settings: Settings) -> tuple[pd.DataFrame, list[str]]:
    """(rows of files that exist, with size and time of their last change; paths of the others)."""
    roots = {subset: root_of(settings, subset) for subset in rows["corpus"].unique()}
    paths = [str(roots[subset] / path) for subset, path in zip(rows["corpus"], rows["path"], strict=True)]
    with ThreadPoolExecutor(resolve_workers(settings.compute.workers)) as pool:  # on a network disk each question takes its time
        stats = list(pool.map(_stat, paths, chunksize=256))
    rows = rows.assign(full_path=paths, size=[size for size, _ in stats], changed=[changed for _, changed in stats])
    there = rows["size"] >= 0
    return rows[there].reset_index(drop=True), rows["full_path"][~there].tolist()


def _stat(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return -1, 0
    return found.st_size, found.st_mtime_ns


def _handle_missing(missing: list[str], total: int, settings: Settings) -> None:
    listing = DetectionLayout(settings).missing_files
    if not missing:
        listing.unlink(missing_ok=True)
        return
    write_text(listing, "\n".join(missing) + "\n")
    if settings.audio.on_bad_audio == "fail":
        more = f" and {len(missing) - NUM_NAMED} more" if len(missing) > NUM_NAMED else ""
        where = f"{len(missing)} of {total} files are missing: {', '.join(missing[:NUM_NAMED])}{more}. Full list: {listing}"
        see = lookalike(Path(missing[0])) or "See detection.roots"
        raise UserError(f"{where}. {see}, or leave them out with audio.on_bad_audio=skip")


def _check(rows: pd.DataFrame, settings: Settings) -> tuple[pd.DataFrame, int, list[str]]:
    """(good rows with duration_s and digest, number of bad ones, lines about odd ones). Raises `UserError` for bad ones unless skipped."""
    facts = pd.concat(_check_blocks(rows, settings), ignore_index=True).set_axis(rows.index)
    rows = rows.assign(duration_s=facts["duration_s"], digest=facts["digest"])
    bad = facts["reason"] != ""
    problems = pd.DataFrame({"file_id": rows["file_id"], "path": rows["full_path"], "reason": facts["reason"]})[bad]
    layout = DetectionLayout(settings)
    name_problems(problems, facts["is_truncated"][bad], len(rows), layout.bad_audio, settings.audio)
    odd = name_notes(rows["full_path"][~bad], facts["notes"][~bad].map(lambda said: said.split("|") if said else []), layout.audio_notes)
    return rows[~bad].reset_index(drop=True), len(problems), odd


def _check_blocks(rows: pd.DataFrame, settings: Settings) -> Iterator[pd.DataFrame]:
    """`FACTS` of every row, block after block; what an earlier run checked and nobody has touched is read back."""
    folder = DetectionLayout(settings).checked
    workers = resolve_workers(settings.compute.workers)
    with ThreadPoolExecutor(workers) as pool, bar(total=len(rows), desc="check audio", unit="file") as progress:
        for start in range(0, len(rows), BLOCK_FILES):
            block = rows.iloc[start : start + BLOCK_FILES]
            key = digest_of_json([CHECK_FORMAT, block[["full_path", "size", "changed"]].to_numpy().tolist(), audio_rules(settings.audio)])
            path = folder / f"{key}.csv"
            if path.exists():
                facts = read_csv(path, texts=FACTS_OF_TEXT)
                progress.update(len(block))
            else:
                facts = _check_block(block["full_path"].tolist(), settings, pool, progress)
                write_csv(facts, path)
            yield facts


def _check_block(paths: list[str], settings: Settings, pool: ThreadPoolExecutor, progress: bar) -> pd.DataFrame:
    found = []
    try:
        for file in pool.map(lambda path: check_file(Path(path), settings.audio), paths):
            found.append((round(file.duration_s, 4), file.digest, file.reason, file.is_truncated, "|".join(file.notes)))
            progress.update()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    return pd.DataFrame(found, columns=list(FACTS))


def _same_bytes_notes(rows: pd.DataFrame) -> list[str]:
    """A line for each pair of subsets that hold files with the same bytes, and for subsets that hold a file twice under two names."""
    groups = rows.groupby("digest")["corpus"].agg(lambda names: sorted(names))
    pairs = Counter(pair for names in groups[groups.str.len() > 1] for pair in set(combinations(names, 2)))
    return [
        f"{first}: {count} audio files are there more than once, byte for byte"
        if first == second
        else f"{first} and {second}: {count} audio files are in both, byte for byte"
        for (first, second), count in sorted(pairs.items())
    ]
