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
from sourcetracing.casework.spectra import NUM_BINS, mean_spectrum
from sourcetracing.drawing import colours
from sourcetracing.drawing.page import write_page
from sourcetracing.drawing.pictures import picture_style
from sourcetracing.drawing.templates import macros
from sourcetracing.settings.names import printable
from sourcetracing.training.run_folder import git_commit

NUM_SAMPLES, MOST_CARDS, MOST_ROWS = 4, 150, 2000  # samples of a group that can be played at once; groups and files that the page shows
MOST_PIXELS = 1000  # of the picture of pairs: of more files, neighbours share one
LEFT, RIGHT, TOP, BOTTOM = 28, 312, 6, 100  # of the panel of spectra, in units of its SVG
LEAST_DB = 20.0  # that the axis of spectra spans
LEAST_LABELLED = 0.03  # of the files: groups whose number the picture of pairs has room for


@dataclass(frozen=True)
class Sample:
    """A file to listen to: its name, its address as from the page, and facts about it."""

    name: str
    address: str
    facts: str


@dataclass(frozen=True)
class Card:
    """A group. line: the points of its spectrum; "" where it is not known."""

    title: str
    facts: str
    sources: str
    line: str
    samples: Sequence[Sample]
    others: Sequence[Sample]


@dataclass(frozen=True)
class Axes:
    """Of all spectra: levels that have a line (label, y), frequencies (label, x), and the points of the mean of all files."""

    levels: Sequence[tuple[str, float]]
    frequencies: Sequence[tuple[str, float]]
    everything: str


def write_groups_page(path: Path, result: GroupingResult) -> None:
    """Writes the page; samples are addressed as from its folder."""
    tab = macros(__file__, "groups.html")
    spectra = [mean_spectrum([result.files[row].spectrum for row in rows]) for rows in result.groups]
    everything = mean_spectrum([file.spectrum for file in result.files])
    low, high = _span([everything, *spectra[:MOST_CARDS]])
    axes = Axes(_levels(low, high), _frequencies(result.rate / 2), _points(everything, low, high))
    cards = [
        _card(result, rows, number, _points(spectrum, low, high), path.parent)
        for number, (rows, spectrum) in enumerate(zip(result.groups[:MOST_CARDS], spectra, strict=False))
    ]
    loose = [_sample(result, int(row), path.parent) for row in result.ungrouped[:MOST_ROWS]]
    table = result.table()
    shown = {"groups": len(result.groups), "files": len(table)}
    write_page(
        path,
        title=f"Groups of {len(result.files)} files",
        eyebrow=f"Groups by source · {printable(result.run)}",
        headline=result.headline(),
        lead=f"{len(result.files):,} different files, {result.basis()}.",
        notes=[*result.limits(), *_failed(result)],
        tabs={
            "Groups": [tab.groups(cards, axes, loose, shown["groups"] - len(cards))],
            "Pairs": [tab.pairs(_picture_of_pairs(result), _table_of_groups(result), _table_of_draws(result))],
            "Truth": [tab.truth(_table_of_truth(result), result.truth_line())] if result.agreement else [],
            "Files": [tab.files(_shown(table.head(MOST_ROWS)), max(0, shown["files"] - MOST_ROWS))],
        },
        made_by="Made by scripts/group_audio.py.",
        environment={"git_commit": git_commit()},
    )


def _card(result: GroupingResult, rows: np.ndarray, number: int, line: str, folder: Path) -> Card:
    samples = [_sample(result, int(row), folder) for row in rows]
    facts = [f"confidence {number_text(result.sure(rows))}", f"mean LLR {signed(result.mean_llr(rows))}"]
    if nearest := _nearest(result, rows):
        facts.append(f"nearest: {nearest}")
    title = f"Group {number + 1}: {len(rows):,} file{'s' if len(rows) > 1 else ''}"
    return Card(title, "; ".join(facts), result.composition(rows), line, samples[:NUM_SAMPLES], samples[NUM_SAMPLES:])


def _nearest(result: GroupingResult, rows: np.ndarray) -> str:
    """The other group that the files of one are nearest to, on average."""
    if len(result.groups) < 2:
        return ""
    means = {
        other: float(result.llrs[np.ix_(rows, members)].mean()) for other, members in enumerate(result.groups) if members[0] != rows[0]
    }
    best = max(means, key=means.__getitem__)
    return f"group {best + 1} ({signed(means[best])})"


def _sample(result: GroupingResult, row: int, folder: Path) -> Sample:
    file = result.files[row]
    facts = [f"confidence {number_text(float(result.confidence[row]))}", *file.notes]
    copies = len(file.paths) - 1
    return Sample(file.name, address_of(file, folder), "; ".join([*facts, *([f"{copies} more of the same bytes"] if copies else [])]))


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


def _levels(low: float, high: float) -> list[tuple[str, float]]:
    step = 20 if high - low > 40 else 10
    return [(f"{level:.0f}", _height(level, low, high)) for level in np.arange(high, low - 1, -step)]


def _frequencies(highest_hz: float) -> list[tuple[str, float]]:
    step = 2000 if highest_hz > 4000 else 1000
    return [(f"{hz / 1000:g}", LEFT + (RIGHT - LEFT) * hz / highest_hz) for hz in np.arange(0, highest_hz + 1, step)]


def _height(level: float, low: float, high: float) -> float:
    return TOP + (BOTTOM - TOP) * (high - level) / (high - low)


def _points(spectrum: np.ndarray, low: float, high: float) -> str:
    if np.isnan(spectrum).any():
        return ""
    across = LEFT + (RIGHT - LEFT) * np.arange(NUM_BINS) / (NUM_BINS - 1)
    return " ".join(f"{x:.1f},{_height(y, low, high):.1f}" for x, y in zip(across, spectrum, strict=True))


# --- pairs


def _picture_of_pairs(result: GroupingResult) -> bytes:
    """All LLRs as colours, files in the order of their groups: orange for two sources, blue for one."""
    order = np.concatenate([*result.groups, result.ungrouped])
    values = _shrunk(result.llrs[np.ix_(order, order)])
    line = result.verifier.line(1, 1)
    most = max(-line.low, line.high)
    scale = LinearSegmentedColormap.from_list("sources", [colours.CROSS, "#fbfbf3", colours.MONO])
    ends = np.cumsum([len(rows) for rows in result.groups]) * len(values) / len(order)
    with picture_style():
        figure, panel = plt.subplots(figsize=(6.2, 5.4), layout="constrained")
        image = panel.imshow(values, cmap=scale, vmin=-most, vmax=most, interpolation="nearest")
        for end in ends[: MOST_CARDS if len(ends) > MOST_CARDS else None]:
            panel.axhline(end - 0.5, color="#000000", lw=0.4)
            panel.axvline(end - 0.5, color="#000000", lw=0.4)
        _label_groups(panel, ends, len(values))
        figure.colorbar(image, ax=panel, shrink=0.8, label="LLR: two sources < 0 < one source")
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
    sums = np.add.reduceat(np.add.reduceat(values, starts, axis=0), starts, axis=1)
    return sums / np.outer(counts, counts)


# --- tables


def _table_of_groups(result: GroupingResult) -> pd.DataFrame:
    rows = [
        {
            "group": str(number),
            "files": len(members),
            "confidence": number_text(result.sure(members)),
            "mean LLR within": signed(result.mean_llr(members)),
            "nearest other group": _nearest(result, members) if len(result.groups) <= MOST_CARDS else "",
        }
        for number, members in enumerate(result.groups[:MOST_CARDS], 1)
    ]
    return pd.DataFrame(rows, columns=["group", "files", "confidence", "mean LLR within", "nearest other group"])


def _table_of_draws(result: GroupingResult) -> pd.DataFrame:
    numbers, counts = np.unique(result.draws.numbers, return_counts=True)
    kept = np.sort(np.argsort(-counts, kind="stable")[:15])
    return pd.DataFrame({"groups": [f"{number:,}" for number in numbers[kept]], "draws": counts[kept]})


def _table_of_truth(result: GroupingResult) -> pd.DataFrame:
    figures = result.agreement
    return pd.DataFrame(
        {"figure": list(figures), "value": [f"{value:.3f}" for value in figures.values()], "meaning": [FIGURES[name] for name in figures]}
    )


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """The table of files as texts, without columns that nothing stands in."""
    shown = pd.DataFrame({"file": table["path"]})
    shown["group"] = [str(group) if not pd.isna(group) else status for group, status in zip(table["group"], table["status"], strict=True)]
    shown["confidence"] = table["confidence"].astype(float).map(number_text)
    shown["LLR within"], shown["LLR to nearest"] = (table[name].astype(float).map(signed) for name in ("llr_within", "llr_nearest"))
    shown["nearest"] = table["nearest_group"].astype(str).replace("<NA>", "–")
    for name in ("source", "copies", "notes", "reason"):
        if name in table and table[name].fillna("").astype(bool).any():
            shown[name] = table[name].fillna("")
    return shown
