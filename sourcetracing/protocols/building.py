"""From a corpus on disk to utterances.csv, protocol.csv and the counts of Table 1 (script 02)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sourcetracing.audio.checking import CHECK_FORMAT, check_corpus
from sourcetracing.corpora.components import with_components
from sourcetracing.corpora.corpus import Corpus
from sourcetracing.corpora.labels import (
    choose_by_label,
    labelled_corpus,
    refuse_other_labels,
    relabelled,
    strata_by_label,
    utterances_by_label,
    with_true_sources,
)
from sourcetracing.layout import Layout
from sourcetracing.protocols.audio_facts import TEXTS, table_of_facts
from sourcetracing.protocols.coverage import count_cells, missing_lines, require_classes, unknown_lines
from sourcetracing.protocols.label_assignment import assign_labels, format_labels
from sourcetracing.protocols.leakage import audit, read_audit
from sourcetracing.protocols.open_split import draw_open_set
from sourcetracing.protocols.records import PROTOCOL_COMMAND, note_settings_of_older_record, write_record
from sourcetracing.protocols.table import balance_lines, count_models, count_utterances, read_table, split_balance, split_utterances
from sourcetracing.runtime.files import digest_of_json, is_half_written, read_csv, write_csv, write_text, written_together
from sourcetracing.runtime.locks import held
from sourcetracing.settings.names import require_usable_names
from sourcetracing.settings.reading import to_dict
from sourcetracing.settings.recorded import audio_rules, corpus_facts
from sourcetracing.settings.schema import Settings


@dataclass(frozen=True)
class BuiltProtocol:
    """What script 02 says.

    counts: Table 1; leakage: what splits share; audio_facts: `table_of_facts`; num_left_out: bad audio; is_new: whether anything was done.
    remarks: lines on unknown sources, on the balance of a grouped split, and on what languages lack.
    """

    counts: pd.DataFrame
    leakage: pd.DataFrame
    audio_facts: pd.DataFrame
    remarks: list[str]
    num_left_out: int
    is_new: bool


def build_protocols(settings: Settings, train_sets: Sequence[str] = (), test_sets: Sequence[str] = ()) -> BuiltProtocol:
    """Reads the corpus, checks every audio file, splits the utterances, looks for what the splits share.

    Writes utterances.csv, protocol.csv, label_assignment.txt, tables/table1_counts.csv, leakage.csv, audio_facts.csv (of MLAAD
    counts_by_model.csv) and, last, protocol.json: the settings and the digest of what they were made from. They lie at exp/<name>/, or,
    where a protocol of other settings lies there, at exp/<name>/protocols/<digest>/ (`Layout`). Nothing is done when the digest is still
    true. split.assignment=openset leaves utterances out; those are in no table.
    train_sets, test_sets: languages joined by + that will be trained or tested on together.

    Raises `UserError` for a missing corpus, bad audio, or splits that leave a source untrained.
    """
    with held(Layout.of(settings).protocol_lock, f"another process is writing the protocol of {settings.name}", wait=True):
        return _build(settings, train_sets, test_sets)


def _build(settings: Settings, train_sets: Sequence[str], test_sets: Sequence[str]) -> BuiltProtocol:
    corpus, lines = choose_by_label(settings)
    corpus.check()
    utterances = _prepared(corpus, settings)
    require_usable_names((), utterances["source"].unique())
    inputs = _digest_of_inputs(corpus, utterances, settings)
    note_settings_of_older_record(settings, inputs)
    layout = Layout.of(settings)
    if (num_left_out := _left_out_last_time(layout, inputs)) is not None:
        protocol = read_table(layout.protocol, ["utt_id", "split"], PROTOCOL_COMMAND)
        counts, leakage = read_csv(layout.counts, texts=["language"]), read_audit(layout.leakage)
        facts, remarks = read_csv(layout.audio_facts, texts=TEXTS), lines + _remarks(utterances, protocol, settings, train_sets, test_sets)
        return BuiltProtocol(counts, leakage, facts, remarks, num_left_out, is_new=False)
    first = _split(utterances, settings, train_sets)  # refuses what cannot be meant before all audio is read
    utterances = utterances[utterances["utt_id"].isin(set(first["utt_id"]))].reset_index(drop=True)
    utterances, problems = check_corpus(utterances, Path(settings.paths.corpus), settings)
    if settings.split.assignment == "openset":
        protocol = first[first["utt_id"].isin(set(utterances["utt_id"]))].reset_index(drop=True)
    else:
        protocol = _split(utterances, settings, train_sets)
    traced = relabelled(utterances, settings)
    counts = count_utterances(traced, protocol, settings.corpus.sources, settings.corpus.languages)
    leakage, facts = audit(utterances, protocol, _unknown_sources(utterances, settings)), table_of_facts(traced)
    tables = [(utterances.drop(columns="split", errors="ignore"), layout.utterances), (protocol, layout.protocol)]
    with written_together(layout.protocol_record):
        for table, path in [*tables, (counts, layout.counts), (leakage, layout.leakage), (facts, layout.audio_facts)]:
            write_csv(table, path)
        _write_speaker_groups(corpus, layout)
        if corpus.counts_models:
            write_csv(count_models(utterances, protocol), layout.model_counts)
        write_text(layout.label_assignment, format_labels(assign_labels(traced["source"], settings.corpus.sources)))
        write_record(settings, inputs, protocol, len(problems))
    remarks = lines + _remarks(utterances, protocol, settings, train_sets, test_sets)
    return BuiltProtocol(counts, leakage, facts, remarks, len(problems), is_new=True)


def _prepared(corpus: Corpus, settings: Settings) -> pd.DataFrame:
    """The utterances with a label of the settings, under their true sources."""
    utterances = with_components(corpus.prepare(), settings)
    return with_true_sources(utterances_by_label(utterances, settings), settings)


def _remarks(
    utterances: pd.DataFrame, protocol: pd.DataFrame, settings: Settings, train_sets: Sequence[str], test_sets: Sequence[str]
) -> list[str]:
    cells = count_cells(relabelled(utterances, settings), protocol)
    lines = unknown_lines(cells, settings.corpus)
    if settings.split.group_by != "none":
        lines += balance_lines(
            split_balance(strata := strata_by_label(utterances, settings), protocol, settings.split, _unknown_sources(strata, settings))
        )
    return lines + missing_lines(cells, settings.corpus, train_sets, test_sets, own_dev=not settings.train.dev_languages)


def _unknown_sources(utterances: pd.DataFrame, settings: Settings) -> list[str]:
    """Of true sources: those with an utterance whose label is no class."""
    return utterances["source"][~utterances[settings.corpus.label].isin(settings.corpus.sources)].unique().tolist()


def _write_speaker_groups(corpus: Corpus, layout: Layout) -> None:
    """Only imported lists have them; those of lists that named groups before do not stay."""
    if (groups := corpus.speaker_groups()) is not None:
        write_csv(groups, layout.speaker_groups)
    else:
        layout.speaker_groups.unlink(missing_ok=True)


def audit_protocol(settings: Settings) -> tuple[pd.DataFrame, Path]:
    """The leakage audit and where it lies: of the protocol on disk, or else of the one that would be built, without its audio."""
    layout, corpus = Layout.of(settings), labelled_corpus(settings)
    utterances = _prepared(corpus, settings)
    if _left_out_last_time(layout, _digest_of_inputs(corpus, utterances, settings)) is not None:
        return read_audit(layout.leakage), layout.leakage
    leakage = audit(utterances, _split(utterances, settings), _unknown_sources(utterances, settings))
    write_csv(leakage, layout.planned_leakage)
    return leakage, layout.planned_leakage


def _split(utterances: pd.DataFrame, settings: Settings, train_sets: Sequence[str] = ()) -> pd.DataFrame:
    strata, traced = strata_by_label(utterances, settings), relabelled(utterances, settings)
    if settings.split.assignment == "openset":
        refuse_other_labels(settings, "split.assignment=openset")
        draw = draw_open_set(utterances, settings.corpus.sources, settings.split, settings.open_split, settings.seed)
        protocol = draw.protocol
        print("".join(f"{line}\n" for line in draw.lines), end="")
    else:
        protocol = split_utterances(strata, settings.split, settings.seed, _unknown_sources(strata, settings))
    require_classes(traced, count_cells(traced, protocol), settings.corpus, settings.split, train_sets)
    return protocol


def _digest_of_inputs(corpus: Corpus, utterances: pd.DataFrame, settings: Settings) -> str:
    """Changes when a file is added, removed or rewritten, or when a list or a setting that shapes the protocol does."""
    root, groups = corpus.root, corpus.speaker_groups()
    listed = [] if groups is None else [groups.astype(str).to_numpy().tolist()]
    listed += [to_dict(settings.open_split)] if settings.split.assignment == "openset" else []
    stats = [_size_and_time(root / path) for path in utterances["path"]]
    rows = utterances.astype(str).to_numpy().tolist()
    return digest_of_json(
        [rows, stats, to_dict(settings.split), audio_rules(settings.audio), corpus_facts(settings.corpus), settings.seed, *listed]
    )


def _size_and_time(path: Path) -> tuple[int, int] | None:
    if not path.is_file():
        return None
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _left_out_last_time(layout: Layout, inputs: str) -> int | None:
    """None unless the files on disk were made from these inputs."""
    if is_half_written(layout.protocol_record) or not all(path.is_file() for path in _files(layout)):
        return None
    record = json.loads(layout.protocol_record.read_text(encoding="utf-8"))
    is_true = record.get("inputs") == inputs and record.get("check", 1) == CHECK_FORMAT
    return record["num_left_out"] if is_true else None


def _files(layout: Layout) -> tuple[Path, ...]:
    written = (layout.utterances, layout.protocol, layout.counts, layout.leakage, layout.audio_facts, layout.label_assignment)
    return (layout.protocol_record, *written)
