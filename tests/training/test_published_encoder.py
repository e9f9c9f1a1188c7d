"""train.initial_weights with a published checkpoint of AASIST on an SSL encoder: the network that comes out is the published one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sourcetracing.errors import UserError
from sourcetracing.features.rows import open_store
from sourcetracing.scoring.scores import load_model
from sourcetracing.settings.reading import load_settings
from sourcetracing.training.checkpoints import load_initial_weights
from sourcetracing.training.loop import train_run
from sourcetracing.training.networks import build_backend, build_model
from sourcetracing.training.published_encoder import encoder_weights
from sourcetracing.training.published_names import load_published
from tests.support.fine_tuned import prepared, write_stand_ins
from tests.support.published_checkpoint import fairseq_encoder, fairseq_forward, published_backend, save_stand_in, through_fairseq

CPU = torch.device("cpu")
CLASSES = ["corpus.sources=[a,b,c,d]"]
SAMPLES = 8000
PUBLISHED = "configs/as_published/published_ssl.yaml"


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> Path:
    return save_stand_in(tmp_path_factory.mktemp("stand_in") / "xls-r")


@pytest.fixture(scope="module")
def waveforms() -> torch.Tensor:
    return 0.1 * torch.randn(3, SAMPLES, generator=torch.Generator().manual_seed(5))


def network(model_folder: Path, *words: str, system: str = "xlsr_aasist") -> torch.nn.Module:
    base = [PUBLISHED, *CLASSES, f"system={system}", f"ssl.model={model_folder}", "train.languages=[en]", "compute.device=cpu"]
    return build_model(load_settings([*base, *words]), (SAMPLES,)).eval()


def saved(path: Path, state: dict[str, torch.Tensor]) -> Path:
    torch.save(state, path)
    return path


@torch.inference_mode()
def expected_logits(waveforms: torch.Tensor) -> torch.Tensor:
    """By fairseq's arithmetic and the published names, into the back-end that tests/models/test_parity.py holds against the published."""
    features = fairseq_forward(fairseq_encoder(), waveforms)
    backend = build_backend("aasist", num_features=1024, num_frames=features.shape[1], num_classes=4).eval()
    load_published("aasist", backend, published_backend(4))
    return backend(features.transpose(1, 2))[1]


def under_transformers_names(old_torch: bool) -> dict[str, torch.Tensor]:
    """What hug_XLSR_AASIST saves: `ssl_model.` and the names of transformers, as the torch of the day writes a weight norm."""
    ours = encoder_weights({f"ssl_model.model.{name}": value for name, value in fairseq_encoder().items()})
    if old_torch:
        parametrized = "parametrizations.weight.original"
        ours = {name.replace(f"{parametrized}0", "weight_g").replace(f"{parametrized}1", "weight_v"): value for name, value in ours.items()}
    return {f"ssl_model.{name}": value for name, value in ours.items()} | published_backend(4)


@torch.inference_mode()
@pytest.mark.parametrize("names", ["fairseq", "fairseq in DataParallel", "transformers", "transformers, older torch"])
def test_the_network_gives_the_published_logits(model_folder, waveforms, tmp_path, names):
    state = through_fairseq(4) if names.startswith("fairseq") else under_transformers_names("older" in names)
    prefix = "module." if "DataParallel" in names else ""
    path = saved(tmp_path / "theirs.pth", {prefix + name: value for name, value in state.items()})
    model = network(model_folder, system="xlsr_aasist" if names.startswith("fairseq") else "xlsr53_aasist")
    before = model(waveforms)[1]
    load_initial_weights(model, "aasist", path)
    logits, expected = model(waveforms)[1], expected_logits(waveforms)
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)
    assert (expected[0] - expected[1]).abs().max() > 0.05 and (before - expected).abs().max() > 0.05


@pytest.mark.parametrize(
    ("system", "words", "drop", "message"),
    [
        ("xlsr_aasist", ["finetune.freeze_cnn=true"], "", r"trained as a whole .*: use finetune\.freeze_cnn=false$"),
        ("xlsr_aasist", ["ssl.layer=weighted_sum"], "", r"use ssl\.layer=last"),
        ("xlsr_aasist", ["ssl.layer=1"], "", r"its SSL encoder is not the one of ssl\.model up to ssl\.layer=last"),
        ("xlsr_aasist", ["finetune.lora_rank=2"], "", r"use finetune\.lora_rank=0"),
        ("xlsr_aasist", [], "ssl_model.model.encoder.layers.1.", r"missing ssl_model\.encoder\.layers\.1\.attention\.k_proj\.weight"),
        ("xlsr_aasist", [], "ssl_model.", r"holds no SSL encoder, only a back-end: use ssl\.mode=frozen$"),
        ("xlsr_aasist", [], "out_layer.bias", "missing classifier.bias"),
    ],
)
def test_what_does_not_fit_names_the_setting_that_does(model_folder, tmp_path, system, words, drop, message):
    if "lora_rank=2" in str(words):
        pytest.importorskip("peft")
    state = {name: value for name, value in through_fairseq(4).items() if not drop or not name.startswith(drop)}
    with pytest.raises(UserError, match=message) as caught:
        load_initial_weights(network(model_folder, *words, system=system), "aasist", saved(tmp_path / "theirs.pth", state))
    assert "\n" not in str(caught.value) and "without_frontend" not in str(caught.value)


def test_a_frozen_system_has_no_place_for_the_encoder_and_says_so(model_folder, tmp_path):
    settings = load_settings([*CLASSES, "system=xlsr_frozen_aasist"])
    model = build_model(settings, (1024, 24))
    with pytest.raises(UserError, match=r"SSL encoder .* ssl\.mode=finetune store\.dtype=float32$") as caught:
        load_initial_weights(model, "aasist", saved(tmp_path / "theirs.pth", through_fairseq(4)))
    advice = str(caught.value).split(" or ")[1].split()
    settings = load_settings(["system=xlsr_frozen_aasist", *advice, f"ssl.model={model_folder}", *CLASSES])  # they exist, and do it
    load_initial_weights(
        build_model(replace(settings, finetune=replace(settings.finetune, freeze_cnn=False)), (SAMPLES,)), "aasist", tmp_path / "theirs.pth"
    )


def test_a_name_of_fairseqs_that_no_table_has_is_refused(model_folder, tmp_path):
    state = through_fairseq(4) | {"ssl_model.model.encoder.layers.0.fc3.weight": torch.zeros(1)}
    with pytest.raises(UserError, match=r"theirs\.pth: unexpected parameter .*fc3\.weight"):
        load_initial_weights(network(model_folder), "aasist", saved(tmp_path / "theirs.pth", state))


def test_zero_epochs_evaluate_the_published_checkpoint(model_folder, waveforms, tmp_path, monkeypatch):
    """As docs/fidelity.md promises it: train.initial_weights=their.pth train.epochs=0, from audio to a run's own weights."""
    monkeypatch.setattr("sourcetracing.corpora.demo.DemoCorpus.check", lambda corpus: None)
    root = write_stand_ins(tmp_path / "root")
    path = saved(tmp_path / "theirs.pth", through_fairseq(2))
    sizes = ["aasist.channels=[32,64]", "aasist.gat_dims=[64,32]"]
    words = ["system=xlsr_aasist", f"ssl.model={model_folder}", "ssl.normalize=false", "finetune.freeze_cnn=false", *sizes]
    run = prepared(root, tmp_path, *words, "train.epochs=0", f"train.initial_weights={path}")
    train_run(run, open_store(run.settings), CPU)
    kept = load_model(run, open_store(run.settings)).eval()
    with torch.inference_mode():
        torch.testing.assert_close(
            kept.encoder(waveforms), fairseq_forward(fairseq_encoder(), waveforms).transpose(1, 2), rtol=1e-3, atol=1e-3
        )
    assert torch.equal(kept.backend.classifier.weight, published_backend(2)["out_layer.weight"])
