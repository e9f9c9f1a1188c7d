"""Other engines than torch: every family's features within 1e-4, whatever the workers; stores of their own; what cannot be, in a line."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sourcetracing.detection.features.layer_features import build_layer_means
from sourcetracing.detection.features.layer_store import layer_recipe
from sourcetracing.errors import UserError
from sourcetracing.features import engines
from sourcetracing.features.engines import converted, refuse_what_cannot
from sourcetracing.features.extracting import extract_features, find_store
from sourcetracing.features.front_end import build_front_end
from sourcetracing.features.store import FeatureStore
from sourcetracing.models.frontends.layer_means import LayerMeans
from sourcetracing.models.frontends.ssl import SslEncoder
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings
from tests.support.small_experiment import SmallExperiment
from tests.support.tiny_ssl import FAMILIES, save_tiny

LARGEST = 1e-4  # of the features' root mean square
NAMES = ("openvino", "onnxruntime")


def needs_packages(name: str):
    absent = [module for module in ("onnx", name) if importlib.util.find_spec(module) is None]
    return pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)} (the extra `engine`)")


INSTALLED = [pytest.param(name, marks=needs_packages(name)) for name in NAMES]
some_engine = pytest.mark.parametrize("engine", INSTALLED)


def settings_of(folder: Path, engine: str, *words: str) -> Settings:
    fixed = [
        "frontend=ssl",
        f"ssl.model={folder}",
        "ssl.layer=2",
        "compute.device=cpu",
        "audio.crop_seconds=1.0",
    ]
    return load_settings([*fixed, f"compute.engine={engine}", *words])


def off(made: torch.Tensor, expected: torch.Tensor) -> float:
    assert made.shape == expected.shape
    return float((made - expected).abs().max() / expected.square().mean().sqrt())


@pytest.mark.slow
@some_engine
@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_every_family_gives_torchs_features(family, engine, tmp_path):
    folder = save_tiny(family, tmp_path / family)
    waveforms = torch.randn(3, 16_000, generator=torch.Generator().manual_seed(4)) * 0.1
    for words in (["ssl.layer=2"], ["ssl.layer=last"]):
        front_end = build_front_end(settings_of(folder, engine, *words))
        assert front_end.module.engine is not None
        layer = 2 if words == ["ssl.layer=2"] else "last"
        assert off(front_end(waveforms), SslEncoder(folder, layer=layer)(waveforms)) <= LARGEST


@pytest.mark.slow
@some_engine
@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_every_family_gives_torchs_means_of_sounds_of_any_length(family, engine, tmp_path):
    folder = save_tiny(family, tmp_path / family)
    settings = settings_of(folder, engine)
    plain, network = (LayerMeans(SslEncoder(folder), [0, 1, 3], normed=[3]) for _ in range(2))
    network.engine = converted(network.means, [network.inputs([sound]) for sound in noises(network, 9_000, 16_000)], settings)
    for sound in noises(network, 5_000, 12_345, 31_000):
        assert off(network([sound]), plain([sound])) <= LARGEST
    if network.pads:
        unequal = noises(network, 8_000, 12_345)
        assert off(network(unequal), plain(unequal)) <= LARGEST


def noises(network: LayerMeans, *lengths: int) -> list:
    return [network.sound(torch.randn(length, generator=torch.Generator().manual_seed(length)) * 0.1) for length in lengths]


@some_engine
def test_a_store_is_the_same_with_one_worker_and_with_two_and_is_found_by_its_engine(engine, tmp_path):
    experiment = SmallExperiment.write(tmp_path, 6)
    save_tiny("wav2vec2", tmp_path / "model")

    def with_workers(workers: int, exp: str) -> Settings:
        settings = experiment.settings("x")
        settings.frontend, settings.ssl.model, settings.ssl.layer = "ssl", str(tmp_path / "model"), 2
        settings.compute.device, settings.compute.workers, settings.compute.engine = "cpu", workers, engine
        settings.paths.exp, settings.store.dtype = str(tmp_path / exp), "float32"
        return settings

    data = experiment.utterances, experiment.protocol
    one, two = (FeatureStore.open(extract_features(with_workers(workers, f"exp{workers}"), *data)) for workers in (1, 2))
    rows = range(one.shape[0])
    assert np.array_equal(one.load(rows), two.load(rows))
    assert one.facts["recipe"]["frontend"]["ssl"]["engine"] == one.facts["extraction"]["engine"] == engine
    assert one.facts["extraction"]["engine_version"] not in ("", "absent")

    by_torch = with_workers(1, "exp1")
    by_torch.compute.engine = "torch"
    with pytest.raises(UserError, match=rf"; with compute\.engine={engine} there is .*{one.folder.name}"):
        find_store(by_torch, *data)
    made = FeatureStore.open(extract_features(by_torch, *data))
    assert made.folder != one.folder and "engine" not in made.facts["recipe"]["frontend"]["ssl"]
    assert "engine" not in made.facts["extraction"]
    assert off(torch.from_numpy(one.load(rows)), torch.from_numpy(made.load(rows))) <= LARGEST


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize(
    ("words", "device", "hint"),
    [
        ([], "cuda", r"computes on a CPU, and the device is cuda\. Use compute\.device=cpu, or compute\.engine=torch"),
        (["compute.precision=bf16"], "cpu", r"not bf16\. Use compute\.encoder_precision=float32, or compute\.engine=torch"),
        (["compute.encoder_precision=fp16"], "cpu", r"not fp16\. Use compute\.encoder_precision=float32, or compute\.engine=torch"),
        (["compute.compile=true"], "cpu", r"Use compute\.compile=false, or compute\.engine=torch"),
        (["compute.encoder_batch=8"], "cpu", r"Use compute\.encoder_batch=0, or compute\.engine=torch"),
    ],
)
def test_what_only_torch_can_is_refused_by_name(engine, words, device, hint, tmp_path):
    settings = settings_of(tmp_path, engine, *words)
    with pytest.raises(UserError, match=rf"^compute\.engine={engine} .*{hint}$"):
        refuse_what_cannot(settings, torch.device(device))
    settings.compute.engine = "torch"
    refuse_what_cannot(settings, torch.device(device))


@pytest.mark.parametrize("engine", NAMES)
def test_what_is_refused_leaves_no_folder(engine, tmp_path):
    experiment = SmallExperiment.write(tmp_path, 2)
    settings = experiment.settings("x")
    settings.frontend, settings.ssl.model, settings.ssl.layer = "ssl", str(save_tiny("wav2vec2", tmp_path / "model")), 2
    settings.compute.device, settings.compute.engine, settings.compute.compile = "cpu", engine, True
    settings.paths.exp = str(tmp_path / "exp")
    with pytest.raises(UserError, match=r"Use compute\.compile=false"):
        extract_features(settings, experiment.utterances, experiment.protocol)
    assert not list((tmp_path / "exp").rglob("ssl-*"))


@pytest.mark.parametrize("engine", NAMES)
def test_an_engine_that_is_not_installed_is_one_line(engine, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, engine, None)
    with pytest.raises(
        UserError, match=rf"compute\.engine={engine} needs the package {engine}; install it with: pip install '\.\[engine\]'$"
    ):
        refuse_what_cannot(settings_of(tmp_path, engine), torch.device("cpu"))


@some_engine
def test_a_network_that_the_engine_computes_otherwise_or_not_at_all_is_refused(engine, tmp_path, monkeypatch):
    settings = settings_of(save_tiny("wav2vec2", tmp_path / "model"), engine)
    real = engines._ENGINES[engine]

    def wrong(path: Path, num_workers: int):
        run = real(path, num_workers)
        return lambda *inputs: run(*inputs) * 1.01

    monkeypatch.setitem(engines._ENGINES, engine, wrong)
    with pytest.raises(UserError, match=rf"compute\.engine={engine} cannot be trusted with it: .*Use compute\.engine=torch$"):
        build_front_end(settings)

    def broken(path: Path, num_workers: int):
        raise RuntimeError("no such operator\nand a page of advice")

    monkeypatch.setitem(engines._ENGINES, engine, broken)
    with pytest.raises(UserError, match=rf"compute\.engine={engine} cannot compute it \(no such operator\)\. Use compute\.engine=torch$"):
        build_front_end(settings)


@pytest.mark.parametrize("engine", NAMES)
def test_layer_features_of_an_engine_have_a_recipe_of_their_own_and_torchs_say_nothing(engine, tmp_path):
    folder = save_tiny("wav2vec2", tmp_path)
    recipe = {name: layer_recipe(settings_of(folder, name, "layer_features.kind=ssl"), "clean") for name in ("torch", engine)}
    assert "engine" not in recipe["torch"]
    assert recipe[engine] == recipe["torch"] | {"engine": engine}


@some_engine
@torch.inference_mode()
def test_layer_features_are_made_by_the_engine(engine, tmp_path):
    settings = settings_of(save_tiny("wav2vec2", tmp_path), engine, "layer_features.kind=ssl", "layer_features.layers=[1,2]")
    network = build_layer_means(settings, "clean")
    settings.compute.engine = "torch"
    plain = build_layer_means(settings, "clean")
    assert network.engine is not None and plain.engine is None
    for sound in noises(network, 12_345, 31_000):
        assert off(network([sound]), plain([sound])) <= LARGEST
