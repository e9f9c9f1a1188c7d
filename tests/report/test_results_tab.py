"""The report: one file, every number in it, no request; and it works in a browser where there is one."""

import re
import shutil

import pandas as pd
import pytest
from markupsafe import escape

from sourcetracing.drawing import colours
from sourcetracing.protocols.leakage import audit
from sourcetracing.report.results_tab import write_report
from sourcetracing.settings.reading import to_yaml
from sourcetracing.tables import pictures as figures
from sourcetracing.tables import text as table_text
from sourcetracing.tables.axes import CROSS, MONO
from sourcetracing.tables.making import make_tables
from tests.support.fake_scores import fake_runs, fake_settings
from tests.support.web_pages import ENVIRONMENT, Page, browser_width, needs_chromium

CORPUS = pd.DataFrame({"language": ["en", "de", "total"], "utterances": [160, 161, 321], "hours": [0.223, 0.25, 0.473]})


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    folder, settings = tmp_path_factory.mktemp("report"), fake_settings()
    runs = fake_runs(settings, folder / "runs", missing={("lfcc_two", "fr", 688)})
    tables = make_tables(runs, settings)
    return settings, runs, tables, write(tables, runs, settings, folder / "report.html")


def write(tables, runs, settings, path, leakage=None):
    story = {"name": "demo", "settings_yaml": to_yaml(settings), "environment": ENVIRONMENT, "corpus": CORPUS, "leakage": leakage}
    return write_report(tables, runs, path, **story)


def test_page_is_well_formed_and_loads_nothing(example):
    text = example[3].read_text(encoding="utf-8")
    page = Page(text)
    assert page.open_tags == []
    assert page.loads
    assert all(value.startswith(("#", "data:")) for value in page.loads)
    assert not page.tags & {"img", "iframe", "object", "embed"}
    assert text.count("<script>") == 1  # it sorts tables
    without_settings = text.replace(str(escape(to_yaml(example[0]))), "")  # whose addresses of downloads are text
    assert len(without_settings) < len(text)
    assert not re.search(r"https?://|@import|url\(", without_settings)


def test_every_tab_can_be_chosen(example):
    text = example[3].read_text(encoding="utf-8")
    titles = re.findall(r'name="tab" id="t\d+"(?: checked)?><label for="t\d+">([^<]+)', text)
    assert titles == ["Table 4", "Training", "Corpus", "How to read", "Settings"]
    for number in range(len(titles)):
        assert f'class="tab t{number}"' in text and f"#t{number}:checked ~ .t{number}" in text


def test_every_number_is_in_the_page(example):
    _, _, tables, path = example
    numbers = set(Page(path.read_text(encoding="utf-8")).texts)
    assert {f"{100 * value:.1f}" for value in tables.cells["macro_f1"]} <= numbers
    for system in tables.axes.systems:
        for kind in (MONO, CROSS):
            for variant in tables.axes.all_variants:
                assert table_text.mean_text(tables, system, kind, variant) in numbers
    assert {"160", "161", "321", "0.47", "2.11.0"} <= numbers


def leaking_audit():
    """One text in train and in the de part of dev; nothing else is known."""
    utterances = pd.DataFrame({"utt_id": list("abcd"), "language": ["en", "en", "de", "de"], "source": "<i>&source"})
    utterances["transcript"] = ["one", "two", "one", "three"]
    return audit(utterances, pd.DataFrame({"utt_id": list("abcd"), "split": ["train", "eval", "dev", "dev"]}))


def test_leakage_is_shown_with_its_worst_cells(example, tmp_path):
    settings, runs, tables, path = example
    assert "<h2>Leakage" not in path.read_text(encoding="utf-8")
    text = write(tables, runs, settings, tmp_path / "report.html", leaking_audit()).read_text(encoding="utf-8")
    page = Page(text)
    assert page.open_tags == []
    assert "<i>&source" not in text
    assert {"train → dev", "1 (50.0 %)", "<i>&source", "not checked: no speaker is known"} <= set(page.texts)
    section = text[text.index("<h2>Leakage") :]
    assert section.index("&lt;i&gt;&amp;source") > section.index("Where most utterances")


def test_without_shared_values_there_are_no_worst_cells(example, tmp_path):
    settings, runs, tables, _ = example
    utterances = pd.DataFrame({"utt_id": list("abc"), "language": "en", "source": "a"})
    table = audit(utterances, pd.DataFrame({"utt_id": list("abc"), "split": ["train", "eval", "dev"]}))
    text = write(tables, runs, settings, tmp_path / "report.html", table).read_text(encoding="utf-8")
    assert "<h2>Leakage</h2>" in text
    assert "Where most utterances" not in text


def test_missing_run_is_named(example):
    text = example[3].read_text(encoding="utf-8")
    assert "1 of 6 runs have no scores yet" in text
    assert "<b>–</b>" in text


def test_page_is_the_same_bytes_again(example, tmp_path):
    settings, runs, tables, path = example
    assert write(tables, runs, settings, tmp_path / "again.html").read_bytes() == path.read_bytes()


def test_pictures_are_the_same_bytes_again(tmp_path):
    settings = fake_settings(languages=["en", "fr"], systems=["lfcc_one"])
    runs = fake_runs(settings, tmp_path)
    tables = make_tables(runs, settings)
    first, second = (
        [*figures.write_pictures(tables, folder), *figures.write_curves(runs, folder)] for folder in (tmp_path / "1", tmp_path / "2")
    )
    assert {picture.name for picture in first} >= {"lfcc_one_matrix.png", "lfcc_one_curves.png", "lfcc_one_confusion.png", "variants.png"}
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert one.read_bytes().startswith(b"\x89PNG")
        assert one.stat().st_size < 200_000


def test_names_are_escaped(tmp_path):
    settings = fake_settings(languages=["en"], systems=["<b>&system"])
    runs = fake_runs(settings, tmp_path)
    text = write(make_tables(runs, settings), runs, settings, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<b>&system" not in text
    assert "&lt;b&gt;&amp;system" in text


def test_several_seeds_sets_and_one_variant(tmp_path):
    settings = fake_settings(systems=["lfcc_one"], seeds=[1, 2], variants=["original"])
    settings.experiment.train_sets = settings.experiment.test_sets = ["en+de", "fr"]
    runs = fake_runs(settings, tmp_path)
    text = write(make_tables(runs, settings), runs, settings, tmp_path / "report.html").read_text(encoding="utf-8")
    Page(text)
    assert "±" in text
    assert "By acoustic variant" not in text


def test_every_colour_of_the_scale_can_be_read_and_ordered():
    contrasts, luminances = [], []
    for step in range(1001):
        background = colours.heat(step / 1000)
        lighter, darker = sorted(
            (colours.relative_luminance(background), colours.relative_luminance(colours.ink_on(background))), reverse=True
        )
        contrasts.append((lighter + 0.05) / (darker + 0.05))
        luminances.append(colours.relative_luminance(background))
    assert min(contrasts) >= 4.5  # WCAG AA
    assert all(a >= b - 1e-3 for a, b in zip(luminances, luminances[1:], strict=False))


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize("width", [380, 1400])
def test_browser_lays_it_out_without_overflow_or_complaint(example, tmp_path, width):
    """The page in a frame of that width: its content is no wider, and the console stays empty."""
    shutil.copy(example[3], tmp_path / "report.html")
    assert browser_width(tmp_path, width) == (width, "")
