"""A source or file called $^$ ended scripts 08, 11 and the pictures of tracing: matplotlib took it for a formula."""

from __future__ import annotations

import ast
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from sourcetracing.detection.report import pictures as detection
from sourcetracing.drawing import pictures
from sourcetracing.drawing.pictures import picture_style, save_png
from sourcetracing.embeddings.colouring import colouring_of
from sourcetracing.embeddings.pictures import write_picture
from sourcetracing.embeddings.projections import Projection
from sourcetracing.tables.pictures import draw_confusions
from sourcetracing.tracing.timelines import draw_timeline
from tests.support.places import ROOT

NAMES = ["$^$", "$\\frac$", "a$b$c_d^", "_hidden"]
LONG = "n" * 240


def test_embeddings(tmp_path):
    index = pd.DataFrame({"source": NAMES * 3})
    points = np.random.default_rng(0).normal(size=(12, 2))
    write_picture(tmp_path / "a.png", [Projection("pca", points, "$^$")], colouring_of(index, "source", NAMES), "run $^$")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_confusions(tmp_path):
    tables = SimpleNamespace(axes=SimpleNamespace(classes=NAMES), confusions={})
    with picture_style():
        save_png(draw_confusions(tables, "$^$"), tmp_path / "a.png")


def test_detection():
    effects = pd.DataFrame({"corpus": NAMES, "effect": [0.1] * 4, "published_effect": [np.nan] * 4})
    assert "svg" in detection.as_image(detection.draw_effects(effects, "$^$"), "$^$")
    curves = {name: pd.Series([0.1, 0.2]) for name in NAMES}
    figure = detection.draw_layers(curves, {}, dict.fromkeys(NAMES, 1), "$^$")
    drawn = [text.get_text().strip() for text in figure.legends[0].get_texts()]
    assert drawn == [*NAMES, *(f"{name}: 1" for name in NAMES)]
    detection.as_image(figure, "layers")


def test_timelines(tmp_path, monkeypatch):
    monkeypatch.setattr(plt, "close", lambda figure: None)
    shown = np.array([0.4, 0.3, 0.2, 0.1])
    found = SimpleNamespace(
        path="in/$^$\n.wav", starts_s=np.arange(3.0), duration_s=4.0, num_silent=0, window_scores=np.zeros(3),
        probabilities=shown, window_probabilities=np.tile(shown, (3, 1)),
    )  # fmt: skip
    tracer = SimpleNamespace(
        audio=SimpleNamespace(crop_seconds=1.0, sample_rate=8), hop_samples=8, system=SimpleNamespace(classes=NAMES),
        rule=SimpleNamespace(name="nsd", threshold=0.5),
    )  # fmt: skip
    draw_timeline(found, tracer, tmp_path / "a.png")
    panel = plt.gcf().axes[0]
    assert panel.get_title("left").startswith("$^$\\n.wav: 3 windows")
    legend = [text.get_text().strip() for text in panel.get_legend().get_texts()]
    assert legend == [f"{name} ({share:.2f})" for name, share in zip(NAMES, shown, strict=True)]


def test_letters_that_no_font_has_are_said_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pictures, "_said", set())
    monkeypatch.setattr(pictures, "_fonts", lambda: ["DejaVu Sans"])
    for name in ("日本", "本日", "日本", "語"):
        with picture_style():
            figure, panel = plt.subplots()
            panel.set_title(name)
            save_png(figure, tmp_path / "a.png")
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1 and "日本" in said[0] and "fonts-noto-cjk" in said[0]


@pytest.mark.filterwarnings("error")
def test_names_of_240_letters_leave_room_for_the_picture(tmp_path):
    tables = SimpleNamespace(axes=SimpleNamespace(classes=[f"{LONG}1", f"{LONG}2"]), confusions={})
    with picture_style():
        figure = draw_confusions(tables, "system")
        assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == [f"{'n' * 24}…{'n' * 22}{end}" for end in "12"]
        save_png(figure, tmp_path / "a.png")
    index = pd.DataFrame({"source": [f"{LONG}{number % 3}" for number in range(12)]})
    points = Projection("pca", np.random.default_rng(0).normal(size=(12, 2)), "")
    write_picture(tmp_path / "b.png", [points], colouring_of(index, "source", index["source"].unique()), "run")


def test_other_warnings_pass():
    with pytest.warns(UserWarning, match="of another kind"), picture_style():
        import warnings

        warnings.warn("of another kind", UserWarning, stacklevel=1)


def test_every_picture_is_drawn_in_the_one_style():
    """Whoever imports pyplot uses picture_style, and nobody else sets matplotlib's parameters."""
    for path in sorted((ROOT / "sourcetracing").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        names = {ast.unparse(node) for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.Attribute, ast.Name))}
        if path.name == "pictures.py" and path.parent.name == "drawing":
            continue
        assert "plt.rc_context" not in names and "matplotlib.use" not in names, path
        assert "plt.subplots" not in names or "picture_style" in names, path


def test_latex_prints_names_as_they_are():
    from sourcetracing.tables.text import _escaped

    assert _escaped("lfcc_ecapa") == "lfcc\\_ecapa"
    assert _escaped("$^$ 5% {a} #1 & ~\\") == "\\$\\textasciicircum{}\\$ 5\\% \\{a\\} \\#1 \\& \\textasciitilde{}\\textbackslash{}"
