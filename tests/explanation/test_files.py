"""Files explained: drops recomputed from the system's own logits, awkward files, what is printed, written and put on the page."""

from __future__ import annotations

import json
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.special import log_softmax, logsumexp

from sourcetracing.audio.streaming import Windows, open_audio
from sourcetracing.errors import UserError
from sourcetracing.explanation.bands import third_octaves
from sourcetracing.explanation.explainer import Explainer
from sourcetracing.explanation.files import Explanation, drawn, explain_file, windows_apart
from sourcetracing.explanation.occlusion import Bands, Stretches
from sourcetracing.explanation.pictures import draw_explanation
from sourcetracing.explanation.telling import LIMITS, line_of, remarks_of, table_of
from sourcetracing.runtime.cli import run_tool
from sourcetracing.runtime.seeding import rng
from sourcetracing.tracing.tracer import Tracer
from tests.support.audio_files import RATE, write_wav
from tests.support.places import ROOT
from tests.support.traced_runs import trained_run


@pytest.fixture(scope="module")
def tracer(tmp_path_factory) -> Tracer:
    return Tracer.load(trained_run(tmp_path_factory.mktemp("trained")).folder, [])


def explained(tracer: Tracer, path: Path, seconds: float, rate: int = RATE) -> Explanation:
    write_wav(path, seconds, 3, rate=rate)
    return explain_file(tracer, tracer(path))


def llr_by_hand(tracer: Tracer, window: np.ndarray, number: int) -> float:
    _, logits = tracer.system(window[None].astype(np.float32))
    log_p = log_softmax(logits[0].astype(np.float64) / tracer.calibration.temperature)
    others = np.delete(log_p, number)
    return float(log_p[number] - logsumexp(others) + np.log(len(others)))


def test_drops_are_those_of_the_systems_own_logits(tracer, tmp_path):
    found = explained(tracer, tmp_path / "a.wav", 0.5)
    number = tracer.system.classes.index(found.source)
    with open_audio(tmp_path / "a.wav", tracer.audio) as (_, blocks):
        _, window = next(iter(Windows(blocks, tracer.system.window_samples, 100)))
    drops, whole = found.windows[0].drops, llr_by_hand(tracer, window, number)
    assert drops.llr == found.llr == pytest.approx(whole, abs=1e-4)
    seed, bands = tracer.system.settings.seed, third_octaves(50, RATE)
    cut = Bands(window, bands, RATE, rng(seed, "explain", "a.wav 0.0000", "bands"))
    stretches = Stretches(window, len(window), 0.5, RATE, rng(seed, "explain", "a.wav 0.0000", "stretches"))
    for row, filling in enumerate(("removed", "noise")):
        for place in (3, 10, 22):
            by_hand = whole - llr_by_hand(tracer, cut.without([place], [filling]), number)
            assert drops.band_drops[row, place] == pytest.approx(by_hand, abs=1e-3)
        for place in range(len(stretches.starts)):
            by_hand = whole - llr_by_hand(tracer, stretches.without(place, filling), number)
            assert drops.stretch_drops[row, place] == pytest.approx(by_hand, abs=1e-3)


def test_means_over_windows_and_the_table_are_those_of_the_drops(tracer, tmp_path):
    found = explained(tracer, tmp_path / "long.wav", 4.0)
    assert len(found.windows) == 3 and found.num_windows == 15  # half a second, half over the one before
    stacked = np.stack([window.drops.band_drops for window in found.windows])
    np.testing.assert_allclose(found.band_drops, stacked.mean(axis=0))
    assert found.llr == pytest.approx(np.mean([window.drops.llr for window in found.windows]))
    table = table_of(found)
    bands = table[table["kind"] == "band"]
    np.testing.assert_allclose(bands[["drop_removed", "drop_noise"]].to_numpy().T, stacked.mean(axis=0))
    np.testing.assert_allclose(bands["importance"], bands[["drop_removed", "drop_noise"]].max(axis=1))
    times = table[table["kind"] == "time"]
    assert len(times) == sum(len(window.drops.stretch_starts_s) for window in found.windows)
    assert (times["start_s"] >= times["window_start_s"]).all() and (times["stop_s"] <= times["window_start_s"] + 0.5 + 1e-9).all()
    again = explain_file(tracer, tracer(tmp_path / "long.wav"))
    np.testing.assert_array_equal(again.band_drops, found.band_drops)


def test_windows_of_a_draw_do_not_overlap_and_the_draw_is_seeded():
    starts = np.arange(0, 100, 0.25)
    apart = windows_apart(starts, 0.5)
    assert (np.diff(starts[apart]) >= 0.5).all() and len(apart) == 200
    one, again, other = (drawn(apart, 5, seed, "x.wav") for seed in (1, 1, 2))
    assert one.tolist() == again.tolist() != other.tolist() and sorted(set(one)) == one.tolist()
    assert drawn(apart[:3], 5, 1, "x.wav").tolist() == apart[:3].tolist()


def test_a_file_at_8_khz_has_absent_bands_which_are_not_unimportant(tracer, tmp_path):
    found = explained(tracer, tmp_path / "telephone.wav", 0.6, rate=8000)
    assert [band.low > 4000 for band in found.bands] == found.absent.tolist()
    assert np.isnan(found.band_drops[:, found.absent]).all() and np.isfinite(found.band_drops[:, ~found.absent]).all()
    table = table_of(found).query("absent")
    assert len(table) == 3 and table["importance"].isna().all()
    assert any("absent, so not tested: 3 bands from 4,467 Hz" in remark for remark in remarks_of(found))
    draw_explanation(found, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("seconds", [0.11, 0.3])
def test_a_file_shorter_than_a_window_is_explained_for_as_long_as_it_is(tracer, tmp_path, seconds):
    found = explained(tracer, tmp_path / "short.wav", seconds)
    drops = found.windows[0].drops
    assert drops.heard_s == pytest.approx(seconds) and drops.stretch_s == pytest.approx(seconds / 4, abs=1e-3)
    assert drops.stretch_starts_s[-1] + drops.stretch_s == pytest.approx(seconds)
    assert len(found.windows) == found.num_windows == 1
    draw_explanation(found, tmp_path / "a.png")


def test_an_unknown_answer_says_whose_likeness_is_explained(tracer, tmp_path):
    write_wav(tmp_path / "a.wav", 0.5, 3)
    result = tracer(tmp_path / "a.wav")
    for is_unknown in (True, False, None):
        found = explain_file(tracer, replace(result, is_unknown=is_unknown))
        assert ("likeness to" in line_of(found)) == bool(is_unknown)
        assert any("called unknown" in remark for remark in remarks_of(found)) == bool(is_unknown)


def test_the_line_names_the_band_and_both_fillings(tracer, tmp_path):
    found = explained(tracer, tmp_path / "a.wav", 0.5)
    drops = np.full((2, len(found.bands)), 0.1)
    drops[:, 18], drops[:, 12], drops[:, 5] = [3.14, 0.2], [-0.5, 1.6], [-0.9, -2.0]
    made = replace(found, windows=[replace(found.windows[0], drops=replace(found.windows[0].drops, llr=5.0, band_drops=drops))])
    first, *more = line_of(made).splitlines()
    assert first == (
        "  the answer (LLR 5.0) rests most on 2,800–3,500 Hz: left empty the LLR falls by 3.1, filled with noise it falls by 0.2; "
        "then on 710–890 Hz (-1.6); least on 140–180 Hz (+0.9)"
    ).replace("answer", "likeness to " + found.source if found.is_unknown else "answer")
    assert any("disagree at 140–180 Hz, 710–890 Hz, 2,800–3,500 Hz" in line for line in more)
    flat = replace(found, windows=[replace(found.windows[0], drops=replace(found.windows[0].drops, band_drops=drops / 20))])
    assert "rests on no single band" in line_of(flat)


def test_a_file_with_nothing_in_any_band_is_said(tracer, tmp_path):
    found = explained(tracer, tmp_path / "a.wav", 0.5)
    nothing = replace(found.windows[0].drops, absent=np.ones(len(found.bands), bool), band_drops=np.full((2, len(found.bands)), np.nan))
    empty = replace(found, windows=[replace(found.windows[0], drops=nothing)])
    assert "no band in which the file has any sound" in line_of(empty)
    draw_explanation(empty, tmp_path / "b.png")


def test_a_hum_below_all_bands_is_explained_without_an_error(tracer, tmp_path):
    soundfile.write(tmp_path / "low.wav", 0.5 * np.sin(2 * np.pi * 4 * np.arange(8000) / RATE), RATE, subtype="FLOAT")
    draw_explanation(explain_file(tracer, tracer(tmp_path / "low.wav")), tmp_path / "a.png")


def test_a_system_of_one_source_is_not_explained(tracer, tmp_path, monkeypatch):
    write_wav(tmp_path / "a.wav", 0.5, 3)
    result = tracer(tmp_path / "a.wav")
    monkeypatch.setattr(tracer.system, "classes", ["alone"])
    assert "not explained: of a single source" in Explainer(tmp_path / "why")(tracer, result)


def test_the_folder_must_not_be_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="this is a file; name a folder"):
        Explainer(tmp_path / "file")


def test_files_of_one_name_keep_their_explanations_from_call_to_call(tracer, tmp_path):
    for folder in ("b", "a", "b"):
        (tmp_path / folder).mkdir(exist_ok=True)
        write_wav(tmp_path / folder / "x.wav", 1.0, 3)
        Explainer(tmp_path / "why")(tracer, tracer(tmp_path / folder / "x.wav"))
    found = {json.loads(path.read_text(encoding="utf-8"))["path"] for path in (tmp_path / "why").glob("*.json")}
    assert found == {str(tmp_path / folder / "x.wav") for folder in "ab"}
    assert len(list((tmp_path / "why").glob("*.png"))) == 2


def run_script(*words: str | Path) -> int:
    main = runpy.run_path(str(ROOT / "scripts" / "trace_audio.py"))
    with pytest.raises(SystemExit) as ended:
        run_tool(main["main"], doc=main["__doc__"], uses=main["USES"], things="FILE", flags=main["FLAGS"], argv=list(map(str, words)))
    return ended.value.code


def test_the_door_writes_pictures_tables_and_the_page(tracer, tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    for name in ("one/same.wav", "other/same.wav"):
        write_wav(tmp_path / name, 0.7, len(name))
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    words = [tmp_path, "--run", tracer.system.run.folder, "--explain", tmp_path / "why", "--report", tmp_path / "case.html", "--json"]
    assert run_script(*words, tmp_path / "all.json") == 2  # for the silent one
    shown = capsys.readouterr().out
    assert shown.count("(LLR ") == 2 and "silent.wav: NOT TRACED" in shown
    names = sorted(path.name for path in (tmp_path / "why").iterdir())
    assert len(names) == 6 and {"same.wav.csv", "same.wav.json", "same.wav.png"} < set(names)
    content = json.loads((tmp_path / "why" / "same.wav.json").read_text(encoding="utf-8"))
    table = pd.read_csv(tmp_path / "why" / "same.wav.csv")
    assert content["weights"] == tracer.system.weights and len(content["drops"]) == len(table)
    assert content["limits"] == list(LIMITS)
    page = (tmp_path / "case.html").read_text(encoding="utf-8")
    assert page.count("What the answer rests on") == 2
    assert "unlike anything that the system was trained on" in page and page.count("What the picture does not say") == 2
