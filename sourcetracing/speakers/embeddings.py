"""One speaker embedding for each clean utterance, kept on disk as it is made.

Files   exp/<name>/speakers/embeddings-<embedder>.npy  (rows, D) float32, each of length one
        exp/<name>/speakers/embeddings-<embedder>.csv  utt_id, digest (of the audio file), embedder; one row for each row of the array

The CSV is written after the array, and rows are only ever added at the end: whatever a kill leaves, the first rows of the array are those
of the CSV.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from sourcetracing.audio.conditioning import shaped
from sourcetracing.audio.reading import load_utterance
from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.runtime.compute import one_thread_each
from sourcetracing.runtime.files import atomic_path, read_csv
from sourcetracing.runtime.parallel import resolve_workers
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.schema import Settings
from sourcetracing.speakers.embedders import SAMPLE_RATE, embedder_key, load_embedder

COLUMNS = ["utt_id", "digest", "embedder"]
SMALLEST_BLOCK, MOST_BLOCKS = 64, 50  # each block rewrites the array: few blocks for a large corpus


def embed_utterances(settings: Settings, utterances: pd.DataFrame, path: Path | None = None) -> np.ndarray:
    """Embeddings (len(utterances), D) float32 of length one; makes those that are not on disk, and forgets what is there of others.

    utterances: columns utt_id, path (relative to paths.corpus), digest. path: another place than the embedder's (above).
    Raises `UserError`, `BadAudio` among them; then and on Ctrl-C what was made is kept. The caller holds the lock of the folder.
    """
    path = path or Layout.of(settings).speaker_embeddings(settings.speakers.embedder)
    wanted = utterances[["utt_id", "path", "digest"]].assign(embedder=embedder_key(settings))
    kept = _Kept(path, wanted)
    missing = wanted[~wanted["utt_id"].isin(kept.index["utt_id"])]
    if len(missing):
        _make(settings, missing, kept)
    return kept.rows[pd.Index(kept.index["utt_id"]).get_indexer(wanted["utt_id"])]


class _Kept:
    """What is on disk of the wanted embeddings."""

    def __init__(self, path: Path, wanted: pd.DataFrame):
        self.path, self.index_path = path, path.with_suffix(".csv")
        index, rows = self._read()
        is_wanted = pd.MultiIndex.from_frame(index).isin(pd.MultiIndex.from_frame(wanted[COLUMNS]))
        self.index, self.rows = index[is_wanted].reset_index(drop=True), rows[is_wanted]
        if not is_wanted.all():
            self.index_path.unlink()  # while the array is written, it does not begin with what the CSV tells of
            self._write(self.index, self.rows)

    def _read(self) -> tuple[pd.DataFrame, np.ndarray]:
        nothing = pd.DataFrame(columns=COLUMNS, dtype="str"), np.empty((0, 0), np.float32)
        if not self.index_path.is_file() or not self.path.is_file():
            return nothing
        index = read_csv(self.index_path)
        rows = np.load(self.path)[: len(index)]
        return (index, rows) if len(rows) == len(index) else nothing

    def add(self, new_index: pd.DataFrame, new_rows: list[np.ndarray]) -> None:
        index = pd.concat([self.index, new_index[COLUMNS]], ignore_index=True)
        rows = np.concatenate([self.rows, new_rows]) if len(self.rows) else np.stack(new_rows)
        self._write(index, rows)
        self.index, self.rows = index, rows  # last: after Ctrl-C in the line above the same rows are added once more

    def _write(self, index: pd.DataFrame, rows: np.ndarray) -> None:
        with atomic_path(self.path) as partial:
            np.save(partial, rows)
        with atomic_path(self.index_path) as partial:
            index.to_csv(partial, index=False)


def _make(settings: Settings, missing: pd.DataFrame, kept: _Kept) -> None:
    total = len(missing) + len(kept.index)
    rows_per_block, num_added, made = max(SMALLEST_BLOCK, total // MOST_BLOCKS), 0, []
    progress = bar(_embeddings(settings, missing), total=total, initial=len(kept.index), desc="speaker embeddings", unit="file")
    try:
        for embedding in progress:
            made.append(embedding)
            if len(made) == rows_per_block:
                kept.add(missing[num_added : num_added + len(made)], made)
                num_added, made = num_added + len(made), []
    finally:
        if made:
            kept.add(missing[num_added : num_added + len(made)], made)


def _embeddings(settings: Settings, utterances: pd.DataFrame) -> Iterator[np.ndarray]:
    """In the order of the rows, by threads of one core each: decoding, spectra and networks release the interpreter lock."""
    embed = load_embedder(settings)

    def embed_file(utterance) -> np.ndarray:
        path = Path(settings.paths.corpus) / utterance.path
        waveform = load_utterance(path, settings.audio, utterance.digest, sample_rate=SAMPLE_RATE)
        embedding = embed(shaped(waveform, settings.audio, SAMPLE_RATE))
        if not np.isfinite(embedding).all():
            raise UserError(f"{utterance.utt_id}: its speaker embedding has NaN or infinite numbers ({utterance.embedder})")
        return embedding

    # In a fresh thread the first products of matrices would use all cores, whose sums differ in the last digit, had it not been told, too.
    told = {"initializer": torch.set_num_threads, "initargs": (1,)}
    with one_thread_each(), ThreadPoolExecutor(resolve_workers(settings.compute.workers), **told) as pool:
        try:
            yield from pool.map(embed_file, utterances.itertuples())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
