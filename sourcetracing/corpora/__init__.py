"""Corpora: one module each, same verbs.

    download(settings)               fetch or make the utterances; what is there stays
    prepare(settings) -> DataFrame   one row per utterance: utt_id, path, language, source, speaker, transcript, recording [, split]
    inventory(settings) -> DataFrame language, source, needed, present
    check(settings) -> counts        complain in one line, with the next command, if something is missing
    missing_files(settings) -> list  paths that are needed and not there
    resources(settings) -> list      what download would fetch: from where, how large, under which licence

A new corpus is one file here and one line in `MODULES`. `noise_corpora` does the same for MUSAN and RIRS_NOISES, which every corpus but
the demo is augmented with; `stock` joins the two for scripts 01 and 02.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

MODULES = {
    "demo": "sourcetracing.corpora.demo",
    "mlaad_source_tracing": "sourcetracing.corpora.mlaad_source_tracing",
    "mcl_mlaad": "sourcetracing.corpora.mcl_mlaad",
    "folder": "sourcetracing.corpora.folder",
}


def corpus_module(reader: str) -> ModuleType:
    """The module of a corpus by the name in `corpus.reader`."""
    return import_module(MODULES[reader])
