"""Sources called nan, NA, null, None, 1e3, 007 and True lost their names when results were read back: on the second run, and in reports."""

from __future__ import annotations

import pytest

from sourcetracing.layout import Layout
from sourcetracing.protocols.building import build_protocols
from sourcetracing.protocols.table import load_protocol
from sourcetracing.runtime.files import read_csv
from sourcetracing.settings.reading import load_settings, to_yaml
from tests.support.audio_files import write_wav

NAMES = ["nan", "NA", "null", "None", "1e3", "007", "7", "True", "inf"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """A corpus in which everything has such a name: languages, sources, speakers, transcripts, files."""
    root = tmp_path_factory.mktemp("names")
    rows = [
        (f"{language}/{number}/{name}.wav", language, source, name, name)
        for language in ("nan", "1e3")
        for number, source in enumerate(NAMES[:-1])
        for name in NAMES[:5]
    ]
    for seed, row in enumerate(rows):
        write_wav(root / row[0], 0.12, seed)
    (root / "table.csv").write_text("path,language,source,speaker,transcript\n" + "".join(f"{','.join(row)}\n" for row in rows))
    corpus = ["corpus.reader=folder", "corpus.languages=[nan,1e3]", f"corpus.sources=[{','.join(NAMES[:-2])}]"]
    words = [f"paths.corpus={root}", f"folder.table={root}/table.csv", f"paths.exp={root}/exp", "corpus.unknown_sources=['True']"]
    return load_settings([*corpus, *words, "name=007", "audio.min_seconds=0.1", "compute.workers=1"])


def test_both_runs_of_02_give_the_same_tables(settings, capsys):
    first, second = build_protocols(settings), build_protocols(settings)
    assert first.is_new and not second.is_new
    assert second.counts["language"].tolist() == ["nan", "1e3", "total"]
    assert list(second.counts.columns)[5:-1] == NAMES[:-2]
    assert second.counts.astype(str).equals(first.counts.astype(str))
    assert second.leakage.astype(str).equals(first.leakage.astype(str))
    assert set(second.leakage["language"]) >= {"nan", "1e3"} and set(second.leakage["source"]) >= {"nan", "007", "7", "True"}


def test_what_is_on_disk_is_read_as_it_was(settings):
    utterances, protocol = load_protocol(settings, unknown=True)
    assert set(utterances["source"]) == set(NAMES[:-1]) and len(utterances) == 80 == len(protocol)
    assert set(utterances["speaker"]) == set(utterances["transcript"]) == set(NAMES[:5])
    assert (utterances.groupby("source").size() == 10).all()
    again = read_csv(Layout.of(settings).utterances)
    assert again["source"].tolist() == utterances["source"].tolist()


def test_settings_of_a_run_are_read_as_they_were(settings, tmp_path):
    (tmp_path / "config.yaml").write_text(to_yaml(settings), encoding="utf-8")
    again = load_settings([str(tmp_path / "config.yaml")])
    assert (again.name, again.corpus) == (settings.name, settings.corpus)
