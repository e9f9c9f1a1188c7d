"""Planted shortcuts: the audit hears them, names their cure, and hears them no more once it is on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile

from sourcetracing.layout import Layout
from sourcetracing.protocols.building import build_protocols
from sourcetracing.settings.reading import read_config
from sourcetracing.shortcuts import cue_table as cue_table_module
from sourcetracing.shortcuts.audit import audit_shortcuts, report_shortcuts, summary
from sourcetracing.shortcuts.baselines import SYSTEMS
from sourcetracing.shortcuts.cue_table import cue_table
from sourcetracing.shortcuts.cues import file_cues
from sourcetracing.shortcuts.cures import figure_of, lowest_band
from tests.support.audio_files import write_noises, write_responses

RATE, LANGUAGES, SOURCES = 16000, ("en", "de"), ("fair", "leaky")


def quieter(samples: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return samples * 0.25


def later(samples: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A silence of another length in each file, not quite digital."""
    lead = generator.normal(0, 2e-5, round(generator.uniform(0.1, 0.3) * RATE))
    return np.concatenate([lead, samples])


def narrower(samples: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """A steep filter of scipy's, whose slope is from 2,850 to 3,000 Hz."""
    return scipy.signal.fftconvolve(samples, scipy.signal.firwin(1001, 2925, window=("kaiser", 12), fs=RATE), mode="same")


PLANTED = {
    "level": (quieter, ["audio.normalize=rms"]),
    "silence": (later, ["audio.trim_silence_db=40"]),
    "bandwidth": (narrower, ["audio.band_limit_hz=2500"]),
}


def write_corpus(root: Path, plant: Callable, per_group: int = 30) -> None:
    """Noise of one kind in two languages; what is planted in the files of the second source is all that tells it."""
    generator = np.random.default_rng(1)
    for language in LANGUAGES:
        for source in SOURCES:
            (root / language / source).mkdir(parents=True)
            for number in range(per_group):
                samples = generator.normal(0, 0.05, round(generator.uniform(0.6, 0.9) * RATE))
                samples = plant(samples, generator) if source == "leaky" else samples
                soundfile.write(root / language / source / f"{number}.wav", samples, RATE, subtype="PCM_24")


@pytest.fixture(scope="module")
def noises(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("noises")
    write_noises(root / "musan")
    write_responses(root / "rirs")
    return root


@pytest.fixture(scope="module", params=list(PLANTED))
def planted(request, tmp_path_factory, noises) -> tuple[str, list[str], list[str]]:
    """(group of cues, settings of the corpus, the cure)."""
    root = tmp_path_factory.mktemp(request.param)
    plant, cure = PLANTED[request.param]
    write_corpus(root / "corpus", plant)
    paths = [f"paths.corpus={root}/corpus", f"paths.musan={noises}/musan", f"paths.rirs={noises}/rirs", f"paths.exp={root}/exp"]
    corpus = ["corpus.reader=folder", "corpus.languages=[en,de]", "corpus.sources=[fair,leaky]", "audio.crop_seconds=0.5"]
    sizes = ["augment.variants=[original,noise]", "evaluation.bootstrap_samples=200", "compute.device=cpu", "compute.workers=2"]
    return request.param, [*paths, *corpus, *sizes, "name=planted"], cure


def audited(words: list[str]):
    config = read_config(words)
    build_protocols(config.resolve())
    return audit_shortcuts(config)


def test_a_planted_shortcut_is_found_cured_and_gone(planted):
    group, words, cure = planted
    before = audited(words)
    found = figure_of(before.tables, f"cues_{group}", "mono")
    assert found.value > 0.95
    assert before.before is None
    sentence = next(line for line in before.verdict if line.startswith(f"{group} "))
    assert f"Cure: {cure[0].partition('=')[0]}=" in sentence  # with a value of its own for the band
    cured = audited([*words, *cure])
    left = figure_of(cured.tables, f"cues_{group}", "mono")
    assert left.low <= left.chance <= left.high, left
    assert figure_of(cured.before, f"cues_{group}", "mono").value == pytest.approx(found.value, abs=0.03)
    sentence = next(line for line in cured.verdict if line.startswith(f"{group}: "))
    assert f"without {cure[0]}" in sentence and "within chance" in sentence
    assert cured.verdict[0].startswith("All figures but those of the audio as it is are of what systems hear, with audio.")
    text = summary(cured)
    assert "mono as it is  mono cured" in text
    settings = read_config([*words, *cure]).resolve()
    assert "## Before and after the cures" in Layout.of(settings).shortcut_text.read_text(encoding="utf-8")


def test_both_tables_are_kept(planted, monkeypatch):
    """Cues without cures are those of an audit without any; nothing is computed twice."""
    _, words, cure = planted
    audited(words)
    audited([*words, *cure])
    monkeypatch.setattr(cue_table_module, "crop_cues", None)
    for settings in (words, [*words, *cure], words):
        audited(settings)
    config = read_config([*words, *cure])
    assert report_shortcuts(config) == report_shortcuts(config)


def test_the_suggested_limit_takes_the_narrow_source_away(planted):
    group, words, _ = planted
    settings = read_config(words).resolve()
    build_protocols(settings)
    lowest = lowest_band(cue_table(settings, cured=False))
    if group == "bandwidth":
        assert 2500 < lowest < 3300
        line = next(line for line in audited(words).verdict if line.startswith("bandwidth "))
        limit = int(line.partition("audio.band_limit_hz=")[2].rstrip("."))
        assert 2500 <= limit <= lowest
        left = figure_of(audited([*words, f"audio.band_limit_hz={limit}"]).tables, "cues_bandwidth", "mono")
        assert left.value < 0.75
    else:
        assert lowest > 7600


def test_cues_of_files_are_of_what_crops_are_cut_from(planted):
    group, words, cure = planted
    if group != "silence":
        pytest.skip("the others do not change what there is of a file")
    config = [read_config(some).resolve() for some in (words, [*words, *cure])]
    for settings in config:
        build_protocols(settings)
    plain, cured = (cue_table(settings) for settings in config)
    leaky = plain["source"] == "leaky"
    assert (plain.loc[leaky, "file_leading_silence_s"] > 0.09).all()
    assert (cured["file_leading_silence_s"] < 0.002).all()
    shorter = plain.loc[leaky, "file_duration_s"].to_numpy() - cured.loc[leaky, "file_duration_s"].to_numpy()
    np.testing.assert_allclose(shorter, plain.loc[leaky, "file_leading_silence_s"], atol=0.002)
    assert set(cured["file_sample_rate_hz"]) == {16000.0}
    assert file_cues(np.ones(1600), RATE, 0.5)["crop_wrap_padding_s"] == pytest.approx(0.4)


def test_groups_without_a_cure_say_so(planted):
    _, words, _ = planted
    audit = audited(words)
    for line in audit.verdict:
        if line.startswith(("duration ", "noise_floor ", "tilt ")):
            assert "Cure: no setting" in line
    assert set(SYSTEMS) == set(audit.tables.axes.systems)
