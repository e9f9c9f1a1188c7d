"""From scored cells to one array of embeddings for each run (script 10).

What `scoring` stored for the weights on disk is taken as it is; only splits that were not scored yet need the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, starmap
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.config import SPLITS
from sourcetracing.embeddings.stored import EmbeddingFolder
from sourcetracing.errors import UserError
from sourcetracing.experiments import Cell
from sourcetracing.feature_data import UNKNOWN_LABEL
from sourcetracing.files import atomic_path, digest_of_file, digest_of_json, write_json
from sourcetracing.layout import Layout
from sourcetracing.npy import create_array, write_at
from sourcetracing.progress import bar
from sourcetracing.protocols import load_protocol, read_table, select
from sourcetracing.run_folder import RunFolder
from sourcetracing.scoring import is_scored, read_scores, scores_path, variants_of
from sourcetracing.speakers.groups import LABEL_COMMAND
from sourcetracing.training_matrix import score_cells

BLOCK_ROWS = 8192  # copied at a time


def collect_embeddings(cells: Sequence[Cell]) -> list[Cell]:
    """Makes what is missing of train, dev and eval: known and unknown sources, the variants that are scored. Returns the cells of it.

    Embeddings that belong to the weights and tables on disk are kept. Raises `UserError`.
    """
    digests = {cell.folder: _digest_of_inputs(cell) for cell in cells}
    missing = [cell for cell in cells if EmbeddingFolder(cell.folder).read_record().get("inputs") != digests[cell.folder]]
    to_do = [_on_all_splits(cell) for cell in missing]
    for cell in to_do:
        _forget_scores_without_embeddings(cell)
    score_cells(to_do)
    for cell in bar(to_do, desc="collect", unit="run", disable=not to_do):
        _collect(cell, digests[cell.folder])
    return missing


def _digest_of_inputs(cell: Cell) -> str:
    layout, corpus = Layout.of(cell.settings), cell.settings.corpus
    tables = [layout.utterances, layout.protocol, layout.pseudo_speakers]
    digests = [digest_of_file(path) if path.is_file() else "" for path in [RunFolder(cell.folder).weights, *tables]]
    variants = [variants_of(cell.settings, split) for split in SPLITS]
    return digest_of_json([digests, corpus.languages, corpus.sources, corpus.unknown_sources, variants])


def _on_all_splits(cell: Cell) -> Cell:
    """The same cell, to be scored with embeddings on every split in which its corpus has anything."""
    layout = Layout.of(cell.settings)
    utterances, protocol = load_protocol(cell.settings, layout.root, unknown=True)
    there = set(protocol["split"][protocol["utt_id"].isin(utterances["utt_id"])])
    evaluation = replace(cell.settings.evaluation, splits=[split for split in SPLITS if split in there], embeddings=True)
    return replace(cell, settings=replace(cell.settings, evaluation=evaluation))


def _embeddings_path(cell: Cell, split: str) -> Path:
    return scores_path(cell, split).with_suffix(".embeddings.npy")


def _forget_scores_without_embeddings(cell: Cell) -> None:
    """Scores of a time when evaluation.embeddings was false look complete to `score_cells`, so they have to go."""
    for split in cell.settings.evaluation.splits:
        if is_scored(cell, split) and not _embeddings_path(cell, split).is_file():
            scores_path(cell, split).unlink()


def _collect(cell: Cell, inputs: str) -> None:
    folder, splits = EmbeddingFolder(cell.folder), cell.settings.evaluation.splits
    index = _index_of(cell, pd.concat([read_scores(cell, split, unknown=True) for split in splits], ignore_index=True))
    assert not index.duplicated(["utt_id", "variant"]).any()
    parts = [_stored_part(cell, split) for split in splits]
    width, dtype = parts[0][0].shape[1], parts[0][0].dtype
    folder.record.unlink(missing_ok=True)
    with atomic_path(folder.array) as partial:
        first = create_array(partial, (len(index), width), dtype)
        write_at(partial, first, chain.from_iterable(starmap(_blocks, parts)))
    with atomic_path(folder.index) as partial:
        index.to_parquet(partial, index=False)
    write_json(folder.record, _record(cell, index, {"width": width, "dtype": str(dtype)}, inputs))


def _stored_part(cell: Cell, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The embeddings that lie beside the scores of a split, memory-mapped, and which of them are of the wanted variants, (N,) bool."""
    path, scores = _embeddings_path(cell, split), pd.read_parquet(scores_path(cell, split), columns=["variant"])
    array = np.load(path, mmap_mode="r")
    if len(array) != len(scores):
        raise UserError(f"{path} has {len(array)} rows, its scores have {len(scores)}. Delete both and run this again")
    return array, select(scores, variants=variants_of(cell.settings, split)).to_numpy()


def _blocks(array: np.ndarray, is_kept: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(array), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        yield array[rows][is_kept[rows]]


def _index_of(cell: Cell, scores: pd.DataFrame) -> pd.DataFrame:
    """row, utt_id, split, variant, language, source, speaker, pseudo_speaker, known; one line for each row of scores."""
    layout = Layout.of(cell.settings)
    utterances, _ = load_protocol(cell.settings, layout.root, unknown=True)
    index = scores[["utt_id", "split", "variant", "language", "source"]].copy()
    index.insert(0, "row", range(len(index)))
    index["speaker"] = _looked_up(index["utt_id"], utterances, "speaker")
    index["pseudo_speaker"] = ""
    if layout.pseudo_speakers.is_file():
        labelled = read_table(layout.pseudo_speakers, ["utt_id", "pseudo_speaker"], LABEL_COMMAND)
        index["pseudo_speaker"] = _looked_up(index["utt_id"], labelled, "pseudo_speaker")
    index["known"] = scores["label"].to_numpy() != UNKNOWN_LABEL
    return index


def _looked_up(utt_ids: pd.Series, table: pd.DataFrame, column: str) -> pd.Series:
    """What a table says of each utterance; "" where it says nothing."""
    return utt_ids.map(table.set_index("utt_id")[column]).fillna("").astype(str) if column in table else pd.Series("", index=utt_ids.index)


def _record(cell: Cell, index: pd.DataFrame, form: dict, inputs: str) -> dict:
    return {
        "weights": digest_of_file(RunFolder(cell.folder).weights),
        "inputs": inputs,
        "system": cell.system,
        "train_set": cell.train_set,
        "seed": cell.seed,
        "rows": len(index),
        **form,
        "rows_of_split": index["split"].value_counts(sort=False).to_dict(),
        "sources": index["source"].nunique(),
        "unknown_sources": index.loc[~index["known"], "source"].nunique(),
    }
