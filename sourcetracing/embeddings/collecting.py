"""From scored runs to one array of embeddings for each run (script 08).

What `scoring` stored for the weights on disk is taken as it is; only splits that were not scored yet need the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, starmap

import numpy as np
import pandas as pd

from sourcetracing.embeddings.stored import only_writer, read_record
from sourcetracing.features.rows import UNKNOWN_LABEL
from sourcetracing.layout import Layout
from sourcetracing.protocols.table import load_protocol, read_table, select
from sourcetracing.runtime.files import atomic_path, digest_of_file, digest_of_json, write_json, written_together
from sourcetracing.runtime.npy import create_array, write_at
from sourcetracing.runtime.progress import bar
from sourcetracing.scoring.matrix import score_runs
from sourcetracing.scoring.scores import read_scores, variants_of
from sourcetracing.settings.recorded import traced
from sourcetracing.settings.training import SPLITS
from sourcetracing.speakers.records import LABEL_COMMAND, require_labels
from sourcetracing.training.runs import TrainingRun

BLOCK_ROWS = 8192  # copied at a time


def collect_embeddings(runs: Sequence[TrainingRun]) -> list[TrainingRun]:
    """Makes what is missing of train, dev and eval: known and unknown sources, the variants that are scored. Returns the runs of it.

    Embeddings that belong to the weights and tables on disk are kept.
    """
    digests = {run.folder: _digest_of_inputs(run) for run in runs}
    missing = [run for run in runs if read_record(run.files.embeddings).get("inputs") != digests[run.folder]]
    to_do = [_on_all_splits(run) for run in missing]
    score_runs(to_do)
    for run in bar(to_do, desc="collect", unit="run", disable=not to_do):
        with only_writer(run):
            if read_record(run.files.embeddings).get("inputs") != digests[run.folder]:  # unless another process was faster
                _collect(run, digests[run.folder])
    return missing


def _digest_of_inputs(run: TrainingRun) -> str:
    require_labels(run.settings)
    layout, corpus = Layout.of(run.settings), run.settings.corpus
    tables = [layout.utterances, layout.protocol, layout.pseudo_speakers]
    digests = [digest_of_file(path) if path.is_file() else "" for path in [run.files.weights, *tables]]
    variants = [variants_of(run.settings, split) for split in SPLITS]
    return digest_of_json([digests, corpus.languages, *traced(corpus), variants])


def _on_all_splits(run: TrainingRun) -> TrainingRun:
    """The same run, to be scored with embeddings on every split in which its corpus has anything."""
    utterances, protocol = load_protocol(run.settings, unknown=True)
    there = set(protocol["split"][protocol["utt_id"].isin(utterances["utt_id"])])
    evaluation = replace(run.settings.evaluation, splits=[split for split in SPLITS if split in there], embeddings=True)
    return replace(run, settings=replace(run.settings, evaluation=evaluation))


def _collect(run: TrainingRun, inputs: str) -> None:
    files, splits = run.files.embeddings, run.settings.evaluation.splits
    index = _index_of(run, pd.concat([read_scores(run, split, unknown=True) for split in splits], ignore_index=True))
    assert not index.duplicated(["utt_id", "variant"]).any()
    parts = [_stored_part(run, split) for split in splits]
    width, dtype = parts[0][0].shape[1], parts[0][0].dtype
    with written_together(files.record):
        with atomic_path(files.array) as partial:
            first = create_array(partial, (len(index), width), dtype)
            write_at(partial, first, chain.from_iterable(starmap(_blocks, parts)))
        with atomic_path(files.index) as partial:
            index.to_parquet(partial, index=False)
        write_json(files.record, _record(run, index, {"width": width, "dtype": str(dtype)}, inputs))


def _stored_part(run: TrainingRun, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The embeddings that lie beside the scores of a split, memory-mapped, and which of them are of the wanted variants, (N,) bool."""
    path, scores = run.files.scored_embeddings(split), pd.read_parquet(run.files.scores(split), columns=["variant"])
    return np.load(path, mmap_mode="r"), select(scores, variants=variants_of(run.settings, split)).to_numpy()


def _blocks(array: np.ndarray, is_kept: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(array), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        yield array[rows][is_kept[rows]]


def _index_of(run: TrainingRun, scores: pd.DataFrame) -> pd.DataFrame:
    """row, utt_id, split, variant, language, source, speaker, pseudo_speaker, known; one line for each row of scores."""
    layout = Layout.of(run.settings)
    utterances, _ = load_protocol(run.settings, unknown=True)
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


def _record(run: TrainingRun, index: pd.DataFrame, form: dict, inputs: str) -> dict:
    return {
        "weights": digest_of_file(run.files.weights),
        "inputs": inputs,
        "system": run.system,
        "train_set": run.train_set,
        "seed": run.seed,
        "rows": len(index),
        **form,
        "rows_of_split": index["split"].value_counts(sort=False).to_dict(),
        "sources": index["source"].nunique(),
        "unknown_sources": index.loc[~index["known"], "source"].nunique(),
    }
