"""The picture of the enrolment curve: which figures it has, and that their intervals can be told apart."""

from __future__ import annotations

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from sourcetracing.enrolment import pictures
from sourcetracing.settings.reading import load_settings

FIGURES = ("accuracy", "found", "false_alarms_unseen", "cllr")
COUNTS = [1, 2, 5, 10]


def table(num_runs: int) -> pd.DataFrame:
    draw = np.random.default_rng(1)
    rows = []
    for run, count in itertools.product(range(num_runs), COUNTS):
        row = {"name": f"run {run}", "system": "floor" if run == 1 else "net", "count": count, "chance": 1 / 3}
        for figure in FIGURES:
            low, value, high = np.sort(draw.uniform(size=3))
            row |= {figure: value, f"{figure}_low": low, f"{figure}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """The figure of a table."""

    def draw(frame: pd.DataFrame) -> plt.Figure:
        kept = []
        monkeypatch.setattr(pictures, "save_png", lambda figure, path: kept.append(figure))
        settings = load_settings(["enrolment.false_alarms=0.05"])
        settings.experiment.floor = ["floor"]
        pictures.draw_curve(frame, settings, tmp_path / "curve.png")
        return kept[0]

    yield draw
    plt.close("all")


def test_accuracy_found_false_alarms_and_cllr_have_a_panel_each(drawn):
    frame = table(2)
    panels = drawn(frame).axes
    assert len(panels) == len(FIGURES)
    for panel, figure in zip(panels, FIGURES, strict=True):
        factor = 1 if figure == "cllr" else 100
        for run, line, bars in zip(("run 0", "run 1"), panel.lines, panel.collections, strict=False):
            own = frame[frame["name"] == run]
            assert line.get_ydata() == pytest.approx(factor * own[figure].to_numpy())
            ends = np.array([segment[:, 1] for segment in bars.get_segments()])
            assert ends == pytest.approx(factor * own[[f"{figure}_low", f"{figure}_high"]].to_numpy())


def test_what_a_figure_is_measured_by_is_dotted_and_named(drawn):
    for panel, level, label in zip(
        drawn(table(2)).axes, (100 / 3, None, 5, 1), ("chance", None, "set to 5 %", "says nothing"), strict=True
    ):
        dotted = [line for line in panel.lines if line.get_linestyle() == ":"]
        assert [line.get_ydata() for line in dotted] == ([] if level is None else [pytest.approx(np.full(len(COUNTS), level))])
        assert [text.get_text() for text in panel.texts] == ([] if label is None else [label])


@pytest.mark.parametrize("num_runs", [1, 4, 12, 13])
def test_intervals_stand_apart_and_nearer_to_their_own_k(drawn, num_runs):
    figure = drawn(table(num_runs))
    places = np.array([[segment[0, 0] for segment in bars.get_segments()] for bars in figure.axes[0].collections])
    assert places.shape == (min(num_runs, 12), len(COUNTS))
    assert (np.diff(np.sort(places.ravel())) > 0).all()
    nearest = np.abs(np.log(places)[:, :, None] - np.log(COUNTS)).argmin(axis=2)
    assert (nearest == np.arange(len(COUNTS))).all()
