"""Script 02 says what the files of a source have in common, which source gives itself away by it, and which setting cures that."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sourcetracing.audio import checking
from sourcetracing.layout import Layout
from sourcetracing.protocols.audio_facts import printed, remarks_on, standing_out, table_of_facts
from sourcetracing.protocols.building import build_protocols
from sourcetracing.settings.frontends import Audio
from sourcetracing.settings.reading import load_settings
from tests.support.places import ROOT

RATE = 16000


def files(num_sources: int = 4, per_source: int = 40, seed: int = 2, **planted) -> pd.DataFrame:
    """What the check pass says of files whose sources are alike, but for `planted`: column -> what is added for source_0."""
    generator = np.random.default_rng(seed)
    rows = [
        {
            "source": f"source_{number}",
            "sample_rate": 16000,
            "coding": "WAV PCM_16",
            "duration_s": generator.normal(4, 1),
            "rms_dbfs": generator.normal(-25, 2),
            "leading_silence_s": abs(generator.normal(0.2, 0.05)),
            "trailing_silence_s": abs(generator.normal(0.3, 0.05)),
            "bandwidth_hz": generator.normal(7500, 100),
        }
        for number in range(num_sources)
        for _ in range(per_source)
    ]
    table = pd.DataFrame(rows)
    for column, added in planted.items():
        leaky = table["source"] == "source_0"
        table.loc[leaky, column] = added if isinstance(added, str) else table.loc[leaky, column] + added
    return table


def test_medians_and_spreads_are_those_of_pandas():
    listed = files()
    table = table_of_facts(listed).set_index("source")
    own = listed[listed["source"] == "source_2"]["rms_dbfs"]
    assert table.loc["source_2", "rms_dbfs"] == pytest.approx(own.median(), abs=1e-3)
    assert table.loc["source_2", "rms_dbfs_spread"] == pytest.approx(1.4826 * (own - own.median()).abs().median(), abs=1e-3)
    assert table["files"].tolist() == [40] * 4
    mixed = files().assign(sample_rate=[22050] * 30 + [16000] * 130)
    found = table_of_facts(mixed).set_index("source").loc["source_0"]
    assert (found["sample_rate"], found["sample_rate_share"]) == (22050, 0.75)


@pytest.mark.parametrize("per_source", [5, 10, 40, 400])
def test_sources_that_are_alike_do_not_stand_out(per_source):
    alarms = [len(remarks_on(table_of_facts(files(per_source=per_source, seed=seed)), Audio())) for seed in range(10)]
    assert sum(alarms) <= 2  # of 200 chances: four sources, five measures, ten corpora


@pytest.mark.parametrize(
    ("column", "added", "sentence"),
    [
        ("rms_dbfs", 9.0, "source_0 is 9 dB louder than the others: audio.normalize=rms"),
        ("rms_dbfs", -9.0, "source_0 is 9 dB quieter than the others: audio.normalize=rms"),
        ("leading_silence_s", 0.5, "silent at the beginning than the others: audio.trim_silence_db=40"),
        ("trailing_silence_s", -0.25, "s less silent at the end than the others: audio.trim_silence_db=40"),
        ("bandwidth_hz", -4000.0, "source_0 is narrower by 3998 Hz than the others: audio.band_limit_hz=2800"),
        ("duration_s", 3.0, "longer than the others: no setting cures that"),
        ("sample_rate", -8000, "source_0: mostly 8000 Hz, others 16000 Hz: audio.band_limit_hz=3400"),
        ("coding", "MP3 MPEG_LAYER_III", "source_0: mostly MP3 MPEG_LAYER_III, others WAV PCM_16: what a codec leaves, no setting cures"),
    ],
)
def test_a_source_that_differs_by_more_than_the_spread_is_named_with_its_cure(column, added, sentence):
    lines = remarks_on(table_of_facts(files(**{column: added})), Audio())
    assert len(lines) == 1 and sentence in lines[0], lines


def test_the_suggested_limit_lies_below_the_narrowest_source():
    [line] = remarks_on(table_of_facts(files(bandwidth_hz=-4000.0)), Audio())
    limit = int(line.partition("audio.band_limit_hz=")[2])
    assert 0.8 * 3400 <= limit <= 0.85 * 3500 and limit % 100 == 0


def test_a_cure_that_is_on_is_said_to_be():
    table = table_of_facts(files(rms_dbfs=9.0))
    assert remarks_on(table, Audio(normalize="peak"))[0].endswith("cured by audio.normalize=peak")


def test_of_two_sources_one_sentence_says_it():
    [line] = remarks_on(table_of_facts(files(2, rms_dbfs=9.0)), Audio())
    assert line.startswith("source_0 is ") and line.endswith(" dB louder than the other: audio.normalize=rms")
    assert remarks_on(table_of_facts(files(1)), Audio()) == []


def test_rates_and_bands_that_resampling_levels_are_no_matter():
    wide = files(sample_rate=8000.0).assign(bandwidth_hz=11_000.0)
    wide.loc[wide["source"] == "source_0", "bandwidth_hz"] = 11_900.0
    assert remarks_on(table_of_facts(wide), Audio()) == []
    containers = files(coding="FLAC PCM_16")
    assert remarks_on(table_of_facts(containers), Audio()) == []


def test_many_sources_are_printed_if_they_stand_out():
    table = table_of_facts(files(30, rms_dbfs=9.0))
    text = printed(table, Audio())
    assert text.count("\n") == 1 and "source_0" in text
    assert printed(table_of_facts(files(30)), Audio()) == ""
    assert len(printed(table_of_facts(files()), Audio()).splitlines()) == 5
    assert max(map(len, printed(table_of_facts(files()), Audio()).splitlines())) < 120


def test_unknown_figures_are_no_difference():
    listed = files()
    listed.loc[listed["source"] == "source_1", ["bandwidth_hz", "rms_dbfs"]] = np.nan
    assert remarks_on(table_of_facts(listed), Audio()) == []
    assert not any(distances.any() for distances in standing_out(table_of_facts(listed), Audio()).values())


# --- from audio on


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> list[str]:
    """A corpus of three sources, one of them loud and late."""
    root, generator = tmp_path_factory.mktemp("facts"), np.random.default_rng(1)
    for source in ("a", "b", "loud"):
        (root / "corpus/en" / source).mkdir(parents=True)
        for number in range(10):
            samples = generator.normal(0, 0.2 if source == "loud" else 0.02, RATE // 2)
            samples = np.concatenate([np.zeros(RATE // 5), samples]) if source == "loud" else samples
            soundfile.write(root / "corpus/en" / source / f"{number}.wav", samples.clip(-1, 1), RATE)
    corpus = ["corpus.reader=folder", "corpus.languages=[en]", "corpus.sources=[a,b,loud]", "compute.workers=1"]
    return [f"paths.corpus={root}/corpus", f"paths.exp={root}/exp", *corpus]


def test_facts_come_with_the_check_and_are_kept(words, monkeypatch):
    settings = load_settings([*words, "name=kept"])
    built = build_protocols(settings)
    listed = pd.read_csv(Layout.of(settings).utterances)
    assert listed[["coding", "rms_dbfs", "leading_silence_s", "trailing_silence_s", "bandwidth_hz"]].notna().all(axis=None)
    expected = 20 * np.log10(np.sqrt(np.mean(soundfile.read(Path(settings.paths.corpus) / listed["path"][0])[0] ** 2)))
    assert listed["rms_dbfs"][0] == pytest.approx(expected, abs=0.01)
    monkeypatch.setattr(checking, "check_file", None)
    again = build_protocols(settings)
    assert not again.is_new
    pd.testing.assert_frame_equal(again.audio_facts, built.audio_facts, check_dtype=False)
    assert remarks_on(again.audio_facts, settings.audio) == remarks_on(built.audio_facts, settings.audio) != []


def test_a_protocol_from_before_the_facts_gets_them(words):
    settings = load_settings([*words, "name=older"])
    first = build_protocols(settings)
    before = Layout.of(settings).protocol.read_bytes(), Layout.of(settings).protocol_record.read_bytes()
    Layout.of(settings).audio_facts.unlink()
    again = build_protocols(settings)
    assert again.is_new and len(again.audio_facts) == len(first.audio_facts)
    assert (Layout.of(settings).protocol.read_bytes(), Layout.of(settings).protocol_record.read_bytes()) == before


def test_the_script_says_them(words):
    command = [
        sys.executable,
        str(ROOT / "scripts/02_build_protocols.py"),
        "configs/tiny.yaml",
        "experiment.tables=[table4]",
        *words,
        "name=said",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert re.search(r"loud is 1[89] dB louder than the others: audio\.normalize=rms", done.stdout), done.stdout
    assert "loud is 0.20 s longer silent at the beginning than the others: audio.trim_silence_db=40" in done.stdout
    assert "WAV PCM_16" in done.stdout
