"""Enrolling from audio and tracing with a library: what is named, what stays as it was, one line for what is wrong."""

from __future__ import annotations

import json
import math
import re
import runpy
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sourcetracing.enrolment.acceptance import acceptance_threshold, dev_scores
from sourcetracing.enrolment.library import Library
from sourcetracing.errors import UserError
from sourcetracing.runtime.cli import run_tool
from sourcetracing.tracing.enrolled import EnrolledSources, system_of
from sourcetracing.tracing.enrolling import enrol
from sourcetracing.tracing.job import Outputs, trace_files
from sourcetracing.tracing.tracer import Tracer
from sourcetracing.training.runs import TrainingRun
from sourcetracing.verification.calibrating import LlrLine
from sourcetracing.verification.verifier import DevTrials, Verifier
from tests.support.audio_files import RATE, write_wav
from tests.support.enrolled import OTHER_SYSTEM, content_of, library_of
from tests.support.places import ROOT
from tests.support.traced_runs import trained_run

FAST = ("verification.trials_per_condition=40", "trace.compare_by=cosine")  # of a small dev more trials are sought long


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    return trained_run(tmp_path_factory.mktemp("trained"), num_utterances=96)  # fewer scores of dev set no threshold


@pytest.fixture(scope="module")
def tracer(run: TrainingRun) -> Tracer:
    return Tracer.load(run.folder, [*FAST])


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of two sources that are easy to tell apart: humming and hissing; and odd ones."""
    root = tmp_path_factory.mktemp("audio")
    for number in range(4):
        time = np.arange(2 * RATE) / RATE
        noise = np.random.default_rng(number).normal(size=len(time))
        (root / "hum").mkdir(exist_ok=True)
        hum = 0.3 * np.sin(2 * np.pi * (100 + 5 * number) * time) + 0.001 * noise
        soundfile.write(root / "hum" / f"{number}.wav", hum, RATE)
        (root / "hiss").mkdir(exist_ok=True)
        soundfile.write(root / "hiss" / f"{number}.wav", 0.05 * np.diff(noise, prepend=0), RATE)
    (root / "void").mkdir()
    write_wav(root / "short.wav", 0.2, 1)
    soundfile.write(root / "nan.wav", np.full(RATE, np.nan, dtype=np.float32), RATE, subtype="FLOAT")
    shutil.copy(root / "hum/0.wav", root / "copy.wav")
    return root


def script(name: str, monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    """The exit status of a script, run in this process."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    main = runpy.run_path(str(ROOT / "scripts" / name))
    with pytest.raises(SystemExit) as ended:
        run_tool(main["main"], doc=main["__doc__"], uses=["trace"], things="FILE", flags=main["FLAGS"], argv=list(map(str, words)))
    return ended.value.code


def enrolled(run: TrainingRun, folder: Path, audio: Path, *names: str) -> Path:
    """A library with the first two files of some sources."""
    for name in names:
        enrol(name, [str(audio / name / "0.wav"), str(audio / name / "1.wav")], str(run.folder), [], folder, None)
    return folder


def traced(run: TrainingRun, folder: Path | None, target: Path, *files: Path, words: tuple[str, ...] = ()) -> tuple[dict, pd.DataFrame]:
    """What JSON and CSV say."""
    outputs = Outputs(target.with_suffix(".json"), target.with_suffix(".csv"))
    trace_files(list(map(str, files)), str(run.folder), [*FAST, *words], outputs, folder)
    return json.loads(outputs.json.read_text()), pd.read_csv(outputs.csv)


def test_embeddings_are_the_tracers_and_the_source_is_found_again(run, tracer, audio, tmp_path, capsys):
    library = Library.open(enrolled(run, tmp_path / "mine", audio, "hum", "hiss"))
    assert "enrolled hum: 2 files, 4.0 s; 1 source in" in capsys.readouterr().out
    source = library.source("hum")
    assert [(Path(file.path).name, file.duration_s, file.windows) for file in source.files] == [("0.wav", 2.0, 7), ("1.wav", 2.0, 7)]
    expected = [tracer(audio / "hum" / name).embedding for name in ("0.wav", "1.wav")]
    np.testing.assert_array_equal(library.rows(source), expected)
    content, table = traced(run, tmp_path / "mine", tmp_path / "o", audio / "hum/2.wav", audio / "hiss/3.wav")
    assert table["enrolled_source"].tolist() == ["hum", "hiss"]
    assert table["enrolled_files"].tolist() == [2, 2]
    assert content["library"]["sources"] == 2
    for entry, (_, row) in zip(content["files"], table.iterrows(), strict=True):
        nearest = entry["enrolled"]
        assert nearest["log10_lr"] == pytest.approx(nearest["llr"] * math.log10(math.e))
        assert row["enrolled_score"] == pytest.approx(nearest["score"])
        is_accepted = nearest["score"] > nearest["threshold"] and nearest["llr"] > 0
        assert entry["final_decision"] == ("enrolled" if is_accepted else entry["decision"])
        wanted = {"enrolled": nearest["source"], "known": entry["top"][0]["source"], "unknown": ""}[entry["final_decision"]]
        assert entry["final_source"] == wanted


def test_the_bar_is_that_of_dev_at_the_level_of_the_setting(run, audio, tmp_path):
    folder, bars = enrolled(run, tmp_path / "mine", audio, "hum", "hiss"), {}
    for share in (0.4, 0.05, 0.0001):
        content, _ = traced(run, folder, tmp_path / str(share), audio / "hum/2.wav", words=(f"enrolment.false_alarms={share}",))
        assert content["library"]["false_alarms_asked"] == share
        bars[share] = content["library"]["thresholds_by_files"]["2"]
        assert len([line for line in content["when_not_to_believe"] if line.startswith("Sources of 2 files: false alarms of")]) == 1
    scores = dev_scores(EnrolledSources.load(folder, Tracer.load(run.folder, [*FAST])).verifier, 2)
    for share, bar in bars.items():
        expected = acceptance_threshold(scores, 2, share)
        assert (bar["threshold"], bar["rests_on"]) == (expected.threshold, expected.regime)
        assert bar["dev_scores"] == np.isfinite(scores[0]).sum()  # of one draw of models
    assert bars[0.4]["threshold"] < bars[0.05]["threshold"] < bars[0.0001]["threshold"]
    assert bars[0.0001]["rests_on"] == "tail"


def test_without_a_library_and_with_an_empty_one_answers_are_what_they_were(run, tracer, audio, tmp_path):
    files = [audio / "hum/2.wav", audio / "hiss/2.wav"]
    plain, table = traced(run, None, tmp_path / "plain", *files)
    assert "library" not in plain and not [name for name in table if name.startswith(("enrolled", "final"))]
    assert set(plain["files"][0]) & {"enrolled", "final_decision", "final_source"} == set()
    Library.create(tmp_path / "void", system_of(tracer))
    empty, with_columns = traced(run, tmp_path / "void", tmp_path / "empty", *files)
    full, _ = traced(run, enrolled(run, tmp_path / "mine", audio, "hum"), tmp_path / "full", *files)
    for other in (empty, full):
        for one, entry in zip(plain["files"], other["files"], strict=True):
            assert {key: entry[key] for key in one} == one
    assert all(entry["enrolled"] is None and entry["final_decision"] == entry["decision"] for entry in empty["files"])
    pd.testing.assert_frame_equal(with_columns[table.columns], table)
    assert with_columns["enrolled_source"].isna().all()
    assert any("is empty: the answers are those without it" in line for line in empty["when_not_to_believe"])


def test_a_new_source_changes_answers_by_competition_alone(run, audio, tmp_path):
    files = [audio / name / f"{number}.wav" for name in ("hum", "hiss") for number in (2, 3)]
    folder = enrolled(run, tmp_path / "mine", audio, "hum")
    before, _ = traced(run, folder, tmp_path / "before", *files)
    embeddings = content_of(folder)
    enrolled(run, folder, audio, "hiss")
    after, _ = traced(run, folder, tmp_path / "after", *files)
    assert {name: content_of(folder)[name] for name in embeddings} == embeddings
    assert after["library"]["thresholds_by_files"]["2"]["threshold"] >= before["library"]["thresholds_by_files"]["2"]["threshold"]
    for old, new in zip(before["files"], after["files"], strict=True):
        assert {key: new[key] for key in ("decision", "probabilities", "windows")} == {
            key: old[key] for key in ("decision", "probabilities", "windows")
        }
        was, now = old["enrolled"], new["enrolled"]
        assert was["source"] == "hum"
        if now["source"] == "hum":
            assert (now["score"], now["llr"]) == (was["score"], was["llr"])  # to the bit
        else:
            assert now["score"] > was["score"]
    assert [entry["enrolled"]["source"] for entry in after["files"]] == ["hum", "hum", "hiss", "hiss"]


class OneScore:
    """A verifier whose line is given."""

    def __init__(self, real: Verifier, line: LlrLine):
        self.real, self._line = real, line
        self.scoring, self.space, self.are_unseen, self.num_sources, self.dev = "cosine", real.space, True, 4, real.dev

    def cllr(self, enrol_size: int, test_size: int) -> float:
        return 0.5

    def line(self, enrol_size: int, test_size: int) -> LlrLine:
        return self._line

    def dev_trials(self, enrol_size: int, test_size: int) -> DevTrials:
        return self.real.dev_trials(enrol_size, test_size)


@pytest.mark.parametrize(
    ("line", "is_named"),
    [(LlrLine(5.0, 0.0, -3, 3, 9, 9), True), (LlrLine(5.0, -9.0, -3, 3, 9, 9), False), (LlrLine(0.0, 0.0, -3, 3, 9, 9), False)],
    ids=["for it", "against it", "says nothing"],
)
def test_an_answer_needs_both_a_score_above_the_bar_and_evidence(run, tracer, audio, tmp_path, line, is_named):
    sources = EnrolledSources.load(enrolled(run, tmp_path / "mine", audio, "hum"), tracer)
    sources.verifier = OneScore(sources.verifier, line)
    if line.slope:
        sources.__dict__["bars"] = {2: acceptance_threshold(np.linspace(-1, 0, 999), 1, 0.01)}
    found = tracer(audio / "hum/0.wav")
    answer = sources(found)
    assert (answer.decision == "enrolled") == is_named
    assert answer.nearest == "hum" and answer.text().startswith("  ENROLLED" if is_named else "  no enrolled source; nearest  hum")
    if not line.slope:
        assert answer.threshold is None and "no threshold" in answer.text()
        assert any("none is named, for on dev cosine is no higher for files of one source" in one for one in sources.limits())
        assert sources.header()["thresholds_by_files"]["2"]["threshold"] is None


def test_wrong_inputs_are_one_line_and_change_nothing(run, audio, tmp_path, capsys, monkeypatch):
    folder, one = enrolled(run, tmp_path / "mine", audio, "hum"), audio / "hiss/0.wav"
    twin = shutil.copy(one, tmp_path / "twin.wav")
    library_of(tmp_path / "other", "bark", system=OTHER_SYSTEM)
    (tmp_path / "text.zip").write_text("dear")
    before = content_of(tmp_path)
    wrong = {
        "new: no files": ["new"],
        "there is no audio in this folder": ["new", audio / "void"],
        "copy.wav is enrolled already, in 'hum' (as": ["new", audio / "copy.wav"],
        "are the same file; name it once": ["new", one, twin],
        "nan.wav: 16000 of its samples are NaN or infinite": ["new", one, audio / "nan.wav"],
        "short.wav: too short to enrol (0.200 s, enrolment.min_seconds=0.5)": ["new", one, audio / "short.wav"],
        "none.wav: is missing": ["new", tmp_path / "none.wav"],
        "the name of the source comes first": [one, one],
        "'source0' is a class that lfcc_ecapa_tdnn": ["source0", one],
        "--list and --remove: one thing at a time": ["hum", "--list", "--remove"],
        "--remove: which source? Name it": ["--remove"],
        "which source? Name it, then": [],
        "one source is renamed at a time": ["--rename", "x"],
        "'nobody' is no source": ["hum", "nobody", "--remove"],
        "is no .zip": ["--import", tmp_path / "none.zip"],
        "--list shows every source; leave out hum": ["hum", "--list"],
        "--list and --notes: one thing at a time": ["--list", "--notes", "x"],
        "'new' is no source": ["new", "--notes", "x"],
        "300 bytes long, at most 100 are possible": ["x" * 300, one],
        "NAME='a:b': a name without ':'": ["a:b", tmp_path / "none.wav"],
        "'../../other/sources/bark' is no source": ["../../other/sources/bark", "--remove"],
        "'/etc' is no source": ["hum", "/etc", "--export", tmp_path / "a.zip"],
        "text.zip is there, and no export of a library": ["--export", tmp_path / "text.zip"],
    }
    complaints = {line: [*words, "--run", run.folder, "--library", folder] for line, words in wrong.items()}
    complaints["belongs to lfcc_aasist"] = ["new", one, "--run", run.folder, "--library", tmp_path / "other"]
    complaints["nowhere does not exist"] = ["--list", "--library", tmp_path / "nowhere"]
    complaints["which library?"] = ["new", one, "--run", run.folder]
    complaints["which system?"] = ["new", one, "--library", folder]
    for line, words in complaints.items():
        assert script("enroll_source.py", monkeypatch, *words) == 2, line
        *_, last = capsys.readouterr().err.strip().splitlines()
        assert last.startswith("error: ") and line in last, (line, last)
    assert content_of(tmp_path) == before
    with pytest.raises(UserError, match="belongs to lfcc_aasist"):
        trace_files([str(one)], str(run.folder), [], Outputs(), tmp_path / "other")
    with pytest.raises(UserError, match="nowhere does not exist. Enrol a source"):
        trace_files([str(one)], str(run.folder), [], Outputs(), tmp_path / "nowhere")


def test_a_library_that_cannot_be_written_is_shown_and_exported(tmp_path, capsys, monkeypatch):
    library_of(tmp_path / "mine", "bark")
    (tmp_path / "mine/.lock").unlink()
    (tmp_path / "mine/.lock").mkdir()  # no lock can be had, whoever asks
    for words, line in ((["--list"], "1 source, embeddings of"), (["--export", tmp_path / "a.zip"], "a.zip: 1 source: bark")):
        assert script("enroll_source.py", monkeypatch, *words, "--library", tmp_path / "mine") == 0
        assert line in capsys.readouterr().out


def test_the_script(run, audio, tmp_path, capsys, monkeypatch):
    folder, archive = tmp_path / "my sources", tmp_path / "all.zip"

    def done(*words: str | Path) -> str:
        capsys.readouterr()
        assert script("enroll_source.py", monkeypatch, *words, "--library", folder) == 0
        return capsys.readouterr().out

    assert re.search(
        r"next: python \S*trace_audio.py FILE.wav --run \S+ --library '.*my sources'", done("hum", audio / "hum", "--run", run.folder)
    )
    assert "enrolled hiss: 1 file, 0.2 s" in done("hiss", audio / "short.wav", "--run", run.folder, "enrolment.min_seconds=0")
    assert "enrolled hiss: 4 files (now 5), 8.0 s; 2 sources" in done("hiss", audio / "hiss", "--run", run.folder, "--notes", "a kettle")
    assert "noted of hiss in" in done("hiss", "--notes", "a gas stove")
    assert re.search(r"hiss +5 files +8\.2 s .* a gas stove", done("--list"))
    done("hiss", "--notes", "a kettle")
    shown = done("--list")
    assert "2 sources, embeddings of lfcc_ecapa_tdnn" in shown and re.search(r"hiss +5 files +8\.2 s .* a kettle", shown)
    assert "2 sources: hiss, hum" in done("--export", archive)
    assert "renamed hum to hum 2" in done("hum", "--rename", "hum 2")
    assert "removed hiss from" in done("hiss", "--remove")
    assert "renamed hum 2 to Hum 2" in done("hum 2", "--rename", "Hum 2")
    shutil.rmtree(folder)
    assert "1 source imported: hum" in done("hum", "--import", archive)
    shutil.rmtree(folder)
    assert "2 sources imported: hiss, hum" in done("--import", archive)
    assert "0 sources imported; there already: hiss, hum" in done("--import", archive)
    assert script("trace_audio.py", monkeypatch, audio / "hum/1.wav", "--run", run.folder, "--library", folder, *FAST) == 0
    assert re.search(r"source;? .*(hum|hiss)  \(score \d\.\d{4}, ", capsys.readouterr().out)
    assert script("enroll_source.py", monkeypatch, "--help") == 0
