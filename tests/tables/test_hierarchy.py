"""The hierarchical table against pandas and scikit-learn, on simulated probabilities; awkward names, missing labels, nothing to tell."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from sourcetracing.metrics.bootstrap import Draws, over_seeds, percentile_interval
from sourcetracing.protocols.relatives import COARSE_LEVELS
from sourcetracing.runtime.seeding import rng
from sourcetracing.tables.hierarchy import LevelledRun, make_hierarchy, probabilities_of
from sourcetracing.tables.hierarchy_picture import boundaries
from sourcetracing.tables.hierarchy_text import markdown, terminal, write_hierarchy

CLASSES = ["vits", "007", "nan", "acme/tts|v2", "voice, large"]
LABELS = {
    "vits": ("vits", "vits", "hifigan"),
    "007": ("vits", "vits", "hifigan"),
    "nan": ("lm", "bark", "encodec"),
    "acme/tts|v2": ("lm", "own", "hifigan"),
    "voice, large": ("", "", "encodec"),  # no architecture
    "vits--neon": ("vits", "vits", "hifigan"),  # unknown sources from here on
    "lm-two": ("lm", "other", ""),
    "wholly new": ("flow", "flow", "vocos"),
    "unsaid": ("", "", ""),
}
LANGUAGES = ["en", "de"]
SAMPLES = 60


def labels_of(table: dict[str, tuple[str, str, str]] = LABELS) -> pd.DataFrame:
    return pd.DataFrame.from_dict(table, orient="index", columns=list(COARSE_LEVELS)).rename_axis("source").sort_index()


def run_of(system: str = "net", train: str = "en", seed: int = 1, sources=tuple(LABELS), sharpness: float = 1.5) -> LevelledRun:
    """Ten utterances of each source and language, each in two variants; probabilities lean to the true source or a relative."""
    generator, rows, logits = rng("levels", system, train, seed), [], []
    for language, source, number in itertools.product(LANGUAGES, sources, range(10)):
        for _ in range(2):
            rows.append((f"{language}/{source}/{number}", language, source))
            near = CLASSES.index(source) if source in CLASSES else generator.integers(0, 5)
            logits.append(generator.normal(size=5) + sharpness * np.eye(5)[near])
    table = pd.DataFrame(rows, columns=["unit", "language", "source"])
    return LevelledRun(system, train, seed, train.split("+"), table, probabilities_of(np.array(logits), float("nan")))


@pytest.fixture(scope="module")
def run() -> LevelledRun:
    return run_of()


@pytest.fixture(scope="module")
def made(run):
    return make_hierarchy([run], CLASSES, labels_of(), SAMPLES, 3)


def cell(made, kind: str, group: str, level: str, **more) -> pd.Series:
    cells = made.cells
    chosen = (cells["kind"] == kind) & (cells["group"] == group) & (cells["level"] == level)
    for name, value in more.items():
        chosen &= cells[name] == value
    assert chosen.sum() == 1
    return cells[chosen].iloc[0]


def answers_of(run: LevelledRun, level: str) -> tuple[np.ndarray, np.ndarray]:
    """(true labels, answers) of all rows by pandas: sources without a label are answers of their own, which are no label."""
    place = COARSE_LEVELS.index(level)
    heads = [LABELS[name][place] or f"unlabelled {name}" for name in CLASSES]
    summed = pd.DataFrame(run.probabilities, columns=CLASSES).T.groupby(heads).sum().T
    return run.rows["source"].map(lambda name: LABELS[name][place]).to_numpy(), summed.idxmax(axis=1).to_numpy()


GROUPS = {
    "known": CLASSES,
    "unknown": ["vits--neon", "lm-two", "wholly new", "unsaid"],
    "related": ["vits--neon", "lm-two"],
    "checkpoint": ["vits--neon"],
    "generator": ["lm-two"],
    "new": ["wholly new"],
}


@pytest.mark.parametrize("level", COARSE_LEVELS)
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("kind", ["mono", "cross"])
def test_figures_of_a_level_by_pandas_and_scikit_learn(run, made, kind, group, level):
    true, answered = answers_of(run, level)
    own = (run.rows["language"] == ("en" if kind == "mono" else "de")).to_numpy() & run.rows["source"].isin(GROUPS[group]).to_numpy()
    row, there = cell(made, kind, group, level), own & (true != "")
    assert (row["rows"], row["masked"]) == (there.sum(), (own & (true == "")).sum())
    assert row["sources"] == run.rows["source"][there].nunique()
    assert row["labels"] == len(set(true[there]))
    if not there.any():
        assert np.isnan(row["accuracy"])
        return
    present = sorted(set(true[there]))
    assert row["accuracy"] == pytest.approx(accuracy_score(true[there], answered[there]))
    assert row["macro_f1"] == pytest.approx(f1_score(true[there], answered[there], labels=present, average="macro", zero_division=0))
    place = COARSE_LEVELS.index(level)
    of_argmax = np.array([LABELS[CLASSES[number]][place] for number in run.probabilities.argmax(axis=1)])
    named = np.where(np.char.startswith(answered.astype(str), "unlabelled"), "", answered)
    assert row["argmax_accuracy"] == pytest.approx((of_argmax == true)[there].mean())
    assert row["differs"] == pytest.approx((of_argmax != named)[there].mean())
    known = {LABELS[name][place] for name in CLASSES} - {""}
    assert row["known_labels"] == len(known)
    assert row["reachable"] == pytest.approx(np.mean([label in known for label in true[there]]))
    constants = {name: accuracy_score(true[there], [name] * there.sum()) for name in sorted(known)}
    assert row["constant"] == max(constants, key=constants.get)
    assert row["constant_accuracy"] == pytest.approx(max(constants.values()))
    guess = [row["constant"]] * there.sum()
    assert row["constant_macro_f1"] == pytest.approx(f1_score(true[there], guess, labels=present, average="macro", zero_division=0))


def test_the_source_level_is_of_known_sources_alone(run, made):
    own = (run.rows["language"] == "en").to_numpy() & run.rows["source"].isin(CLASSES).to_numpy()
    answered = np.array(CLASSES)[run.probabilities.argmax(axis=1)]
    row = cell(made, "mono", "known", "source")
    assert row["accuracy"] == pytest.approx(accuracy_score(run.rows["source"][own], answered[own]))
    assert row["macro_f1"] == pytest.approx(f1_score(run.rows["source"][own], answered[own], average="macro"))
    assert set(made.cells.loc[made.cells["level"] == "source", "group"]) == {"known"}


def ancestors(name: str) -> set[tuple[str, str]]:
    return {("source", name), *((level, label) for level, label in zip(COARSE_LEVELS, LABELS[name], strict=True) if label)}


@pytest.mark.parametrize("group", [*GROUPS, "unlabelled"])
def test_hierarchical_f_by_sets(run, made, group):
    members = GROUPS.get(group, ["unsaid"])
    own = (run.rows["language"] == "de").to_numpy() & run.rows["source"].isin(members).to_numpy()
    true, answered = list(run.rows["source"][own]), [CLASSES[number] for number in run.probabilities[own].argmax(axis=1)]
    row = cell(made, "cross", group, "ancestors")

    def figures(answers: list[str]) -> tuple[float, float, float]:
        shared = sum(len(ancestors(one) & ancestors(other)) for one, other in zip(true, answers, strict=True))
        sizes = [sum(len(ancestors(name)) for name in names) for names in (answers, true)]
        return shared / sizes[0], shared / sizes[1], 2 * shared / sum(sizes)

    np.testing.assert_allclose(row[["precision", "recall", "hierarchical_f"]].astype(float), figures(answered))
    assert row["constant_f"] == pytest.approx(max(figures([name] * len(true))[2] for name in CLASSES))
    assert row["constant_f"] == pytest.approx(figures([row["constant"]] * len(true))[2])
    best = [
        max(CLASSES, key=lambda one: len(ancestors(one) & ancestors(name)) / (len(ancestors(one)) + len(ancestors(name)))) for name in true
    ]
    assert row["ceiling_f"] == pytest.approx(figures(best)[2])
    if group == "unlabelled":
        assert row["hierarchical_f"] == row["ceiling_f"] == 0


def test_intervals_are_those_of_utterances_drawn_again(run, made):
    units = run.rows.drop_duplicates().sort_values("unit").reset_index(drop=True)
    numbers, strata = pd.factorize(pd.MultiIndex.from_frame(units[["language", "source"]]))
    draws = Draws(numbers, SAMPLES, lambda stratum: rng(3, "bootstrap of levels", *strata[stratum]))
    weight_of = pd.DataFrame((draws.counts * draws.scale).T, index=units["unit"])
    true, answered = answers_of(run, "vocoder")
    own = (run.rows["language"] == "en").to_numpy() & run.rows["source"].isin(GROUPS["unknown"]).to_numpy() & (true != "")
    weights = weight_of.loc[run.rows["unit"][own]].to_numpy()
    row, present = cell(made, "mono", "unknown", "vocoder"), sorted(set(true[own]))
    how = {"labels": present, "average": "macro", "zero_division": 0}
    f1 = np.array([f1_score(true[own], answered[own], sample_weight=one, **how) for one in weights.T])
    accuracy = np.array([accuracy_score(true[own], answered[own], sample_weight=one) for one in weights.T])
    for name, samples in (("macro_f1", f1), ("accuracy", accuracy)):
        np.testing.assert_allclose([row[f"{name}_low"], row[f"{name}_high"]], percentile_interval(samples, row[name]), atol=1e-6)


def test_means_are_over_training_sets_then_seeds():
    keys = [("net", "en", 1), ("net", "de", 1), ("net", "en", 2), ("net", "en", 3), ("floor", "en", 1)]
    made = make_hierarchy([run_of(*key) for key in keys], CLASSES, labels_of(), SAMPLES, 3)
    own = made.cells[(made.cells["system"] == "net") & (made.cells["level"] == "vocoder") & (made.cells["group"] == "known")]
    own = own[own["kind"] == "mono"]
    by_seed = own.groupby("seed")["macro_f1"].mean()
    mean = made.means.query("system == 'net' and level == 'vocoder' and group == 'known' and kind == 'mono'").iloc[0]
    assert (mean["macro_f1"], mean["macro_f1_sd"]) == (pytest.approx(by_seed.mean()), pytest.approx(by_seed.std()))
    assert (mean["cells"], mean["seeds"]) == (4, 3)
    assert mean["macro_f1_low"] < mean["macro_f1"] < mean["macro_f1_high"]
    assert over_seeds({1: np.zeros(4)}, lambda seeds: rng(*seeds)).tolist() == [0] * 4
    text = markdown(made, "x", ["floor"])
    assert (
        text.index("| net | architecture |")
        < text.index("| floor (floor) | architecture |")
        < text.index("| constant answer | architecture |")
    )
    assert "acme/tts/v2" not in terminal(made)


def test_awkward_names_files_and_pictures(made, tmp_path):
    write_hierarchy(made, tmp_path, "awkward", [])
    assert {path.name for path in tmp_path.iterdir()} == {"hierarchy.csv", "hierarchy_means.csv", "hierarchy.md", "hierarchy_net.png"}
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_hierarchy(made, tmp_path, "awkward", [])
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    text = before["hierarchy.md"].decode()
    assert "Known sources without a label of architecture: voice, large;" in text
    counts = made.confusions["net", "mono"]
    assert list(counts.index) == ["nan", "acme/tts|v2", "007", "vits", "voice, large", "wholly new", "lm-two", "vits--neon", "unsaid"]
    assert list(counts.columns) == list(counts.index[:5])
    assert (counts.sum(axis=1) == 20).all()
    assert list(boundaries(["a", "a", "b", "", ""])) == [2, 3]


def test_a_level_with_one_value_and_one_source_per_architecture():
    table = {name: (f"own {name}", "same", "") for name in CLASSES}
    made = make_hierarchy([run_of(sources=CLASSES)], CLASSES, labels_of(table), SAMPLES, 3)
    one, each = cell(made, "mono", "known", "acoustic_model"), cell(made, "mono", "known", "architecture")
    assert (one["accuracy"], one["macro_f1"], one["constant_accuracy"]) == (1, 1, 1)
    source = cell(made, "mono", "known", "source")
    assert each[["accuracy", "macro_f1", "differs"]].tolist() == [source["accuracy"], pytest.approx(source["macro_f1"]), 0]
    assert "All known sources have the acoustic model same: there is nothing to tell at that level." in made.notes
    assert "No label of vocoder is known of any known source: that level is missing." in made.notes
    assert not (made.cells["level"] == "vocoder").any()
    assert "There are no rows of unknown sources" in markdown(made, "x")
    assert terminal(made).endswith(f"source {100 * source['accuracy']:.1f}")


def test_nothing_labelled_is_said(tmp_path):
    made = make_hierarchy([run_of()], CLASSES, labels_of(dict.fromkeys(LABELS, ("", "", ""))), SAMPLES, 3)
    assert made.is_empty
    write_hierarchy(made, tmp_path, "x", [])
    assert "There is no hierarchical table" in (tmp_path / "hierarchy.md").read_text()
    assert terminal(made).startswith("There is no hierarchical table")
    assert make_hierarchy([], CLASSES, labels_of(), SAMPLES, 3).is_empty


def test_unknown_sources_alone_and_no_resamples():
    made = make_hierarchy([run_of(sources=["vits--neon"])], CLASSES, labels_of(), 0, 3)
    row = cell(made, "mono", "checkpoint", "architecture")
    assert 0 < row["accuracy"] < 1
    assert np.isnan(row["accuracy_low"])
    assert "known sources" not in markdown(made, "x").replace("all unknown sources", "").split("##", 1)[1].split("\n")[0]
    assert "architecture" in terminal(made)


def test_heads_say_their_own_level(run):
    """Where a head of the network says a level, its probabilities count, not the sums."""
    vocoders, generator = ["hifigan", "encodec"], np.random.default_rng(0)
    heads = {"vocoder": (vocoders, generator.dirichlet(np.ones(2), len(run.rows)))}
    headed = LevelledRun(run.system, run.train_set, run.seed, run.languages, run.rows, run.probabilities, levels=heads)
    made = make_hierarchy([headed], CLASSES, labels_of(), SAMPLES, 3)
    own = (run.rows["language"] == "en").to_numpy() & run.rows["source"].isin(CLASSES).to_numpy()
    true = run.rows["source"].map(lambda name: LABELS[name][2]).to_numpy()
    answered = np.array(vocoders)[heads["vocoder"][1].argmax(axis=1)]
    assert cell(made, "mono", "known", "vocoder")["accuracy"] == pytest.approx((true == answered)[own].mean())
