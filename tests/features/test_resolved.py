"""Recipes hash what a setting meant: float32 or bf16 for `auto`, a commit for `main`; what was made before keeps its name, or is found."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from sourcetracing.detection.features.layer_store import layer_recipe
from sourcetracing.errors import UserError
from sourcetracing.features.extracting import extract_features, find_store, list_items, store_recipe
from sourcetracing.features.resolved import resolved
from sourcetracing.features.ssl_front_end import commit_of
from sourcetracing.layout import StoreLayout
from sourcetracing.runtime.compute import autocast
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings
from sourcetracing.training.runs import run_of, run_recipe
from tests.support.places import ROOT
from tests.support.small_experiment import SmallExperiment
from tests.support.tiny_ssl import save_tiny

FIRST, SECOND = "1" * 40, "2" * 40
TINY = str(ROOT / "configs/tiny.yaml")


@pytest.fixture
def a_gpu_with_bf16(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)


@pytest.fixture
def experiment(tmp_path: Path) -> SmallExperiment:
    return SmallExperiment.write(tmp_path, 12)


def with_ssl(experiment: SmallExperiment, model: str, *, revision: str = "main") -> Settings:
    settings = experiment.settings("x")
    settings.frontend, settings.ssl.model, settings.ssl.revision, settings.augment.variants = "ssl", model, revision, ["original"]
    return settings


def write_cache(folder: Path, monkeypatch, **refs: str) -> None:
    """The Hub's cache of org/tiny: two commits of different weights, branches and tags."""
    repo = folder / "models--org--tiny"
    for seed, commit in enumerate((FIRST, SECOND)):
        save_tiny("wav2vec2", repo / "snapshots" / commit, seed)
    point(repo, **refs)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def point(repo: Path, **refs: str) -> None:
    (repo / "refs").mkdir(exist_ok=True)
    for name, commit in refs.items():
        (repo / "refs" / name).write_text(commit)


# --- precision


def test_auto_is_bf16_on_such_a_gpu_and_float32_on_a_cpu(a_gpu_with_bf16):
    settings = load_settings([TINY])
    assert resolved(settings).compute.precision == "bf16"
    settings.compute.device = "cpu"
    assert resolved(settings).compute.precision == "float32"
    assert settings.compute.precision == "auto"


def test_a_run_of_a_gpu_and_one_of_a_cpu_have_names_of_their_own(a_gpu_with_bf16):
    words = [TINY, "train.languages=[de]", "system=lfcc_aasist"]
    name = {device: run_of(load_settings([*words, f"compute.device={device}"]), "lfcc-386ede0b").folder.name for device in ("cpu", "cuda")}
    # Of the time before precision was resolved: a run with `auto` on a CPU.
    assert name["cpu"] == "de-seed688-817efcc4"
    assert name["cuda"] != name["cpu"]
    by_word = {word: run_of(load_settings([*words, f"compute.precision={word}"]), "lfcc-386ede0b") for word in ("float32", "bf16")}
    assert by_word["float32"].folder.name == name["cpu"]
    assert by_word["bf16"].folder.name == name["cuda"]
    assert by_word["bf16"].settings.compute.precision == "bf16"


def test_a_store_of_an_encoder_on_a_gpu_is_another_one(a_gpu_with_bf16, experiment):
    items = list_items(experiment.utterances, experiment.protocol)
    recipes = []
    for device in ("cpu", "cuda"):
        settings = with_ssl(experiment, str(save_tiny("wav2vec2", experiment.root / "tiny")))
        settings.compute.device = device
        recipes.append(store_recipe(settings, items)["frontend"]["ssl"]["precision"])
    assert recipes == ["auto", "bf16"]
    detection = [load_settings([TINY, "layer_features.kind=ssl", f"compute.device={device}"]) for device in ("cpu", "cuda")]
    assert [layer_recipe(settings, "clean")["precision"] for settings in detection] == ["auto", "bf16"]


def test_without_determinism_stores_and_runs_have_names_of_their_own_on_every_device(experiment):
    """The bytes differ on a GPU; a computer without one finds them by the same words. The names of what is deterministic stay."""
    items, recipes = list_items(experiment.utterances, experiment.protocol), {}
    for deterministic in (True, False):
        settings = with_ssl(experiment, str(save_tiny("wav2vec2", experiment.root / "tiny")))
        settings.compute.deterministic = deterministic
        layers = load_settings([TINY, "layer_features.kind=ssl", f"compute.deterministic={deterministic}"])
        recipes[deterministic] = [store_recipe(settings, items)["frontend"]["ssl"], layer_recipe(layers, "clean"), run_recipe(settings)]
    assert [recipe.pop("deterministic") for recipe in recipes[False]] == [False] * 3
    assert recipes[False] == recipes[True]


def test_features_of_a_gpu_are_named_where_there_is_none(experiment, monkeypatch):
    """A store that `auto` made in bf16 was not found on a computer without a GPU, and nothing said by which setting it is."""
    settings = with_ssl(experiment, str(save_tiny("wav2vec2", experiment.root / "tiny")))
    settings.compute.precision = "bf16"
    made = extract_features(settings, experiment.utterances, experiment.protocol)
    settings.compute.precision = "auto"
    with pytest.raises(UserError, match=re.escape(f"these settings; with compute.precision=bf16 there is {made}. Run: python scripts/04")):
        find_store(settings, experiment.utterances, experiment.protocol)
    settings.compute.precision, settings.ssl.layer = "bf16", 1
    with pytest.raises(UserError, match=re.escape("these settings. Run: python scripts/04")):
        find_store(settings, experiment.utterances, experiment.protocol)


def test_what_is_hashed_is_what_is_computed(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: False)
    assert not isinstance(autocast(torch.device("cuda"), "auto"), torch.autocast)
    assert isinstance(autocast(torch.device("cpu"), "bf16"), torch.autocast)
    assert not isinstance(autocast(torch.device("cpu"), "auto"), torch.autocast)


# --- revision


def test_a_revision_is_resolved_by_the_cache(tmp_path, monkeypatch):
    write_cache(tmp_path, monkeypatch, main=FIRST)
    point(tmp_path / "models--org--tiny", v2=SECOND)
    assert [commit_of("org/tiny", revision) for revision in ("main", "v2", SECOND, "v3")] == [FIRST, SECOND, SECOND, ""]
    assert commit_of("org/other", "main") == ""
    assert commit_of(str(tmp_path), "main") == ""  # a folder


def test_a_store_and_a_fine_tuned_run_are_of_a_commit(experiment, tmp_path, monkeypatch):
    write_cache(tmp_path / "hub", monkeypatch, main=FIRST)
    settings = with_ssl(experiment, "org/tiny")
    experiment.write_lists(settings)
    made = [extract_features(settings, experiment.utterances, experiment.protocol)]
    facts = json.loads(StoreLayout(made[0]).record.read_text())
    assert facts["recipe"]["frontend"]["ssl"]["revision"] == facts["checkpoint_commit"] == FIRST
    assert facts["checkpoint_revision"] == "main"

    settings.ssl.mode = "finetune"
    runs = [run_of(settings, "waveform-0")]
    assert runs[0].settings.ssl.revision == FIRST

    point(tmp_path / "hub" / "models--org--tiny", main=SECOND)
    runs.append(run_of(settings, "waveform-0"))
    assert runs[0].folder != runs[1].folder
    assert runs[1].settings.ssl.revision == SECOND
    settings.ssl.mode = "frozen"
    with pytest.raises(UserError, match="holds no features for these settings"):
        find_store(settings, experiment.utterances, experiment.protocol)
    made.append(extract_features(settings, experiment.utterances, experiment.protocol))
    assert made[0] != made[1]
    assert StoreLayout(made[0]).features.read_bytes() != StoreLayout(made[1]).features.read_bytes()
    # By name a commit is the same as by branch.
    assert find_store(with_ssl(experiment, "org/tiny", revision=FIRST), experiment.utterances, experiment.protocol).folder == made[0]
    assert run_of(runs[0].settings, "waveform-0").folder == runs[0].folder


def test_a_store_is_found_where_the_cache_does_not_tell_and_by_its_older_record(experiment, tmp_path, monkeypatch):
    write_cache(tmp_path / "hub", monkeypatch, main=FIRST)
    settings = with_ssl(experiment, "org/tiny")
    made = extract_features(settings, experiment.utterances, experiment.protocol)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    assert find_store(settings, experiment.utterances, experiment.protocol).folder == made
    with pytest.raises(UserError, match="holds no features"):
        find_store(with_ssl(experiment, "org/tiny", revision="v2"), experiment.utterances, experiment.protocol)

    record = StoreLayout(made).record
    older = json.loads(record.read_text())
    older["recipe"]["frontend"]["ssl"] |= {"revision": "main", "precision": "float32"}
    del older["checkpoint_revision"]
    record.write_text(json.dumps(older))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert find_store(settings, experiment.utterances, experiment.protocol).folder == made
    assert extract_features(settings, experiment.utterances, experiment.protocol) == made
    point(tmp_path / "hub" / "models--org--tiny", main=SECOND)
    with pytest.raises(UserError, match="holds no features"):
        find_store(settings, experiment.utterances, experiment.protocol)
    # Of before commits were recorded: as then, the same words find it.
    del older["checkpoint_commit"]
    record.write_text(json.dumps(older))
    assert find_store(settings, experiment.utterances, experiment.protocol).folder == made
    with pytest.raises(UserError, match="holds no features"):
        find_store(with_ssl(experiment, "org/tiny", revision="v2"), experiment.utterances, experiment.protocol)


def test_an_older_store_that_a_gpu_made_with_auto_is_one_of_bf16(experiment, tmp_path):
    settings = with_ssl(experiment, str(save_tiny("wav2vec2", tmp_path / "tiny")))
    made = extract_features(settings, experiment.utterances, experiment.protocol)
    record = StoreLayout(made).record
    older = json.loads(record.read_text())
    older["extraction"]["device"] = "cuda"
    del older["checkpoint_revision"]
    record.write_text(json.dumps(older))
    with pytest.raises(UserError, match="holds no features"):
        find_store(settings, experiment.utterances, experiment.protocol)
    settings.compute.precision = "bf16"
    assert find_store(settings, experiment.utterances, experiment.protocol).folder == made
