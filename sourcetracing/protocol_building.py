"""From a corpus on disk to utterances.csv, protocol.csv and the counts of Table 1 (script 02)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sourcetracing.audio import check_corpus
from sourcetracing.config import Settings
from sourcetracing.corpora import corpus_module
from sourcetracing.files import atomic_path, digest_of_json, write_json
from sourcetracing.layout import Layout
from sourcetracing.protocols import count_utterances, split_utterances
from sourcetracing.settings_io import to_dict


@dataclass(frozen=True)
class BuiltProtocol:
    """counts: Table 1; num_left_out: bad audio files (listed in bad_audio.csv); is_new: whether anything had to be done."""

    counts: pd.DataFrame
    num_left_out: int
    is_new: bool


def build_protocols(settings: Settings) -> BuiltProtocol:
    """Reads the corpus, checks every audio file, splits the utterances.

    Writes exp/<name>/utterances.csv, protocol.csv, tables/table1_counts.csv and, last, protocol.json: the digest of what they were
    made from. Nothing is done when that digest is still true. Raises `UserError` for a missing corpus or bad audio.
    """
    layout = Layout.of(settings)
    corpus_module(settings.corpus.reader).check(settings)
    utterances = corpus_module(settings.corpus.reader).prepare(settings)
    inputs = _digest_of_inputs(utterances, settings)
    if (num_left_out := _left_out_last_time(layout, inputs)) is not None:
        return BuiltProtocol(pd.read_csv(layout.counts), num_left_out, is_new=False)
    utterances, problems = check_corpus(utterances, Path(settings.paths.corpus), settings)
    protocol = split_utterances(utterances, settings.split, settings.seed)
    counts = count_utterances(utterances, protocol, settings.corpus.sources, settings.corpus.languages)
    for table, path in [(utterances, layout.utterances), (protocol, layout.protocol), (counts, layout.counts)]:
        with atomic_path(path) as partial:
            table.to_csv(partial, index=False)
    write_json(layout.protocol_record, {"inputs": inputs, "num_left_out": len(problems)})
    return BuiltProtocol(counts, len(problems), is_new=True)


def _digest_of_inputs(utterances: pd.DataFrame, settings: Settings) -> str:
    """Changes when a file is added, removed or rewritten, or when a setting that shapes the protocol does."""
    root = Path(settings.paths.corpus)
    stats = [_size_and_time(root / path) for path in utterances["path"]]
    rows = utterances.astype(str).to_numpy().tolist()
    return digest_of_json([rows, stats, to_dict(settings.split), to_dict(settings.audio), settings.corpus.languages, settings.seed])


def _size_and_time(path: Path) -> tuple[int, int] | None:
    if not path.is_file():
        return None
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _left_out_last_time(layout: Layout, inputs: str) -> int | None:
    """None unless the files on disk were made from these inputs."""
    if not all(path.is_file() for path in (layout.protocol_record, layout.utterances, layout.protocol, layout.counts)):
        return None
    record = json.loads(layout.protocol_record.read_text(encoding="utf-8"))
    return record["num_left_out"] if record.get("inputs") == inputs else None
