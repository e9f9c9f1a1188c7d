"""Fitted back-ends as runs: trained, killed, scored, recorded as any system is; what means nothing to them renames nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sourcetracing.errors import UserError
from sourcetracing.features.rows import open_store, select_rows
from sourcetracing.features.store import FeatureStore, StoreWriter, write_block
from sourcetracing.layout import Layout
from sourcetracing.metrics.calibration import Calibration
from sourcetracing.models.backends.statistics import TOLERANCE
from sourcetracing.scoring.scores import read_scores, score_run
from sourcetracing.tracing.onnx_export import export_onnx
from sourcetracing.tracing.system import TracingSystem
from sourcetracing.training.checkpoints import load_trained, save_checkpoint
from sourcetracing.training.joint import train_in_turn
from sourcetracing.training.loop import require_rows, train_run
from sourcetracing.training.matrix import train_runs
from sourcetracing.training.networks import build_model
from sourcetracing.training.plan import make_plan, rows_of
from sourcetracing.training.rounds import num_rounds
from sourcetracing.training.runs import TrainingRun, run_of, run_recipe, settings_of_recipe
from tests.support.fine_tuned import prepared, words, write_stand_ins
from tests.support.interrupted_training import CPU, Killed, weights_of
from tests.support.small_backends import SMALL_BACKENDS
from tests.support.small_store import small_settings
from tests.training.test_joint import launch

SYSTEMS = {"statistics": "system=stats_logreg", "neighbours": "system=knn_stats", "long_term": "system=long_term"}
SYSTEMS["plain_neighbours"] = "backend=plain_neighbours"
CORRELATION = ["backend=fingerprints", "fingerprints.score=correlation"]


def new_run(folder, *more: str) -> TrainingRun:
    return run_of(small_settings(folder, "train.languages=[en]", "evaluation.splits=[train,dev,eval]", *more), "some-store")


def c1_to_c30(store: FeatureStore, rows: pd.DataFrame) -> np.ndarray:
    """Mean, deviation and deviation of differences of coefficients 1 to 30, by numpy."""
    x = store.load(rows["row"].to_numpy()).astype(np.float64)[:, 1:31]
    return np.concatenate([x.mean(axis=-1), x.std(axis=-1), np.diff(x).std(axis=-1)], axis=1)


def means_of(store: FeatureStore, rows: pd.DataFrame) -> np.ndarray:
    """Means over time, by numpy."""
    return store.load(rows["row"].to_numpy()).astype(np.float64).mean(axis=-1)


def test_from_the_store_to_scores_it_is_scikit_learn_s_pipeline(store, tmp_path):
    run = new_run(tmp_path, SYSTEMS["statistics"])
    folder = train_run(run, store, CPU)
    score_run(run, store, CPU)
    english = store.index[store.index["language"] == "en"]
    parts = {split: english[english["split"] == split] for split in ("train", "dev", "eval")}
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000, tol=TOLERANCE))
    pipeline.fit(c1_to_c30(store, parts["train"]), parts["train"]["source"])
    scores = read_scores(run, "eval")
    scores = scores[scores["language"] == "en"].set_index(["utt_id", "variant"])
    expected = pipeline.decision_function(c1_to_c30(store, parts["eval"]))
    found = scores.loc[list(parts["eval"][["utt_id", "variant"]].itertuples(index=False, name=None)), ["logit_0", "logit_1", "logit_2"]]
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    (row,) = pd.read_csv(folder.history).to_dict("records")
    assert row["epoch"] == 1 and math.isnan(row["lr"])
    for split, names in (("train", ("train_loss", "train_accuracy")), ("dev", ("dev_loss", "dev_accuracy"))):
        x, truth = c1_to_c30(store, parts[split]), parts[split]["source"]
        assert row[names[0]] == pytest.approx(log_loss(truth, pipeline.predict_proba(x)), rel=5e-3)
        assert row[names[1]] == pytest.approx(accuracy_score(truth, pipeline.predict(x)), abs=1e-6)
    dev = f1_score(parts["dev"]["source"], pipeline.predict(c1_to_c30(store, parts["dev"])), average="macro")
    outcome = folder.read_outcome()
    assert outcome["dev_macro_f1"] == pytest.approx(dev) and dev > 0.6
    facts = {"best_epoch": 1, "selected_by": "fitted", "num_trained_parameters": 0, "num_train_rows": 36, "num_dev_rows": 12}
    assert {name: outcome[name] for name in facts} == facts
    assert not folder.last.exists()


@pytest.mark.parametrize("system", [*([word] for word in SYSTEMS.values()), CORRELATION], ids=[*SYSTEMS, "fingerprints"])
def test_the_weights_on_disk_are_the_system(store, tmp_path, system):
    run = new_run(tmp_path, *system)
    train_run(run, store, CPU)
    score_run(run, store, CPU)
    for split in ("train", "eval"):
        scores = read_scores(run, split)
        assert np.isfinite(scores[["logit_0", "logit_1", "logit_2"]].to_numpy()).all()
        # What tells the sources of this store is their means, which long_term does not hear: it knows its training rows alone.
        # Correlation hears their shape alone, in which b and c are the same.
        least = 0.36 if system == CORRELATION else 0.5
        assert split == "eval" and system == [SYSTEMS["long_term"]] or (scores["prediction"] == scores["label"]).mean() > least
    model = build_model(run.settings, store.shape[1:])
    load_trained(model, run.files.weights)
    rows = select_rows(store, run.settings, "dev", ["en"], CPU)
    _, logits = model(rows.batch(np.arange(len(rows)))[0])
    accuracy = (logits.argmax(dim=1) == rows.labels).float().mean().item()
    assert accuracy == pytest.approx(pd.read_csv(run.files.history)["dev_accuracy"].item(), abs=1e-6)
    before = run.files.weights.stat().st_mtime_ns
    train_run(run, store, CPU)
    assert run.files.weights.stat().st_mtime_ns == before


@pytest.mark.parametrize("system", list(SYSTEMS.values())[:2])
@pytest.mark.parametrize("moment", ["model.safetensors", "last.safetensors", "history"])
def test_killed_at_any_moment_it_ends_with_the_same_bytes(store, tmp_path, monkeypatch, moment, system):
    run = new_run(tmp_path, system)
    train_run(run, store, CPU)
    other = replace(run, folder=tmp_path / "killed")

    def save_and_die(path, tensors, metadata):
        if path.name == moment:
            raise Killed
        save_checkpoint(path, tensors, metadata)

    def die(folder, rows):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("sourcetracing.training.state.save_checkpoint", save_and_die)
        if moment == "history":
            patch.setattr("sourcetracing.training.run_folder.RunFolder.write_history", die)
        with pytest.raises(Killed):
            train_run(other, store, CPU)
    assert not other.files.is_finished
    train_run(other, store, CPU)
    assert other.files.weights.read_bytes() == run.files.weights.read_bytes()
    assert other.files.is_finished and other.files.read_outcome()["best_epoch"] == 1


def test_bf16_changes_nothing(store, tmp_path):
    runs = [new_run(tmp_path, "system=long_term", f"compute.precision={precision}") for precision in ("float32", "bf16")]
    for run in runs:
        train_run(run, store, CPU)
    one, other = map(weights_of, runs)
    assert runs[0].folder != runs[1].folder
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_from_the_store_to_scores_plain_neighbours_are_scikit_learn_s(store, tmp_path, metric):
    run = new_run(tmp_path, SYSTEMS["plain_neighbours"], "plain_neighbours.k=7", f"plain_neighbours.metric={metric}")
    train_run(run, store, CPU)
    score_run(run, store, CPU)
    train = store.index[(store.index["language"] == "en") & (store.index["split"] == "train")]
    reference = KNeighborsClassifier(7, metric=metric, algorithm="brute").fit(means_of(store, train), train["source"])
    scores = read_scores(run, "eval")
    rows = scores[["utt_id", "variant"]].merge(store.index, validate="1:1")
    votes = np.sort(reference.predict_proba(means_of(store, rows)), axis=1)
    is_tie = votes[:, -1] == votes[:, -2]
    assert (~is_tie).sum() > 15
    expected = reference.predict(means_of(store, rows))
    np.testing.assert_array_equal(np.array(run.settings.corpus.sources)[scores["prediction"]][~is_tie], expected[~is_tie])
    np.testing.assert_allclose(np.load(run.files.scored_embeddings("eval")), means_of(store, rows), rtol=2e-3, atol=2e-3)


def test_too_few_rows_for_fingerprints_are_refused_in_one_line(store, tmp_path):
    said = "backend=fingerprints: fingerprints.score=mahalanobis: .* at least 79 .* one has 12; take fingerprints.score=correlation"
    with pytest.raises(UserError, match=said):
        train_run(new_run(tmp_path, "backend=fingerprints"), store, CPU)


def test_a_source_without_training_rows_is_never_said(store, tmp_path):
    run = new_run(tmp_path, SYSTEMS["statistics"], "corpus.sources=[a,absent,b,c]")
    train_run(run, store, CPU)
    score_run(run, store, CPU)
    scores = read_scores(run, "eval")
    assert set(scores["prediction"]) == {0, 2, 3}
    rest = scores[["logit_0", "logit_2", "logit_3"]].min(axis=1)
    assert (scores["logit_1"] < rest).all()


def test_one_source_only_is_refused(store, tmp_path):
    run = new_run(tmp_path, SYSTEMS["statistics"])
    store.index.loc[store.index["split"] == "train", "source"] = "b"
    with pytest.raises(UserError, match="en: train has one source only, b: nothing to tell apart"):
        train_run(run, store, CPU)
    assert not run.folder.exists()


def test_features_that_are_not_finite_are_named(tmp_path):
    index = pd.DataFrame({"utt_id": list("abcd"), "variant": "original", "split": "train", "language": "en", "source": list("abab")})
    features = np.ones((4, 80, 20), dtype=np.float16)
    features[2, 40, 3] = np.inf
    (tmp_path / "broken").mkdir()
    writer = StoreWriter(tmp_path / "broken", features.shape, features.dtype, 4)
    writer.commit(0, write_block(writer.path, writer.header_bytes, 0, features))
    writer.finish(index.assign(row=range(4)), {})
    with pytest.raises(UserError, match="features of row 2 are not finite. Delete the folder"):
        train_run(new_run(tmp_path, "system=long_term"), FeatureStore.open(tmp_path / "broken"), CPU)


def test_what_means_nothing_to_it_makes_no_other_run(tmp_path):
    run = new_run(tmp_path, SYSTEMS["statistics"])
    same = ["train.lr=0.1", "train.epochs=0", "train.mixup=none", "train.batch_size=4", "train.select=dev_loss", "train.rows_per_epoch=3"]
    assert new_run(tmp_path, SYSTEMS["statistics"], *same).folder == run.folder
    for word in ["train.seed=1", "train.variants=[noise]", "train.dev_variants=[noise]", "statistics.c=2", "statistics.head=lda"]:
        assert new_run(tmp_path, SYSTEMS["statistics"], word).folder != run.folder
    assert run_recipe(run.settings)["train"] == {"languages": ["en"], "seed": 688, "variants": []}
    names = settings_of_recipe(run.settings)
    assert "statistics.c" in names and "train.variants" in names and "train.lr" not in names


@pytest.mark.parametrize(("name", "digest"), [("ecapa_tdnn", "6c4bb540"), ("embedding_head", "3426fec1")])
def test_runs_of_networks_have_the_names_that_they_had_before(tmp_path, name, digest):
    assert new_run(tmp_path, *SMALL_BACKENDS[name]).folder.name == f"en-seed688-{digest}"


def test_it_counts_as_one_epoch(store, tmp_path):
    run = new_run(tmp_path, SYSTEMS["statistics"], "train.epochs=7", "train.rows_per_epoch=5")
    utterances = store.index.drop_duplicates("utt_id")[["utt_id", "language", "split"]]
    (line,) = make_plan([run], utterances)
    assert (num_rounds(run.settings), line.epochs_left, rows_of(run, utterances)) == (1, 1, 36)
    train_run(run, store, CPU)
    (line,) = make_plan([run], utterances)
    assert (line.num_done, line.epochs_left) == (1, 0)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["statistics.statistics=[mean,skewnes]"], "did you mean 'skewness'"),
        (["statistics.statistics=[]"], "at least one"),
        (["statistics.coefficients=[5,2]"], r"statistics.coefficients=\[5, 2\]: first and last"),
        (["statistics.coefficients=[-1,2]"], "counted from 0"),
        (["statistics.coefficients=[1]"], "2 values are expected"),
        (["backend=neighbours", "neighbours.statistics=[loudmean]"], "did you mean 'loud_mean'"),
        (["statistics.head=lds"], "did you mean 'lda'"),
        (["backend=plain_neighbours", "plain_neighbours.k=0"], "plain_neighbours.k=0"),
        (["backend=plain_neighbours", "plain_neighbours.coefficients=[3,1]"], r"plain_neighbours.coefficients=\[3, 1\]: first and last"),
        (["backend=plain_neighbours", "plain_neighbours.metric=euclid"], "did you mean 'euclidean'"),
        (["frontend=residual", "residual.taps=256"], "residual.taps=256 is even"),
        (["frontend=residual", "residual.cutoff_hz=8000"], "residual.cutoff_hz=8000 is not below half"),
        (["frontend=residual", "audio.crop_seconds=0.1", "residual.n_fft=2048"], "1600 samples; residual.taps=257 and .* need 2304"),
        (["frontend=residual", "audio.crop_seconds=600", "residual.hop_length=1"], "residual.hop_length=1 needs an array of 5.0 GB"),
        (["train.initial_weights=a.safetensors"], "backend=statistics is fitted from its training rows alone"),
        (["frontend=waveform", "store.dtype=float32"], "frontend=waveform does not fit backend=statistics"),
        (["frontend=ssl", "ssl.mode=finetune", "store.dtype=float32"], "ssl.mode=finetune is learned by gradients"),
        (["frontend=ssl", "ssl.layer=weighted_sum"], "ssl.layer=weighted_sum is learned by gradients"),
    ],
)
def test_what_it_cannot_do_is_said_in_one_line(tmp_path, more, said):
    with pytest.raises(UserError, match=said) as caught:
        small_settings(tmp_path, SYSTEMS["statistics"], *more)
    assert "\n" not in str(caught.value)


def test_coefficients_that_the_features_do_not_have_are_refused(store, tmp_path):
    with pytest.raises(UserError, match=r"backend=statistics: coefficients=\[1, 80\], but the features have 0 to 79"):
        train_run(new_run(tmp_path, SYSTEMS["statistics"], "statistics.coefficients=[1,80]"), store, CPU)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_stand_ins(tmp_path_factory.mktemp("fitting"))


@pytest.mark.slow
def test_in_a_campaign_and_alone_it_is_the_same_run(root, tmp_path, monkeypatch):
    monkeypatch.setattr("sourcetracing.corpora.demo.DemoCorpus.check", lambda corpus: None)
    weights = []
    for name, train in (("campaign", train_runs), ("alone", train_in_turn)):
        run = prepared(root, tmp_path / name, "system=stats_logreg")
        require_rows([run])
        train([run])
        weights.append(run.files.weights.read_bytes())
        assert Layout.of(run.settings).root.is_dir() and open_store(run.settings)
    assert weights[0] == weights[1]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "per_feature"), [("w2v2_base_stats_logreg", 2), ("knn_w2v2_base", 1)])
def test_rows_of_an_ssl_layer_are_fitted_and_exported(root, tmp_path, monkeypatch, name, per_feature):
    monkeypatch.setattr("sourcetracing.corpora.demo.DemoCorpus.check", lambda corpus: None)
    # float32: an encoder that has learned nothing says much the same of every row, and rounding to float16 would be half of what varies.
    words_of_ssl = [f"ssl.model={root}/xls-r", "ssl.layer=1", "store.dtype=float32"]
    run = prepared(root, tmp_path, f"system={name}", *words_of_ssl)
    train_in_turn([run])
    score_run(run, open_store(run.settings), CPU)
    system = TracingSystem(run, CPU)
    assert system.model.embedding_dim == per_feature * open_store(run.settings).shape[1]
    assert export_onnx(system, Calibration("", 1.0, ["en"], 15, {}, {}), tmp_path / "a.onnx") < 1e-3


@pytest.mark.slow
def test_residual_fingerprints_from_audio_to_scores(root, tmp_path, monkeypatch):
    monkeypatch.setattr("sourcetracing.corpora.demo.DemoCorpus.check", lambda corpus: None)
    run = prepared(root, tmp_path, "system=residual_fingerprint", "fingerprints.score=correlation")
    train_in_turn([run])
    score_run(run, open_store(run.settings), CPU)
    assert open_store(run.settings).shape[1:] == (65, 1)
    assert run.files.read_outcome()["selected_by"] == "fitted"
    assert np.isfinite(read_scores(run, "eval").filter(like="logit_").to_numpy()).all()


@pytest.mark.slow
@pytest.mark.parametrize("system", ["stats_logreg", "knn_stats"])
def test_two_processes_fit_what_one_fits(root, tmp_path, monkeypatch, system):
    monkeypatch.setattr("sourcetracing.corpora.demo.DemoCorpus.check", lambda corpus: None)
    weights = []
    for processes in (1, 2):
        run = prepared(root, tmp_path / str(processes), f"system={system}")
        own = words(root, tmp_path / str(processes), "train.languages=[en]", f"system={system}")
        result = launch("train_refd.py", *own, processes=processes)
        assert result.returncode == 0, result.stderr
        weights.append(run.files.weights.read_bytes())
    assert weights[0] == weights[1]
