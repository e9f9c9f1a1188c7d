"""m4a, webm, opus and amr could be traced, but 02 ignored them in a corpus folder ("ignored 4 other files")."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from sourcetracing.audio.formats import AUDIO_SUFFIXES
from sourcetracing.corpora.list_files import AUDIO_SUFFIX, LISTED_SUFFIX
from sourcetracing.detection.data.corpora.rows import audio_below
from sourcetracing.errors import UserError
from sourcetracing.features.extracting import extract_features
from sourcetracing.features.store import FeatureStore
from sourcetracing.protocols.building import build_protocols
from sourcetracing.protocols.table import load_protocol
from sourcetracing.settings.schema import Settings
from sourcetracing.tracing.inputs import list_files
from tests.support.audio_doors import RATE, encoded, needs_ffmpeg, speech_like, through_all_doors
from tests.support.audio_files import small_audio_settings

SUFFIXES = ("m4a", "webm", "opus", "amr", "mp3", "flac")
OPTIONS = {"amr": ["-ar", "8000"]}


@pytest.fixture
def settings(tmp_path) -> Settings:
    """A corpus of two sources, a file of each kind."""
    for number, (source, suffix) in enumerate((source, suffix) for source in "ab" for suffix in SUFFIXES):
        path = tmp_path / "corpus" / "en" / source / f"{number}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        encoded(path, speech_like(1, seed=number), *OPTIONS.get(suffix, []))
    settings = small_audio_settings(tmp_path)
    settings.corpus.reader, settings.corpus.languages, settings.corpus.sources = "folder", ["en"], ["a", "b"]
    settings.augment.variants = ["original"]
    return settings


@needs_ffmpeg
def test_scripts_02_to_04_read_what_ffmpeg_reads(settings, capsys):
    built = build_protocols(settings)
    assert "ignored" not in capsys.readouterr().out
    utterances, protocol = load_protocol(settings)
    assert (built.num_left_out, len(utterances)) == (0, 2 * len(SUFFIXES))
    np.testing.assert_allclose(utterances["duration_s"].astype(float), 1, atol=0.1)
    store = FeatureStore.open(extract_features(settings, utterances, protocol))
    features = store.load(range(len(utterances))).astype(np.float32)
    assert np.isfinite(features).all() and all(row.std() > 0.1 for row in features)


@needs_ffmpeg
def test_every_door_lists_the_same_files(settings):
    corpus = Path(settings.paths.corpus)
    (corpus / "en/a/notes.txt").touch()
    expected = sorted(str(path) for path in corpus.rglob("*") if path.suffix.lstrip(".") in SUFFIXES)
    assert [str(path) for path in list_files([str(corpus)])[0]] == expected
    assert [str(corpus / path) for path in audio_below(corpus, "en")] == expected
    for path in map(Path, expected):
        assert abs(through_all_doors(path) - RATE * (0.5 if path.suffix == ".amr" else 3 if path.suffix == ".webm" else 1)) < 4000


def test_without_ffmpeg_one_line_says_so(tmp_path, monkeypatch):
    def no_ffmpeg() -> str:
        raise UserError("there is no ffmpeg")

    monkeypatch.setattr("sourcetracing.audio.ffmpeg.ffmpeg_program", no_ffmpeg)
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    reason = through_all_doors(tmp_path / "a.m4a")
    assert reason.startswith("cannot be read as audio by soundfile (") and reason.endswith("and there is no ffmpeg")


@pytest.mark.parametrize("suffix", AUDIO_SUFFIXES)
def test_lists_know_every_suffix(suffix):
    assert re.search(AUDIO_SUFFIX, f"x{suffix}") and re.search(LISTED_SUFFIX, f"x{suffix}")


@needs_ffmpeg
@pytest.mark.parametrize(("suffix", "options"), [("m4a", ["-movflags", "+faststart"]), ("webm", []), ("mka", [])])
def test_a_cut_one_is_named(tmp_path, suffix, options):
    path = encoded(tmp_path / f"a.{suffix}", speech_like(10), *options)
    whole = through_all_doors(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert through_all_doors(path).startswith("cut off or damaged (ffmpeg: ")
    assert 0.2 * whole < through_all_doors(path, on_truncated="keep") < 0.8 * whole
