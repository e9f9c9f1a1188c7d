"""A recipe holds every setting that decides what it makes: what a reader of a corpus reads while it lists its files is noted here."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path

import pandas as pd
import pytest

from sourcetracing.corpora.corpus import corpus_of
from sourcetracing.corpora.mcl_mlaad import SOURCES
from sourcetracing.settings.checking import fields_of
from sourcetracing.settings.corpora import READERS, ReaderEntry
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.recorded import differences, label_recipe, protocol_recipe
from sourcetracing.settings.schema import Settings
from tests.support.audio_files import write_wav
from tests.support.mlaad_trees import MODELS, write_tree
from tests.support.small_corpus import write_small_corpus

NAMES = {kind: frozenset(fields_of(kind)) for kind, _ in fields_of(Settings).values() if is_dataclass(kind)}
GROUP_OF = {kind: name for name, (kind, _) in fields_of(Settings).items() if is_dataclass(kind)}
ONLY_REFUSES = {"mcl_mlaad.published_counts"}  # what it lets through is the same


@pytest.fixture
def settings_read(monkeypatch) -> Iterator[set[str]]:
    """`group.name` of every setting that a module of `corpora` reads."""
    found: set[str] = set()
    for kind, group in GROUP_OF.items():

        def noting(self, name, group=group, names=NAMES[kind]):
            if name in names and sys._getframe(1).f_globals.get("__name__", "").startswith("sourcetracing.corpora."):
                found.add(f"{group}.{name}")
            return object.__getattribute__(self, name)

        monkeypatch.setattr(kind, "__getattribute__", noting, raising=False)
    return found


def write_table(root: Path) -> str:
    """folder.table of two files."""
    rows = [(f"{source}.wav", "en", source, "train") for source in ("a", "b")]
    pd.DataFrame(rows, columns=["path", "language", "source", "split"]).to_csv(root / "table.csv", index=False)
    for path, *_ in rows:
        write_wav(root / path, 0.3, 0)
    return f"folder.table={root}/table.csv"


def write_protocols(root: Path) -> str:
    """paths.protocols of MLAAD with one utterance of each source in each split, one of them twice."""
    for split in ("train", "dev", "eval"):
        rows = [(f"fake/en/{source.replace('/', '_')}/{split}.wav", source) for source in SOURCES]
        rows = [*rows, rows[0]] if split == "eval" else rows
        pd.DataFrame(rows, columns=["path", "model_name"]).to_csv(root / f"{split}.csv", index=False)
    return f"paths.protocols={root}"


def words_of(reader: str, root: Path) -> list[list[str]]:
    """Command lines of a reader, for what it can be asked."""
    said = [f"corpus.reader={reader}", f"paths.corpus={root}", "corpus.languages=[en]"]
    if reader == "demo":
        write_small_corpus(root)
        return [[*said, "corpus.sources=[espeak_formant]"]]
    if reader in ("folder", "awkward"):
        table = write_table(root)
        return [[*said, "corpus.sources=[a,b]", table]]
    if reader == "mlaad":
        write_tree(root)
        return [[f"corpus.reader={reader}", f"paths.corpus={root}", "corpus.languages=[en]", f"corpus.sources=[{MODELS[0].name}]"]]
    named = [*said, write_protocols(root), f"corpus.sources=[{','.join(SOURCES)}]"]
    if reader == "mlaad_source_tracing":
        return [named]
    return [[*named, "mcl_mlaad.published_counts=false"], [*named, f"mcl_mlaad.lists={root}"]]


@pytest.mark.parametrize("reader", READERS)
def test_what_a_reader_reads_is_in_both_recipes(reader, settings_read, tmp_path):
    for words in words_of(reader, tmp_path):
        settings = load_settings(words)
        settings_read.clear()
        corpus = corpus_of(settings)
        assert len(corpus.prepare())
        corpus.speaker_groups()
        read = {name for name in settings_read if not name.startswith("paths.")} - ONLY_REFUSES
        assert "corpus.languages" in read
        assert read <= protocol_recipe(settings).keys()
        assert {name for name in read if not name.startswith("split.")} <= label_recipe(settings).keys()


@pytest.mark.parametrize("recipe", [protocol_recipe, label_recipe])
@pytest.mark.parametrize(
    "word",
    [
        "demo.utterances_per_source=12",
        "demo.speakers_per_language=3",
        "corpus.unknown_sources=[all]",
        "corpus.languages=[en]",
        "audio.on_bad_audio=skip",
        "audio.min_seconds=0.5",
        "audio.silence_peak_dbfs=-40",
        "seed=3",
    ],
)
def test_another_corpus_is_another_recipe(recipe, word):
    assert differences(recipe(load_settings([])), recipe(load_settings([word]))) == [word.partition("=")[0]]


def test_a_reader_from_outside_declares_its_own(monkeypatch):
    monkeypatch.setitem(READERS, "mine", ReaderEntry("mine:Mine", shapes=("download.attempts",)))
    recipe = protocol_recipe(load_settings(["corpus.reader=mine", "download.attempts=3"]))
    assert recipe["download.attempts"] == 3
    json.dumps(recipe)
