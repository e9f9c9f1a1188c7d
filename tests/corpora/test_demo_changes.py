"""What the demo's later settings do to its audio, and that nothing of it changes while they are left alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
import soundfile

from sourcetracing.corpora import demo
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.settings.corpora import DEMO_CHANGES, Corpus, Demo
from sourcetracing.settings.paths import Paths
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.recorded import name_of_recipe, protocol_recipe, value_of
from sourcetracing.settings.schema import Settings

OTHERS = {"seed": 8, "level_spread_db": 12.0, "channel": "file", "trim": True, "shared_transcripts": True}


def settings_for(root: Path, changes: Mapping[str, object] = MappingProxyType({}), seed: int = 7) -> Settings:
    """Two languages, two sources, six utterances of each; the fewest noises. changes: of the group `demo`."""
    settings = Settings(
        seed=seed,
        paths=Paths(corpus=str(root), musan=str(root / "musan"), rirs=str(root / "RIRS_NOISES")),
        corpus=Corpus(languages=["en", "es"], sources=["espeak_formant", "lpc_vocoder"]),
        demo=Demo(
            utterances_per_source=6,
            speakers_per_language=2,
            noises_per_category=2,
            noise_seconds=5.0,
            long_noises_per_category=0,
            rirs_per_room_size=1,
            **changes,
        ),
    )
    settings.compute.workers = 1
    return settings


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """A corpus made with the defaults; tests must leave it as it is."""
    root = tmp_path_factory.mktemp("plain")
    demo.DemoCorpus(settings_for(root)).download()
    return root


def samples_of(root: Path, settings: Settings) -> dict[str, np.ndarray]:
    return {path: soundfile.read(root / path)[0] for path in demo.DemoCorpus(settings).prepare()["path"]}


def test_every_later_setting_is_tested_here():
    assert {f"demo.{name}" for name in OTHERS} == set(DEMO_CHANGES)


def test_defaults_leave_no_trace(plain):
    recipe = json.loads((plain / "recipe.json").read_text())["settings"]
    assert list(recipe) == ["recipe_version", "seed", "demo.utterances_per_source", "demo.speakers_per_language"]
    old = {name: value for name, value in protocol_recipe(Settings()).items() if name not in DEMO_CHANGES}
    assert name_of_recipe(old) == name_of_recipe(protocol_recipe(Settings()))


@pytest.mark.parametrize("name", OTHERS)
def test_another_value_is_another_protocol_and_is_refused_in_a_folder_made_before(plain, name):
    settings = settings_for(plain, {name: OTHERS[name]})
    assert name_of_recipe(protocol_recipe(settings)) != name_of_recipe(protocol_recipe(settings_for(plain)))
    with pytest.raises(UserError) as refusal:
        demo.DemoCorpus(settings).download()
    said = str(refusal.value)
    assert f"seed=7, the settings say seed={OTHERS[name]}" in said if name == "seed" else f"demo.{name}={OTHERS[name]}" in said
    assert "\n" not in said and "paths.corpus" in said


def test_a_folder_made_with_another_value_is_refused_at_the_default(plain, tmp_path):
    recipe = json.loads((plain / "recipe.json").read_text())
    recipe["settings"]["demo.trim"] = True
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(UserError, match=r"was made with demo\.trim=True, the settings say demo\.trim=False"):
        demo.DemoCorpus(settings_for(tmp_path)).download()


def test_the_audio_has_a_seed_of_its_own(plain, tmp_path):
    settings = settings_for(plain, {"seed": 7}, seed=99)
    before = {path: digest_of_file(path) for path in plain.rglob("*.wav")}
    demo.DemoCorpus(settings).download()
    demo.DemoCorpus(settings).check()
    assert {path: digest_of_file(path) for path in plain.rglob("*.wav")} == before


@pytest.fixture(scope="module")
def changed(tmp_path_factory) -> tuple[Path, Settings]:
    """All at once."""
    root = tmp_path_factory.mktemp("changed")
    settings = settings_for(root, OTHERS | {"seed": 7})
    settings.corpus.sources = ["espeak_formant", "lpc_vocoder", "upsampler_160"]
    demo.DemoCorpus(settings).download()
    return root, settings


def test_levels_spread_as_wide_as_asked(plain, changed):
    def levels(root: Path, settings: Settings) -> np.ndarray:
        return np.array([10 * np.log10(np.mean(samples**2)) for samples in samples_of(root, settings).values()])

    narrow, wide = levels(plain, settings_for(plain)), levels(*changed)
    assert narrow.min() > -26.1 and narrow.max() < -19.9
    assert -44.1 < wide.min() < -38 and -26 < wide.max() < -19.9
    assert np.ptp(wide) > 12 > 6.2 > np.ptp(narrow)


def test_trimmed_files_begin_and_end_with_speech(plain, changed):
    def quietest_end_db(samples: np.ndarray) -> float:
        frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
        power = np.mean(frames**2, axis=1)
        return float(10 * np.log10(min(power[0], power[-2:].max()) / power.max()))

    assert min(quietest_end_db(samples) for samples in samples_of(*changed).values()) > -32
    assert min(len(samples) for samples in samples_of(*changed).values()) > 3 * 16000
    assert min(quietest_end_db(samples) for samples in samples_of(plain, settings_for(plain)).values()) < -32


def test_shared_transcripts_are_the_same_in_every_source_and_else_are_not(plain, changed):
    def texts(root: Path, settings: Settings) -> pd.Series:
        utterances = demo.DemoCorpus(settings).prepare()
        return utterances.groupby(["language", "source"])["transcript"].agg(lambda column: tuple(sorted(column)))

    shared, own = texts(*changed), texts(plain, settings_for(plain))
    assert (shared.groupby("language").nunique() == 1).all() and shared.nunique() == 2
    assert (own.groupby("language").nunique() == 2).all()


def test_all_others_are_no_twins():
    settings = load_settings(["corpus.unknown_sources=[all]"])
    sources = {entry.source for entry in demo._folders(settings)[0].entries}
    assert "world" in sources and "griffin_lim_60" not in sources


@pytest.mark.parametrize("name", ["levels", "channels", "shared", "languages", "twins"])
def test_the_small_corpora_are_planned_apart_from_each_other(name):
    settings = load_settings([f"configs/small/{name}.yaml"])
    assert settings.paths.corpus == f"data/small/{name}" and settings.name == f"small_{name}"
    assert (settings.paths.musan, settings.paths.rirs) == (Paths().musan, Paths().rirs)
    entries = demo._folders(settings)[0].entries
    assert len(entries) == 50 * len(settings.corpus.languages) * len(settings.corpus.sources)
    assert value_of(load_settings([f"configs/small/{name}.yaml", "seed=3"]), "demo.seed") == Settings().seed
