"""Script 12 from audio on, on a very small corpus: clean answers are the stored scores, a stop loses nothing, tables are as files say."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import f1_score

from sourcetracing.errors import UserError
from sourcetracing.features.extracting import extract_features
from sourcetracing.layout import Layout
from sourcetracing.protocols.building import build_protocols
from sourcetracing.protocols.table import load_protocol
from sourcetracing.robustness import answers as answers_module
from sourcetracing.robustness.answers import Wanted, made_of, read_answers
from sourcetracing.robustness.experiment import robustness_of
from sourcetracing.robustness.utterances import CLEAN, Hearing, drawn, eval_items
from sourcetracing.settings.reading import load_settings, read_config
from sourcetracing.tracing.system import score_splits
from sourcetracing.training.matrix import train_runs
from sourcetracing.training.runs import TrainingRun, load_runs
from tests.support.finished_street import write_audio

pytestmark = pytest.mark.slow
OPERATIONS = ["lowpass_3k4", "noise_10db", "first_8s", "mp3_32k", "babble_10db", "quieter_6db+opus_16k", "gsm"]
MADE = OPERATIONS[:-1]


def runs_with(words: list[str], *more: str) -> list[TrainingRun]:
    return load_runs(read_config([*words, *more]))


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> list[str]:
    root = tmp_path_factory.mktemp("robust-street")
    write_audio(root)
    paths = [f"paths.corpus={root}/corpus", f"paths.musan={root}/musan", f"paths.rirs={root}/rirs", f"paths.exp={root}/exp", "name=street"]
    corpus = ["corpus.reader=folder", "corpus.languages=[en,de]", "corpus.sources=[quiet,loud]", "corpus.unknown_sources=[all]"]
    sizes = ["audio.crop_seconds=0.4", "ecapa_tdnn.channels=8", "train.epochs=1", "evaluation.bootstrap_samples=20", "compute.workers=1"]
    sizes += [f"robustness.operations=[{','.join(OPERATIONS)}]", "robustness.utterances=8", "store.dtype=float32"]
    words = [*paths, *corpus, *sizes, "augment.variants=[original,noise]", "compute.device=cpu", "experiment.train_sets=[en+de]"]
    config = read_config(words)
    build_protocols(config.resolve())
    extract_features(config.resolve(), *load_protocol(config.resolve(), unknown=True))
    train_runs(load_runs(config))
    return words


@pytest.fixture(scope="module")
def finished(words) -> tuple[list[TrainingRun], str]:
    """The second call makes what the first, which was stopped, has left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers_module, "AT_ONCE", 2)
        real, kept = answers_module._keep, []

        def stopped_at_the_third(*args):
            if len(kept) == 3:
                raise KeyboardInterrupt
            kept.append(args)
            real(*args)

        patch.setattr(answers_module, "_keep", stopped_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            robustness_of(runs_with(words))
        files = sorted(Layout.of(load_settings(words)).robustness.rglob("*.parquet"))
        before = {path: path.stat().st_mtime_ns for path in files}
        assert len(before) == 3
        patch.setattr(answers_module, "_keep", real)
        text = robustness_of(runs_with(words))
    assert before == {path: path.stat().st_mtime_ns for path in before}
    return runs_with(words), text


def table_of(words: list[str]) -> pd.DataFrame:
    return pd.read_csv(Layout.of(load_settings(words)).robustness_table, keep_default_na=False, na_values=[""])


def wanted_of(run: TrainingRun) -> Wanted:
    items = drawn(eval_items(run.settings), ["en", "de"], 8, run.settings.seed)
    return Wanted(run, items)


def test_every_run_and_operation_is_there_and_what_lacks_is_named(words, finished):
    runs, text = finished
    table = table_of(words)
    assert set(table["system"]) == {"lfcc_ecapa_tdnn", "stats_logreg"}
    for _, rows in table.groupby("system"):
        assert rows["operation"].tolist() == [CLEAN, *MADE]
    assert "left out: gsm: this ffmpeg has no encoder libgsm" in text and "stats_logreg (floor)" in text
    layout = Layout.of(runs[0].settings)
    markdown = layout.robustness_text.read_text()
    assert "* `quieter_6db+opus_16k`: -6 dB, nothing else, then Opus at 16 kbit/s" in markdown and layout.robustness_picture.is_file()
    record = json.loads(layout.robustness_of(runs[0].system, runs[0].folder.name).record.read_text())
    assert record["left_out"] == {"gsm": "this ffmpeg has no encoder libgsm"} and record["seed"] == 688
    assert record["variants_in_training"] == ["original", "noise"] and record["utterances"] == 8
    assert dict(zip(table["operation"], table["in_training"].fillna(""), strict=False))["noise_10db"] == "noise"
    assert table.set_index("operation")["in_training"].fillna("")["mp3_32k"].eq("").all()


def test_figures_are_as_the_answers_say(words, finished):
    table = table_of(words).set_index(["system", "operation"])
    for run in finished[0]:
        wanted = wanted_of(run)
        labels = dict(zip(wanted.items["utt_id"], wanted.items["source"], strict=True))
        for operation, rows in read_answers(wanted).groupby("operation"):
            assert sorted(rows["utt_id"]) == sorted(labels)
            true = rows["utt_id"].map(labels)
            named = pd.Series(["quiet", "loud"]).to_numpy()[np.stack(rows["logits"]).argmax(axis=1)]
            known = true.isin(["quiet", "loud"]).to_numpy()
            expected = f1_score(true[known], named[known], average="macro", labels=sorted(set(true[known])))
            assert table.loc[(run.system, operation), "macro_f1"] == pytest.approx(expected, abs=1e-6)
            assert table.loc[(run.system, operation), "known"] == known.sum()


def test_clean_answers_are_the_stored_scores(finished):
    """What script 06 makes by way of the feature store."""
    for run in finished[0]:
        score_splits(run, ["eval"], torch.device("cpu"))
        stored = pd.read_parquet(run.files.scores("eval"))
        stored = stored[stored["variant"] == "original"].set_index("utt_id")
        rows = read_answers(wanted_of(run)).set_index("operation").loc[CLEAN]
        expected = stored.loc[rows["utt_id"], ["logit_0", "logit_1"]].to_numpy()
        np.testing.assert_allclose(np.stack(rows["logits"]), expected, rtol=2e-3, atol=2e-3)


def test_a_crop_longer_than_the_file_changes_nothing(words, finished):
    table = table_of(words).set_index("operation")
    assert (table.loc["first_8s", ["macro_f1_change", "cllr_change"]] == 0).all(axis=None)


def test_a_second_call_writes_nothing_but_the_tables(words, finished):
    root = Layout.of(load_settings(words)).robustness
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file() and path.name != ".lock"}
    assert robustness_of(runs_with(words)) == finished[1]
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file() and path.name != ".lock"}


def test_another_operation_is_added_and_a_damaged_file_made_again(words, finished, tmp_path):
    run = finished[0][0]
    damaged = sorted(wanted_of(run).folder.glob("*.parquet"))[0]
    damaged.write_bytes(damaged.read_bytes()[:100])
    num_before = len(list(wanted_of(run).folder.glob("*.parquet")))
    robustness_of(runs_with(words, "robustness.operations=[louder_6db,mp3_32k]"))
    assert table_of(words)["operation"].unique().tolist() == [CLEAN, "louder_6db", "mp3_32k"]
    rows = read_answers(wanted_of(run))
    assert not rows.duplicated(["operation", "utt_id", "made_of"]).any() and "louder_6db" in set(rows["operation"])
    assert len(list(wanted_of(run).folder.glob("*.parquet"))) >= num_before
    robustness_of(runs_with(words))


def test_another_precision_or_other_weights_have_answers_of_their_own(finished, tmp_path):
    run = finished[0][0]
    other = replace(run, settings=replace(run.settings, compute=replace(run.settings.compute, precision="bf16")))
    assert Wanted(run, pd.DataFrame()).folder != Wanted(other, pd.DataFrame()).folder


def test_a_changed_file_is_heard_again(finished):
    item = next(wanted_of(finished[0][0]).items.itertuples())
    assert made_of(item, "lowpass_3k4", {}) == made_of(item, "lowpass_3k4", {}) != made_of(item, CLEAN, {})
    assert made_of(item, CLEAN, {}) != made_of(item._replace(digest="other"), CLEAN, {})
    assert made_of(item, "mp3_32k", {}) != made_of(item, CLEAN, {})  # ffmpeg's version


def test_operations_come_before_the_cure_and_the_crop(words, finished):
    """Silence that an operation adds is cut by a system that was trained to cut it."""
    run = finished[0][0]
    item = next(wanted_of(run).items.itertuples())
    plain, added = Hearing(run.settings, {})(item, [CLEAN, "silence_added"])
    assert not added.any() and plain.any()  # half a second of nothing is longer than the crop
    cured = replace(run.settings, audio=replace(run.settings.audio, trim_silence_db=40.0))
    np.testing.assert_allclose(*Hearing(cured, {})(item, [CLEAN, "silence_added"]), atol=1e-6)


def test_a_vanished_file_is_named(words, finished):
    run = finished[0][0]
    item = next(wanted_of(run).items.itertuples())._replace(path="gone.wav")
    with pytest.raises((UserError, OSError), match="gone.wav"):
        Hearing(run.settings, {})(item, [CLEAN])
