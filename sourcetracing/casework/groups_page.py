"""The page of groups of files: each with its spectrum and samples to listen to, all pairs as a picture; samples stay where they are."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap

from sourcetracing.casework.grouping_result import GroupedFile, GroupingResult, number_text, signed
from sourcetracing.casework.groups_truth import FIGURES
from sourcetracing.casework.short_names import common_folder, short_name
from sourcetracing.casework.spectra import NUM_BINS, mean_spectrum
from sourcetracing.casework.wording import LN_10
from sourcetracing.drawing import colours
from sourcetracing.drawing.page import write_page
from sourcetracing.drawing.pictures import picture_style
from sourcetracing.drawing.templates import macros
from sourcetracing.settings.names import printable
from sourcetracing.training.run_folder import git_commit

NUM_SAMPLES, MOST_CARDS, MOST_ROWS = 4, 150, 2000  # samples of a group that can be played at once; groups and files that the page shows
MOST_PIXELS = 1000  # of the picture of pairs: of more files, neighbours share one
LEFT, RIGHT, TOP, BOTTOM = 28, 312, 6, 100  # of the panel of spectra, in units of its SVG
DIFFERENCE_TOP, DIFFERENCE_BOTTOM = 114, 163  # of the panel of differences below it
LEAST_DB = 20.0  # that the axis of spectra spans
LEAST_LABELLED = 0.03  # of the files: groups whose number the picture of pairs has room for


@dataclass(frozen=True)
class _Place:
    """folder: where the page lies; common: the folder that all files lie in, as they were named, "" without one."""

    folder: Path
    common: str

    @classmethod
    def of(cls, path: Path, result: GroupingResult) -> _Place:
        return cls(path.parent, common_folder([file.paths[0] for file in result.files]))

    def short(self, name: str) -> str:
        """A file's name without the folder that all lie in."""
        return short_name(name, self.common)


@dataclass(frozen=True)
class Sample:
    """A file to listen to: its name, its address as from the page, facts about it, and what speaks against its group."""

    name: str
    address: str
    facts: str
    doubts: str


@dataclass(frozen=True)
class Card:
    """A group. doubts: what speaks against it.

    line: the points of its spectrum, difference: of that less the mean of all files; "" where they are not known."""

    title: str
    facts: str
    doubts: str
    sources: str
    line: str
    difference: str
    samples: Sequence[Sample]
    others: Sequence[Sample]


@dataclass(frozen=True)
class Axes:
    """Of all spectra: levels and differences that have a line (label, y), frequencies (label, x), the points of the mean of all files."""

    levels: Sequence[tuple[str, float]]
    differences: Sequence[tuple[str, float]]
    frequencies: Sequence[tuple[str, float]]
    everything: str


def write_groups_page(path: Path, result: GroupingResult) -> None:
    """Writes the page; samples are addressed as from its folder."""
    tab, page, nearest = macros(__file__, "groups.html"), _Place.of(path, result), _nearest(result)
    spectra = [mean_spectrum([result.files[row].spectrum for row in rows]) for rows in result.groups]
    everything = mean_spectrum([file.spectrum for file in result.files])
    low, high = _span([everything, *spectra[:MOST_CARDS]])
    most = _most([spectrum - everything for spectrum in spectra[:MOST_CARDS]])
    axes = Axes(_levels(low, high), _differences(most), _frequencies(result.rate / 2), _points(everything, low, high, TOP, BOTTOM))
    cards = [
        _card(page, result, number, nearest[number], _points(own, low, high, TOP, BOTTOM), _difference(own - everything, most))
        for number, own in enumerate(spectra[:MOST_CARDS])
    ]
    loose = [_sample(page, result, int(row)) for row in result.ungrouped[:MOST_ROWS]]
    table = result.table()
    shown = {"groups": len(result.groups), "files": len(table)}
    write_page(
        path,
        title=f"Groups of {len(result.files)} files",
        eyebrow="Groups of files by source",
        headline=result.headline(),
        lead=f"{len(result.files):,} different files, {result.basis()}.",
        notes=[
            *(f"Contradicted by its own numbers: {line}" for line in result.contradictions()),
            *result.copies_line(),
            *result.limits(),
            *_failed(result),
        ],
        tabs={
            "Groups": [tab.groups(printable(result.run), page.common, cards, axes, loose, shown["groups"] - len(cards))],
            "Pairs": [tab.pairs(_picture_of_pairs(result), _table_of_groups(result, nearest), _table_of_draws(result))],
            "Truth": [tab.truth(_table_of_truth(result), result.truth_size())] if result.agreement else [],
            "Files": [tab.files(_shown(table.head(MOST_ROWS), page), max(0, shown["files"] - MOST_ROWS))],
        },
        made_by="Made by scripts/group_audio.py.",
        environment={"git_commit": git_commit()},
    )


def _card(page: _Place, result: GroupingResult, number: int, nearest: str, line: str, difference: str) -> Card:
    rows = result.groups[number]
    samples = [_sample(page, result, int(row)) for row in rows]
    facts = [f"stability {number_text(result.mean_stability(rows))}", f"mean log10 LR {signed(result.log10_within(rows))}"]
    facts += [f"nearest: group {nearest}"] if nearest else []
    doubts = "; ".join(result.doubts_about_group(number))
    title = f"Group {number + 1}: {len(rows):,} file{'s' if len(rows) > 1 else ''}"
    return Card(title, "; ".join(facts), doubts, result.composition(rows), line, difference, samples[:NUM_SAMPLES], samples[NUM_SAMPLES:])


def _nearest(result: GroupingResult) -> list[str]:
    """Of each group the other one with the highest mean log10 LR to it, `3 (-0.42)`; "" where there is no other."""
    if len(result.groups) < 2:
        return [""] * len(result.groups)
    means = group_means(result.llrs, result.groups) / LN_10
    np.fill_diagonal(means, -np.inf)
    return [f"{best + 1} ({signed(float(row[best]))})" for row, best in zip(means, means.argmax(axis=1), strict=True)]


def group_means(llrs: np.ndarray, groups: Sequence[np.ndarray]) -> np.ndarray:
    """(G, G) means of LLRs (N, N) between the files of groups; within one, of files with themselves, too."""
    order, sizes = np.concatenate(groups), np.array([len(rows) for rows in groups])
    return _summed(llrs[np.ix_(order, order)], np.concatenate([[0], np.cumsum(sizes)[:-1]])) / np.outer(sizes, sizes)


def _summed(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sums of the blocks of a matrix that begin at these rows and columns."""
    return np.add.reduceat(np.add.reduceat(values, starts, axis=0), starts, axis=1)


def _sample(page: _Place, result: GroupingResult, row: int) -> Sample:
    file = result.files[row]
    facts = [f"stability {number_text(float(result.stability[row]))}", *file.notes]
    copies = len(file.paths) - 1
    facts += [f"{copies} more of the same bytes"] if copies else []
    return Sample(page.short(file.name), address_of(file, page.folder), "; ".join(facts), "; ".join(result.doubts_about_file(row)))


def address_of(file: GroupedFile, folder: Path) -> str:
    """Of a file as from a folder, as a browser wants it; names of any bytes."""
    path = file.paths[0].absolute()
    try:
        return quote(os.fsencode(Path(os.path.relpath(path, folder.absolute())).as_posix()))
    except ValueError:  # another drive of Windows
        return path.as_uri()


def _failed(result: GroupingResult) -> list[str]:
    names = ", ".join(f"{printable(failure.path)} ({failure.reason})" for failure in result.failures[:3])
    more = " ..." if len(result.failures) > 3 else ""
    return [f"{len(result.failures)} more files could not be used: {names}{more}"] if result.failures else []


# --- spectra


def _span(spectra: Sequence[np.ndarray]) -> tuple[float, float]:
    """Decibels, whole tens, that hold the spectra."""
    known = [spectrum for spectrum in spectra if not np.isnan(spectrum).any()]
    if not known:
        return -LEAST_DB, 0.0
    low, high = (10 * float(turn(end / 10)) for turn, end in ((np.floor, np.min(known)), (np.ceil, np.max(known))))
    return min(low, high - LEAST_DB), high


def _most(differences: Sequence[np.ndarray]) -> float:
    """Decibels to both sides of 0 that hold nearly all of the differences, a multiple of 5."""
    known = np.concatenate([np.zeros(1), *(each for each in differences if not np.isnan(each).any())])
    return 5 * max(1.0, float(np.ceil(np.quantile(np.abs(known), 0.995) / 5)))


def _levels(low: float, high: float) -> list[tuple[str, float]]:
    step = 20 if high - low > 40 else 10
    return [(f"{level + 0.0:.0f}", _height(level, low, high, TOP, BOTTOM)) for level in np.arange(high, low - 1, -step)]


def _differences(most: float) -> list[tuple[str, float]]:
    return [
        (f"{level + 0.0:+.0f}" if level else "0", _height(level, -most, most, DIFFERENCE_TOP, DIFFERENCE_BOTTOM))
        for level in (most, 0, -most)
    ]


def _frequencies(highest_hz: float) -> list[tuple[str, float]]:
    step = 2000 if highest_hz > 4000 else 1000
    return [(f"{hz / 1000:g}", LEFT + (RIGHT - LEFT) * hz / highest_hz) for hz in np.arange(0, highest_hz + 1, step)]


def _height(level: float, low: float, high: float, top: float, bottom: float) -> float:
    return top + (bottom - top) * (high - level) / (high - low)


def _difference(difference: np.ndarray, most: float) -> str:
    return _points(np.clip(difference, -most, most), -most, most, DIFFERENCE_TOP, DIFFERENCE_BOTTOM)


def _points(spectrum: np.ndarray, low: float, high: float, top: float, bottom: float) -> str:
    if np.isnan(spectrum).any():
        return ""
    across = LEFT + (RIGHT - LEFT) * np.arange(NUM_BINS) / (NUM_BINS - 1)
    return " ".join(f"{x:.1f},{_height(y, low, high, top, bottom):.1f}" for x, y in zip(across, spectrum, strict=True))


# --- pairs


def _picture_of_pairs(result: GroupingResult) -> bytes:
    """All log10 LRs as colours, files in the order of their groups: orange for two sources, blue for one."""
    order = np.concatenate([*result.groups, result.ungrouped])
    values = _shrunk(result.llrs[np.ix_(order, order)]) / LN_10
    line = result.verifier.line(1, 1)
    most = max(-line.low, line.high) / LN_10
    scale = LinearSegmentedColormap.from_list("sources", [colours.CROSS, "#fbfbf3", colours.MONO])
    ends = np.cumsum([len(rows) for rows in result.groups]) * len(values) / len(order)
    with picture_style():
        figure, panel = plt.subplots(figsize=(6.2, 5.4), layout="constrained")
        image = panel.imshow(values, cmap=scale, vmin=-most, vmax=most, interpolation="nearest")
        for end in ends[: MOST_CARDS if len(ends) > MOST_CARDS else None]:
            panel.axhline(end - 0.5, color="#000000", lw=0.4)
            panel.axvline(end - 0.5, color="#000000", lw=0.4)
        _label_groups(panel, ends, len(values))
        figure.colorbar(image, ax=panel, shrink=0.8, label="log10 LR: two sources < 0 < one source")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        plt.close(figure)
    return buffer.getvalue()


def _label_groups(panel: plt.Axes, ends: np.ndarray, size: int) -> None:
    starts = np.concatenate([[0.0], ends[:-1]])
    labelled = [
        (start, end, number)
        for number, (start, end) in enumerate(zip(starts, ends, strict=True), 1)
        if end - start >= LEAST_LABELLED * size
    ]
    places, names = [(start + end) / 2 - 0.5 for start, end, _ in labelled], [str(number) for *_, number in labelled]
    panel.set_xticks(places, names)
    panel.set_yticks(places, names)
    panel.tick_params(length=0)
    panel.set(xlabel="group", ylabel="group")


def _shrunk(values: np.ndarray) -> np.ndarray:
    """Means of squares of neighbours, where there are more files than pixels."""
    if len(values) <= MOST_PIXELS:
        return values
    starts = np.unique(np.linspace(0, len(values), MOST_PIXELS, endpoint=False).astype(int))
    counts = np.diff(np.append(starts, len(values)))
    return _summed(values, starts) / np.outer(counts, counts)


# --- tables


def _table_of_groups(result: GroupingResult, nearest: Sequence[str]) -> pd.DataFrame:
    rows = [
        {
            "group": str(number),
            "files": len(members),
            "stability": number_text(result.mean_stability(members)),
            "log10 LR within": signed(result.log10_within(members)),
            "nearest": nearest[number - 1],
        }
        for number, members in enumerate(result.groups[:MOST_CARDS], 1)
    ]
    return pd.DataFrame(rows, columns=["group", "files", "stability", "log10 LR within", "nearest"])


def _table_of_draws(result: GroupingResult) -> pd.DataFrame:
    numbers, counts = np.unique(result.draws.numbers, return_counts=True)
    kept = np.sort(np.argsort(-counts, kind="stable")[:15])
    return pd.DataFrame({"groups": [f"{number:,}" for number in numbers[kept]], "draws": counts[kept]})


def _table_of_truth(result: GroupingResult) -> pd.DataFrame:
    figures = result.agreement
    return pd.DataFrame(
        {"figure": list(figures), "value": [f"{value:.3f}" for value in figures.values()], "meaning": [FIGURES[name] for name in figures]}
    )


def _shown(table: pd.DataFrame, page: _Place) -> pd.DataFrame:
    """The table of files as texts, without columns that nothing stands in."""
    groups = [str(group) if not pd.isna(group) else status for group, status in zip(table["group"], table["status"], strict=True)]
    shown = pd.DataFrame({"group": groups, "stability": table["stability"].astype(float).map(number_text)})
    shown["file"] = table["path"].map(page.short)
    for name, column in (("log10 LR within", "log10_lr_within"), ("log10 LR to nearest", "log10_lr_nearest")):
        shown[name] = table[column].astype(float).map(signed)
    shown["nearest"] = table["nearest_group"].astype(str).replace("<NA>", "–")
    for name in ("doubts", "source", "copies", "notes", "reason"):
        if name in table and (texts := table[name].astype(object).fillna("")).astype(bool).any():
            shown[name] = texts
    return shown
