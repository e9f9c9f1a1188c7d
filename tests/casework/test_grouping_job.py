"""group_audio.py from files to groups: order and copies do not matter, broken files are named, refusals are one line."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.signal import welch

from sourcetracing.casework.redrawn_lines import redrawn_lines
from sourcetracing.casework.spectra import NUM_BINS, WINDOW, long_term_spectrum, mean_spectrum
from sourcetracing.runtime.cli import run_tool
from sourcetracing.settings.frontends import Audio
from sourcetracing.tracing.system import run_in_folder
from sourcetracing.training.runs import TrainingRun
from sourcetracing.verification.representations import Embedded
from sourcetracing.verification.verifier import Verifier
from tests.support.audio_files import RATE
from tests.support.places import ROOT
from tests.support.traced_runs import random_run, trained_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    return trained_run(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def audio(run, tmp_path) -> Path:
    """Eight files of the run's corpus, in a folder of their own."""
    (tmp_path / "audio").mkdir()
    for path in sorted(Path(run.settings.paths.corpus).rglob("*.wav"))[:8]:
        shutil.copy(path, tmp_path / "audio" / path.name)
    return tmp_path / "audio"


@pytest.fixture
def script(run, capsys, monkeypatch):
    """group_audio.py in this process, with few draws: (exit status, stdout, stderr)."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    main = runpy.run_path(str(ROOT / "scripts" / "group_audio.py"))

    def call(*words: str | Path, folder: Path | None = None) -> tuple[int, str, str]:
        few = ["grouping.draws=20", "trace.compare_by=cosine", "verification.trials_per_condition=60"]
        argv = [*map(str, words), "--run", str(folder or run.folder), *few]
        with pytest.raises(SystemExit) as ended:
            run_tool(main["main"], doc=main["__doc__"], uses=["grouping"], things="FILE", flags=main["FLAGS"], argv=argv)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return ended.value.code, out, err

    return call


def _write(path: Path, waveform: np.ndarray) -> None:
    soundfile.write(path, waveform, RATE)


def complaint(err: str) -> str:
    """The one line of an error."""
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    return lines[0]


def test_order_names_and_copies_do_not_matter(audio, script, tmp_path):
    files = sorted(audio.iterdir())
    assert script(*files, "--csv", tmp_path / "one.csv")[0] == 0
    renamed = [shutil.copy(path, tmp_path / f"{9 - number}.wav") for number, path in enumerate(files)]
    shutil.copy(files[0], tmp_path / "again.wav")
    status, out, _ = script(*reversed(renamed), tmp_path / "again.wav", renamed[3], "--csv", tmp_path / "other.csv")
    assert status == 0
    assert f"{tmp_path / '9.wav'}: the same bytes as {tmp_path / 'again.wav'}; counted once" in out
    one, other = (pd.read_csv(tmp_path / f"{name}.csv").set_index("digest") for name in ("one", "other"))
    assert len(one) == len(other) == 8
    compared = ["group", "size", "stability", "log10_lr_within", "nearest_group", "log10_lr_nearest"]
    pd.testing.assert_frame_equal(one[compared].sort_index(), other[compared].sort_index())
    assert other["copies"].dropna().tolist() == [str(tmp_path / "again.wav")]


def test_a_flac_of_a_wav_is_named_as_a_copy(audio, script, tmp_path):
    first, second = sorted(audio.iterdir())[:2]
    assert "sound like copies" not in script(audio)[1]
    soundfile.write(audio / "zz.flac", *soundfile.read(second, dtype="int16"))
    _, out, _ = script(audio, "--html", tmp_path / "page.html")
    said = [line for line in out.splitlines() if "sound like copies" in line]
    assert len(said) == 1
    assert said[0].startswith("2 files ")
    assert set(said[0].rpartition(": ")[2].split(" = ")) == {str(second), str(audio / "zz.flac")}
    assert str(first) not in said[0]
    assert "sound like copies" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_table_says_what_the_terminal_says(audio, script, tmp_path):
    status, out, _ = script(audio, "--csv", tmp_path / "table.csv")
    table = pd.read_csv(tmp_path / "table.csv")
    sizes = table.groupby("group").size()
    assert status == 0
    assert table["group"].is_monotonic_increasing
    assert (table["size"].to_numpy() == sizes[table["group"]].to_numpy()).all()
    for group, size in sizes.items():
        assert f"group {group}: {size} file" in out
    assert f"{len(sizes)} group" in out
    assert "When not to believe this:" in out
    assert "A stable grouping can be wrong" in out
    assert "confidence" not in out + " ".join(table.columns)


def test_figures_against_the_truth_are_of_the_files_that_it_names(audio, script, tmp_path):
    from sklearn.metrics import adjusted_rand_score

    files = sorted(audio.iterdir())
    sources = {path.name: f"source{number % 2}" for number, path in enumerate(files[:6])}
    (tmp_path / "truth.csv").write_text("path,source\n" + "".join(f"audio/{name},{source}\n" for name, source in sources.items()))
    status, out, _ = script(audio, "--truth", tmp_path / "truth.csv", "--csv", tmp_path / "table.csv")
    table = pd.read_csv(tmp_path / "table.csv")
    known = table[table["source"].notna()]
    assert status == 0
    assert {Path(row.path).name: row.source for row in known.itertuples()} == sources
    expected = adjusted_rand_score(known["source"], known["group"])
    assert f"against the truth of 6 files of 2 sources: purity {_purity(known):.2f}, adjusted Rand index {expected:.2f}" in out


def _purity(table: pd.DataFrame) -> float:
    return sum(own["source"].value_counts().iloc[0] for _, own in table.groupby("group")) / len(table)


def test_hdbscan_leaves_files_without_a_group(audio, script, tmp_path):
    status, out, _ = script(audio, "grouping.method=hdbscan", "grouping.least_files=8", "grouping.prior=0.45", "--csv", tmp_path / "t.csv")
    table = pd.read_csv(tmp_path / "t.csv")
    assert status == 0
    alone = table["status"] == "no group"
    assert table.loc[alone, "group"].isna().all()
    assert alone.sum() in (0, 8)
    assert (f"{alone.sum()} files without a group" in out) == bool(alone.any())


def test_broken_files_are_named_and_the_others_are_grouped(audio, script, tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, RATE)
    soundfile.write(audio / "nan.wav", np.where(np.arange(RATE) == 9, np.nan, noise), RATE, "FLOAT")
    _write(audio / "short.wav", noise[: RATE // 50])
    _write(audio / "silent.wav", np.zeros(RATE))
    (audio / "text.wav").write_text("no audio")
    status, out, err = script(audio, audio / "missing.wav", "--csv", tmp_path / "table.csv", "--html", tmp_path / "page.html")
    assert status == 2
    assert "5 of 13 files could not be used" in complaint(err)
    table = pd.read_csv(tmp_path / "table.csv")
    failed = table[table["status"] == "failed"]
    assert {Path(path).name for path in failed["path"]} == {"nan.wav", "short.wav", "silent.wav", "text.wav", "missing.wav"}
    assert failed["reason"].notna().all()
    assert (table["status"] == "grouped").sum() == 8
    assert f"{audio / 'missing.wav'}: NOT USED: is missing" in out
    assert "5 more files could not be used" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_file_of_a_fifth_of_a_second_is_used_or_refused_in_a_line(audio, script):
    _write(audio / "fifth.wav", np.random.default_rng(0).normal(0, 0.1, RATE // 5))
    status, out, err = script(audio)
    assert status == 0 or "fifth.wav" in complaint(err)
    assert "group 1" in out


REFUSED = {
    "no files": (lambda audio: [], "which files"),
    "one file": (lambda audio: [sorted(audio.iterdir())[0]], "there is one file"),
    "one file twice": (
        lambda audio: [sorted(audio.iterdir())[0], shutil.copy(sorted(audio.iterdir())[0], audio / "z.wav")],
        "the same bytes",
    ),
    "nothing there": (lambda audio: [audio / "a.wav", audio / "b.wav"], "none of these can be read"),
    "all silent": (lambda audio: [_silent(audio / "1.wav", 900), _silent(audio / "2.wav", 9000)], "0 of 2 files could be used"),
    "too many": (lambda audio: [audio, "grouping.most_files=4"], "8 files are more than grouping.most_files=4"),
    "a prior out of reach": (lambda audio: [audio, "grouping.prior=0.000001"], "each would be alone. Take a prior between"),
    "a list that is none": (lambda audio: [audio, "--truth", audio / "none.csv"], "CSV with the columns path,source"),
    "no such method": (lambda audio: [audio, "grouping.method=kmeans"], "grouping.method"),
    "no run": (lambda audio: [audio, "--run", audio], "is no run folder"),
}


def _silent(path: Path, num_samples: int) -> Path:
    _write(path, np.zeros(RATE + num_samples))
    return path


@pytest.mark.parametrize(("words", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_grouped_is_refused_in_one_line(audio, script, run, words, message):
    said = words(audio)
    folder = said.pop() if "--run" in said else None
    status, _, err = script(*(word for word in said if word != "--run"), folder=folder)
    assert status == 2
    assert message in complaint(err)


def test_a_run_without_scores_is_refused(audio, script, tmp_path):
    status, _, err = script(audio, folder=random_run(tmp_path / "run"))
    assert status == 2
    complaint(err)


def test_a_run_that_says_nothing_is_refused(audio, script, monkeypatch):
    """Its dev is more alike between sources than within."""
    random = np.random.default_rng(0)
    rows = np.tile(random.normal(size=(6, 8)), (3, 1))
    dev = Embedded(np.array([f"u{n}" for n in range(18)]), np.repeat(list("xyz"), 6), rows.astype(np.float32))
    verifier = Verifier.fitted(dev, dev, ["a"], compare_by="cosine", num_trials=200, seed=1)
    monkeypatch.setattr(Verifier, "of", lambda run: verifier)
    status, _, err = script(audio)
    assert status == 2
    assert "say nothing: on its dev" in complaint(err)


def test_a_dev_that_cannot_calibrate_is_refused(audio, script, monkeypatch):
    dev = Embedded(np.array(["u", "v"]), np.array(["x", "x"]), np.eye(2, dtype=np.float32))
    verifier = Verifier.fitted(dev, dev, ["a"], compare_by="cosine", num_trials=200, seed=1)
    monkeypatch.setattr(Verifier, "of", lambda run: verifier)
    status, _, err = script(audio)
    assert status == 2
    assert "dev needs two sources" in complaint(err)


# --- lines of other draws of dev


def verifier_of(num_sources: int) -> Verifier:
    random = np.random.default_rng(2)
    sources = np.repeat([f"s{n}" for n in range(num_sources)], 8)
    rows = np.repeat(random.normal(size=(num_sources, 6)), 8, axis=0) + 0.7 * random.normal(size=(8 * num_sources, 6))
    dev = Embedded(np.array([f"u{n}" for n in range(len(rows))]), sources, rows.astype(np.float32))
    return Verifier.fitted(dev, dev, ["a"], compare_by="cosine", num_trials=150, seed=4)


def test_redrawn_lines_lie_around_the_line_and_are_the_same_again():
    verifier = verifier_of(8)
    line, drawn = verifier.line(1, 1), list(redrawn_lines(verifier, 40))
    slopes = [each.slope for each in drawn]
    assert min(slopes) < line.slope < max(slopes)
    assert drawn == list(redrawn_lines(verifier, 40))
    assert all(max(-each.low, each.high) <= np.log(64) for each in drawn)


def test_a_dev_of_two_sources_has_one_draw():
    verifier = verifier_of(2)
    lines = {(round(each.slope, 9), round(each.offset, 9)) for each in redrawn_lines(verifier, 10)}
    assert len(lines) == 1
    assert next(iter(lines)) == pytest.approx((verifier.line(1, 1).slope, verifier.line(1, 1).offset))


# --- spectra


def test_the_spectrum_is_the_share_of_power(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * RATE) + 0.2 * np.sin(2 * np.pi * 2000 * np.arange(2 * RATE) / RATE)
    soundfile.write(tmp_path / "tone.wav", noise, RATE, "FLOAT")
    found = long_term_spectrum(tmp_path / "tone.wav", Audio())
    power = welch(noise.astype(np.float32), nperseg=WINDOW, detrend=False)[1]
    np.testing.assert_allclose(found, 10 * np.log10(power / power.sum()), atol=0.2)
    assert found.argmax() == round(2000 / RATE * WINDOW)
    _write(tmp_path / "short.wav", np.full(100, 0.1))
    assert np.isnan(long_term_spectrum(tmp_path / "short.wav", Audio())).all()


def test_unknown_spectra_are_in_no_mean():
    assert (mean_spectrum([np.full(NUM_BINS, np.nan), np.ones(NUM_BINS), np.full(NUM_BINS, 3.0)]) == 2).all()
    assert np.isnan(mean_spectrum([])).all()


def test_the_settings_of_a_run_hold_those_of_grouping(run):
    assert run_in_folder(run.folder, ["grouping.prior=0.3"]).settings.grouping.prior == 0.3


def test_recordings_and_lists_are_never_overwritten(script, audio, tmp_path):
    one, truth = sorted(audio.iterdir())[0], tmp_path / "truth.csv"
    truth.write_text(f"path,source\n{one},a\n")
    before = one.read_bytes()
    for words in (["--csv", one], ["--html", one], ["--truth", truth, "--csv", truth]):
        status, _, err = script(audio, *words)
        assert status == 2 and "is one of the files that are read" in complaint(err)
    status, _, err = script(audio, "--csv", tmp_path / "o", "--html", tmp_path / "o")
    assert status == 2 and "would be written twice" in complaint(err)
    assert one.read_bytes() == before and truth.read_text().startswith("path,source")
