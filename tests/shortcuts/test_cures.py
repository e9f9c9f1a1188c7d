"""Planted shortcuts: the audit hears them, names their cure, and hears them no more once it is on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.signal
import soundfile

from sourcetracing.layout import Layout
from sourcetracing.protocols.building import build_protocols
from sourcetracing.settings.reading import read_config
from sourcetracing.shortcuts import cue_table as cue_table_module
from sourcetracing.shortcuts.audit import Audit, audit_shortcuts, means_table, summary
from sourcetracing.shortcuts.baselines import shortcut_runs
from sourcetracing.shortcuts.cue_table import cue_table
from sourcetracing.shortcuts.cures import _cure, bands_of, figure_of
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


@dataclass
class Planted:
    """A corpus with one planted shortcut: its settings, its cure, and the audits without and with it."""

    group: str
    words: list[str]
    cure: list[str]
    before: Audit
    cured: Audit


@pytest.fixture(scope="module", params=["level", *(pytest.param(group, marks=pytest.mark.slow) for group in ("silence", "bandwidth"))])
def planted(request, tmp_path_factory, noises) -> Planted:
    root = tmp_path_factory.mktemp(request.param)
    plant, cure = PLANTED[request.param]
    write_corpus(root / "corpus", plant)
    paths = [f"paths.corpus={root}/corpus", f"paths.musan={noises}/musan", f"paths.rirs={noises}/rirs", f"paths.exp={root}/exp"]
    corpus = ["corpus.reader=folder", "corpus.languages=[en,de]", "corpus.sources=[fair,leaky]", "audio.crop_seconds=0.5"]
    sizes = ["augment.variants=[original,noise]", "evaluation.bootstrap_samples=100", "compute.device=cpu", "compute.workers=2"]
    words = [*paths, *corpus, *sizes, "name=planted"]
    return Planted(request.param, words, cure, audited(words), audited([*words, *cure]))


def audited(words: list[str]) -> Audit:
    config = read_config(words)
    build_protocols(config.resolve())
    return audit_shortcuts(config)


def test_a_planted_shortcut_is_found_cured_and_gone(planted):
    group, cure = planted.group, planted.cure[0]
    found = figure_of(planted.before.tables, f"cues_{group}", "mono")
    assert found.value > 0.9
    assert planted.before.before is None
    sentence = next(line for line in planted.before.verdict if line.startswith(f"{group} "))
    assert f"Cure: {cure.partition('=')[0]}=" in sentence  # the band with a value of its own
    left = figure_of(planted.cured.tables, f"cues_{group}", "mono")
    assert left.low <= left.chance and left.value < 0.7, left  # one class for everything has macro-F1 1/3
    assert figure_of(planted.cured.before, f"cues_{group}", "mono").value == pytest.approx(
        found.value, abs=0.1
    )  # resplit with the trimming
    sentence = next(line for line in planted.cured.verdict if line.startswith(f"{group}: "))
    assert f"without {cure}" in sentence
    assert f"95 % CI {100 * left.low:.1f} to {100 * left.high:.1f}, chance {100 * left.chance:.1f})" in sentence
    assert "which may be chance (" in sentence or "no better than chance (" in sentence
    now, was = (figure_of(tables, "cues_all", "mono") for tables in (planted.cured.tables, planted.cured.before))
    sentence = next(line for line in planted.cured.verdict if line.startswith("All cues mono: "))
    assert f"{100 * was.value:.1f} without the cures, {100 * now.value:.1f} with them" in sentence
    assert ("still above chance" in sentence) == (now.low > now.chance)
    means = means_table(planted.cured).set_index(["system", "kind", "variant"])["as_it_is"]
    assert means["cues_all", "mono", "pooled"] == was.value
    assert means_table(planted.before)["as_it_is"].isna().all()
    assert planted.cured.verdict[0].startswith("All figures but those of the audio as it is are of what systems hear, with audio.")
    assert "mono as it is  mono cured" in summary(planted.cured)
    layout = Layout.of(read_config([*planted.words, *planted.cure]).resolve())
    assert "## Before and after the cures" in layout.shortcut_text.read_text(encoding="utf-8")


def test_both_tables_are_kept(planted, monkeypatch):
    """Cues without cures are those of an audit without any; nothing is computed twice."""
    monkeypatch.setattr(cue_table_module, "crop_cues", None)
    if planted.group != "silence":  # which has a protocol of its own
        shortcut_runs(read_config(planted.words).resolve())
    settings = read_config([*planted.words, *planted.cure]).resolve()
    shortcut_runs(settings)
    shortcut_runs(settings, cured=False)


def test_the_suggested_limit_takes_the_narrow_source_away(planted):
    bands = bands_of(cue_table(read_config(planted.words).resolve(), cured=False))
    lowest = bands.min()
    if planted.group != "bandwidth":
        assert lowest > 7600 and _cure("bandwidth", bands).startswith("no setting: all sources reach ")
        return
    assert 2800 < lowest < 3200
    [line] = [line for line in planted.before.verdict if line.startswith("bandwidth ")]
    limit = int(line.partition("audio.band_limit_hz=")[2].rstrip("."))
    assert 2300 <= limit <= 2700
    left = figure_of(audited([*planted.words, f"audio.band_limit_hz={limit}"]).tables, "cues_bandwidth", "mono")
    assert left.low <= left.chance


def test_cues_of_files_are_of_what_crops_are_cut_from(planted):
    plain, cured = (cue_table(read_config(words).resolve()) for words in (planted.words, [*planted.words, *planted.cure]))
    assert set(cured["file_sample_rate_hz"]) == {16000.0}
    if planted.group != "silence":
        pd.testing.assert_series_equal(plain["file_duration_s"], cured["file_duration_s"])
        return
    plain, cured = (table.set_index(["utt_id", "variant"]).sort_index() for table in (plain, cured))
    leaky = plain["source"] == "leaky"
    assert (plain.loc[leaky, "file_leading_silence_s"] > 0.09).all()
    assert (cured["file_leading_silence_s"] < 0.002).all()
    shorter = plain.loc[leaky, "file_duration_s"] - cured.loc[leaky, "file_duration_s"]
    np.testing.assert_allclose(shorter, plain.loc[leaky, "file_leading_silence_s"], atol=0.002)


def test_groups_without_a_cure_say_so(planted):
    lines = [line for line in planted.before.verdict if line.startswith(("duration ", "noise_floor ", "tilt "))]
    assert all("Cure: no setting" in line for line in lines)
    assert planted.group != "level" or any(line.startswith("noise_floor ") for line in lines)  # a quiet source has a low floor
