"""What the overlays of configs/as_published do to detection, alone and in as_published.yaml, on configs/ai4t.yaml where that has a say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from transformers import Wav2Vec2Config, Wav2Vec2Model

from sourcetracing.detection.classifier.logistic import eer_of_scores, fit
from sourcetracing.detection.data.groups import PRUNED, training_sets
from sourcetracing.detection.experiments.augment_pruned import AugmentationPlan
from sourcetracing.detection.experiments.layer_sweep import working_layer
from sourcetracing.detection.experiments.pruning import PruningPlan, run_pruning
from sourcetracing.detection.features.codecs import draw_codec
from sourcetracing.detection.features.feature_sets import open_sets
from sourcetracing.detection.features.layer_features import build_layer_means
from sourcetracing.detection.features.layer_store import layer_folder
from sourcetracing.models.frontends.ssl import SslEncoder
from sourcetracing.runtime.compute import autocast
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.reading import load_settings
from tests.support.detection import detection_settings, make_detection
from tests.support.overlays import alone_and_in_all

AI4T = "configs/ai4t.yaml"
WIDTH, BLOCKS = 16, 12


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory) -> Path:
    """A tiny XLS-R of twelve blocks whose final LayerNorm does something."""
    torch.manual_seed(1)
    body = {"hidden_size": WIDTH, "num_hidden_layers": BLOCKS, "num_attention_heads": 2, "intermediate_size": 24, "conv_dim": (8,) * 7}
    stable = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
    network = Wav2Vec2Model(Wav2Vec2Config(**body, **stable, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2))
    for weight in network.parameters():
        nn.init.normal_(weight, 0.0 if weight.ndim > 1 else 0.2, 0.3)
    folder = tmp_path_factory.mktemp("xls-r")
    network.save_pretrained(folder)
    return folder


@alone_and_in_all("published_ai4t_features")
@pytest.mark.parametrize("copy", ["rawboost", "codec"])
@torch.inference_mode()
def test_layer_9_of_copies_passes_the_final_norm_and_of_plain_files_it_does_not(overlay, copy, encoder_folder, monkeypatch):
    """D60, under ai4t.yaml, which stores layers 9, 10 and 11 of copies: each is the last of an encoder that is cut there."""
    settings = load_settings([AI4T, overlay, f"ssl.model={encoder_folder}", "compute.device=cpu"])
    waveform = 0.3 * torch.randn(8000, generator=torch.Generator().manual_seed(4)) + 0.1
    copies, plain = (build_layer_means(settings, kind) for kind in (copy, "clean"))
    assert copies.layers == [9, 10, 11] and plain.layers == list(range(BLOCKS + 1))
    of_copies, of_plain = (network([network.sound(waveform)])[0] for network in (copies, plain))
    states = Wav2Vec2Model.from_pretrained(encoder_folder)  # transformers' own list: before each block, and what left the last, normed
    normed = (waveform - waveform.mean()) / (waveform.var(correction=0) + 1e-7).sqrt()  # the feature extractor's, which the code calls
    hidden = states(normed[None], output_hidden_states=True).hidden_states
    norm = states.encoder.layer_norm
    for row, layer in enumerate((9, 10, 11)):
        torch.testing.assert_close(of_copies[row], norm(hidden[layer][0]).mean(dim=0), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(of_plain[layer], hidden[layer][0].mean(dim=0), rtol=1e-3, atol=1e-3)
        assert (of_copies[row] - of_plain[layer]).abs().max() > 0.1
    last = SslEncoder(encoder_folder, layer="last")(waveform[None])[0].mean(dim=1)
    torch.testing.assert_close(of_plain[BLOCKS], last, rtol=1e-3, atol=1e-3)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
    assert type(autocast(torch.device("cuda"), settings.compute.precision)).__name__ == "nullcontext"
    without = load_settings([AI4T, f"ssl.model={encoder_folder}"])
    assert all(layer_folder(settings, "for", kind, "") != layer_folder(without, "for", kind, "") for kind in (copy, "clean"))


@alone_and_in_all("published_ai4t_features")
def test_codecs_run_at_bitrates_that_hardly_change_a_thing(overlay):
    """D57."""
    codec = load_settings([AI4T, overlay]).codec
    assert {draw_codec(codec, rng(number)) for number in range(40)} == {("aac", 320), ("opus", 128)}
    assert codec.opus_encoder == "opus"  # what that does: tests/detection/features/test_codecs.py


@alone_and_in_all("published_ai4t_layer")
def test_the_experiments_behind_the_sweep_take_layer_9(overlay, tmp_path):
    """On stores of layers 8, 9 and 10 whose values are the layer's number."""
    settings = detection_settings(tmp_path, AI4T, overlay, "name=small", "layer_features.copy_layers=[]")
    settings.logreg.layer = load_settings([AI4T, overlay]).logreg.layer  # detection_settings asks for layer 1
    make_numbered(settings, [8, 9, 10])
    (one,) = open_sets(settings, {"A": ["odss"]})
    (block,) = one.blocks(working_layer(settings))
    assert set(np.asarray(block).ravel()) == {9.0}


def make_numbered(settings, layers: list[int]) -> None:
    """Features of the subset odss that are the number of their layer."""
    from sourcetracing.detection.features.layer_store import files_digest
    from tests.support.detection import write_layers

    manifest = make_detection(settings, 4)
    rows = manifest[manifest["corpus"] == "odss"]
    index = rows[["file_id", "label"]].reset_index(drop=True)
    features = np.broadcast_to(np.array(layers, np.float32)[None, :, None], (len(index), len(layers), 2)).copy()
    folder = layer_folder(settings, "odss", "clean", files_digest(rows))
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    write_layers(folder, layers, index, features)


@alone_and_in_all("published_logreg")
def test_the_classifier_is_scikit_learns_and_its_eer_is_of_probabilities(overlay):
    """D62. Far files have a probability of exactly 1 whatever their side: an EER of decision values keeps them apart."""
    rules = load_settings([overlay]).logreg
    draws = np.random.default_rng(2)
    labels = np.arange(120) % 2
    features = (draws.normal(size=(120, 3)) + labels[:, None]).astype(np.float32)
    theirs = LogisticRegression(C=1e6, max_iter=50000, random_state=42).fit(features, labels)
    model = fit([features], [labels.astype(np.int8)], rules)
    np.testing.assert_allclose(model.coef, theirs.coef_.ravel(), rtol=1e-6)
    direction = theirs.coef_.ravel() / np.square(theirs.coef_).sum()
    sides = np.array([1, 1, 0, 0])
    far = ((np.array([60.0, 50.0, 45.0, -5.0]) - theirs.intercept_)[:, None] * direction).astype(np.float32)  # decision values
    values = far @ model.coef + model.intercept
    eer_published, threshold = eer_of_scores(sides, values, rules)
    eer_ours, _ = eer_of_scores(sides, values, load_settings([]).logreg)
    assert eer_ours == 0.0  # 60 and 50 lie above 45
    assert eer_published == pytest.approx(
        1 / 3, abs=0.01
    )  # three probabilities of 1, one of them spoof: on the line from (0, 0) to (.5, 1)
    assert 0 < threshold <= 1


@alone_and_in_all("published_ai4t_pruning")
def test_pruning_has_nine_groups_class_means_integer_percentages_and_draws_with_replacement(overlay, tmp_path):
    """D54, D63, D65, D66. Percentages of `noisy`: 10, 11, 12 ... as tests/golden/tables/ai4t_margin_schedule.csv adds them up."""
    sets = training_sets(load_settings([overlay]), PRUNED)
    assert len(sets) == 9 and sets["asv19_eval"] == ["asv19_eval"]
    words = ["pruning.train=[asv19_train,asv19_dev,B,C]", "pruning.augment_list=chosen", "pruning.fractions=[0.1]", "pruning.seeds=[1]"]
    settings = detection_settings(tmp_path, overlay, *words)
    make_detection(settings)
    run_pruning(settings)
    plan = PruningPlan(settings, 1)
    names = {folder.name for folder in plan.folder.iterdir() if folder.is_dir()}
    assert {"margin-noisy_10", "margin-noisy_21", "margin-noisy_33", "margin-both_33"} <= names
    facts = json.loads((plan.folder / "cluster-closest_kept10" / "list.json").read_text())
    assert facts["samples"] == 4 * 2  # a mean of each class of each group
    augmented = AugmentationPlan(plan)
    count = len(augmented.files)
    assert [len(rows) for rows in augmented.parts.values()] == [count // 2, count // 3, count // 3]
    assert any(len(np.unique(rows)) < len(rows) for rows in augmented.parts.values())  # drawn with replacement
