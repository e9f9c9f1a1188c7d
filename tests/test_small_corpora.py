"""The table of systems on small corpora: figures as scikit-learn and a bootstrap by hand have them, what is kept, the log."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t
from sklearn.metrics import f1_score

from sourcetracing.errors import UserError
from sourcetracing.runtime.seeding import rng
from tests.support.places import ROOT

CLASSES, LANGUAGES, VARIANTS = 3, ("en", "de"), ("original", "noise")
RIGHT = {"floor": 0.6, "better": 0.75, "same": 0.6}


@pytest.fixture
def figures(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("_small_figures")


@pytest.fixture
def door(figures):
    return importlib.import_module("small_corpora")


def planted(seeds: int = 3, per_class: int = 12) -> pd.DataFrame:
    """Predictions of three systems; `same` says what `floor` says. Each seed tests half of the utterances, others than the next."""
    rows = []
    for system in ("floor", "better", "same"):
        for seed in range(1, seeds + 1):
            for train in LANGUAGES:
                draw = rng("planted", "floor" if system == "same" else system, seed, train)
                for language in LANGUAGES:
                    for label in range(CLASSES):
                        for number in rng("split", seed, language, label).permutation(per_class)[: per_class // 2].tolist():
                            for variant in VARIANTS:
                                right = RIGHT[system] + 0.15 * (train == language)
                                prediction = label if draw.random() < right else int(draw.integers(CLASSES))
                                rows.append([system, seed, train, f"{language}{label}{number}", variant, language, label, prediction])
    columns = ["system", "seed", "train", "utt_id", "variant", "language", "label", "prediction"]
    return pd.DataFrame(rows, columns=columns)


def is_kind(cells: pd.DataFrame, kind: str) -> pd.Series:
    return (cells["train"] == cells["language"]) == (kind == "mono")


@pytest.mark.parametrize("kind", ["mono", "cross"])
@pytest.mark.parametrize("tested", ["pooled", "original"])
def test_means_and_deviations_are_those_of_scikit_learn(figures, tested, kind):
    cells = planted()
    made = figures.figures_of("x", cells, CLASSES, "floor", 100).set_index(["tested", "system", "kind"])
    chosen = cells[is_kind(cells, kind) & ((tested == "pooled") | (cells["variant"] == tested))]
    for system in RIGHT:
        rows = chosen[chosen["system"] == system]
        f1 = rows.groupby(["seed", "train", "language"])[["label", "prediction"]].apply(
            lambda cell: f1_score(cell["label"], cell["prediction"], average="macro")
        )
        by_seed = 100 * f1.groupby("seed").mean()
        row = made.loc[(tested, system, kind)]
        assert (row["mean"], row["sd"], row["seeds"]) == (pytest.approx(by_seed.mean()), pytest.approx(by_seed.std(ddof=1)), 3)
        floor = made.loc[(tested, "floor", kind)]["mean"]
        assert row["difference"] == (pytest.approx(row["mean"] - floor) if system != "floor" else pytest.approx(np.nan, nan_ok=True))


def test_a_system_that_says_the_same_differs_by_nothing(figures):
    made = figures.figures_of("x", planted(), CLASSES, "floor", 200).set_index(["system", "kind"])
    assert (made.loc["same"][["difference", "low", "high"]] == 0).all(axis=None)


def weighted_f1(rows: pd.DataFrame, weights: np.ndarray) -> float:
    """Macro-F1 of rows that count by weights, class by class."""
    label, prediction = rows["label"].to_numpy(), rows["prediction"].to_numpy()
    found = []
    for number in set(label[weights > 0].tolist()):
        hits = weights[(label == number) & (prediction == number)].sum()
        found.append(2 * hits / (weights[label == number].sum() + weights[prediction == number].sum()))
    return float(np.mean(found))


@pytest.mark.parametrize("seeds", [2, 3])
def test_intervals_are_those_of_a_bootstrap_by_hand(figures, seeds):
    """Utterances drawn once for all seeds, n - 1 of n within language and class; from three seeds on also n - 1 of n seeds, stretched."""
    cells, draw, samples = planted(seeds), np.random.default_rng(0), []
    cross = cells[is_kind(cells, "cross")]
    strata = cells.groupby(["language", "label"])["utt_id"].unique()
    parts = list(cross[cross["system"] != "same"].groupby(["system", "seed", "train"]))
    for _ in range(1500):
        weight = {}
        for members in strata:
            drawn = draw.integers(0, len(members), len(members) - 1)
            weight |= dict(zip(members, np.bincount(drawn, minlength=len(members)).tolist(), strict=True))
        f1 = {key: weighted_f1(rows, rows["utt_id"].map(weight).to_numpy(float)) for key, rows in parts}
        mean = {(system, seed): np.mean([f1[system, seed, train] for train in LANGUAGES]) for system, seed, _ in f1}
        samples.append([100 * (mean["better", seed] - mean["floor", seed]) for seed in range(1, seeds + 1)])
    of_seed = np.array(samples)
    resampled = of_seed.mean(axis=1)
    if seeds >= 3:
        own = of_seed.mean(axis=0)
        stretch = t.ppf(0.975, seeds - 1) / norm.ppf(0.975)
        chosen = draw.integers(0, seeds, (len(of_seed), seeds - 1))
        resampled = resampled + stretch * (own[chosen].mean(axis=1) - own.mean())
    made = figures.figures_of("x", cells, CLASSES, "floor", 2000)
    row = made[(made["tested"] == "pooled") & (made["system"] == "better") & (made["kind"] == "cross")].iloc[0]
    width = np.ptp(np.quantile(resampled, [0.025, 0.975]))
    assert row["high"] - row["low"] == pytest.approx(width, rel=0.15)
    assert row["low"] < row["difference"] < row["high"]


def test_the_table_says_what_was_not_run(figures):
    made = pd.read_csv(StringIO(figures.written(figures.figures_of("levels", planted(1), CLASSES, "floor", 100))))
    lines = figures.table_lines(made, ["demo", "levels"], ["floor", "better", "absent"])
    assert "| demo | `floor` | 0 | not run | not run | | |" in lines
    assert "| levels | `absent` | 0 | not run | not run | | |" in lines
    (better,) = [line for line in lines[: len(lines) // 2] if line.startswith("| levels | `better`")]
    assert better.count("(utterances alone)") == 2 and "±" not in better and better.startswith("| levels | `better` | 1 |")
    assert sum(line.startswith("| levels | `floor`") and line.endswith("| – | – |") for line in lines) == 2


def test_the_log_shows_what_the_figures_say(figures, door):
    document = (ROOT / "docs" / "log.md").read_text(encoding="utf-8")
    shown = figures.table_in(document)
    systems = list(dict.fromkeys(line.split("`")[1] for line in shown if line.startswith(tuple(f"| {name} |" for name in door.CORPORA))))
    assert set(door.SYSTEMS) <= set(systems)
    assert shown == figures.table_lines(pd.read_csv(door.FIGURES), tuple(door.CORPORA), systems)
    assert door.with_table(document, shown, figures.MARKERS) == document


def test_words_say_what_is_run(door):
    asked = door.asked_for(["systems=lfcc_ecapa_tdnn", "seeds=3,4", "corpora=[twins, demo]", "paths.exp=elsewhere", "against=lfcc_aasist"])
    assert (asked.systems, asked.seeds, asked.corpora) == (("lfcc_ecapa_tdnn",), (3, 4), ("twins", "demo"))
    assert (asked.words, asked.against) == (("paths.exp=elsewhere",), "lfcc_aasist")
    assert (door.asked_for([]).seeds, door.asked_for(["systems=none"]).systems) == (door.SEEDS, ())


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("corpora=twin", "corpora=twin: there is no such small corpus; did you mean 'twins'"),
        ("seeds=one", "seeds=one: a whole number is expected"),
        ("systems=lfcc_ecapa", "system 'lfcc_ecapa' has no file"),
    ],
)
def test_a_name_that_there_is_not_is_one_line(door, word, told):
    with pytest.raises(UserError, match=told):
        door.asked_for([word])


def test_what_is_kept_is_told_apart_by_settings_that_are_no_defaults(door):
    def name(*words: str, seed: int = 1, corpus: str = "twins") -> str:
        return door.cell_of(corpus, seed, "lfcc_ecapa_tdnn", words).path.name

    plain = name()
    assert plain.startswith("lfcc_ecapa_tdnn-seed1-") and name("compute.workers=1") == plain == name("train.epochs=6")
    others = [name("train.epochs=3"), name("demo.utterances_per_source=20"), name("demo.trim=false"), name(seed=2), name(corpus="levels")]
    assert len({plain, *others}) == 6


def test_seeds_share_the_audio_and_nothing_else(door):
    one, other = (door.cell_of("demo", seed, "lfcc_ecapa_tdnn", ()).settings for seed in (1, 2))
    assert (one.demo.seed, one.seed, one.experiment.seeds, one.name) == (688, 1, [1], "demo_seed1")
    assert (other.demo.seed, other.seed, other.experiment.seeds, other.name) == (688, 2, [2], "demo_seed2")
    assert one.paths == other.paths


@pytest.mark.slow
def test_a_small_part_from_audio_to_table(tmp_path):
    """Two seeds, two systems; the second call finds all that the first has made, without features."""
    words = ["corpora=twins", "seeds=1,2", "systems=stats_logreg,knn_stats", "demo.utterances_per_source=10", "demo.noises_per_category=3"]
    words += ["demo.noise_seconds=5", "demo.long_noises_per_category=0", "demo.rirs_per_room_size=1", "corpus.languages=[en,sv]"]
    words += ["corpus.sources=[lpc_18,lpc_24]", "paths.corpus=audio", "paths.musan=audio/musan", "paths.rirs=audio/rirs"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "benchmarks" / "small_corpora.py"), *words, "--delete-stores"]
    printed = [subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False) for _ in range(2)]
    assert [done.returncode for done in printed] == [0, 0], printed[0].stderr[-2000:]
    tables = [[line for line in done.stdout.splitlines() if line.startswith("| ")] for done in printed]
    assert tables[0] == tables[1] and "twins, seed 2: stats_logreg, knn_stats" in printed[0].stdout and "seed 2" not in printed[1].stdout
    assert sum(line.startswith("| twins | `knn_stats` | 2 |") for line in tables[0]) == 2
    assert len(list(tmp_path.glob("exp/small_corpora/twins/*.parquet"))) == 4
    assert not list(tmp_path.glob("exp/small_twins_seed*/features"))
