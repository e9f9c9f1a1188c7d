"""Every corpus has the verbs of `Corpus` as they are declared, and one from outside goes through scripts 01 and 02."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from sourcetracing.corpora.corpus import UTTERANCE_COLUMNS, Corpus, is_present
from sourcetracing.settings.corpora import READERS
from sourcetracing.settings.schema import Settings
from tests.support.places import ROOT

VERBS = [name for name, verb in vars(Corpus).items() if inspect.isfunction(verb) and not name.startswith("_")]
OUTSIDE = """
import numpy as np
import pandas as pd
import soundfile
from sourcetracing.corpora.corpus import Corpus

class Mine(Corpus):
    def download(self):
        for number, path in enumerate(self.prepare()["path"]):
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(self.root / path, np.random.default_rng(number).normal(0, 0.1, 16000), 16000)

    def prepare(self):
        rows = [(language, source, number) for language in ("en", "de") for source in ("a", "b") for number in range(10)]
        table = pd.DataFrame(rows, columns=["language", "source", "number"])
        name = table["language"] + "/" + table["source"] + "/" + table["number"].astype(str)
        return table.assign(utt_id=name, path=name + ".wav", speaker="", transcript="", recording=name).drop(columns="number")
"""
ENTRY = """
from sourcetracing.settings.corpora import READERS
from sourcetracing.settings.parts import Entry

READERS.add("mine", Entry("mine:Mine"))
"""


@pytest.mark.parametrize("reader", READERS)
def test_every_corpus_has_the_declared_verbs(reader):
    corpus = READERS[reader].load()
    assert issubclass(corpus, Corpus)
    assert not inspect.isabstract(corpus)
    for name in VERBS:
        assert inspect.signature(getattr(corpus, name)) == inspect.signature(getattr(Corpus, name)), name
    assert corpus(Settings()).root == Path(Settings().paths.corpus)


def run(script: str, *words: str, folder: Path, status: int = 0) -> str:
    variables = {**os.environ, "SOURCETRACING_PARTS": "my_parts", "PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, script, *words], cwd=ROOT, capture_output=True, text=True, env=variables)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_corpus_from_outside_goes_through_scripts_01_and_02(tmp_path):
    (tmp_path / "mine.py").write_text(OUTSIDE)
    (tmp_path / "my_parts.py").write_text(ENTRY)
    chosen = ["corpus.reader=mine", "corpus.languages=[en,de]", "corpus.sources=[a,b]", "augment.variants=[original]"]
    words = ["name=outside", f"paths.corpus={tmp_path}/audio", f"paths.exp={tmp_path}/exp", *chosen]
    (tmp_path / "config.yaml").write_text("name: outside\n")
    words = [str(tmp_path / "config.yaml"), *words]
    shown = run("scripts/01_download_resources.py", *words, "--check", folder=tmp_path, status=2)
    assert "40 of 40 files are missing" in shown and "01_download_resources" in shown
    assert "complete: 40 utterances" in run("scripts/01_download_resources.py", *words, folder=tmp_path)
    assert "complete: 40 files" in run("scripts/01_download_resources.py", *words, "--check", "--dry-run", folder=tmp_path)
    assert "protocol.csv" in run("scripts/02_build_protocols.py", *words, folder=tmp_path)
    utterances = pd.read_csv(tmp_path / "exp/outside/utterances.csv")
    assert len(utterances) == 40 and set(UTTERANCE_COLUMNS) <= set(utterances.columns)


def test_files_are_there_by_relative_and_absolute_paths(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.wav").write_bytes(b"")
    paths = pd.Series(["a/x.wav", "a/y.wav", "b/x.wav", str(tmp_path / "a/x.wav"), "/nowhere.wav", "x.wav", "a"], index=range(3, 10))
    assert is_present(paths, tmp_path).to_dict() == dict(zip(range(3, 10), [True, False, False, True, False, False, False], strict=True))
