"""What the files of each source have in common, and which source gives itself away by it (script 02).

Rate and coding: what most of its files have. Level, silence at both ends, bandwidth, length: the median over its files, with a spread,
1.4826 times the median distance from it (the standard deviation, were it normal). Spread within sources is the median of those.

A source stands out where its median is away from the median of the others' by more than the spread within sources and twice the error of
its own median (1.25 spread / sqrt(files)), and by more than a step that nobody would learn from (`MEASURES`). In rate, where it is lower
than that of others; in coding, where its codec is not that of most sources. What lies above half of audio.sample_rate is not heard: rates
and bandwidths are compared up to there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sourcetracing.settings.frontends import Audio

NUM_NAMED = 3
PASSING = 0.85  # of where a band ends: resamplers and telephones pass about so much of it unchanged
LEAST_FILES = 8  # of a source: the median of fewer says too little about it
MOST_ROWS = 12  # of the printed table; where there are more sources, those that stand out
TEXTS = ("source", "coding")
COMMON = ("sample_rate", "coding")
NO_CURE = "no setting cures that"


@dataclass(frozen=True)
class Measure:
    """A measured fact. less, more: what a source with a smaller or larger figure is, its distance for {}; step: the least that counts."""

    step: float
    less: str
    more: str
    cure: Callable[[pd.DataFrame, Audio], str]


def suggested_limit(lowest_hz: float) -> str:
    """The setting that takes away all that tells the narrowest source, whose spectrum ends at `lowest_hz` and falls from well below."""
    return f"audio.band_limit_hz={max(1000, int(PASSING * lowest_hz // 100) * 100)}"


def _limit(table: pd.DataFrame, audio: Audio) -> str:
    return suggested_limit(min(float(table["bandwidth_low_hz"].min()), audio.sample_rate / 2 - 100))


def _crop(table: pd.DataFrame, audio: Audio) -> str:
    shortest = float(table["duration_s"].min())
    if shortest >= audio.crop_seconds:
        return f"{NO_CURE}; a crop does not tell it"
    return f"{NO_CURE}; with audio.crop_seconds={shortest:.1f} most files fill a crop"


def _trim(table: pd.DataFrame, audio: Audio) -> str:
    return "audio.trim_silence_db=40"


MEASURES = {
    "rms_dbfs": Measure(1.0, "{:.0f} dB quieter", "{:.0f} dB louder", lambda *_: "audio.normalize=rms"),
    "leading_silence_s": Measure(0.04, "{:.2f} s less silent at the beginning", "{:.2f} s longer silent at the beginning", _trim),
    "trailing_silence_s": Measure(0.04, "{:.2f} s less silent at the end", "{:.2f} s longer silent at the end", _trim),
    "bandwidth_hz": Measure(300.0, "narrower by {:.0f} Hz", "wider by {:.0f} Hz", _limit),
    "duration_s": Measure(0.5, "{:.1f} s shorter", "{:.1f} s longer", _crop),
}


def table_of_facts(utterances: pd.DataFrame) -> pd.DataFrame:
    """A row for each source, by name: source, files, then of COMMON what most files have and <name>_share, of MEASURES the median and
    <name>_spread, and bandwidth_low_hz, which 90 % of the files exceed.

    utterances: columns source, and those that the check pass found (`FACTS_OF_GOOD`).
    """
    rows = []
    for source, files in utterances.groupby("source", sort=True):
        row = {"source": source, "files": len(files)}
        for name in COMMON:
            counts = files[name].value_counts()
            row |= {name: sorted(counts.index[counts == counts.max()])[0], f"{name}_share": round(float(counts.max()) / len(files), 4)}
        for name in MEASURES:
            median = files[name].median()
            row |= {name: round(median, 4), f"{name}_spread": round(1.4826 * (files[name] - median).abs().median(), 4)}
        rows.append({**row, "bandwidth_low_hz": round(float(files["bandwidth_hz"].quantile(0.1)), 1)})
    return pd.DataFrame(rows)


def standing_out(table: pd.DataFrame, audio: Audio) -> dict[str, np.ndarray]:
    """Fact -> how far each source (rows of `table_of_facts`) is from the others, 0 where it does not stand out.

    Of rate and coding 1 where it does.
    """
    heard = table.assign(
        sample_rate=table["sample_rate"].clip(upper=audio.sample_rate), bandwidth_hz=table["bandwidth_hz"].clip(upper=audio.sample_rate / 2)
    )
    if len(table) < 2:
        return {name: np.zeros(len(table)) for name in (*COMMON, *MEASURES)}
    found = {"sample_rate": heard["sample_rate"] < heard["sample_rate"].max(), "coding": (kinds := _kinds(table)) != kinds.mode()[0]}
    found = {name: outside.to_numpy(float) for name, outside in found.items()}
    return found | {name: _distances(heard, name, measure.step) for name, measure in MEASURES.items()}


def _kinds(table: pd.DataFrame) -> pd.Series:
    """Of codings, the codec: that of FLAC PCM_16 and WAV PCM_16 is the same."""
    return table["coding"].str.split(" ").str[-1]


def _distances(table: pd.DataFrame, name: str, step: float) -> np.ndarray:
    values, spread = table[name].to_numpy(float), float(table[f"{name}_spread"].median())
    distances = np.zeros(len(table))
    for place, value in enumerate(values):
        if table["files"].iloc[place] < LEAST_FILES:
            continue
        distance = value - np.nanmedian(np.delete(values, place)) if np.isfinite(np.delete(values, place)).any() else np.nan
        error = 1.25 * max(spread, float(table[f"{name}_spread"].iloc[place])) / np.sqrt(table["files"].iloc[place])
        if abs(distance) > max(step, spread + 2 * error):  # not so for nan
            distances[place] = distance
    return distances


def remarks_on(table: pd.DataFrame, audio: Audio) -> list[str]:
    """A sentence for each fact and direction in which sources stand out, with the setting that cures it."""
    found, sources = standing_out(table, audio), table["source"].to_numpy()
    others, lines = "the other" if len(table) == 2 else "the others", []
    for name, distances in found.items():
        if name in COMMON:
            lines += _on_common(table, name, distances > 0, audio)
            continue
        measure = MEASURES[name]
        signs = (-1, 1) if len(table) > 2 else (-1,) if name == "bandwidth_hz" else (1,)  # of two, one sentence says it
        for sign in signs:
            if not (outside := distances * sign > 0).any():
                continue
            words = (measure.more if sign > 0 else measure.less).format(np.median(np.abs(distances[outside])))
            are = "is" if outside.sum() == 1 else "are (in the median)"
            lines.append(f"{_named(sources[outside])} {are} {words} than {others}: {_or_is_on(measure.cure(table, audio), audio)}")
    return lines


def _on_common(table: pd.DataFrame, name: str, outside: np.ndarray, audio: Audio) -> list[str]:
    if not outside.any():
        return []
    rows, usual = table[outside], table.loc[~outside, name].mode()[0]
    what = ", ".join(map(str, sorted(rows[name].unique())[:NUM_NAMED]))
    if name == "coding":
        return [f"{_named(rows['source'])}: mostly {what}, others {usual}: what a codec leaves, {NO_CURE}; level, silence, bandwidth apart"]
    cure = suggested_limit(rows[name].min() / 2)
    return [f"{_named(rows['source'])}: mostly {what} Hz, others {usual} Hz: {_or_is_on(cure, audio)}"]


def _or_is_on(cure: str, audio: Audio) -> str:
    """The cure, or that it is on."""
    name = cure.partition("=")[0]
    if not name.startswith("audio.") or name == "audio.crop_seconds":
        return cure
    value = getattr(audio, name.removeprefix("audio."))
    return cure if value in (0, "none") else f"cured by {name}={value if isinstance(value, str) else f'{value:g}'}"


def _named(sources) -> str:
    names = list(sources)
    return ", ".join(names[:NUM_NAMED]) + (f" and {len(names) - NUM_NAMED} more" if len(names) > NUM_NAMED else "")


def printed(table: pd.DataFrame, audio: Audio) -> str:
    """Eight columns of plain text; of more than MOST_ROWS sources those that stand out, "" where none does."""
    if len(table) > MOST_ROWS:
        table = table[np.logical_or.reduce([distances != 0 for distances in standing_out(table, audio).values()])]
    if table.empty:
        return ""
    shown = pd.DataFrame(
        {
            "source": table["source"],
            "files": table["files"],
            "Hz": _with_share(table, "sample_rate"),
            "coding": _with_share(table, "coding"),
            "s": table["duration_s"].map("{:.1f}".format),
            "dBFS": [f"{level:.1f}±{spread:.1f}" for level, spread in zip(table["rms_dbfs"], table["rms_dbfs_spread"], strict=True)],
            "silent s": [
                f"{lead:.2f} / {trail:.2f}" for lead, trail in zip(table["leading_silence_s"], table["trailing_silence_s"], strict=True)
            ],
            "up to Hz": table["bandwidth_hz"].map("{:.0f}".format),
        }
    )
    return shown.to_string(index=False)


def _with_share(table: pd.DataFrame, name: str) -> list[str]:
    """What most files have, and where they do not all have it, how many do."""
    pairs = zip(table[name], table[f"{name}_share"], strict=True)
    return [str(value) if share == 1 else f"{value} ({share:.0%})" for value, share in pairs]
