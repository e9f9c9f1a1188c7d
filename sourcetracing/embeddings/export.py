"""Embeddings as the tree of single files that the baselines write: <folder>/{train,dev,test}/<class id>/<utterance>.npy.

Clean speech alone. File names are made from the utterance's path, not from its stem: stems repeat across languages (D45).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.embeddings.stored import load_embeddings
from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.runtime.files import atomic_path, write_json, write_text
from sourcetracing.runtime.progress import bar
from sourcetracing.training.runs import TrainingRun

FOLDERS = {"train": "train", "dev": "dev", "eval": "test"}  # our split -> their folder
MOST_BYTES = 200  # of a file name without .npy; file systems admit 255
RECORD = "embeddings.json"


def export_tree(runs: Sequence[TrainingRun], folder: Path) -> int:
    """Writes the trees of some runs, below <system>/<run>/ when they are several; returns how many files had to be written.

    Files that are there are kept. Raises `UserError`: the folder holds embeddings of other weights; no clean speech was embedded.
    """
    folders = [folder / run.system / run.folder.name if len(runs) > 1 else folder for run in runs]
    return sum(_export(run, own) for run, own in zip(runs, folders, strict=True))


def _export(run: TrainingRun, folder: Path) -> int:
    embeddings = load_embeddings(run.files)
    index = embeddings.index[embeddings.index["variant"] == "original"]
    if index.empty:
        raise UserError("--export-npy writes clean speech, but augment.variants of these features have no original")
    labels = Layout.of(run.settings).label_assignment
    paths = tree_paths(index, class_ids(labels))
    _claim(folder, embeddings.record)
    write_text(folder / labels.name, labels.read_text(encoding="utf-8"))
    missing = [(row, path) for row, path in zip(index["row"], paths, strict=True) if not (folder / path).is_file()]
    for row, path in bar(missing, desc="export", unit="file", disable=not missing):
        with atomic_path(folder / path) as partial:
            np.save(partial, embeddings.array[row].astype(np.float32))
    return len(missing)


def _claim(folder: Path, record: dict) -> None:
    """Writes down whose embeddings the folder holds before the first of them. Raises `UserError` when they are another run's."""
    path = folder / RECORD
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")).get("weights") != record["weights"]:
            raise UserError(f"--export-npy {folder} holds embeddings of other weights. Delete it or name another folder")
    elif folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"--export-npy {folder} is not empty and not of this script. Name another folder")
    else:
        write_json(path, record)


def class_ids(label_assignment: Path) -> dict[str, int]:
    """source -> number, as script 02 wrote them. Raises `UserError` when the file is missing."""
    if not label_assignment.is_file():
        raise UserError(f"{label_assignment} is missing. Run: python scripts/02_build_protocols.py CONFIG.yaml")
    lines = [line.rsplit("|", 2) for line in label_assignment.read_text(encoding="utf-8").splitlines()]
    return {name.rstrip(): int(number) for name, number, _ in lines}


def tree_paths(index: pd.DataFrame, ids: dict[str, int]) -> list[str]:
    """Where each row goes, relative to the folder: {train,dev,test}/<class id>/<name>.npy; no two are the same."""
    columns = (index["split"], index["source"], index["utt_id"])
    paths = [f"{FOLDERS[split]}/{ids[source]}/{file_name(utt_id)}.npy" for split, source, utt_id in zip(*columns, strict=True)]
    assert len(set(paths)) == len(paths)
    return paths


def file_name(utt_id: str) -> str:
    """An utterance id as a file name: / becomes __. Where that could be read in two ways, or is too long, a hash of the id follows."""
    name = utt_id.replace("/", "__")
    if "__" not in utt_id and not re.search(r"_/|/_|//|[\0-\x1f]", utt_id) and len(name.encode()) <= MOST_BYTES:
        return name
    kept = re.sub(r"[\0-\x1f]", "_", name).encode()[:MOST_BYTES].decode(errors="ignore")
    return f"{kept}-{blake2b(utt_id.encode(), digest_size=6).hexdigest()}"
