"""Runs with several heads (train.labels): what is recorded and scored, what is refused, figures beside scikit-learn's."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

from sourcetracing.errors import UserError
from sourcetracing.features.rows import FeatureRows
from sourcetracing.layout import Layout
from sourcetracing.scoring.scores import is_scored, read_label_scores, read_scores, score_run
from sourcetracing.settings.reading import load_settings, read_config
from sourcetracing.settings.training import further_labels
from sourcetracing.tables.labels import TRAINED, label_table, write_label_table
from sourcetracing.training.batches import Batch
from sourcetracing.training.label_classes import further_labels_of
from sourcetracing.training.loop import require_rows, train_run, train_step
from sourcetracing.training.objectives import CrossEntropy
from sourcetracing.training.runs import _of_floor, run_of
from sourcetracing.training.state import start_or_resume
from tests.support.interrupted_training import CPU, Killed, die_after, weights_of
from tests.support.small_store import small_settings

VOCODERS = {"a": "griffin, lim", "b": "NA", "c": "griffin, lim"}
WORDS = ("train.labels=[source,vocoder,architecture]", "train.languages=[en]", "train.mixup=regmix")


def write_tables(settings, store, **changes) -> None:
    """utterances.csv and protocol.csv of the store, made by hand. Of every third utterance of `c` the vocoder is not known."""
    rows = store.index.drop_duplicates("utt_id")
    number = rows["utt_id"].str.rpartition("/")[2].astype(int)
    vocoder = rows["source"].map(VOCODERS).where((rows["source"] != "c") | (number % 3 != 0), "")
    architecture = np.where(number == 9, "seen in eval only", np.where(number % 2 == 0, "007", "1e3"))
    table = rows[["utt_id", "language", "source"]].assign(
        path="x.wav", duration_s=1.0, digest="d", vocoder=vocoder, architecture=architecture
    )
    layout = Layout.of(settings)
    layout.utterances.parent.mkdir(parents=True, exist_ok=True)
    table.assign(**changes).to_csv(layout.utterances, index=False)
    rows[["utt_id", "split"]].to_csv(layout.protocol, index=False)


@pytest.fixture
def labelled(tmp_path, store):
    settings = small_settings(tmp_path, *WORDS)
    write_tables(settings, store)
    return run_of(settings, "some-store")


@pytest.fixture
def scored(labelled, store):
    train_run(labelled, store, CPU)
    score_run(labelled, store, CPU)
    return labelled


def truth_of(run) -> pd.DataFrame:
    return pd.read_csv(Layout.of(run.settings).utterances, keep_default_na=False, dtype=str).set_index("utt_id")


def test_classes_of_each_head_are_those_of_training_rows_and_recorded_with_their_number(scored):
    assert json.loads(scored.files.label_classes.read_text()) == {
        "source": {"a": 12, "b": 12, "c": 12},
        "vocoder": {"NA": 12, "griffin, lim": 12 + 8},  # of 0 ... 5 of c, 0 and 3 are holes; two variants each
        "architecture": {"007": 18, "1e3": 18},
    }


def test_what_heads_say_lies_beside_the_scores_row_by_row(scored):
    scores, said, truth = read_scores(scored, "eval", unknown=True), read_label_scores(scored, "eval"), truth_of(scored)
    assert (said[["utt_id", "variant"]] == scores[["utt_id", "variant"]]).all(axis=None)
    assert [name for name in scores if name.startswith("logit_")] == ["logit_0", "logit_1", "logit_2"]
    for label, names in (("vocoder", ["NA", "griffin, lim"]), ("architecture", ["007", "1e3"])):
        assert said[f"label_{label}"].tolist() == truth.loc[said["utt_id"], label].tolist()
        logits = said[[f"logit_{label}_{number}" for number in range(2)]].to_numpy()
        assert said[f"prediction_{label}"].tolist() == [names[place] for place in logits.argmax(axis=1)]


def test_figures_are_scikit_learns_and_the_constant_answer_stands_beside(scored):
    table, said, truth = label_table([scored], scored.settings), read_label_scores(scored, "eval"), truth_of(scored)
    language = said["utt_id"].str.partition("/")[0]
    for label, constant in (("vocoder", "griffin, lim"), ("architecture", "007")):
        for languages, chosen in (("trained on", language == "en"), ("others", language == "de")):
            text = truth.loc[said["utt_id"], label].to_numpy()
            counted = chosen.to_numpy() & np.isin(text, ["NA", "griffin, lim", "007", "1e3"])
            rows = table[(table["label"] == label) & (table["languages"] == languages)].set_index("answer")
            assert rows.index.tolist() == [TRAINED, f"always {constant}"]
            for answer, predicted in ((TRAINED, said[f"prediction_{label}"][counted]), (f"always {constant}", [constant] * counted.sum())):
                row, there = rows.loc[answer], sorted(set(text[counted]))
                assert row["accuracy"] == pytest.approx(accuracy_score(text[counted], predicted))
                assert row["macro_f1"] == pytest.approx(f1_score(text[counted], predicted, labels=there, average="macro", zero_division=0))
                assert row["rows"] == counted.sum() and row["classes"] == len(there)
                assert row["unlabelled"] == (text[chosen] == "").sum()
                assert row["other_labels"] == (text[chosen] == "seen in eval only").sum()
                assert row["macro_f1_ci_low"] <= row["macro_f1"] <= row["macro_f1_ci_high"]
    assert (table["label"] == "source").sum() == 4
    text = write_label_table([scored], scored.settings)
    layout = Layout.of(scored.settings)
    assert "always griffin, lim" in text and "always griffin, lim" in layout.label_text.read_text()
    assert len(pd.read_csv(layout.label_table)) == len(table)


def test_no_table_without_several_heads(run, store):
    train_run(run, store, CPU)
    score_run(run, store, CPU)
    stale = Layout.of(run.settings).label_table
    stale.parent.mkdir(parents=True, exist_ok=True)
    stale.write_text("of runs with heads, earlier\n")
    assert write_label_table([run], run.settings) == "" and not stale.exists()
    assert not run.files.label_classes.exists() and not run.files.label_scores("eval").exists()


def test_killed_and_resumed_equals_uninterrupted_bit_for_bit(scored, store, tmp_path):
    other = replace(scored, folder=tmp_path / "interrupted")
    with pytest.raises(Killed):
        train_run(other, store, CPU, on_epoch=die_after(2))
    train_run(other, store, CPU)
    expected, found = weights_of(scored), weights_of(other)
    assert {name for name in expected if name.startswith("heads.")} == {f"heads.{n}.{part}" for n in (0, 1) for part in ("weight", "bias")}
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_scores_without_their_partner_are_made_again(scored):
    assert is_scored(scored, "eval")
    content = scored.files.label_scores("eval").read_bytes()
    scored.files.label_scores("eval").write_bytes(content + b"x")
    assert not is_scored(scored, "eval")
    scored.files.label_scores("eval").unlink()
    assert not is_scored(scored, "eval")


def _gradients(labelled, store, **changes):
    """Of one step on rows without mixup: name -> gradient."""
    settings = labelled.settings
    for name, value in {"mixup": "none", **changes}.items():
        setattr(settings.train, name, value)
    rows, classes = CrossEntropy.train_rows(store, settings, ["en"])
    train_rows = FeatureRows(store, rows, classes, CPU, further_labels_of(store, rows, settings))
    state = start_or_resume(settings, store.shape[1:], labelled.files, CrossEntropy, train_rows)
    state.model.eval()  # no BatchNorm over pieces of a batch
    state.network.train = lambda mode=True: state.network
    train_step(state, train_rows, Batch(np.arange(24, 36)), settings)
    return {name: parameter.grad for name, parameter in state.model.named_parameters()}


def test_a_batch_in_pieces_has_the_gradients_of_the_whole(labelled, store):
    whole, pieces = _gradients(labelled, store), _gradients(labelled, store, micro_batch_size=5)
    for name, gradient in whole.items():
        torch.testing.assert_close(pieces[name], gradient, rtol=1e-3, atol=1e-6)


def test_weights_of_labels_scale_the_gradients_of_their_heads(labelled, store):
    equal, weighted = _gradients(labelled, store), _gradients(labelled, store, label_weights=[1.0, 3.0, 0.0])
    torch.testing.assert_close(weighted["heads.0.weight"], 3 * equal["heads.0.weight"])
    assert (weighted["heads.1.weight"] == 0).all() and (equal["heads.1.weight"] != 0).any()


def test_other_labels_make_another_run_but_those_of_eval_do_not(labelled, store, tmp_path):
    settings = labelled.settings
    plain = run_of(small_settings(tmp_path, "train.languages=[en]"), "some-store")
    assert plain.folder != labelled.folder
    table = truth_of(labelled).reset_index()
    for number, is_other in ((0, True), (8, False)):  # the first is a training utterance, the second one of eval
        table.loc[table["utt_id"] == f"en/a/{number}", "vocoder"] = "corrected"
        table.to_csv(Layout.of(settings).utterances, index=False)
        assert (run_of(settings, "some-store").folder != labelled.folder) == is_other
        write_tables(settings, store)
        table = truth_of(labelled).reset_index()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"vocoder": "the same"}, "have only 'the same' of vocoder, and a head needs two classes"),
        ({"architecture": ""}, "have none of architecture"),
    ],
)
def test_labels_of_one_class_are_refused_before_training(labelled, store, monkeypatch, columns, message):
    write_tables(labelled.settings, store, **columns)
    monkeypatch.setattr("sourcetracing.training.loop.open_store", lambda settings: store)
    with pytest.raises(UserError, match=message):
        require_rows([labelled])


def test_a_column_that_is_not_there_is_refused_with_those_that_are(tmp_path, store):
    settings = small_settings(tmp_path, "train.labels=[source,vocodre]")
    write_tables(settings, store)
    with pytest.raises(UserError, match=r"'vocodre' is no label; did you mean 'vocoder'\?"):
        run_of(settings, "some-store")
    settings.train.labels = ["source", "digest"]
    with pytest.raises(UserError, match="'digest' is no label"):
        run_of(settings, "some-store")
    settings.train.labels = ["source", "training_data"]
    with pytest.raises(UserError, match=r"utterances\.csv has no training_data yet.*02_build_protocols"):
        run_of(settings, "some-store")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train.labels=[vocoder]"], "name it, too"),
        (["train.labels=[source,vocoder,vocoder]"], "'vocoder' is listed twice"),
        (["train.labels=[source,vocoder]", "train.label_weights=[1]"], "has 1 values for 2"),
        (["train.labels=[source,vocoder]", "train.label_weights=[0,0]"], "all are 0"),
        (["train.labels=[source,vocoder]", "backend=statistics"], "is fitted in one go and has no further heads"),
        (["train.labels=[source,vocoder]", "backend=embedding_head"], "is trained by a loss on embeddings"),
        (["train.labels=[source,vocoder]", "train.initial_weights=x.pth"], "published checkpoint has no further heads"),
    ],
)
def test_settings_that_cannot_be_meant(words, message):
    with pytest.raises(UserError, match=message):
        load_settings(words)


def test_the_floor_goes_without_heads():
    config = read_config(["train.labels=[source,vocoder]", "train.label_weights=[1,1]"])
    assert further_labels(config.resolve()) == ["vocoder"]
    assert further_labels(config.resolve(_of_floor(config, "stats_logreg"), system="stats_logreg")) == []


def test_another_label_is_traced_and_the_true_source_is_a_further_one(tmp_path, store):
    words = ["corpus.label=vocoder", "corpus.sources=['NA','griffin, lim']", "train.labels=[source,vocoder]", "train.languages=[en]"]
    settings = small_settings(tmp_path, *words)
    write_tables(settings, store)
    store.index["source"] = store.index["utt_id"].map(truth_of(run_of(settings, "some-store"))["vocoder"])  # as `open_store` has it
    run = run_of(settings, "some-store")
    train_run(run, store, CPU)
    score_run(run, store, CPU)
    recorded = json.loads(run.files.label_classes.read_text())
    assert recorded == {"vocoder": {"NA": 12, "griffin, lim": 20}, "source": {"a": 12, "b": 12, "c": 8}}
    said = read_label_scores(run, "eval")
    said = said[truth_of(run).loc[said["utt_id"], "vocoder"].to_numpy() != ""]  # script 02 leaves the others out of a corpus
    assert len(said) > 16 and said["label_source"].tolist() == said["utt_id"].str.split("/").str[1].tolist()
    assert set(label_table([run], settings)["label"]) == {"vocoder", "source"}
    assert write_label_table([run], settings)
