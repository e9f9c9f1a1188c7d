"""compare_audio.py: its figures by an independent computation, and one line for everything that cannot be compared."""

from __future__ import annotations

import json
import runpy
import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.optimize import minimize
from sklearn.covariance import LedoitWolf

from sourcetracing.casework.comparing import Side, compare, doubts_about
from sourcetracing.runtime.cli import run_tool
from sourcetracing.scoring.scores import read_embeddings, read_scores
from sourcetracing.tracing.tracer import Tracer
from sourcetracing.training.runs import TrainingRun
from sourcetracing.verification.calibrating import LlrLine
from sourcetracing.verification.representations import Embedded, on_all_splits
from sourcetracing.verification.trials import SAME
from sourcetracing.verification.verifier import Verifier
from tests.support.audio_files import RATE, write_wav
from tests.support.places import ROOT
from tests.support.traced_runs import trained_run

FEW = "verification.trials_per_condition=40"  # dev runs out of new ones before


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    run = trained_run(tmp_path_factory.mktemp("trained"))
    run.settings.verification.trials_per_condition = 40
    return run


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for number in range(5):
        write_wav(folder / "a" / f"{number}.wav", 0.8 + number / 10, number)
    for number in range(3):
        write_wav(folder / "b" / f"{number}.wav", 1 + number / 10, 100 + number, level=0.02)
    return folder


@pytest.fixture(autouse=True)
def _scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


def run_script(*words: str | Path) -> int:
    """The exit status."""
    main = runpy.run_path(str(ROOT / "scripts" / "compare_audio.py"))
    with pytest.raises(SystemExit) as ended:
        run_tool(main["main"], doc=main["__doc__"], uses=["trace"], things="A B", flags=main["FLAGS"], argv=list(map(str, words)))
    return ended.value.code


def compared(tmp_path: Path, capsys, *words: str | Path) -> tuple[dict, str]:
    """The JSON and what was printed."""
    assert run_script(*words, "--json", tmp_path / "out.json") == 0, capsys.readouterr().err
    return json.loads((tmp_path / "out.json").read_text()), capsys.readouterr().out


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_score_and_llr_by_hand(run, files, tmp_path, capsys):
    found, _ = compared(tmp_path, capsys, files / "a", files / "b", "--run", run.folder, FEW, "trace.compare_by=whitened_cosine")
    tracer = Tracer.load(run.folder, ["trace.detector=none"])
    sides = [np.stack([tracer(path).embedding for path in sorted((files / name).iterdir())]) for name in "ab"]
    # The space: mean and covariance of clean training rows, by scikit-learn and a Cholesky factor instead of eigenvectors.
    scores, rows = read_scores(on_all_splits(run), "train", unknown=True), read_embeddings(on_all_splits(run), "train")
    fitted = LedoitWolf().fit(rows[(scores["variant"] == "original").to_numpy()].astype(np.float64))
    whitening = np.linalg.inv(np.linalg.cholesky(fitted.covariance_))
    models = [unit(unit((side - fitted.location_) @ whitening.T).mean(axis=0)) for side in sides]
    assert found["score"] == pytest.approx(float(models[0] @ models[1]), abs=1e-4)
    # The line: logistic loss with even priors and Platt's doubt, by scipy, on the verifier's dev trials of these sizes.
    own = deepcopy(run)
    own.settings.trace.compare_by = "whitened_cosine"
    verifier = Verifier.of(own)
    trials = verifier.dev_trials(5, 3)
    same, doubt = trials.labels == SAME, 1 / (min((trials.labels == SAME).sum(), (trials.labels != SAME).sum()) + 2)

    def loss(line):
        llrs = line[0] * trials.scores + line[1]
        hit, wrong = np.logaddexp(0, -llrs), np.logaddexp(0, llrs)
        return ((1 - doubt) * hit + doubt * wrong)[same].mean() + ((1 - doubt) * wrong + doubt * hit)[~same].mean()

    slope, offset = minimize(loss, [1.0, 0.0], tol=1e-12).x
    low, high = found["llr_bounds"]
    expected = 0.0 if slope <= 0 else float(np.clip(slope * found["score"] + offset, low, high))
    assert found["llr"] == pytest.approx(expected, abs=2e-3)
    assert found["log10_lr"] == pytest.approx(found["llr"] / np.log(10))
    number = found["rests_on"]["utterances"]
    assert number == len(verifier.dev.utt_ids) and max(-low, high) <= np.log(number) + 1e-9
    assert (found["rests_on"]["targets"], found["rests_on"]["nontargets"]) == (same.sum(), (~same).sum())


def test_the_terminal_says_what_the_json_holds(run, files, tmp_path, capsys):
    found, shown = compared(tmp_path, capsys, files / "a" / "0.wav", files / "b" / "0.wav", "--run", run.folder, FEW)
    assert f"log10 LR {found['log10_lr']:+.2f}" in shown and f"score {found['score']:.3f}" in shown
    for line in [*found["sentences"], *found["rests_on"]["in_words"], *found["when_not_to_believe"], "ENFSI"]:
        assert line in shown
    assert any("A and B" in line and "share" in line for line in found["when_not_to_believe"])
    assert found["a"]["paths"] == [str(files / "a" / "0.wav")] and len(found["a"]["digests"][0]) == 64


def test_order_of_the_sides_changes_nothing_that_matters(run, files, tmp_path, capsys):
    one, _ = compared(tmp_path, capsys, files / "a" / "0.wav", files / "b" / "0.wav", "--run", run.folder, FEW)
    other, _ = compared(tmp_path, capsys, files / "b" / "0.wav", files / "a" / "0.wav", "--run", run.folder, FEW)
    assert one["llr"] == pytest.approx(other["llr"])


def test_what_may_mislead_is_named(run, files, tmp_path, capsys):
    samples, _ = soundfile.read(files / "a" / "1.wav")
    soundfile.write(tmp_path / "coded.ogg", samples, RATE, format="OGG", subtype="VORBIS")
    corpus = next((Path(run.settings.paths.corpus)).rglob("9.wav"))
    found, _ = compared(tmp_path, capsys, tmp_path / "coded.ogg", corpus, "--run", run.folder, FEW)
    said = "\n".join(found["when_not_to_believe"])
    assert "A: coded.ogg: lossy codec" in said
    assert "B: 9.wav: byte by byte the utterance en/source1/9" in said
    assert found["rests_on"]["are_unseen"] is False and "training saw some of them" in "\n".join(found["rests_on"]["in_words"])


def test_a_run_that_cannot_tell_says_nothing(run, files):
    """A line whose slope is 0."""
    tracer = Tracer.load(run.folder, ["trace.detector=none"])
    verifier = Verifier.of(run)
    _, trials = verifier._line_and_trials(1, 1)
    verifier._fitted[(1, 1)] = LlrLine(0.0, 0.0, 0.0, 0.0, 5, 5), trials
    side = Side("x", ["x.wav"], ["0"], 1.0, [])
    found = compare(verifier, [side, side], [verifier.dev.embeddings[:1]] * 2)
    assert found.evidence.llr == 0
    assert "cannot tell" in doubts_about(found, tracer)[0]
    assert "neither" in found.sentences()[1]


def refused(capsys, *words: str | Path) -> str:
    """The one line."""
    capsys.readouterr()
    assert run_script(*words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in lines if line.startswith("error:")]) == 1 and not any("Traceback" in line for line in lines)
    return lines[-1]


def test_wrong_inputs_get_one_line(run, files, tmp_path, capsys):
    good, tail = files / "a" / "0.wav", ("--run", run.folder, FEW)
    (tmp_path / "empty").mkdir()
    assert "no audio in this folder" in refused(capsys, tmp_path / "empty", good, *tail)
    assert "no file fits this pattern" in refused(capsys, good, str(tmp_path / "*.wav"), *tail)
    assert "is missing" in refused(capsys, tmp_path / "gone.wav", good, *tail)
    assert "two sides are compared, got 1" in refused(capsys, good, *tail)
    assert "two sides are compared, got 3" in refused(capsys, good, good, good, *tail)
    assert "which system?" in refused(capsys, good, good)
    assert "is no folder" in refused(capsys, good, files / "b", "--run", tmp_path / "nowhere")
    soundfile.write(tmp_path / "nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    assert "nan.wav: 16000 of its samples are NaN" in refused(capsys, good, tmp_path / "nan.wav", *tail)
    write_wav(tmp_path / "short.wav", 0.2, 7)
    assert "too short to compare (0.20 s" in refused(capsys, good, tmp_path / "short.wav", *tail)
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    assert "silent" in refused(capsys, good, tmp_path / "silent.wav", *tail)


def test_a_file_is_not_compared_with_itself(run, files, tmp_path, capsys):
    good, tail = files / "a" / "0.wav", ("--run", run.folder, FEW)
    assert f"{good} is on both sides" in refused(capsys, good, good, *tail)
    shutil.copyfile(good, tmp_path / "copy.wav")
    assert "copy.wav are the same bytes and on both sides" in refused(capsys, files / "a", tmp_path / "copy.wav", *tail)
    shutil.copytree(files / "a", tmp_path / "twice")
    shutil.copyfile(good, tmp_path / "twice" / "again.wav")
    assert "the same bytes and both in A" in refused(capsys, tmp_path / "twice", files / "b", *tail)


def test_a_dev_that_cannot_calibrate_gets_one_line(run, files, capsys, monkeypatch):
    words = (files / "a" / "0.wav", files / "b" / "0.wav", "--run", run.folder, FEW)
    assert "script 10 compares clean utterances" in refused(capsys, *words, "evaluation.variants=[noise]")
    verifier = Verifier.of(run)
    one = verifier.dev.sources == verifier.dev.sources[0]
    of_one_source = Embedded(verifier.dev.utt_ids[one], verifier.dev.sources[one], verifier.dev.embeddings[one])
    monkeypatch.setattr(Verifier, "of", lambda _: replace(verifier, dev=of_one_source, _fitted={}))
    assert "dev needs two sources" in refused(capsys, *words)


def test_a_recording_is_never_overwritten(run, files, tmp_path, capsys):
    shutil.copytree(files / "a", tmp_path / "a")
    evidence = tmp_path / "a" / "0.wav"
    before = evidence.read_bytes()
    assert run_script(tmp_path / "a", files / "b", "--run", run.folder, FEW, "--json", tmp_path / "b" / ".." / "a" / "0.wav") == 2
    assert "is one of the files that are read" in capsys.readouterr().err
    assert evidence.read_bytes() == before


def test_sides_can_be_exchanged(run, files, tmp_path, capsys):
    one, _ = compared(tmp_path, capsys, files / "a", files / "b", "--run", run.folder, FEW)
    other, _ = compared(tmp_path, capsys, files / "b", files / "a", "--run", run.folder, FEW)
    assert [one["score"], one["llr"], *one["llr_bounds"]] == pytest.approx([other["score"], other["llr"], *other["llr_bounds"]])
