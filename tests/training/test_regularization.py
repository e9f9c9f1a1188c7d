"""Label smoothing, averaged weights, balanced passes, early stopping: each against a computation of its own."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from sourcetracing.errors import UserError
from sourcetracing.features.rows import languages_of, select_rows
from sourcetracing.runtime.process_group import ALONE
from sourcetracing.runtime.seeding import rng
from sourcetracing.training import loop
from sourcetracing.training.balanced_batches import balanced_order
from sourcetracing.training.batches import Targets
from sourcetracing.training.checkpoints import learned_tensors, load_trained
from sourcetracing.training.loop import evaluate, train_run
from sourcetracing.training.networks import build_model
from sourcetracing.training.objectives import CrossEntropy
from sourcetracing.training.run_folder import RunFolder
from sourcetracing.training.runs import TrainingRun, run_of
from tests.support.interrupted_training import CPU, weights_of
from tests.support.small_backends import SMALL_BACKENDS
from tests.support.small_store import small_settings


def run_with(tmp_path, *words: str) -> TrainingRun:
    return run_of(small_settings(tmp_path, "train.languages=[en]", *words), "some-store")


def smoothed(logits: np.ndarray, labels: np.ndarray, share: float) -> float:
    """Mean cross-entropy with labels of (1 - share) and share / C for each class, in float64 by its definition."""
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    wanted = (1 - share) * np.eye(logits.shape[1])[labels] + share / logits.shape[1]
    return float(-(wanted * logs).sum(axis=1).mean())


@pytest.mark.parametrize("mixup", ["none", "mixed_only", "regmix"])
@pytest.mark.parametrize("share", [0.0, 0.2])
def test_smoothed_labels_by_their_definition(tmp_path, mixup, share):
    settings = small_settings(tmp_path, f"train.label_smoothing={share}", f"train.mixup={mixup}")
    draw = np.random.default_rng(1)
    labels, partners, lam = draw.integers(3, size=6), draw.integers(3, size=6), 0.3
    logits = draw.normal(size=(12 if mixup == "regmix" else 6, 3))
    targets = Targets(torch.from_numpy(labels), None if mixup == "none" else torch.from_numpy(partners), lam)
    loss, _ = CrossEntropy(settings, None, []).loss(torch.empty(0), torch.from_numpy(logits), targets)
    mixed = lam * smoothed(logits[-6:], labels, share) + (1 - lam) * smoothed(logits[-6:], partners, share)
    plain = smoothed(logits[:6], labels, share)
    assert loss.item() == pytest.approx({"none": plain, "mixed_only": mixed, "regmix": (plain + mixed) / 2}[mixup])


def test_dev_loss_is_not_smoothed(store, tmp_path):
    run = run_with(tmp_path, "train.label_smoothing=0.5", "train.epochs=1")
    folder = train_run(run, store, CPU)
    model, rows = trained_network(run, store), select_rows(store, run.settings, "dev", ["en"], CPU)
    features, labels = rows.batch(np.arange(len(rows)))
    with torch.inference_mode():
        expected = functional.cross_entropy(model(features)[1], labels).item()
    assert folder.read_outcome()["dev_loss"] == pytest.approx(expected, rel=1e-5)


def trained_network(run: TrainingRun, store) -> torch.nn.Module:
    model = build_model(run.settings, store.shape[1:])
    load_trained(model, run.files.weights)
    return model.eval()


def test_the_kept_weights_are_the_average_of_all_steps(store, tmp_path, monkeypatch):
    """In float64 by NumPy; what the network itself learns is what it learns without an average."""
    index = store.index.assign(split=store.index["split"].replace("dev", "eval"))
    without_dev = type(store)(store.folder, store.facts, index, store._header_bytes)  # so that the last round is kept
    passed, step = [], loop.train_step

    def noted_step(state, *rest):
        if not passed:
            passed.append({name: tensor.clone() for name, tensor in learned_tensors(state.model).items()})
        sums = step(state, *rest)
        passed.append({name: tensor.clone() for name, tensor in learned_tensors(state.model).items()})
        return sums

    monkeypatch.setattr(loop, "train_step", noted_step)
    run = run_with(tmp_path, "train.ema_decay=0.6")
    train_run(run, without_dev, CPU)
    kept, averaged = weights_of(run), list(passed)
    average = {name: tensor.double().numpy() for name, tensor in averaged[0].items()}
    for number, weights in enumerate(averaged[1:], start=1):
        decay = min(0.6, number / (number + 9))
        average = {name: decay * average[name] + (1 - decay) * weights[name].double().numpy() for name in average}
    assert len(averaged) == 1 + 4 * 5
    for name, tensor in kept.items():
        if name.endswith("num_batches_tracked"):
            assert tensor == averaged[-1][name] == 20
        else:
            np.testing.assert_allclose(tensor.numpy(), average[name], rtol=1e-4, atol=1e-5, err_msg=name)
    plain = run_with(tmp_path)
    train_run(plain, without_dev, CPU)
    assert all(torch.equal(tensor, averaged[-1][name]) for name, tensor in weights_of(plain).items())


def test_dev_is_looked_at_with_the_average(store, tmp_path):
    run = run_with(tmp_path, "train.ema_decay=0.9", "train.epochs=2")
    outcome = train_run(run, store, CPU).read_outcome()
    found = evaluate(trained_network(run, store), select_rows(store, run.settings, "dev", ["en"], CPU), run.settings)
    assert (outcome["dev_loss"], outcome["dev_macro_f1"]) == (found["dev_loss"], found["dev_macro_f1"])


def test_centroids_are_those_of_the_averaged_network(store, tmp_path):
    run = run_with(tmp_path, *SMALL_BACKENDS["embedding_head"], "train.ema_decay=0.9", "train.epochs=2", "train.lr=1e-2")
    train_run(run, store, CPU)
    model, rows = trained_network(run, store), select_rows(store, run.settings, "train", ["en"], CPU)
    features, labels = rows.batch(np.arange(len(rows)))
    with torch.inference_mode():
        embeddings, _ = model(features)
    means = np.stack([embeddings[labels == number].mean(dim=0) for number in range(3)])
    np.testing.assert_allclose(model.centroids, means, atol=1e-5)


def test_a_balanced_pass_has_all_classes_and_languages_equally_often():
    """8 rows of class 0 in one language, 40 of class 1 and 12 of class 2 in two languages each."""
    labels = np.repeat([0, 1, 1, 2, 2], [8, 30, 10, 3, 9])
    languages = np.repeat(["en", "en", "de", "en", "de"], [8, 30, 10, 3, 9])
    drawn = pd.DataFrame({"position": balanced_order(labels, languages, 60, rng(1))})
    drawn["label"], drawn["language"] = labels[drawn["position"]], languages[drawn["position"]]
    assert drawn["label"].value_counts().to_dict() == {0: 20, 1: 20, 2: 20}
    assert drawn.groupby(["label", "language"]).size().to_dict() == {
        (0, "en"): 20,
        (1, "de"): 10,
        (1, "en"): 10,
        (2, "de"): 10,
        (2, "en"): 10,
    }
    times = drawn["position"].value_counts().reindex(range(60), fill_value=0).groupby([labels, languages])
    assert (times.max() - times.min()).max() <= 1  # within a class and language every row as often as another, or once more


def test_what_does_not_divide_is_spread_and_drawn_anew():
    labels, languages = np.repeat([0, 1, 2], 10), np.repeat(["en"], 30)
    counts = [Counter(labels[balanced_order(labels, languages, 11, rng(number))]) for number in range(40)]
    assert all(sorted(count.values()) == [3, 4, 4] for count in counts)
    assert len({count.most_common()[-1][0] for count in counts}) == 3  # which class has fewer is not always the same
    assert sorted(balanced_order(labels, languages, 30, rng(1))) == list(range(30))


def test_training_takes_balanced_passes(store, tmp_path):
    """Class a has 12 rows in English, 4 in German after these lines; b and c have 12 in both."""
    gone = (store.index["source"] == "a") & (store.index["language"] == "de") & store.index["utt_id"].str.endswith(("/0", "/1", "/2", "/3"))
    store.index = store.index[~gone]
    settings = small_settings(tmp_path, "train.balance_classes=true", "train.rows_per_epoch=48", "train.batch_size=16")
    rows = select_rows(store, settings, "train", ["en", "de"], CPU)
    batches = CrossEntropy(settings, None, rows).batches(rng(1), ALONE)
    positions = np.concatenate([batch.positions for batch in batches])
    facts = pd.Series(list(zip(rows.labels.numpy()[positions], languages_of(rows)[positions], strict=True)))
    assert facts.value_counts().to_dict() == {(number, language): 8 for number in range(3) for language in ("en", "de")}
    train_run(run_with(tmp_path, "train.balance_classes=true", "train.epochs=1"), store, CPU)


@pytest.mark.parametrize("word", ["train.label_smoothing=0.1", "train.balance_classes=true"])
def test_a_metric_loss_has_no_use_for_them(store, tmp_path, word):
    with pytest.raises(UserError, match=rf"^{word.split('=')[0]}: backend=embedding_head has balanced batches"):
        train_run(run_with(tmp_path, *SMALL_BACKENDS["embedding_head"], word), store, CPU)


F1 = [0.5, 0.6, 0.6, 0.4, 0.9, 0.9]  # by round; the third one equals the second


def looking(monkeypatch) -> list[int]:
    """Dev figures as in F1; returns a list that counts the looks."""
    looks: list[int] = []

    def evaluate(*arguments):
        looks.append(len(looks))
        return {"dev_loss": 1.0, "dev_accuracy": 0.5, "dev_macro_f1": F1[looks[-1]]}

    monkeypatch.setattr(loop, "evaluate", evaluate)
    return looks


@pytest.mark.parametrize(("looks", "num_rounds", "best"), [(0, 6, 5), (1, 3, 2), (2, 4, 2), (3, 6, 5)])
def test_it_stops_after_so_many_looks_in_vain(store, tmp_path, monkeypatch, looks, num_rounds, best):
    looking(monkeypatch)
    run = run_with(tmp_path, "train.epochs=6", f"train.early_stop_looks={looks}")
    folder = train_run(run, store, CPU)
    assert folder.is_finished and folder.num_epochs_done() == num_rounds and folder.read_outcome()["best_epoch"] == best


def test_killed_at_its_end_it_does_not_go_on(store, tmp_path, monkeypatch):
    seen = looking(monkeypatch)
    run = run_with(tmp_path, "train.epochs=6", "train.early_stop_looks=2")

    def interrupt(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RunFolder, "finish", interrupt)
        train_run(run, store, CPU)
    assert not run.files.is_finished and len(seen) == 4
    train_run(run, store, CPU)
    assert run.files.is_finished and len(seen) == 4


def test_without_dev_every_round_is_better(store, tmp_path):
    index = store.index.assign(split=store.index["split"].replace("dev", "eval"))
    without_dev = type(store)(store.folder, store.facts, index, store._header_bytes)
    run = run_with(tmp_path, "train.early_stop_looks=1")
    assert train_run(replace(run, folder=tmp_path / "without"), without_dev, CPU).num_epochs_done() == 4
