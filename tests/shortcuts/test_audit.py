"""The shortcut audit: cues of a corpus, baselines that find a planted cue and nothing else, script 09."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from sklearn.metrics import f1_score

from sourcetracing.errors import UserError
from sourcetracing.features import blocks as extraction
from sourcetracing.features.extracting import extract_features
from sourcetracing.features.rows import open_store
from sourcetracing.layout import Layout
from sourcetracing.protocols.building import build_protocols
from sourcetracing.protocols.table import load_protocol
from sourcetracing.scoring.scores import read_scores, score_run
from sourcetracing.settings.reading import read_config
from sourcetracing.settings.schema import Settings
from sourcetracing.shortcuts import cue_table as cue_table_module
from sourcetracing.shortcuts.audit import (
    Audit,
    audit_shortcuts,
    best_system,
    comparison,
    dev_figures,
    difference,
    means_table,
    on_same_rows,
    summary,
    verdict,
)
from sourcetracing.shortcuts.baselines import SYSTEMS, rows_of_networks, score_cues, shortcut_runs, train_cues
from sourcetracing.shortcuts.cue_table import cue_table
from sourcetracing.shortcuts.cues import ALL_CUES
from sourcetracing.tables.making import CELL_COLUMNS, MEAN_COLUMNS, make_tables, mean_of
from sourcetracing.tables.scored_runs import ScoredRun
from sourcetracing.training.loop import train_run
from sourcetracing.training.runs import TrainingRun, load_runs
from tests.support.audio_files import write_noises, write_responses
from tests.support.fake_scores import fake_runs, fake_settings
from tests.support.places import ROOT

RATE, LANGUAGES, SOURCES = 16000, ("en", "de"), ("clean", "leaky")
VARIANTS = ["original", "noise"]


def write_leaky_corpus(root: Path, per_group: int = 30) -> None:
    """Noise of one kind, two languages, two sources; the files of the second source have an offset of 0.01."""
    generator = np.random.default_rng(1)
    for language in LANGUAGES:
        for source in SOURCES:
            (root / language / source).mkdir(parents=True)
            for number in range(per_group):
                samples = generator.normal(0.01 * (source == "leaky"), 0.05, round(generator.uniform(0.4, 0.8) * RATE))
                soundfile.write(root / language / source / f"{number}.wav", samples, RATE, subtype="PCM_16")


def words(root: Path, name: str) -> list[str]:
    paths = [f"paths.corpus={root}/corpus", f"paths.musan={root}/musan", f"paths.rirs={root}/rirs", f"paths.exp={root}/exp"]
    corpus = ["corpus.reader=folder", "corpus.languages=[en,de]", "corpus.sources=[clean,leaky]", "audio.crop_seconds=0.5"]
    sizes = ["augment.variants=[original,noise]", "evaluation.bootstrap_samples=50", "compute.device=cpu", "compute.workers=2"]
    return [*paths, *corpus, *sizes, "ecapa_tdnn.channels=8", "train.epochs=1", f"name={name}"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shortcuts")
    write_leaky_corpus(root / "corpus")
    write_noises(root / "musan")
    write_responses(root / "rirs")
    return root


def new_experiment(root: Path, name: str, *more: str) -> Settings:
    settings = read_config([*words(root, name), *more]).resolve()
    build_protocols(settings)
    return settings


@pytest.fixture(scope="module")
def settings(root: Path) -> Settings:
    """An experiment with protocol, cues and scores of the baselines."""
    settings = new_experiment(root, "leaky")
    shortcut_runs(settings)
    return settings


def run_script(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "scripts" / "11_audit_shortcuts.py"), "configs/tiny.yaml", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def times_of(settings: Settings) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in Layout.of(settings).shortcuts.iterdir()}


# ------------------------------------------------------------------------------------------------ the table of cues


def test_one_row_for_each_utterance_and_variant(settings):
    table = cue_table(settings)
    assert len(table) == 120 * 2
    assert list(table["variant"][:4]) == VARIANTS * 2
    assert not table.duplicated(["utt_id", "variant"]).any()
    assert not table[list(ALL_CUES)].isna().any(axis=None)


def test_cues_are_those_of_the_signals_that_systems_hear(settings):
    table = cue_table(settings).set_index(["utt_id", "variant"])
    row = table.xs("original", level="variant").iloc[7]
    path = Path(settings.paths.corpus) / f"{row.name}.wav"
    heard = extraction.cropped_utterance(settings, path, row.name, row["split"])
    assert row["crop_rms_dbfs"] == pytest.approx(20 * np.log10(np.sqrt(np.mean(heard**2))), abs=1e-3)
    assert row["file_duration_s"] == soundfile.info(path).duration


def test_variants_share_the_file_and_differ_in_the_crop(settings):
    table = cue_table(settings)
    original, noisy = (table[table["variant"] == variant].set_index("utt_id") for variant in VARIANTS)
    of_file = [name for name in ALL_CUES if name.startswith("file_")]
    pd.testing.assert_frame_equal(original[of_file], noisy[of_file])
    assert (noisy["crop_rms_dbfs"] > original["crop_rms_dbfs"]).all()
    assert set(original["crop_effective_bits"]) == {16}
    assert set(noisy["crop_effective_bits"]) == {24}
    # An offset survives the noise that is added to it.
    for rows in (original, noisy):
        offsets = rows.groupby("source")["crop_dc_offset_fraction"].mean()
        assert offsets["leaky"] - offsets["clean"] == pytest.approx(0.01, abs=0.001)


def test_cues_are_kept_until_settings_change(root, settings):
    before = times_of(settings)
    cue_table(settings)
    assert times_of(settings) == before
    other = new_experiment(root, "changed")
    first = cue_table(other)
    other.audio.crop_seconds = 0.3
    second = cue_table(other)
    assert (second["crop_wrap_padding_s"] == 0).all()
    assert (first["crop_wrap_padding_s"] > 0).any()


def test_a_damaged_table_is_made_again(root):
    settings = new_experiment(root, "damaged")
    expected = cue_table(settings)
    Layout.of(settings).cues.write_bytes(b"no parquet")
    pd.testing.assert_frame_equal(cue_table(settings), expected)


def test_an_interrupted_table_is_absent(root, monkeypatch):
    settings, seen = new_experiment(root, "interrupted"), []

    def stop(*arguments):
        seen.append(arguments)
        if len(seen) > 20:
            raise KeyboardInterrupt
        return real(*arguments)

    real = cue_table_module.crop_cues
    monkeypatch.setattr(cue_table_module, "crop_cues", stop)
    with pytest.raises(KeyboardInterrupt):
        cue_table(settings)
    assert list(Layout.of(settings).shortcuts.glob("*")) == []


# ------------------------------------------------------------------------------------------------ the baselines


def test_there_is_a_run_for_each_group_training_set_and_seed(settings):
    settings.experiment.seeds = [1, 2]
    runs = shortcut_runs(settings)
    settings.experiment.seeds = [688]
    assert [(run.system, run.train_set, run.seed) for run in runs] == [
        (system, train_set, seed) for system in SYSTEMS for train_set in LANGUAGES for seed in (1, 2)
    ]


def test_the_planted_cue_is_found_and_the_others_stay_at_chance(settings):
    tables = make_tables(shortcut_runs(settings), settings)
    of_mono = {system: mean_of(tables, system, "mono").macro_f1 for system in SYSTEMS}
    assert min(of_mono[system] for system in ("cues_noise_floor", "cues_heard", "cues_all")) > 0.95
    assert mean_of(tables, "cues_noise_floor", "cross").macro_f1 > 0.95
    for system in ("cues_duration", "cues_silence", "cues_level", "cues_bandwidth", "cues_tilt"):
        assert 0.25 < of_mono[system] < 0.7, system


@pytest.mark.parametrize(("planted", "low", "high"), [(0.0, 0.42, 0.58), (3.0, 0.95, 1.0)])
def test_chance_without_a_cue_and_all_with_one(planted, low, high):
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, 900)
    rows = pd.DataFrame(generator.normal(size=(900, 20)), columns=[f"cue {number}" for number in range(20)])
    rows["cue 7"] += 2 * planted * labels
    train, dev, scored = (slice(start, start + 300) for start in (0, 300, 600))
    model = train_cues(rows[train], labels[train], rows[dev], labels[dev])
    assert low < np.mean(score_cues(model, rows[scored], 2).argmax(axis=1) == labels[scored]) <= high


def test_a_rare_class_counts_as_much_as_a_frequent_one():
    generator = np.random.default_rng(1)
    labels = np.array([0] * 190 + [1] * 10)
    rows = pd.DataFrame({"cue": generator.normal(labels * 1.5, 1.0)})
    model = train_cues(rows, labels, rows, labels)
    assert np.mean(score_cues(model, rows, 2).argmax(axis=1)[labels == 1]) > 0.5


def test_a_class_that_was_never_seen_is_never_predicted():
    rows, labels = pd.DataFrame({"cue": [0.0, 1.0, 4.0, 5.0]}), np.array([0, 0, 2, 2])
    scores = score_cues(train_cues(rows, labels, rows, labels), pd.DataFrame({"cue": [-100.0, 0.5, 4.5, 100.0]}), 4)
    assert scores.shape == (4, 4)
    assert scores.argmax(axis=1).tolist() == [0, 0, 2, 2]
    assert np.isfinite(scores).all()
    assert (scores[:, [1, 3]] == -100).all()


def test_a_source_that_only_dev_has_is_no_obstacle():
    rows, labels = pd.DataFrame({"cue": [0.0, 1.0, 4.0, 5.0]}), np.array([0, 0, 1, 1])
    model = train_cues(rows, labels, rows, np.array([0, 0, 1, 2]))
    assert score_cues(model, rows, 3).argmax(axis=1).tolist() == [0, 0, 1, 1]


def test_other_tables_of_an_experiment_get_their_training_sets(root):
    settings = new_experiment(root, "families", "experiment.tables=[figure4,table4]")
    runs = shortcut_runs(settings)
    assert list(dict.fromkeys(run.train_set for run in runs)) == ["en+de", "en", "de"]
    config = read_config([*words(root, "families"), "experiment.tables=[figure4,table4]"])
    cells = audit_shortcuts(config).tables.cells
    assert set(zip(cells["train"], cells["test"], strict=True)) == {("en+de", "en+de")}


def test_cues_are_trained_chosen_and_scored_on_the_rows_of_the_networks(root):
    clean = ["evaluation.variants=[original]", "train.dev_variants=[original]"]
    settings = new_experiment(root, "clean", *clean)
    cues = cue_table(settings)
    kept = rows_of_networks(cues, settings)
    assert {split: set(rows["variant"]) for split, rows in kept.groupby("split")} == {
        "train": set(VARIANTS),
        "dev": {"original"},
        "eval": {"original"},
    }
    network = read_config([*words(root, "clean"), *clean])
    run = shortcut_runs(settings)[0]
    assert set(run.scores["variant"]) == {"original"}
    assert len(run.scores) == (cues["split"] == "eval").sum() / 2
    # Another choice of rows is not answered from what is stored.
    everything = shortcut_runs(read_config(words(root, "clean")).resolve())[0]
    assert set(everything.scores["variant"]) == set(VARIANTS)
    assert set(shortcut_runs(network.resolve())[0].scores["variant"]) == {"original"}
    noisy = read_config([*words(root, "clean"), "train.variants=[noise]"]).resolve()
    assert {split: set(rows["variant"]) for split, rows in rows_of_networks(cues, noisy).groupby("split")} == {
        "train": {"noise"},
        "dev": {"noise"},
        "eval": set(VARIANTS),
    }


def test_a_training_set_with_one_source_is_refused(root, tmp_path):
    rows = [(f"en/clean/{number}.wav", "en", "clean", split) for number, split in enumerate(["train"] * 6 + ["dev"] * 2 + ["eval"] * 2)]
    rows += [(f"en/leaky/{number}.wav", "en", "leaky", "eval") for number in range(3)]
    rows += [(f"de/leaky/{number}.wav", "de", "leaky", "train") for number in range(3)]
    pd.DataFrame(rows, columns=["path", "language", "source", "split"]).to_csv(tmp_path / "list.csv", index=False)
    settings = new_experiment(root, "one_source", f"folder.table={tmp_path / 'list.csv'}", "split.assignment=published")
    with pytest.raises(UserError, match="training set en has one source only"):
        shortcut_runs(settings)


# ------------------------------------------------------------------------------------------------ rows of the tables


def test_runs_are_rows_of_the_same_tables(root, settings):
    """A network that really was trained and scored, and the baselines, in one table."""
    config = read_config(words(root, "leaky"))
    utterances, protocol = load_protocol(settings)
    extract_features(settings, utterances, protocol)
    cells = load_runs(config)
    for cell in cells:
        train_run(cell, open_store(cell.settings), torch.device("cpu"))
        score_run(cell, open_store(cell.settings), torch.device("cpu"))
    trained, baseline = read_scores(cells[0], "eval"), shortcut_runs(settings)[0].scores
    assert list(baseline.columns) == list(trained.columns)
    shared = ["utt_id", "variant", "split", "language", "source", "label"]
    pd.testing.assert_frame_equal(baseline[shared], trained[shared], check_dtype=False)

    audit = audit_shortcuts(config)
    assert audit.best_trained == "lfcc_ecapa_tdnn"
    written = pd.read_csv(Layout.of(settings).shortcut_table)
    assert list(written.columns) == CELL_COLUMNS
    assert set(written["system"]) == {*SYSTEMS, "lfcc_ecapa_tdnn"}
    assert len(written) == 9 * 4 * 3  # systems, pairs of languages, two variants and pooled
    assert "Best trained system on dev: lfcc_ecapa_tdnn mono" in summary(audit)


def faked(systems: list[str], tmp_path: Path) -> tuple[Settings, list[ScoredRun]]:
    settings = fake_settings(systems=[*SYSTEMS, *systems])
    return settings, fake_runs(settings, tmp_path)


def with_predictions(run: ScoredRun, wrong: float, seed: int = 1) -> ScoredRun:
    generator, scores = np.random.default_rng(seed), run.scores
    lost = generator.random(len(scores)) < wrong
    return ScoredRun(
        run.system,
        run.train_set,
        run.seed,
        run.folder,
        scores.assign(prediction=np.where(lost, generator.integers(0, 4, len(scores)), scores["label"])),
    )


def test_the_best_system_is_named_by_dev_on_what_all_have():
    keys = pd.MultiIndex.from_tuples([("en", 1), ("de", 1)])
    assert best_system(pd.DataFrame({"poor": [0.5, 0.6], "good": [0.6, 0.6]}, index=keys)) == "good"
    # On en alone, which both have, the first is better; its other run was hard.
    assert best_system(pd.DataFrame({"first": [0.8, 0.2], "second": [0.7, np.nan]}, index=keys)) == "first"
    assert best_system(pd.DataFrame({"one": [0.8, np.nan], "other": [np.nan, 0.9]}, index=keys)) == "other"
    assert best_system(pd.DataFrame({"without": [np.nan, np.nan], "with": [0.1, 0.1]}, index=keys)) == "with"
    assert best_system(pd.DataFrame({"without": [np.nan, np.nan]}, index=keys)) == "without"
    assert best_system(pd.DataFrame()) is None


def test_dev_figures_are_those_of_the_records(tmp_path):
    settings = fake_settings()
    runs = []
    for system, train_set, figure in (("one", "en", 0.75), ("one", "de", 0.5), ("other", "en", None)):
        folder = tmp_path / system / train_set
        folder.mkdir(parents=True)
        record = {"best_epoch": 3, "dev_loss": 0.1, **({"dev_macro_f1": figure} if figure else {})}
        (folder / "model.json").write_text(json.dumps(record))
        runs.append(TrainingRun(system, train_set, 7, settings, folder))
    found = dev_figures(runs)
    assert found.loc[("en", 7), "one"] == 0.75
    assert found.loc[("de", 7), "one"] == 0.5
    assert found["other"].isna().all()
    published = copy.deepcopy(settings)
    published.backend, published.metric_learning.train_on_dev = "embedding_head", True  # its dev figure is one of training rows
    assert dev_figures([replace(runs[0], settings=published)])["one"].isna().all()


def test_runs_keep_the_rows_that_all_have(tmp_path):
    settings, runs = faked([], tmp_path)
    few = replace(runs[1], scores=runs[1].scores.query("variant == 'noise'").iloc[3:])
    kept, num_lost = on_same_rows([runs[0], few])
    assert num_lost == len(runs[0].scores) - len(few.scores)
    columns = ["utt_id", "variant", "label"]
    for run in kept:
        assert run.scores[columns].to_numpy().tolist() == few.scores[columns].to_numpy().tolist()
    assert on_same_rows(runs)[1] == 0


@pytest.mark.parametrize(
    ("wrong", "conclusion"),
    [(0.0, "it tells more than the cues do"), (0.6, "may have learnt no more than cues tell"), (1.0, "it tells less")],
)
def test_the_verdict_compares_with_the_best_system(tmp_path, wrong, conclusion):
    settings, runs = faked(["good"], tmp_path)
    runs = [with_predictions(run, wrong if run.system == "good" else 0.6, seed=len(run.system)) for run in runs]
    tables = make_tables(runs, settings)
    sentence = verdict(tables, "good")[-1]
    assert conclusion in sentence
    assert "of this one training seed" in sentence
    means = means_table(Audit(tables, "good", []))
    assert list(means.columns[-6:]) == [
        "best_trained",
        "best_trained_macro_f1",
        "best_minus_this",
        "best_minus_this_low",
        "best_minus_this_high",
        "as_it_is",
    ]
    assert set(MEAN_COLUMNS) | {"chance"} <= set(means.columns)
    expected = mean_of(tables, "good", "cross", "noise").macro_f1
    noise = means[(means["kind"] == "cross") & (means["variant"] == "noise")]
    assert set(noise["best_trained_macro_f1"]) == {expected}
    cues = noise[noise["system"] != "good"]
    assert cues["best_minus_this"].to_numpy() == pytest.approx(expected - cues["macro_f1"].to_numpy())
    assert noise.loc[noise["system"] == "good", "best_minus_this"].isna().all()
    assert set(means["chance"]) == {0.25}


def scikit_learn_mean(runs: list[ScoredRun], weights: dict[str, np.ndarray] | None = None) -> float:
    """Macro-F1 of mono cells, mean over training sets; weights: by language, of its utterances in the order of the scores."""
    figures = []
    for run in runs:
        own = run.scores[run.scores["language"] == run.train_set]
        weight = None if weights is None else weights[run.train_set]
        figures.append(f1_score(own["label"], own["prediction"], average="macro", sample_weight=weight))
    return float(np.mean(figures))


def test_the_difference_is_paired(tmp_path):
    """Cues and network fail on the same utterances, but for a few that the network gets right: as a pair, the difference is sure."""
    settings, runs = faked(["good"], tmp_path)
    cues = {run.train_set: with_predictions(run, 0.5, seed=3) for run in runs if run.system == "cues_all"}
    mended = {}
    for train_set, run in cues.items():
        wrong = run.scores.index[run.scores["prediction"] != run.scores["label"]]
        prediction = run.scores["prediction"].copy()
        prediction[wrong[::4]] = run.scores.loc[wrong[::4], "label"]
        mended[train_set] = replace(run, system="good", scores=run.scores.assign(prediction=prediction))
    tables = make_tables([*cues.values(), *mended.values()], settings)
    found = difference(tables, "good", "cues_all", "mono")
    pair = [list(mended.values()), list(cues.values())]
    assert found.difference == pytest.approx(scikit_learn_mean(pair[0]) - scikit_learn_mean(pair[1]))
    generator, samples, sides = np.random.default_rng(1), [], []
    for _ in range(300):
        weights = {}
        for run in pair[0]:
            own = run.scores[run.scores["language"] == run.train_set]
            units = own.drop_duplicates("utt_id")
            drawn = {}
            for _, members in units.groupby("label")["utt_id"]:
                names = members.to_numpy()
                counts = np.bincount(generator.integers(0, len(names), len(names) - 1), minlength=len(names))
                drawn |= dict(zip(names, counts, strict=True))
            weights[run.train_set] = own["utt_id"].map(drawn).to_numpy()
        both = [scikit_learn_mean(side, weights) for side in pair]
        samples.append(both[0] - both[1])
        sides.append(both)
    low, high = np.percentile(samples, [2.5, 97.5])
    assert found.low == pytest.approx(low, abs=0.02)
    assert found.high == pytest.approx(high, abs=0.02)
    assert found.low > 0
    # Each by itself the two intervals meet: nothing would have been seen.
    ends = np.percentile(sides, [2.5, 97.5], axis=0)
    assert ends[0, 0] < ends[1, 1]
    assert "it tells more than the cues do" in comparison(tables, "good", "mono")


def test_cues_that_tell_nothing(tmp_path):
    settings, runs = faked([], tmp_path)
    lines = verdict(make_tables([with_predictions(run, 1.0) for run in runs], settings), None)
    assert "no better than chance" in lines[0]
    assert "No system has scores yet" in lines[-1]
    settings.evaluation.bootstrap_samples = 0
    lines = verdict(make_tables([with_predictions(run, 0.2) for run in runs], settings), None)
    assert "of the way from chance to 100" in lines[0]


# ------------------------------------------------------------------------------------------------ script 11


def test_the_script(root, settings):
    new_experiment(root, "script")
    first = run_script(*words(root, "script"))
    assert first.returncode == 0, first.stderr
    assert "cues_noise_floor" in first.stdout
    assert "chance 50.0" in first.stdout
    layout = Layout(root / "exp" / "script")
    assert "| cues_all | en |" in layout.shortcut_text.read_text(encoding="utf-8")
    files = [layout.shortcut_table, layout.shortcut_means, layout.shortcut_text]
    content = [path.read_bytes() for path in files]
    before = {path: path.stat().st_mtime_ns for path in (layout.cues, layout.shortcut_scores)}
    second = run_script(*words(root, "script"))
    assert second.stdout.splitlines()[:-1] == first.stdout.splitlines()[:-1]  # the last line tells the time
    assert "utt/s" not in second.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [path.read_bytes() for path in files] == content


def test_the_script_without_a_protocol(root):
    done = run_script(*words(root, "nothing"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "utterances.csv is missing. Run: python scripts/02_build_protocols.py" in done.stderr


def test_audio_that_changed_or_vanished_is_named(root, tmp_path):
    write_leaky_corpus(tmp_path / "corpus", per_group=6)
    changed = [f"paths.corpus={tmp_path}/corpus", f"paths.exp={tmp_path}/exp"]
    settings = new_experiment(root, "changed", *changed)
    victim = tmp_path / "corpus" / "en" / "clean" / "3.wav"
    soundfile.write(victim, np.full(8000, 0.1), RATE)
    with pytest.raises(UserError, match=r"en/clean/3.wav: has changed since it was checked. Run: .*02_build_protocols"):
        cue_table(settings)
    victim.unlink()
    with pytest.raises(UserError, match="en/clean/3.wav: is missing"):
        cue_table(settings)
