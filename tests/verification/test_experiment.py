"""Script 10's work on a trained run: LLRs from dev, figures, tables, pictures, made once, and its error lines."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.settings.verification import SCORINGS
from sourcetracing.verification import experiment
from sourcetracing.verification.experiment import verify_runs
from sourcetracing.verification.scoring import SPACES
from tests.support.verified_run import verified_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return verified_run(tmp_path_factory.mktemp("verified"), "verification.trials_per_condition=60", "verification.same_transcript=any")[0]


@pytest.fixture
def run(made, monkeypatch):
    monkeypatch.setattr(experiment, "score_runs", lambda runs: None)  # there is no audio to make a store of
    return made


def changed(run, **values):
    return replace(run, settings=replace(run.settings, verification=replace(run.settings.verification, **values)))


def files_of(run):
    return Layout.of(run.settings).verification_of(run.system, run.folder.name)


def table_of(run) -> pd.DataFrame:
    return pd.read_csv(Layout.of(run.settings).verification_table)


def test_the_settings_name_the_scorings_that_there_are():
    assert list(SPACES) == list(SCORINGS)


def test_the_whole_of_it_and_a_second_run_that_does_nothing(run, monkeypatch):
    text = verify_runs([run])
    assert "no row of speakers" in text and "lda_cosine is left out: train has fewer than three sources" in text
    table, files, layout = table_of(run), files_of(run), Layout.of(run.settings)
    assert set(table["split"]) == {"dev", "eval"}
    assert set(table["scoring"]) == {"cosine", "whitened_cosine"}
    assert table["protocol"].notna().all()
    for path in (files.det, layout.verification_det):
        assert path.read_bytes().startswith(b"\x89PNG")
    before = {path: path.stat().st_mtime_ns for path in files.root.iterdir()}
    csv = layout.verification_table.read_bytes()
    monkeypatch.setattr(experiment, "judge", lambda *things: pytest.fail("made again"))
    verify_runs([run])
    assert before == {path: path.stat().st_mtime_ns for path in files.root.iterdir()}
    assert layout.verification_table.read_bytes() == csv


def test_other_settings_and_an_interrupted_run_are_made_again(run, monkeypatch):
    verify_runs([run])
    files, record = files_of(run), files_of(run).record.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(experiment, "draw_det", lambda *things: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            verify_runs([changed(run, score_norm="s_norm")])
    verify_runs([changed(run, score_norm="s_norm")])
    assert set(table_of(run)["score_norm"]) == {"s_norm"}
    assert files.record.read_text() != record
    verify_runs([run])
    assert files.record.read_text() == record


def test_llrs_are_the_line_of_dev_cut_at_its_bounds(run):
    verify_runs([run])
    files = files_of(run)
    lines = json.loads(files.record.read_text())["llrs"]
    for split in ("dev", "eval"):
        scores = pd.read_parquet(files.scores(split))
        for name, line in lines.items():
            expected = np.clip(line["slope"] * scores[name] + line["offset"], line["low"], line["high"])
            assert scores[f"{name}_llr"].to_numpy() == pytest.approx(expected.to_numpy())
            assert line["targets"] == (pd.read_parquet(files.scores("dev"))["label"] == 1).sum()


def test_scores_are_cosines_of_stored_embeddings(run):
    from sourcetracing.verification.representations import embedded_by

    verify_runs([run])
    scores, embedded = pd.read_parquet(files_of(run).scores("eval")), embedded_by(run, "eval")
    rows = pd.DataFrame(embedded.embeddings.astype(float), index=embedded.utt_ids)
    a, b = rows.loc[scores["enrol"]].to_numpy(), rows.loc[scores["test"]].to_numpy()  # models of one utterance have its name
    found = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert scores["cosine"].to_numpy() == pytest.approx(found, abs=1e-5)


def test_without_runs_it_says_so():
    with pytest.raises(UserError, match=r"experiment\.systems"):
        verify_runs([])


def test_lda_alone_on_two_sources_is_refused(run):
    with pytest.raises(UserError, match="train has fewer than three sources; add cosine"):
        verify_runs([changed(run, scoring=["lda_cosine"])])


@pytest.mark.slow  # processes start
def test_processes_make_what_one_makes(run, monkeypatch):
    other = replace(run, folder=run.folder.with_name(f"{run.folder.name}-again"))
    shutil.copytree(run.folder, other.folder, dirs_exist_ok=True)
    both = [changed(each, cohort_size=77) for each in (run, other)]
    verify_runs(both)
    alone = {each.folder.name: files_of(each).scores("eval").read_bytes() for each in both}
    table = Layout.of(run.settings).verification_table.read_bytes()
    for each in both:
        shutil.rmtree(files_of(each).root)
    monkeypatch.setattr(experiment, "WORTH_A_PROCESS", 0)
    monkeypatch.setattr(experiment, "resolve_workers", lambda workers: 2)
    verify_runs(both)
    assert alone == {each.folder.name: files_of(each).scores("eval").read_bytes() for each in both}
    assert Layout.of(run.settings).verification_table.read_bytes() == table
