"""The page of a case: complete, self-contained, the figures of the JSON, names as they are, and what cannot be known said so."""

from __future__ import annotations

import hashlib
import json
import re
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.stats import beta

from sourcetracing.casework.case_report import Case, case_writer, write_case
from sourcetracing.casework.reliability import Share, clean_eval, decision_shares, shares
from sourcetracing.errors import UserError
from sourcetracing.runtime.cli import run_tool
from sourcetracing.scoring.scores import read_embeddings, read_scores
from sourcetracing.tracing.enrolled import EnrolledAnswer
from sourcetracing.tracing.output import Failure
from sourcetracing.tracing.tracer import Tracer
from sourcetracing.training.runs import TrainingRun
from tests.support.audio_files import RATE, write_wav
from tests.support.places import ROOT
from tests.support.traced_runs import trained_run
from tests.support.web_pages import Page, browser_width, needs_chromium

FEW = "verification.trials_per_condition=40"
ODD = "<b>bold & 'brash'.wav"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    return trained_run(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def tracer(run: TrainingRun) -> Tracer:
    return Tracer.load(run.folder, [FEW])


@pytest.fixture(scope="module")
def case(run: TrainingRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the script made a page and a JSON of four files, one of them broken and one of the corpus."""
    folder = tmp_path_factory.mktemp("case")
    write_wav(folder / ODD, 1.2, 1)
    samples = write_wav(folder / "stereo.wav", 1.0, 2)
    soundfile.write(folder / "coded.ogg", samples, RATE, format="OGG", subtype="VORBIS")
    (folder / "broken.wav").write_bytes(b"RIFF and nothing")
    shutil.copyfile(next(Path(run.settings.paths.corpus).rglob("9.wav")), folder / "known.wav")
    files = [str(folder / name) for name in (ODD, "coded.ogg", "broken.wav", "known.wav")]
    assert (
        trace(*files, "--run", run.folder, "--report", folder / "report.html", "--json", folder / "all.json", "--language", "en", FEW) == 2
    )
    return folder


def trace(*words: str | Path) -> int:
    """The exit status of trace_audio.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        main = runpy.run_path(str(ROOT / "scripts" / "trace_audio.py"))
    with pytest.raises(SystemExit) as ended:
        run_tool(main["main"], doc=main["__doc__"], uses=["trace"], things="FILE", flags=main["FLAGS"], argv=list(map(str, words)))
    return ended.value.code


def index_of(page: Path) -> list[list[str]]:
    """The cells of the index, row by row."""
    rows = re.search(r'class="plain index".*?<tbody>(.*?)</tbody>', page.read_text(), re.DOTALL)[1].split("</tr>")[:-1]
    return [["".join(Page(cell).texts).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)] for row in rows]


def text_of(page: Path) -> str:
    return " ".join(" ".join(Page(page.read_text()).texts).split())


def test_the_page_loads_nothing_and_is_balanced(case):
    content = (case / "report.html").read_text()
    page = Page(content)
    assert page.open_tags == [] and all(load.startswith(("data:", "#")) for load in page.loads)
    assert not re.search(r"<script[^>]+src|<link[^>]+stylesheet|@import|url\((?!data:)", content)
    assert len([load for load in page.loads if load.startswith("data:image/png")]) == 3
    assert {"#file1", "#file2", "#file3", "#file4"} <= set(page.loads)
    assert all(f'id="file{number}"' in content for number in (1, 2, 3, 4))


def test_names_are_text_and_digests_are_of_the_files(case):
    content, shown = (case / "report.html").read_text(), text_of(case / "report.html")
    assert "b" not in Page(content).tags and ODD in shown
    for path in case.glob("*.wav"):
        if path.name != "stereo.wav":
            assert hashlib.sha256(path.read_bytes()).hexdigest() in shown
    assert "OGG VORBIS, lossy" in shown and "16,000 Hz" in shown


def test_figures_are_those_of_the_json(case):
    content = (case / "report.html").read_text()
    found = json.loads((case / "all.json").read_text())
    traced = [entry for entry in found["files"] if entry["status"] == "traced"]
    assert len(traced) == 3
    for entry, row in zip(found["files"], index_of(case / "report.html"), strict=True):
        assert row[0] == Path(entry["path"]).name
        if entry["status"] == "failed":
            assert row[1] == f"not traced: {entry['reason']}"
            continue
        best = entry["top"][0]
        assert (row[1], float(row[2]), row[4]) == (best["source"], pytest.approx(best["probability"], abs=5.1e-4), entry["decision"])
        assert f"{entry['unknown_score']:.4g}" in content
        # Of two sources the odds of one against the other, before 1 : 1; cut at the bounds.
        p = entry["probabilities"][best["source"]]
        low, high = (float(bound) for bound in re.search(r"Bounds: log10 LR from (\S+) to (\S+),", content).groups())
        ratio = np.log10(p / (1 - p))
        assert float(row[3].lstrip("≥≤ ")) == pytest.approx(np.clip(ratio, low, high), abs=0.0101)
        if not low - 0.01 < ratio < high + 0.01:
            assert row[3].startswith("≥" if ratio > 0 else "≤")
    assert found["system"]["weights"] in content


def test_what_makes_an_answer_doubtful_is_on_the_page(case, tracer):
    shown = text_of(case / "report.html")
    assert "lossy codec" in shown.lower()
    assert "byte by byte the utterance en/source1/9" in shown
    assert "1 of 4 files could not be traced" in shown
    assert "It does not tell fake from genuine speech" in shown
    assert "ENFSI guideline for evaluative reporting" in shown
    assert "the file's language, English" in shown
    assert "nobody has validated it" in shown
    utterances = read_scores(tracer.system.run, "dev")["utt_id"].nunique()
    assert f"±log10({utterances})" in shown


def test_nearest_training_utterances_by_hand(tracer, case):
    shown = Case.of(tracer, None)
    neighbours = shown.neighbours
    trace = tracer(case / ODD)
    train = neighbours.train.embeddings if neighbours.verifier.scoring == "cosine" else None
    units = neighbours.units
    if train is not None:
        units = train / np.linalg.norm(train, axis=1, keepdims=True)
    direction = neighbours.verifier.space.unit(trace.embedding[None])[0]
    expected = sorted((units @ direction).tolist(), reverse=True)[:5]
    found = neighbours.nearest(trace.embedding)
    assert [one.cosine for one in found] == pytest.approx(expected, abs=1e-5)
    assert {one.source for one in found} <= {"source0", "source1"} and len({one.utt_id for one in found}) == 5
    assert all(one.utt_id in text_of(case / "report.html") for one in found)


def test_shares_and_their_intervals_by_hand(run):
    scores = clean_eval(run)
    right = scores["prediction"] == scores["label"]
    found = {share.what: share for share in shares(run, scores, "source1", "en")}
    assert (found["the file's language, English"].right, found["the file's language, English"].total) == (right.sum(), len(scores))
    named = found.get("utterances that it calls source1")
    if (scores["prediction"] == 1).any():
        assert (named.right, named.total) == (right[scores["prediction"] == 1].sum(), (scores["prediction"] == 1).sum())
    share = Share.of("x", 7, 10)
    assert (share.low, share.high) == pytest.approx((beta.ppf(0.025, 7, 4), beta.ppf(0.975, 8, 3)))


def test_a_language_that_was_not_tested_and_one_that_was_not_given(tracer, case, tmp_path):
    result = tracer(case / ODD)
    write_case(tmp_path / "a.html", tracer, [result], language="ru")
    assert "On its language (ru) the system was not tested." in text_of(tmp_path / "a.html")
    write_case(tmp_path / "b.html", tracer, [result])
    assert "language was not given" in text_of(tmp_path / "b.html")


def test_enrolled_sources_stand_there_where_there_are_some(tracer, case, tmp_path):
    result = tracer(case / ODD)
    assert "Nearest enrolled" not in text_of(case / "report.html")
    answer = EnrolledAnswer("enrolled", "<i>acme", "<i>acme", 3, 0.5, 0.4, float(np.log(100)))
    write_case(tmp_path / "a.html", tracer, [result], enrolled={result.path: answer})
    content = (tmp_path / "a.html").read_text()
    assert "Nearest enrolled source" in content and "&lt;i&gt;acme" in content and "+2.00" in content
    assert content.count("enrolled: &lt;i&gt;acme") == 1  # in the index
    assert "Enrolled source &lt;i&gt;acme" in content


def test_files_of_one_name_in_two_folders_stay_apart(tracer, case, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shutil.copy(case / ODD, tmp_path / name / "a.wav")
    write_case(tmp_path / "a.html", tracer, [tracer(tmp_path / name / "a.wav") for name in ("one", "two")])
    content = (tmp_path / "a.html").read_text()
    assert ">one/a.wav</a>" in content and ">two/a.wav</a>" in content


def test_a_run_without_scores_still_gets_a_page_that_says_so(tracer, case, tmp_path, monkeypatch):
    def missing(*_, **__):
        raise UserError("dev.parquet is missing")

    for module in ("closed_set", "reliability"):
        monkeypatch.setattr(f"sourcetracing.casework.{module}.read_scores", missing)
    monkeypatch.setattr("sourcetracing.casework.neighbours.score_splits", missing)
    write_case(tmp_path / "a.html", tracer, [tracer(case / ODD), Failure(str(tmp_path / "gone.wav"), "is missing")])
    shown = text_of(tmp_path / "a.html")
    assert "There is no likelihood ratio: dev.parquet is missing." in shown
    assert "Not compared: dev.parquet is missing." in shown
    assert "how often it is right is not known here" in shown


def test_answers_of_before_are_traced_anew_for_a_page(case, run, tmp_path):
    words = (str(case / ODD), "--run", run.folder, "--json", tmp_path / "all.json", FEW)
    assert trace(*words) == 0
    assert trace(*words, "--report", tmp_path / "report.html") == 0
    assert "probability" in text_of(tmp_path / "report.html")


def test_the_same_case_gives_the_same_page(tracer, case, tmp_path):
    for name in ("a.html", "b.html"):
        write_case(tmp_path / name, tracer, [tracer(case / ODD)])
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


@pytest.mark.parametrize("name", [".", "case.pdf", "case"])
def test_a_page_that_cannot_be_one_is_refused_at_once(name, tmp_path):
    with pytest.raises(UserError, match=r"ends in \.html"):
        case_writer(str(tmp_path / name))


def test_a_language_without_a_page_is_refused():
    assert case_writer(None) is None
    with pytest.raises(UserError, match=r"add --report FILE\.html"):
        case_writer(None, "en")


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize("width", [380, 1400])
def test_the_page_is_no_wider_than_a_window(case, width):
    found, console = browser_width(case, width)
    assert found <= width and console == ""


def test_how_often_the_rule_is_right_by_hand(run, tracer):
    scores, embeddings = read_scores(run, "eval", unknown=True), read_embeddings(run, "eval")
    clean = (scores["variant"] == "original").to_numpy()
    logits = scores[[name for name in scores if name.startswith("logit_")]].to_numpy()
    above = tracer.rule.score(embeddings[clean], logits[clean]) > tracer.rule.threshold
    strangers = scores["source"][clean].eq("stranger").to_numpy()
    found = {share.what: (share.right, share.total) for share in decision_shares(tracer)}
    assert found == {
        "of unknown sources: called unknown": ((above & strangers).sum(), strangers.sum()),
        "of known sources: called known": ((~above & ~strangers).sum(), (~strangers).sum()),
    }
    assert decision_shares(Tracer(tracer.system, tracer.calibration, None)) == []


def test_an_enrolled_answer_is_said_in_words_with_its_bounds(tracer, case, tmp_path):
    result, bounds = tracer(case / ODD), (-2.0, float(np.log(100)))
    answer = EnrolledAnswer("enrolled", "acme", "acme", 3, 0.5, 0.4, bounds[1], bounds, 180, "acme")
    write_case(tmp_path / "a.html", tracer, [result], enrolled={result.path: answer})
    shown = text_of(tmp_path / "a.html")
    assert "≥ +2.00" in shown
    assert "at least about 100 times more probable if acme made it than if another source, one like those of dev, made it" in shown
    assert "Beware: these very bytes are enrolled in acme" in shown
    assert "180 calibration utterances" in shown
