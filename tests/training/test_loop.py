"""Training: what it learns, what it writes, and that an interrupted run ends with the same bits."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sourcetracing.errors import UserError
from sourcetracing.features.rows import select_rows
from sourcetracing.runtime.seeding import rng
from sourcetracing.scoring.scores import is_scored, read_scores, score_run
from sourcetracing.training.batches import cut, mixed
from sourcetracing.training.checkpoints import load_checkpoint, load_initial_weights, save_checkpoint
from sourcetracing.training.loop import train_run, train_step
from sourcetracing.training.networks import build_model
from sourcetracing.training.objectives import CrossEntropy
from sourcetracing.training.optimization import decay
from sourcetracing.training.run_folder import HISTORY_COLUMNS
from sourcetracing.training.runs import run_of
from sourcetracing.training.state import is_better, start_or_resume
from tests.support.golden_weights import fill, read_names
from tests.support.interrupted_training import CPU, Killed, die_after, weights_of
from tests.support.places import GOLDEN
from tests.support.small_store import small_settings


def test_learns_and_writes_a_complete_run_folder(run, store):
    folder = train_run(run, store, CPU)
    history = pd.read_csv(folder.history)
    assert list(history.columns) == list(HISTORY_COLUMNS)
    assert list(history["epoch"]) == [1, 2, 3, 4]
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]
    assert history["dev_macro_f1"].max() > 0.6
    outcome = folder.read_outcome()
    assert outcome["dev_macro_f1"] == pytest.approx(history["dev_macro_f1"].max(), abs=1e-5)
    assert outcome["num_train_rows"] == 3 * 6 * 2
    assert json.loads((run.folder / "classes.json").read_text()) == ["a", "b", "c"]
    assert "torch" in json.loads((run.folder / "environment.json").read_text())["packages"]
    assert not folder.last.exists()
    assert list(folder.tensorboard.glob("events*"))


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_killed_and_resumed_equals_uninterrupted_bit_for_bit(run, store, tmp_path, moment):
    train_run(run, store, CPU)
    other = replace(run, folder=tmp_path / "interrupted")
    with pytest.raises(Killed):
        train_run(other, store, CPU, on_epoch=die_after(moment))
    assert not other.files.is_finished
    train_run(other, store, CPU)
    expected, found = weights_of(run), weights_of(other)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    columns = [name for name in HISTORY_COLUMNS if name != "seconds"]
    tables = [pd.read_csv(each.folder / "history.csv")[columns] for each in (run, other)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_killed_between_best_weights_and_resume_state_repeats_the_epoch(run, store, tmp_path, monkeypatch):
    train_run(run, store, CPU)
    other = replace(run, folder=tmp_path / "interrupted")

    def save_and_die(path: Path, tensors: dict, metadata: dict) -> None:
        if path.name == "last.safetensors" and len(metadata["history"]) == 3:
            raise Killed
        save_checkpoint(path, tensors, metadata)

    with monkeypatch.context() as patch:
        patch.setattr("sourcetracing.training.state.save_checkpoint", save_and_die)
        with pytest.raises(Killed):
            train_run(other, store, CPU)
    train_run(other, store, CPU)
    assert (run.folder / "model.safetensors").read_bytes()[-4000:] == (other.folder / "model.safetensors").read_bytes()[-4000:]


def test_a_finished_run_is_left_alone(run, store):
    train_run(run, store, CPU)
    before = run.files.weights.stat().st_mtime_ns
    train_run(run, store, CPU, on_epoch=die_after(1))
    assert run.files.weights.stat().st_mtime_ns == before


def test_another_seed_learns_something_else(run, store, tmp_path):
    train_run(run, store, CPU)
    other = run_of(small_settings(tmp_path, "train.languages=[en]", "train.seed=1"), "some-store")
    assert other.folder != run.folder
    train_run(other, store, CPU)
    assert any(not torch.equal(tensor, weights_of(other)[name]) for name, tensor in weights_of(run).items())


def test_corrupt_checkpoint_is_one_clear_line(run, store):
    with pytest.raises(Killed):
        train_run(run, store, CPU, on_epoch=die_after(2))
    last = run.files.last
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"last\.safetensors is damaged .* Delete it"):
        train_run(run, store, CPU)
    last.unlink()
    assert train_run(run, store, CPU).is_finished


def test_checkpoint_of_another_width_is_refused_by_name(run, store, tmp_path):
    train_run(run, store, CPU)
    wider = small_settings(tmp_path, "ecapa_tdnn.channels=16")
    model = build_model(wider, store.shape[1:])
    with pytest.raises(UserError, match="has shape .* but the settings ask for"):
        load_initial_weights(model, "ecapa_tdnn", run.files.weights)
    resnet = build_model(small_settings(tmp_path, "backend=resnet18", "resnet18.width=8"), store.shape[1:])
    with pytest.raises(UserError, match="belongs to another back-end"):
        load_initial_weights(resnet, "resnet18", run.files.weights)


def test_zero_epochs_keeps_the_initial_weights(run, store, tmp_path):
    train_run(run, store, CPU)
    weights = run.files.weights
    words = ["train.languages=[en]", "train.epochs=0", f"train.initial_weights={weights}"]
    copy = run_of(small_settings(tmp_path, *words), "some-store")
    train_run(copy, store, CPU)
    assert all(torch.equal(tensor, weights_of(run)[name]) for name, tensor in weights_of(copy).items())
    assert copy.files.read_outcome()["best_epoch"] == 0


def test_a_pickle_that_is_no_checkpoint_is_refused(run, store, tmp_path):
    (tmp_path / "broken.pth").write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match="broken.pth cannot be read as a checkpoint"):
        load_initial_weights(build_model(run.settings, store.shape[1:]), "ecapa_tdnn", tmp_path / "broken.pth")


def test_a_published_checkpoint_is_read_under_its_own_names(tmp_path, store):
    names = read_names(GOLDEN / "ecapa_c192.names.json")
    published = {f"module.{name}": torch.from_numpy(np.array(value)) for name, value in fill(names).items()}
    torch.save(published, tmp_path / "theirs.pth")
    words = ["ecapa_tdnn.channels=192", "ecapa_tdnn.logit_bn=true", "corpus.sources=[a,b,c,d]"]
    model = build_model(small_settings(tmp_path, *words), store.shape[1:])
    load_initial_weights(model, "ecapa_tdnn", tmp_path / "theirs.pth")
    assert torch.equal(model.classifier.weight, published["module.fc6.weight"])
    narrow = build_model(small_settings(tmp_path, *words, "ecapa_tdnn.channels=64"), store.shape[1:])
    with pytest.raises(UserError, match="theirs.pth: this is no ecapa_tdnn checkpoint for this model"):
        load_initial_weights(narrow, "ecapa_tdnn", tmp_path / "theirs.pth")


def test_diverging_training_stops_with_one_line(run, store, tmp_path):
    settings = small_settings(tmp_path, "train.languages=[en]", "train.lr=1e30")
    with pytest.raises(UserError, match=r"loss became .* lower train\.lr"):
        train_run(run_of(settings, "some-store"), store, CPU)


def test_no_rows_for_a_language_is_named(run, store, tmp_path):
    settings = small_settings(tmp_path, "corpus.languages=[en,de,fr]", "train.languages=[fr]")
    with pytest.raises(UserError, match="no train rows for fr"):
        train_run(run_of(settings, "some-store"), store, CPU)


def test_published_schedule_halves_every_ten_epochs(run):
    rates = [5e-4 * decay(replace(run.settings.train, lr_interval=10), epoch) for epoch in (0, 9, 10, 49)]
    assert rates == [5e-4, 5e-4, 2.5e-4, 3.125e-5]


@pytest.mark.parametrize(("num_rows", "sizes"), [(48, [16, 16, 16]), (33, [16, 17]), (34, [16, 16, 2]), (5, [5]), (1, [1])])
def test_batches_cover_every_row_once_and_never_leave_a_single_one(num_rows, sizes):
    pieces = list(cut(np.arange(num_rows)[::-1], 16))
    assert [len(piece) for piece in pieces] == sizes
    assert sorted(np.concatenate(pieces)) == list(range(num_rows))


def test_selection_prefers_f1_then_loss_and_dev_loss_alone_when_published():
    worse, better = {"dev_macro_f1": 0.5, "dev_loss": 0.1}, {"dev_macro_f1": 0.6, "dev_loss": 9.0}
    assert is_better(better, worse, "dev_macro_f1")
    assert not is_better(better, worse, "dev_loss")
    tie = {"dev_macro_f1": 0.6, "dev_loss": 1.0}
    assert is_better(tie, better, "dev_macro_f1")
    assert not is_better(dict(tie), tie, "dev_macro_f1")


@pytest.mark.parametrize("mixup", ["regmix", "mixed_only", "none"])
def test_every_mixup_mode_takes_a_step(run, store, tmp_path, mixup):
    settings = small_settings(tmp_path, "train.languages=[en]", f"train.mixup={mixup}", "train.epochs=1")
    history = train_run(run_of(settings, "some-store"), store, CPU).history
    assert np.isfinite(pd.read_csv(history)["train_loss"]).all()


def test_scores_have_one_row_per_evaluated_row_and_follow_the_weights(run, store):
    folder = train_run(run, store, CPU)
    score_run(run, store, CPU)
    scores = read_scores(run, "eval")
    assert len(scores) == 2 * 3 * 2 * 2  # languages x sources x utterances x variants
    assert set(scores["language"]) == {"en", "de"}
    logits = scores[["logit_0", "logit_1", "logit_2"]].to_numpy()
    assert (logits.argmax(axis=1) == scores["prediction"]).all()
    assert (scores["source"] == np.array(["a", "b", "c"])[scores["label"]]).all()
    embeddings = np.load(run.files.scored_embeddings("eval"))
    assert embeddings.dtype == np.float16
    assert len(embeddings) == len(scores)
    tensors, metadata = load_checkpoint(folder.weights)
    save_checkpoint(
        folder.weights, {name: tensor * 1.5 if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}, metadata
    )
    assert not is_scored(run, "eval")
    with pytest.raises(UserError, match="06_get_classification_metrics"):
        read_scores(run, "eval")


def test_rows_left_on_disk_train_like_rows_in_memory(run, store, tmp_path, monkeypatch):
    train_run(run, store, CPU)
    monkeypatch.setattr("sourcetracing.features.rows.FeatureRows._hold", lambda self: None)
    other = replace(run, folder=tmp_path / "from_disk")
    train_run(other, store, CPU)
    assert all(torch.equal(tensor, weights_of(other)[name]) for name, tensor in weights_of(run).items())


def test_train_step_reports_the_sum_over_rows(run, store):
    settings = run.settings
    rows = select_rows(store, settings, "train", ["en"], CPU)
    state = start_or_resume(settings, store.shape[1:], run.files, CrossEntropy, rows)
    settings.train.mixup = "none"  # each row by itself
    model, chosen = deepcopy(state.model).train(), np.arange(20, 30)
    features, labels = (part.numpy() for part in rows.batch(chosen))
    torch.manual_seed(1)
    loss, correct, count = train_step(state, rows, mixed(chosen, settings.train, rng(0)), settings)
    torch.manual_seed(1)
    logits = model(torch.from_numpy(features))[1].detach().double().numpy()
    own = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(10), labels]
    assert (count, correct) == (10, (logits.argmax(axis=1) == labels).sum())
    assert loss == pytest.approx(own.sum(), rel=1e-5)


def test_training_languages_without_dev_keep_their_last_epoch(run, store):
    index = store.index.assign(split=store.index["split"].replace("dev", "eval"))
    without = type(store)(store.folder, store.facts, index, store._header_bytes)
    folder = train_run(run, without, CPU)
    outcome = folder.read_outcome()
    assert (outcome["best_epoch"], outcome["selected_by"], outcome["num_dev_rows"]) == (4, "last_epoch", 0)
    assert "dev_loss" not in outcome and "NaN" not in folder.outcome.read_text()
    _, metadata = load_checkpoint(folder.weights)
    assert metadata == {"epoch": 4, "dev": {}}
    history = pd.read_csv(folder.history)
    assert history["dev_macro_f1"].isna().all() and history["train_loss"].notna().all()


def test_training_languages_without_dev_resume_to_the_same_bits(run, store, tmp_path):
    index = store.index.assign(split=store.index["split"].replace("dev", "eval"))
    without = type(store)(store.folder, store.facts, index, store._header_bytes)
    train_run(run, without, CPU)
    other = replace(run, folder=tmp_path / "interrupted")
    with pytest.raises(Killed):
        train_run(other, without, CPU, on_epoch=die_after(2))
    train_run(other, without, CPU)
    expected, found = weights_of(run), weights_of(other)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
