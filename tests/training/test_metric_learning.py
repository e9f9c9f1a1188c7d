"""Training by a metric loss: balanced batches, centroids as classes, exact resume, every loss, clear refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sourcetracing.errors import UserError
from sourcetracing.features.rows import select_rows
from sourcetracing.features.store import FeatureStore
from sourcetracing.models.backends.embedding_head import EmbeddingHead
from sourcetracing.models.frontends.batch_wide_norm import BatchWideNorm
from sourcetracing.scoring.scores import forward, load_model
from sourcetracing.settings.metric_learning import LOSSES, MetricLearning
from sourcetracing.training.balanced_batches import balanced_batches
from sourcetracing.training.batches import Targets
from sourcetracing.training.checkpoints import load_checkpoint
from sourcetracing.training.loop import train_run
from sourcetracing.training.metric_loss import MetricLoss, build_loss, head_of, select_train_rows
from sourcetracing.training.networks import build_model
from sourcetracing.training.runs import TrainingRun, run_of
from tests.support.small_store import small_settings
from tests.support.tiny_ssl import save_tiny

CPU = torch.device("cpu")
HEAD = ("backend=embedding_head", "embedding_head.hidden=12", "embedding_head.embedding=6", "train.lr=1e-2", "train.epochs=3")
BATCHES = ("metric_learning.classes_per_batch=3", "metric_learning.rows_per_class=4")


def cell_with(tmp_path: Path, *words: str) -> TrainingRun:
    return run_of(small_settings(tmp_path, "train.languages=[en]", *HEAD, *BATCHES, *words), "some-store")


class Killed(Exception):
    pass


def die_after(num_epochs: int):
    def on_epoch(epoch: int) -> None:
        if epoch == num_epochs:
            raise Killed

    return on_epoch


def with_stranger(store: FeatureStore) -> FeatureStore:
    """Source c in train and eval, source "new" in its place in dev."""
    index = store.index.copy()
    index.loc[(index["split"] == "dev") & (index["source"] == "c"), "source"] = "new"
    store.index = index
    return store


def test_batches_are_balanced_and_use_every_row_before_one_comes_again():
    labels = np.repeat([0, 1, 2, 3, 4], [7, 5, 9, 4, 6])
    seen: dict[int, list[int]] = {label: [] for label in range(5)}
    for classes, positions in balanced_batches(labels, 3, 4, 60, np.random.default_rng(1)):
        assert positions.shape == (3, 4)
        assert len(set(classes.tolist())) == 3
        assert (labels[positions] == classes[:, None]).all()
        for label, rows in zip(classes, positions, strict=True):
            assert len(set(rows.tolist())) == 4
            seen[label].extend(rows.tolist())
    for label, rows in seen.items():
        counts = np.bincount(rows)[np.flatnonzero(labels == label)]
        assert counts.max() - counts.min() <= 1


def test_batches_depend_on_their_generator_alone():
    labels = np.repeat([0, 1, 2], 6)
    made = [[rows.tolist() for _, rows in balanced_batches(labels, 2, 3, 5, np.random.default_rng(seed))] for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]


def test_learns_to_trace_and_keeps_the_mean_training_embeddings(tmp_path, store):
    run = cell_with(tmp_path, "train.epochs=12")
    folder = train_run(run, store, CPU)
    history = pd.read_csv(folder.history)
    assert len(history) == 12
    assert history["dev_macro_f1"].max() > 0.8
    assert folder.read_outcome()["selected_by"] == "dev_macro_f1"
    model, rows = load_model(run, store), select_rows(store, run.settings, "train", ["en"], CPU)
    embeddings, logits = forward(model, rows, run.settings)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    labels = rows.labels.numpy()
    means = np.stack([embeddings[labels == number].mean(axis=0) for number in range(3)])
    np.testing.assert_allclose(model.centroids, means, atol=1e-5)
    expected = model.scale.item() * embeddings @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_and_resumes_to_the_same_bits(tmp_path, store, loss):
    whole = cell_with(tmp_path, f"metric_learning.loss={loss}")
    train_run(whole, store, CPU)
    killed = replace(whole, folder=tmp_path / "killed")
    with pytest.raises(Killed):
        train_run(killed, store, CPU, on_epoch=die_after(1))
    train_run(killed, store, CPU)
    first, second = (load_checkpoint(run.files.weights)[0] for run in (whole, killed))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    figures = [pd.read_csv(run.files.history).drop(columns="seconds") for run in (whole, killed)]
    pd.testing.assert_frame_equal(*figures)


def test_accuracy_counts_rows_nearest_to_their_own_class_of_the_batch():
    """Two rows each of three classes in the plane; a class's own mean is without the row itself. By hand: four of six are right."""
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0], [-1.0, 0.0], [1.0, -0.2]])
    labels = torch.tensor([4, 4, 7, 7, 9, 9])
    objective = object.__new__(MetricLoss)
    objective.rules, objective.weights = MetricLearning(classes_per_batch=3, rows_per_class=2), lambda embeddings, classes: classes
    classes, right = objective.loss(rows, torch.zeros(6, 3), Targets(labels, None, None))
    assert classes.tolist() == [4, 7, 9]
    # The rows of class 9 lie apart: each has the other for a mean, and a row of another class is nearer. The others find their own.
    assert right == 4


def test_the_scale_of_ge2e_learns_unless_it_is_fixed(tmp_path, store):
    def scale_of(*words: str) -> float:
        run = cell_with(tmp_path, *words)
        train_run(run, store, CPU)
        return load_model(run, store).scale.item()

    assert abs(scale_of() - 10) > 0.01
    assert scale_of("metric_learning.fixed_scale=true") == 10


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_prefer_classes_that_are_apart(loss):
    torch.manual_seed(0)
    directions = torch.nn.functional.one_hot(torch.arange(3), 8).float()[:, None].expand(3, 4, 8)
    apart, mixed = directions + 0.01 * torch.randn(3, 4, 8), torch.randn(3, 4, 8)
    function = build_loss(loss, num_classes=3, embedding_dim=8)
    if loss == "aam_softmax":
        function.loss.W.data = directions[:, 0].T.clone()
    assert function(apart, torch.arange(3)) < function(mixed, torch.arange(3))


def test_aam_softmax_takes_its_margin_in_radians():
    function = build_loss("aam_softmax", num_classes=2, embedding_dim=2, margin=0.2, aam_scale=30.0)
    function.loss.W.data = torch.eye(2)
    angle = 0.9
    embedding = torch.tensor([[[np.cos(angle), np.sin(angle)]]], dtype=torch.float32)
    expected = torch.nn.functional.cross_entropy(torch.tensor([[30 * np.cos(angle + 0.2), 30 * np.sin(angle)]]), torch.tensor([0]))
    assert function(embedding, torch.tensor([0])).item() == pytest.approx(expected.item(), rel=1e-4)


def test_prototypical_loss_is_the_softmax_over_distances_to_the_mean_of_the_others():
    embeddings = torch.nn.functional.normalize(torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(2)), dim=-1)
    prototypes = embeddings[:, 2:].mean(dim=1)
    logits = -10 * (embeddings[:, :2].reshape(4, 1, 5) - prototypes).square().sum(-1)
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 0, 1, 1]))
    assert build_loss("prototypical", num_classes=2, embedding_dim=5)(embeddings, torch.arange(2)).item() == pytest.approx(expected.item())


def test_published_training_takes_dev_with_its_unknown_sources_and_picks_by_training_loss(tmp_path, store):
    store = with_stranger(store)
    corrected, published = (
        cell_with(tmp_path),
        cell_with(tmp_path, "metric_learning.train_on_dev=true", "metric_learning.select=train_loss"),
    )
    assert corrected.folder != published.folder
    counts = [np.bincount(select_train_rows(store, run.settings, ["en"])[1]).tolist() for run in (corrected, published)]
    assert counts == [[12, 12, 12], [16, 16, 12, 4]]
    history = pd.read_csv(train_run(published, store, CPU).history)
    outcome = published.files.read_outcome()
    assert outcome["best_epoch"] == history.loc[history["train_loss"].idxmin(), "epoch"]
    assert outcome["selected_by"] == "train_loss"
    assert len(load_model(published, store).centroids) == 3


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return save_tiny("xls-r", tmp_path / "encoder")  # wav2vec2-base does not hear the level: it has a GroupNorm over time


def fine_tuned_words(encoder: Path) -> list[str]:
    return ["frontend=ssl", f"ssl.model={encoder}", "ssl.mode=finetune", "store.dtype=float32"]


def test_published_normalisation_mixes_the_levels_of_a_batch(tmp_path, encoder):
    waveforms = 0.1 * torch.randn(3, 4000, generator=torch.Generator().manual_seed(3)) + 0.05
    louder = waveforms * torch.tensor([[1.0], [1.0], [20.0]])
    change = {}
    for word in ("false", "true"):
        words = [*fine_tuned_words(encoder), f"metric_learning.batch_wide_normalization={word}"]
        model = build_model(cell_with(tmp_path, *words).settings, (4000,)).eval()
        with torch.inference_mode():
            change[word] = (model[:-1](louder)[0] - model[:-1](waveforms)[0]).abs().max().item()
        assert head_of(model).embedding_dim == 6
    assert change["false"] < 1e-5
    assert change["true"] > 1e-4
    level = BatchWideNorm()(waveforms)
    assert level.mean().item() == pytest.approx(0, abs=1e-5)
    assert level.std(correction=0).item() == pytest.approx(1, abs=1e-3)


def test_a_loss_step_reaches_the_encoder(tmp_path, encoder):
    run = cell_with(tmp_path, *fine_tuned_words(encoder), "finetune.dropout=0")
    model = build_model(run.settings, (2000,))
    waveforms = torch.randn(12, 2000, generator=torch.Generator().manual_seed(4))
    build_loss("ge2e", num_classes=3, embedding_dim=6)(model(waveforms)[0].unflatten(0, (3, 4)), torch.arange(3)).backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in model.encoder.parameters())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["metric_learning.classes_per_batch=4"], r"classes_per_batch=4, but train for en has 3 sources"),
        (
            ["metric_learning.classes_per_batch=4", "metric_learning.train_on_dev=true"],
            r"classes_per_batch=4, but train and dev .* 3 sources",
        ),
        (["metric_learning.rows_per_class=13"], r"rows_per_class=13, but . has 12 feature rows in train for en"),
        (["train.micro_batch_size=4"], r"micro_batch_size: .* finetune\.gradient_checkpointing"),
        (["corpus.sources=[a,b,c,d]"], r"d has no rows in train for en.*corpus\.sources"),
        (["train.lr=1e30"], r"loss became .* lower train\.lr"),
    ],
)
def test_what_cannot_be_trained_is_one_clear_line(tmp_path, store, words, message):
    with pytest.raises(UserError, match=message):
        train_run(cell_with(tmp_path, *words), store, CPU)


def test_several_processes_are_refused(tmp_path, store, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="one process"):
        train_run(cell_with(tmp_path), store, CPU)


def test_zero_epochs_keeps_given_weights_and_finds_their_centroids(tmp_path, store):
    run = cell_with(tmp_path)
    weights = train_run(run, store, CPU).weights
    copy = cell_with(tmp_path, "train.epochs=0", f"train.initial_weights={weights}")
    train_run(copy, store, CPU)
    first, second = (load_model(each, store).state_dict() for each in (run, copy))
    assert first.pop("scale") != second.pop("scale")  # the loss starts afresh
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_similarities_stay_precise_under_autocast():
    torch.manual_seed(1)
    head = EmbeddingHead(5, 3, hidden=8, embedding=4)
    with torch.autocast("cpu", torch.bfloat16):
        embedding, logits = head(torch.randn(2, 5, 7))
    assert embedding.dtype == logits.dtype == torch.float32
    torch.testing.assert_close(logits, torch.nn.functional.cosine_similarity(embedding[:, None], head.centroids[None], dim=-1))


def test_what_only_the_evaluation_reads_does_not_make_another_run(tmp_path):
    assert cell_with(tmp_path, "metric_learning.neighbours=9").folder == cell_with(tmp_path).folder
    assert cell_with(tmp_path, "metric_learning.scale=9").folder != cell_with(tmp_path).folder
