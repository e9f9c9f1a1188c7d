"""Which setting cures which group of cues, and what it did: the same groups on the audio as it is and as systems hear it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from sourcetracing.drawing.text import percent
from sourcetracing.metrics.classification import is_more
from sourcetracing.protocols.audio_facts import suggested_limit
from sourcetracing.settings.frontends import Audio
from sourcetracing.settings.recorded import cures_of
from sourcetracing.shortcuts.baselines import ALL, PREFIX
from sourcetracing.shortcuts.cues import GROUPS
from sourcetracing.tables.making import Tables, mean_of

CURES = {"level": "normalize", "silence": "trim_silence_db", "bandwidth": "band_limit_hz"}  # group of cues -> setting of audio
VALUES = {"normalize": "rms", "trim_silence_db": "40"}
LEFT = {"level": " by what no gain changes: crest factor, clipping"}
WITHOUT = {
    "duration": "no setting: a crop (audio.crop_seconds) shorter than most files does not tell it",
    "noise_floor": "no setting: noise, offset and bits are as they were recorded; audio.normalize=rms takes bits and absolute levels away",
    "tilt": "no setting: it is the spectrum itself",
}
SAME_BAND = 0.95  # of the widest source's: sources that all reach so far differ in their spectra, not in where they end


@dataclass(frozen=True)
class Figure:
    """Pooled macro-F1 of a group of cues with its interval, and chance; fractions."""

    value: float
    low: float
    high: float
    chance: float

    @property
    def beside_chance(self) -> str:
        """What it and its interval say about chance, in words."""
        if math.isnan(self.low):
            return f"nothing was resampled, chance is {percent(self.chance)}"
        way = (
            "still above chance" if self.is_clear else "which may be chance" if is_more(self.high, self.chance) else "no better than chance"
        )
        return f"{way} (95 % CI {percent(self.low)} to {percent(self.high)}, chance {percent(self.chance)})"

    @property
    def is_clear(self) -> bool:
        """Whether it is above chance for sure."""
        return is_more(self.low, self.chance)


def figure_of(tables: Tables, system: str, kind: str) -> Figure | None:
    """None where no such cell has a score."""
    row = mean_of(tables, system, kind)
    return None if row is None else Figure(float(row.macro_f1), float(row.ci_low), float(row.ci_high), float(row.chance))


def bands_of(cues: pd.DataFrame) -> pd.Series:
    """Source -> the frequency in Hz that 90 % of its clean crops reach. cues: `cue_table` without cures."""
    clean = cues[cues["variant"] == ("original" if "original" in set(cues["variant"]) else cues["variant"].iloc[0])]
    return clean.groupby("source")["crop_highest_frequency_hz"].quantile(0.1)


def heard_with(audio: Audio) -> list[str]:
    """A sentence on the cures that are on; [] where none is."""
    settings = ", ".join(f"audio.{name}={_value(audio, name)}" for name in cures_of(audio))
    return [f"All figures but those of the audio as it is are of what systems hear, with {settings}."] if settings else []


def cure_lines(tables: Tables, before: Tables | None, kind: str, audio: Audio, bands_hz: pd.Series) -> list[str]:
    """A sentence for each group of cues that is above chance, or was before its cure.

    before: without cures; None where none is on. bands_hz: `bands_of`.
    """
    lines = _of_all_cues(tables, before, kind)
    for group in GROUPS:
        now, was = figure_of(tables, f"{PREFIX}{group}", kind), None if before is None else figure_of(before, f"{PREFIX}{group}", kind)
        name = CURES.get(group)
        if now is None:
            continue
        if name in cures_of(audio) and was is not None:
            left = f"{now.beside_chance}{LEFT.get(group, '')}" if now.is_clear else now.beside_chance
            setting = f"audio.{name}={_value(audio, name)}"
            lines.append(f"{group}: {percent(was.value)} without {setting}, {percent(now.value)} with it, {left}.")
        elif now.is_clear:
            lines.append(f"{group} {percent(now.value)}, above chance ({percent(now.chance)}). Cure: {_cure(group, bands_hz)}.")
    return lines


def _of_all_cues(tables: Tables, before: Tables | None, kind: str) -> list[str]:
    """A sentence on all cues together, which a cure of some leaves to the others; [] where none is on."""
    now, was = (None if one is None else figure_of(one, ALL, kind) for one in (tables, before))
    if now is None or was is None:
        return []
    return [f"All cues {kind}: {percent(was.value)} without the cures, {percent(now.value)} with them, {now.beside_chance}."]


def _value(audio: Audio, name: str) -> str:
    value = getattr(audio, name)
    return value if isinstance(value, str) else f"{value:g}"


def _cure(group: str, bands_hz: pd.Series) -> str:
    if group in WITHOUT:
        return WITHOUT[group]
    name = CURES[group]
    if name in VALUES:
        return f"audio.{name}={VALUES[name]}"
    lowest_hz = float(bands_hz.min())
    if lowest_hz > SAME_BAND * bands_hz.max():
        return f"no setting: all sources reach {lowest_hz:.0f} Hz; they differ below"
    return suggested_limit(lowest_hz)


def before_and_after(tables: Tables, before: Tables, kinds: Sequence[str]) -> pd.DataFrame:
    """A row for each system of cues: system, and for each kind <kind>_as_it_is and <kind>_cured, macro-F1 as fractions."""
    rows = []
    for system in (name for name in tables.axes.systems if name.startswith(PREFIX)):
        row: dict[str, object] = {"system": system}
        for kind in kinds:
            for side, which in (("as_it_is", before), ("cured", tables)):
                found = figure_of(which, system, kind)
                row[f"{kind}_{side}"] = float("nan") if found is None else found.value
        rows.append(row)
    return pd.DataFrame(rows)


def before_lines(tables: Tables, before: Tables | None, kinds: Sequence[str]) -> list[str]:
    """`before_and_after` as lines of plain text; [] where no cure is on."""
    if before is None:
        return []
    rows = _texts(before_and_after(tables, before, kinds))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    return ["", "the same cues of the audio as it is, and as the cures leave it, which is what systems hear:", *lines]


def before_markdown(tables: Tables, before: Tables | None, kinds: Sequence[str]) -> str:
    """The same as a section of Markdown; "" where no cure is on."""
    if before is None:
        return ""
    head, *rows = _texts(before_and_after(tables, before, kinds))
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n## Before and after the cures, macro-F1 in %\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _texts(table: pd.DataFrame) -> list[list[str]]:
    """The cells as text, the head first."""
    head = [name.replace("_", " ") for name in table.columns]
    return [head, *([row[0], *(percent(value) for value in row[1:])] for row in table.itertuples(index=False, name=None))]
