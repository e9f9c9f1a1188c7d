"""The report's tabs beyond Table 4: every figure, the published ones beside ours, claims, speakers, shortcuts."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from sourcetracing.report.results_tab import tabs_of_tables, write_report
from sourcetracing.report.table_tabs import claims_tab, shortcuts_tab, speakers_tab
from sourcetracing.settings.reading import to_yaml
from sourcetracing.tables.claims import check_claims
from sourcetracing.tables.comparison import add_published
from sourcetracing.tables.making import make_tables
from sourcetracing.tables.significance import compare_systems, rank_stability
from sourcetracing.training.table_plans import read_plan
from tests.support.fake_scores import SIX, fake_settings, runs_of
from tests.support.web_pages import ENVIRONMENT, Page, browser_width, dump_dom, needs_chromium

NAMES = ("table4", "figure4", "table5", "table6")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(settings, runs, the four tables with their published figures)."""
    folder = tmp_path_factory.mktemp("runs")
    settings = fake_settings(languages=SIX, systems=["lfcc_ecapa_tdnn", "lfcc_aasist"], seeds=[1, 2])
    settings.evaluation.bootstrap_samples, settings.corpus.reader = 50, "mcl_mlaad"
    tables = []
    for name in NAMES:
        plan, runs = read_plan(name, settings), runs_of(settings, name, folder)
        ids = sorted(runs[0].scores["utt_id"].unique())
        groups = pd.DataFrame({"utt_id": ids, "published_group": ["seen", "unseen"] * (len(ids) // 2), "strict_group": "rare"})
        tables.append(make_tables(runs, settings, plan=plan, speakers=dict.fromkeys(plan.train_sets, groups)))
        add_published(tables[-1])
    return settings, runs_of(settings, "table4", folder), tables


@pytest.fixture(scope="module")
def page(made, tmp_path_factory):
    settings, runs, tables = made
    groups = pd.DataFrame({"held_out": SIX, "seen": 10, "unseen": 12, "threshold": 0.08})
    means = pd.DataFrame(
        [[name, kind, "pooled", 0.3, 0.25, 0.25, 0.35] for name in ("cues_level", "lfcc_ecapa_tdnn") for kind in ("mono", "cross")],
        columns=["system", "kind", "variant", "macro_f1", "chance", "ci_low", "ci_high"],
    )
    significance = compare_systems(tables[0]).assign(table="table4")
    tabs = {
        **tabs_of_tables(tables[1:]),
        "Claims": claims_tab(check_claims(tables), significance, rank_stability(tables[0]).assign(table="table4")),
        "Speakers": speakers_tab(groups, {"agreement": {"speaker": {"adjusted_rand_index": 0.512}}}, b"no real picture"),
        "Shortcuts": shortcuts_tab(means),
        "Nothing": speakers_tab(None, None, None),
    }
    path = tmp_path_factory.mktemp("page") / "report.html"
    story = {"name": "demo", "settings_yaml": to_yaml(settings), "environment": ENVIRONMENT}
    return write_report(tables[0], runs, path, more_tabs=tabs, **story)


def test_every_table_has_its_tab_and_its_figures(made, page):
    text = page.read_text(encoding="utf-8")
    parsed = Page(text)
    assert parsed.open_tags == []
    for title in ("Table 4", "Families", "Held-out languages", "Speaker groups", "Claims", "Speakers", "Shortcuts"):
        assert f">{title}</label>" in text
    assert ">Nothing</label>" not in text
    texts = set(parsed.texts)
    for tables in made[2]:
        pooled = tables.cells[tables.cells["variant"] == "pooled"].groupby(["system", "train", "test"])["macro_f1"].mean()
        assert {f"{100 * value:.1f}" for value in pooled} <= texts


def test_published_ours_and_difference_stand_side_by_side(page):
    text = page.read_text(encoding="utf-8")
    assert text.count('<div class="three">') == 2 + 1 + 1 + 1  # the paper has no families or held-out languages of LFCC-AASIST
    assert "single numbers of unknown spread" in text
    assert "printed 97.78, the mean of its cells is 97.83" in text
    assert "0.51" in text and "no adjusted" not in text


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize("width", [380, 1400])
@pytest.mark.parametrize("tab", [0, 1, 2, 3, 4, 5])
def test_no_tab_overflows_and_the_console_stays_empty(page, tmp_path, width, tab):
    text = page.read_text(encoding="utf-8").replace('id="t0" checked', 'id="t0"').replace(f'id="t{tab}"', f'id="t{tab}" checked')
    (tmp_path / "report.html").write_text(text, encoding="utf-8")
    assert browser_width(tmp_path, width) == (width, "")


@needs_chromium
@pytest.mark.slow
def test_a_click_sorts_a_table(page, tmp_path):
    clicks = (
        "const table = document.querySelector('table.sortable'), head = [...table.tHead.querySelectorAll('th')]"
        ".find((th) => th.textContent === 'difference'); head.click();"
        "const shown = [...table.tBodies[0].rows].map((row) => row.cells[head.cellIndex].textContent);"
        "document.title = head.getAttribute('aria-sort') + ' ' + shown.join(' ');"
    )
    text = page.read_text(encoding="utf-8").replace("</body>", f"<script>{clicks}</script></body>")
    (tmp_path / "report.html").write_text(text, encoding="utf-8")
    title = re.search("<title>(.*)</title>", dump_dom(tmp_path / "report.html", tmp_path)[0])[1]
    order, *shown = title.split()
    numbers = [float(word) for word in shown if word != "–"]
    assert order == "ascending" and len(numbers) > 5 and numbers == sorted(numbers)
    assert shown[len(numbers) :] == ["–"] * (len(shown) - len(numbers))


def test_shortcuts_stand_beside_themselves_without_cures():
    row = {"kind": "mono", "variant": "pooled", "ci_low": 0.41, "ci_high": 0.53, "chance": 0.25}
    rows = [
        {"system": "cues_all", "macro_f1": 0.473, "as_it_is": 0.916, **row},
        {"system": "best", "macro_f1": 0.951, "as_it_is": None, **row},
    ]
    shown = str(shortcuts_tab(pd.DataFrame(rows)))
    assert "Before and after the cures" in shown
    cells = re.findall(r"<t[dh][^>]*>([^<]+)</t[dh]>", shown.partition("Before and after the cures")[2])
    assert cells[6:] == ["cues all", "mono", "91.6", "47.3", "41.0 to 53.0", "25.0"]
    assert "Before and after" not in str(shortcuts_tab(pd.DataFrame(rows).assign(as_it_is=float("nan"))))
    assert "Before and after" not in str(shortcuts_tab(pd.DataFrame(rows).drop(columns="as_it_is")))
