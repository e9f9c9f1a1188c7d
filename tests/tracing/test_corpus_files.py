"""A file that the system was made with is named as such, with its split: an answer about it is no new evidence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from sourcetracing.layout import Layout
from sourcetracing.tracing.corpus_files import corpus_files, corpus_note
from sourcetracing.tracing.tracer import Tracer
from tests.support.audio_files import write_wav
from tests.support.traced_runs import trained_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained_run(tmp_path_factory.mktemp("trained"))


@pytest.mark.parametrize(
    ("split", "said"), [("train", "training heard it"), ("dev", "fitted with it"), ("eval", "training did not hear it")]
)
def test_the_note_tells_the_split(run, split, said, tmp_path):
    layout = Layout.of(run.settings)
    utterances, protocol = pd.read_csv(layout.utterances), pd.read_csv(layout.protocol)
    row = utterances.merge(protocol[protocol["split"] == split][["utt_id"]], on="utt_id").iloc[0]
    copy = shutil.copy(Path(run.settings.paths.corpus) / row["path"], tmp_path / "renamed.wav")
    note = corpus_note(copy, corpus_files(run.settings))
    assert f"byte by byte the utterance {row['utt_id']} of the corpus" in note
    assert f"split {split}" in note and said in note
    assert note in Tracer.load(run.folder, [])(copy).notes


def test_another_file_has_none_and_neither_has_a_run_without_lists(run, tmp_path):
    write_wav(tmp_path / "a.wav", 1, 99)
    assert corpus_note(tmp_path / "a.wav", corpus_files(run.settings)) is None
    run.settings.name = "elsewhere"
    assert corpus_files(run.settings) == {}
