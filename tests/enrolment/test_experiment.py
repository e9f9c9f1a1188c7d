"""The enrolment curve of trained runs: made once, its table and picture, and corpora that cannot have one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from sourcetracing.enrolment import experiment
from sourcetracing.enrolment.acceptance import MAXIMA, NONE
from sourcetracing.enrolment.experiment import COLUMNS, curve, enrol_in_runs
from sourcetracing.enrolment.protocol import Pool, draw_files
from sourcetracing.enrolment.tables import write_enrolment
from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.scoring.scores import read_embeddings
from sourcetracing.settings.verification import SCORINGS
from sourcetracing.verification import representations
from sourcetracing.verification.subjects import LEFT_OUT_FOR_SPEAKERS
from sourcetracing.verification.verifier import Verifier
from tests.enrolment.test_protocol import files
from tests.support.small_store import small_settings
from tests.support.verified_run import verified_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    words = ("enrolment.counts=[1,2,12]", "enrolment.draws=3", "verification.trials_per_condition=40", "compute.workers=1")
    return verified_run(tmp_path_factory.mktemp("enrolled"), *words)[0]


def files_of(run):
    return Layout.of(run.settings).verification_of(run.system, run.folder.name)


def test_one_unknown_source_has_what_one_can_have(run):
    text, layout = enrol_in_runs([run]), Layout.of(run.settings)
    table = pd.read_csv(layout.enrolment_table)
    assert table["count"].tolist() == [1, 2] and set(table["sources"]) == {1} and set(table["chance"]) == {1.0}
    assert table["accuracy"].isna().all() and not table["auroc_seen"].isna().any()
    assert table["tests"].tolist() == [11, 10] and set(table["strangers"]) == {24}
    assert set(table["rests_on"]) == {NONE} and np.isinf(table["threshold"]).all() and not table["found"].any()
    assert "K = 12 is left out: no unseen source has 12 files and one to test, 12 at most" in text
    assert "LLRs and thresholds come from all of dev's" in text
    assert not table["dev_unseen"].any() and set(table["of_dev"]) == {1}
    assert layout.enrolment_picture.read_bytes().startswith(b"\x89PNG")
    assert "| - | 0.0 (0.0–0.0) |" in layout.enrolment_text.read_text()


def test_a_second_run_does_nothing_and_other_settings_make_it_again(run, monkeypatch):
    enrol_in_runs([run])
    record, before = files_of(run).enrolment_record, files_of(run).enrolment_record.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(experiment, "enrol", lambda *things, **more: pytest.fail("made again"))
        enrol_in_runs([run])
    changed = replace(run, settings=replace(run.settings, enrolment=replace(run.settings.enrolment, draws=2)))
    with monkeypatch.context() as patch:
        patch.setattr(experiment, "write_json", lambda *things: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            enrol_in_runs([changed])
    enrol_in_runs([changed])
    assert record.read_text() != before and set(pd.read_csv(files_of(run).enrolment)["draws"]) == {2}
    enrol_in_runs([run])
    assert record.read_text() == before


def test_without_unknown_sources_it_is_one_line(run):
    known = replace(run, settings=replace(run.settings, corpus=replace(run.settings.corpus, unknown_sources=[])))
    assert enrol_in_runs([known]) == "no curve of enrolment: no source is left that training never saw (corpus.unknown_sources)"


def test_embeddings_that_are_no_numbers_are_refused(run, monkeypatch):
    monkeypatch.setattr(representations, "read_embeddings", lambda run, split: np.full_like(read_embeddings(run, split), np.nan))
    settings = replace(run.settings, enrolment=replace(run.settings.enrolment, draws=4))
    with pytest.raises(UserError, match="has NaN or infinite numbers"):
        enrol_in_runs([replace(run, settings=settings)])


def test_a_dev_that_calibrates_nothing_is_a_note(run, monkeypatch):
    def refuse(*things):
        raise UserError("dev needs two sources")

    monkeypatch.setattr(experiment, "verifiers_of", refuse)
    settings = replace(run.settings, enrolment=replace(run.settings.enrolment, draws=5))
    text = enrol_in_runs([replace(run, settings=settings)])
    assert text == "no curve of enrolment: dev needs two sources"
    layout = Layout.of(run.settings)
    assert not layout.enrolment_table.exists() and not layout.enrolment_picture.exists()
    assert json.loads(files_of(run).enrolment_record.read_text())["notes"] == [text]


# --- more sources than a small store has


def many(tmp_path, *words: str):
    settings = small_settings(
        tmp_path, "corpus.sources=[a,b,f]", "evaluation.bootstrap_samples=40", "enrolment.draws=4", "enrolment.false_alarms=0.05", *words
    )
    train, dev = files({"a": 10, "b": 10, "f": 10}, seed=1), files(dict.fromkeys("pqrscd", 10), seed=2)
    verifier = Verifier.fitted(train, dev, settings.corpus.sources, compare_by="cosine", num_trials=60, seed=settings.seed)
    eval_files = files({"a": 7, "b": 5, "c": 12, "d": 9, "e": 6, "g": 1}, seed=3)
    return settings, verifier, Pool.of(eval_files, [""] * len(eval_files.utt_ids), settings.corpus.sources)


def test_accuracy_is_that_of_the_nearest_mean(tmp_path):
    settings, verifier, pool = many(tmp_path, "enrolment.counts=[3]")
    (row,), notes = curve(pool, [verifier], settings)
    found = []
    for number in range(4):
        draw = draw_files(pool, 3, number, tests_per_source=100, seed=settings.seed)
        units = pool.files.embeddings / np.linalg.norm(pool.files.embeddings, axis=1, keepdims=True)
        means = pd.DataFrame(units[draw.enrolled.ravel()]).groupby(np.repeat(draw.names, 3)).mean()
        means = means.div(np.sqrt((means**2).sum(axis=1)), axis=0)
        named = means.index.to_numpy()[(units[draw.tests] @ means.to_numpy().T).argmax(axis=1)]
        truth = pool.files.sources[draw.tests]
        found.append(accuracy_score(truth, named, sample_weight=1 / pd.Series(truth).map(pd.Series(truth).value_counts())))
    assert row["accuracy"] == pytest.approx(np.mean(found))
    assert (row["sources"], row["of_dev"], row["dev_sources"], row["tests"], row["strangers"]) == (3, 2, 6, 18, 12)
    assert row["dev_unseen"] and row["rests_on"] == MAXIMA
    assert notes[0] == "K = 3: without g, which cannot spare 3 of 1 files" and "6 sources of dev" in notes[1]
    assert list(row) == list(COLUMNS)


def test_each_k_takes_the_space_of_the_lowest_cllr_on_dev(tmp_path):
    settings, _, pool = many(tmp_path, "enrolment.counts=[1,4]")
    train, dev = files({"a": 10, "b": 10, "f": 10}, seed=1), files(dict.fromkeys("pqrscd", 10), seed=2)
    how = {"num_trials": 60, "seed": settings.seed}
    spaces = [Verifier.fitted(train, dev, settings.corpus.sources, compare_by=name, **how) for name in SCORINGS]
    rows, _ = curve(pool, spaces, settings)
    for row in rows:
        assert row["scoring"] == min(spaces, key=lambda verifier: verifier.cllr(row["count"], 1)).scoring
        assert row == curve(pool, [space for space in spaces if space.scoring == row["scoring"]], settings)[0][row["count"] > 1]


def test_spaces_are_those_of_the_setting_and_voices_have_no_discriminants(run):
    subject = experiment.subject_of_run(experiment.on_all_splits(run))
    embedded = subject.load()
    assert [one.scoring for one in experiment.verifiers_of(subject, embedded, run.settings)] == ["cosine", "whitened_cosine"]  # two sources
    three = {**embedded, "train": embedded["eval"]}
    assert [one.scoring for one in experiment.verifiers_of(subject, three, run.settings)] == list(SCORINGS)
    voices = replace(subject, without=LEFT_OUT_FOR_SPEAKERS)
    assert [one.scoring for one in experiment.verifiers_of(voices, three, run.settings)] == ["cosine", "whitened_cosine"]
    set_one = replace(run.settings, trace=replace(run.settings.trace, compare_by="whitened_cosine"))
    assert [one.scoring for one in experiment.verifiers_of(subject, three, set_one)] == ["whitened_cosine"]


def test_sources_drop_out_as_k_grows(tmp_path):
    settings, verifier, pool = many(tmp_path, "enrolment.counts=[20,8,2,5]")
    rows, notes = curve(pool, [verifier], settings)
    assert [(row["count"], row["sources"]) for row in rows] == [(2, 3), (5, 3), (8, 2)]
    assert "K = 8: without e, g, which cannot spare 8 of 6, 1 files" in notes
    assert any(note.startswith("K = 20 is left out") for note in notes)
    assert [row["chance"] for row in rows] == pytest.approx([1 / 3, 1 / 3, 1 / 2])


def test_where_all_say_the_same_a_note_says_so(tmp_path):
    settings, verifier, pool = many(tmp_path, "enrolment.counts=[1]")
    same = Pool(pool.files, np.full(len(pool.texts), "one text", dtype=object), pool.seen)
    assert curve(same, [verifier], settings) == ([], ["K = 1 is left out: all other files of eval say what enrolled ones say"])


def test_eval_without_unseen_files_is_a_note(tmp_path):
    settings, verifier, pool = many(tmp_path)
    known = Pool(pool.files, pool.texts, tuple("abcdeg"))
    assert curve(known, [verifier], settings) == ([], ["no curve of enrolment: eval has no file of a source that training never saw"])


def test_tables_and_picture_of_several_runs(tmp_path):
    settings, verifier, pool = many(tmp_path, "enrolment.counts=[1,4]", "experiment.floor=[stats_logreg]")
    rows, notes = curve(pool, [verifier], settings)
    keys = [{"system": name, "train_set": "en", "seed": 1, "run": name, "compat": "", "protocol": "0"} for name in ("x", "stats_logreg")]
    keys.append({"system": "speakers", "train_set": "", "seed": None, "run": "r", "compat": "", "protocol": "0"})
    text = write_enrolment([pd.DataFrame(rows).assign(**own) for own in keys], settings, notes)
    layout = Layout.of(settings)
    table, page = pd.read_csv(layout.enrolment_table), layout.enrolment_text.read_text()
    assert table["system"].tolist() == ["x", "x", "stats_logreg", "stats_logreg", "speakers", "speakers"]
    assert "stats_logreg (floor), en, seed 1" in page and "| speakers, r |" in page
    assert page.count("## K = ") == 2 and f"{100 * rows[0]['accuracy']:.1f} (" in page
    assert "K = 4" in text and "2 of them are in dev" in text and "set to 5 %" in text
    assert layout.enrolment_picture.stat().st_size > 10_000
