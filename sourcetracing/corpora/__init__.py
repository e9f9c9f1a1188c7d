"""Corpora: one module each, same verbs.

    download(settings)              fetch or make everything the corpus needs (audio, noises, room responses)
    prepare(settings) -> DataFrame  one row per utterance: utt_id, path, language, source, speaker, transcript
    check(settings)                 complain in one line if something is missing

A new corpus is one file here and one line in `READERS`.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

READERS = {"demo": "sourcetracing.corpora.demo"}


def corpus_module(reader: str) -> ModuleType:
    """The module of a corpus by the name in `corpus.reader`."""
    return import_module(READERS[reader])
