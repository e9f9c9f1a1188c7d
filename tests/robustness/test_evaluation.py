"""Figures and paired intervals of robustness against scikit-learn, the library's Cllr, and a bootstrap of our own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax
from sklearn.metrics import f1_score, roc_auc_score

from sourcetracing.metrics.bootstrap import Draws
from sourcetracing.metrics.verification import cllr
from sourcetracing.openset.detectors import MaxSoftmax
from sourcetracing.robustness.evaluation import ENDS, FIGURES, Judged, Yardstick, figures_of, loss_of_llrs, recalls, support

CLASSES = ("a", "b", "c")


def utterances(per_part: int = 8, unknown: bool = True) -> pd.DataFrame:
    """Two languages, three known sources, one unknown."""
    sources = [*CLASSES, *(["x"] if unknown else [])]
    rows = [
        {"utt_id": f"{language}/{source}/{number}", "language": language, "source": source}
        for language in ("en", "de")
        for source in sources
        for number in range(per_part)
    ]
    table = pd.DataFrame(rows)
    labels = [CLASSES.index(source) if source in CLASSES else -1 for source in table["source"]]
    return table.assign(label=labels, unit=table["utt_id"])


def answers(table: pd.DataFrame, certainty: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1, (len(table), 3))
    known = table["label"].to_numpy() >= 0
    logits[known, table["label"].to_numpy()[known]] += certainty
    return random.normal(0, 1, (len(table), 4)).astype(np.float32), logits.astype(np.float32)


@pytest.fixture(scope="module")
def yardstick() -> Yardstick:
    dev = utterances(unknown=False)
    return Yardstick.of(MaxSoftmax(), *answers(dev, 3.0, 99), dev["label"].to_numpy())


@pytest.fixture(scope="module")
def made(yardstick):
    table = utterances()
    found = {"clean": answers(table, 3.0, 0), "op": answers(table, 1.0, 1), "same": answers(table, 3.0, 0)}
    return table, found, figures_of(Judged(table, CLASSES, 400, 5), found, yardstick).set_index("operation")


def test_figures_are_those_of_other_libraries(made, yardstick):
    table, found, figures = made
    labels = table["label"].to_numpy()
    known = labels >= 0
    for name, (_, logits) in found.items():
        probabilities = np.exp(log_softmax(logits.astype(np.float64), axis=1))
        unsure = -np.log(probabilities.max(axis=1))
        row = figures.loc[name]
        assert row["macro_f1"] == pytest.approx(f1_score(labels[known], logits[known].argmax(axis=1), average="macro"))
        assert row["auroc"] == pytest.approx(roc_auc_score(~known, unsure))
        accepted = unsure <= yardstick.threshold + 1e-12
        assert row["fpr95"] == pytest.approx(accepted[~known].mean()) and row["known_kept"] == pytest.approx(accepted[known].mean())
        own = np.arange(3) == labels[known][:, None]
        odds = probabilities[known] / ((1 - probabilities[known]) / 2)
        llrs = yardstick.line.llrs(np.log(odds))
        assert row["cllr"] == pytest.approx(float(cllr(llrs.ravel(), own.ravel(), np.ones((1, own.size)))[0]))
        for figure in FIGURES:
            assert row[f"{figure}_change"] == pytest.approx(row[figure] - figures.loc["clean", figure])
    assert (figures[["known", "unknown", "classes"]] == [48, 16, 3]).all(axis=None)


def test_the_threshold_accepts_95_percent_of_clean_dev(yardstick):
    dev = utterances(unknown=False)
    scores = MaxSoftmax().score(*answers(dev, 3.0, 99))
    assert (scores <= yardstick.threshold).sum() == np.ceil(0.95 * len(dev))


def test_what_changes_nothing_has_no_change_and_no_width(made):
    _, _, figures = made
    for figure in FIGURES:
        assert (figures.loc["same", [f"{figure}{end}" for end in ENDS[3:]]] == 0).all()


def test_the_interval_of_a_change_is_paired(made):
    """A bootstrap of our own over the same strata; drawn apart the interval would be much wider."""
    table, found, figures = made
    known = table[table["label"] >= 0]
    labels, groups = known["label"].to_numpy(), known.groupby(["language", "source"]).indices
    predicted = {name: logits[known.index].argmax(axis=1) for name, (_, logits) in found.items()}
    random, changes, apart = np.random.default_rng(8), [], []

    def draw() -> np.ndarray:  # n - 1 of n, the parts are of one size
        return np.concatenate([random.choice(rows, len(rows) - 1) for rows in groups.values()])

    def f1(name: str, rows: np.ndarray) -> float:
        return f1_score(labels[rows], predicted[name][rows], average="macro")

    for _ in range(400):
        rows, others = draw(), draw()
        changes.append(f1("op", rows) - f1("clean", rows))
        apart.append(f1("op", rows) - f1("clean", others))
    low, high = figures.loc["op", ["macro_f1_change_low", "macro_f1_change_high"]]
    assert low < figures.loc["op", "macro_f1_change"] < high < 0
    assert high - low == pytest.approx(np.subtract(*np.quantile(changes, [0.975, 0.025])), rel=0.2)
    assert [low, high] == pytest.approx(np.quantile(changes, [0.025, 0.975]), abs=0.04)


def test_without_unknown_sources_there_are_closed_figures_alone(yardstick):
    table = utterances(unknown=False)
    figures = figures_of(Judged(table, CLASSES, 50, 5), {"clean": answers(table, 3.0, 0), "op": answers(table, 1.0, 1)}, yardstick)
    assert figures[["auroc", "fpr95", "known_kept"]].isna().all(axis=None) and figures[["macro_f1", "cllr"]].notna().all(axis=None)


def test_a_class_without_utterances_is_left_out_of_macro_f1(yardstick):
    table = utterances()
    table = table[table["source"] != "b"].reset_index(drop=True)
    found = {"clean": answers(table, 3.0, 0), "op": answers(table, 1.0, 1)}
    figures = figures_of(Judged(table, CLASSES, 50, 5), found, yardstick).set_index("operation")
    known = table["label"].to_numpy() >= 0
    labels, predictions = table["label"].to_numpy()[known], found["op"][1][known].argmax(axis=1)
    assert figures.loc["op", "macro_f1"] == pytest.approx(f1_score(labels, predictions, average="macro", labels=[0, 2]))
    assert figures.loc["op", "classes"] == 2


def test_no_resamples_no_intervals(yardstick):
    table = utterances()
    figures = figures_of(Judged(table, CLASSES, 0, 5), {"clean": answers(table, 3.0, 0), "op": answers(table, 1.0, 1)}, yardstick)
    assert figures["macro_f1_change_low"].isna().all() and figures["macro_f1_change"].notna().all()


def test_lone_utterances_are_drawn_within_their_source(yardstick):
    """One of each language and source is in every resample: drawn so, every interval had no width."""
    table = utterances(per_part=1)
    table = pd.concat([table.assign(language=f"l{n}", utt_id=f"{n}/" + table["utt_id"], unit=f"{n}/" + table["utt_id"]) for n in range(6)])
    table = table.drop_duplicates(["language", "source"]).reset_index(drop=True)
    draws, units = Judged(table, CLASSES, 100, 5).draws()
    assert isinstance(draws, Draws) and len(units) == len(table)
    assert (draws.counts.std(axis=0) > 0).all()
    found = {"clean": answers(table, 3.0, 0), "op": answers(table, 0.5, 1)}
    row = figures_of(Judged(table, CLASSES, 100, 5), found, yardstick).iloc[1]
    assert row["macro_f1_change_low"] < row["macro_f1_change_high"]


def test_loss_and_support_by_hand():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]))
    np.testing.assert_allclose(np.exp(support(logits))[0], [0.7 / 0.15, 0.2 / 0.4, 0.1 / 0.45])
    nothing = loss_of_llrs(np.zeros((2, 3)), np.array([0, 1]))
    np.testing.assert_allclose(nothing, 1.0)
    assert loss_of_llrs(np.array([[9.0, -9.0, -9.0]]), np.array([0]))[0] < 0.001
    assert loss_of_llrs(np.array([[-9.0, 9.0, -9.0]]), np.array([0]))[0] > 5


def test_recalls_by_hand():
    table = utterances(per_part=2, unknown=False)
    clean = np.eye(3)[table["label"]]
    after = np.where((table["source"] == "b").to_numpy()[:, None], [0.0, 0.0, 1.0], clean)
    embeddings = np.zeros((len(table), 2))
    found = recalls(Judged(table, CLASSES, 0, 1), {"clean": (embeddings, clean), "op": (embeddings, after)})
    assert found.iloc[0].to_dict() == {
        "operation": "op",
        "source": "b",
        "utterances": 4,
        "clean_recall": 1.0,
        "recall": 0.0,
        "taken_for": "c",
        "fall": 1.0,
    }
    assert (found["fall"].iloc[1:] == 0).all() and (found["taken_for"].iloc[1:] == "").all() and len(found) == 3
