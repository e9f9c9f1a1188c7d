"""The page of groups: whole, escaped, loads nothing but the files that it names, fits narrow windows, is quick with thousands of files."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest

from sourcetracing.casework.grouping import draw_again, group_files, neighbours_of, pair_llrs, stability_of
from sourcetracing.casework.grouping_result import GroupedFile, GroupingResult
from sourcetracing.casework.groups_page import address_of, group_means, write_groups_page
from sourcetracing.casework.redrawn_lines import redrawn_lines
from sourcetracing.casework.spectra import NUM_BINS
from sourcetracing.settings.grouping import Grouping
from sourcetracing.tracing.output import Failure
from sourcetracing.verification.representations import Embedded
from sourcetracing.verification.verifier import Verifier
from tests.support.web_pages import Page, browser_width, dump_dom, needs_chromium

ODD = '<b>x</b> & "y" #1?.wav'


def result_of(folder: Path, num_sources: int, per_source: int, *, method: str = "agglomerative", spectra: bool = True) -> GroupingResult:
    """A grouping of directions around as many centres; the first file has an odd name and a copy."""
    random = np.random.default_rng(5)
    sources = np.repeat(np.arange(num_sources), per_source)
    width = max(8, num_sources)

    def rows(which: np.ndarray) -> np.ndarray:
        found = 3 * np.eye(width)[which] + 0.6 * random.normal(size=(len(which), width))
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)

    known = np.repeat(np.arange(7), 10)
    dev = Embedded(np.array([f"u{n}" for n in range(70)]), np.array([f"s{n}" for n in known]), rows(known))
    verifier = Verifier.fitted(dev, dev, ["a"], compare_by="cosine", num_trials=100, seed=4)
    names = [folder / "a" / (ODD if n == 0 else f"{n:04d} long_name_of_a_file_without_any_blank_in_it.wav") for n in range(len(sources))]
    shapes = [random.normal(-40, 5, NUM_BINS) if spectra else np.full(NUM_BINS, np.nan) for _ in names]
    files = [
        GroupedFile(
            (name, folder / "copy.wav") if n == 0 else (name,),
            f"{n:032x}",
            np.zeros(1),
            np.zeros(1),
            ("odd note",) if n == 1 else (),
            shape,
        )
        for n, (name, shape) in enumerate(zip(names, shapes, strict=True))
    ]
    directions, how = rows(sources), Grouping(draws=20, method=method)
    llrs = pair_llrs(directions, verifier.line(1, 1))
    labels = group_files(llrs, how)
    draws = draw_again(directions, redrawn_lines(verifier, 20), how, seed=1)
    true = [f"<i>{source}</i>" if n % 2 else "" for n, source in enumerate(sources)]
    failures = [Failure(ODD, "<u>is odd</u>")]
    parts = (llrs, labels, draws, stability_of(draws, labels), neighbours_of(llrs, labels), true, verifier, 16000, how)
    return GroupingResult("exp/<s>run</s>", files, failures, *parts)


@pytest.mark.parametrize("method", ["agglomerative", "hdbscan"])
def test_the_page_is_whole_and_escaped_and_plays_the_files_where_they_lie(tmp_path, method):
    result = result_of(tmp_path, 4, 9, method=method)
    write_groups_page(tmp_path / "pages" / "report.html", result)
    text = (tmp_path / "pages" / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.open_tags
    assert not {"b", "i", "u", "s"} & page.tags
    shown = "".join(page.texts)
    assert ODD in shown
    assert "<i>1</i>" in shown
    assert "1 more of the same bytes" in shown
    assert "odd note" in shown
    assert "stability " in shown
    assert "confidence" not in shown
    assert "this page holds none of their sound" in shown
    local = [address for address in page.loads if not address.startswith("data:")]
    meant = {(tmp_path / "pages" / unquote_to_bytes(address).decode()).resolve() for address in local}
    assert meant == {file.paths[0].resolve() for file in result.files}
    assert all(":" not in address and "?" not in address and "#" not in address for address in local)
    assert text.count("<audio") == sum(min(len(rows), 4) for rows in result.groups)


def test_without_spectra_there_are_no_lines(tmp_path):
    write_groups_page(tmp_path / "page.html", result_of(tmp_path, 3, 4, spectra=False))
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<polyline" not in text
    assert "Group 1" in text


@needs_chromium
@pytest.mark.parametrize("width", [380, 1400])
def test_the_page_fits_the_window(tmp_path, width):
    write_groups_page(tmp_path / "report.html", result_of(tmp_path, 4, 9))
    found, console = browser_width(tmp_path, width)
    assert found <= width
    assert "Error" not in console


@needs_chromium
def test_the_table_of_files_hides_nothing_in_a_narrow_window(tmp_path):
    """Each cell below the other, with the name of its column; nothing is left of it to scroll to."""
    write_groups_page(tmp_path / "report.html", result_of(tmp_path, 4, 9))
    script = (
        "const page = frames[0].document, box = page.querySelector('.files .scroll'); "
        "page.querySelectorAll('.tab').forEach((tab) => (tab.style.display = 'block')); "
        "const cells = [...box.querySelector('tbody tr').children]; "
        "document.title = [box.clientWidth > 0, box.scrollWidth <= box.clientWidth, "
        "...cells.map((cell) => frames[0].getComputedStyle(cell, '::before').content.replaceAll(String.fromCharCode(34), ''))].join('|')"
    )
    (tmp_path / "frame.html").write_text(f'<iframe src="report.html" width="380" height="800" style="border:0" onload="{script}"></iframe>')
    text, _ = dump_dom(tmp_path / "frame.html", tmp_path)
    fits, names = re.search(r"<title>(true\|\w+)\|(.*)</title>", text).groups()
    assert fits == "true|true"
    assert [name.strip() for name in names.split("|")][:6] == [
        "group",
        "stability",
        "file",
        "log10 LR within",
        "log10 LR to nearest",
        "nearest",
    ]


def test_many_files_and_many_alone_make_a_page_of_some_megabytes(tmp_path):
    """Pictures of pairs are shrunk, groups and files beyond a number are left to the table."""
    result = result_of(tmp_path, 350, 3)
    write_groups_page(tmp_path / "page.html", result)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert len(text) < 6_000_000
    assert f"{len(result.groups) - 150} smaller groups are not shown" in text


def test_addresses_hold_names_of_any_bytes(tmp_path):
    file = GroupedFile((tmp_path / "a" / "\udcff ü%.wav",), "0", np.zeros(1), np.zeros(1), (), None)
    assert address_of(file, tmp_path / "b") == "../a/%FF%20%C3%BC%25.wav"


def test_means_between_groups_are_those_of_all_pairs():
    llrs = np.random.default_rng(0).normal(size=(9, 9)).astype(np.float32)
    groups = [np.array([4, 0, 7, 2]), np.array([1, 8]), np.array([3, 5, 6])]
    expected = [[np.mean([llrs[i, j] for i in one for j in other]) for other in groups] for one in groups]
    np.testing.assert_allclose(group_means(llrs, groups), expected, atol=1e-6)
