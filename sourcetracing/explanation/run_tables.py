"""Tables of what a run's answers rest on, from the values of its utterances: by band, by source, checks of the maps.

Means are over utterances; intervals are percentiles of resamples of these, drawn as everywhere (`sourcetracing.metrics.bootstrap`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sourcetracing.explanation.bands import Band
from sourcetracing.explanation.drops import disagree, importance
from sourcetracing.explanation.run_values import BAND, DELETION, SHUFFLED
from sourcetracing.metrics.bootstrap import Draws
from sourcetracing.metrics.classification import confusion_matrix, f1_of_present
from sourcetracing.runtime.seeding import rng
from sourcetracing.shortcuts.baselines import ALL, HEARD, PREFIX

EVERY = "all"  # languages, or sources, together
RUN_COLUMNS = ["system", "train_set", "seed", "protocol"]
FIGURES = ["utterances", "mean_drop", "ci_low", "ci_high", "mean_removed", "mean_noise", "disagree", "absent"]


@dataclass(frozen=True)
class Resampling:
    """How intervals are made: how many resamples, and the seed that they depend on."""

    samples: int
    seed: int


def mean_with_interval(values_UX: np.ndarray, how: Resampling, *keys: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means (X,) over utterances (U, X) and the ends of their 95 % intervals; nan is left out. No interval of fewer than two."""
    known = ~np.isnan(values_UX)
    counts = known.sum(axis=0)
    filled = np.where(known, values_UX, 0.0)
    means = np.where(counts, filled.sum(axis=0) / np.maximum(counts, 1), np.nan)
    if len(values_UX) < 2 or not how.samples:
        return means, np.full(means.shape, np.nan), np.full(means.shape, np.nan)
    draws = Draws(np.zeros(len(values_UX), dtype=int), how.samples, lambda stratum: rng(how.seed, "explanation", *keys))
    weights = draws.counts.astype(np.float64)
    total = weights @ known
    resampled = np.where(total, weights @ filled / np.maximum(total, 1), np.nan)
    enough = counts >= 2
    low, high = (np.full(means.shape, np.nan) for _ in range(2))
    if enough.any():
        low[enough], high[enough] = np.nanpercentile(resampled[:, enough], [2.5, 97.5], axis=0)
    return means, low, high


def band_table(values: pd.DataFrame, bands: Sequence[Band], how: Resampling) -> pd.DataFrame:
    """One row for each source, language (and EVERY) and band: FIGURES, how many utterances have the band, mean of the deepest fall."""
    rows = values[values["kind"] == BAND]
    parts = []
    for source, of_source in rows.groupby("source", sort=False):
        for language in (EVERY, *dict.fromkeys(of_source["language"])):
            chosen = of_source if language == EVERY else of_source[of_source["language"] == language]
            drops = _drops(chosen, len(bands))
            figures = pd.DataFrame(_figures(drops, how, str(source), str(language)))
            place = {"source": source, "language": language, "low_hz": [b.low for b in bands], "high_hz": [b.high for b in bands]}
            parts.append(pd.concat([pd.DataFrame(place), figures], axis=1))
    return pd.concat(parts, ignore_index=True)


def _drops(rows: pd.DataFrame, num_bands: int) -> np.ndarray:
    """(F, U, B) of rows of the kind BAND, which come utterance by utterance."""
    return np.stack([rows[column].to_numpy(dtype=float).reshape(-1, num_bands) for column in ("first", "second")])


def _figures(drops_FUB: np.ndarray, how: Resampling, *keys: str) -> dict[str, np.ndarray]:
    there = np.isfinite(drops_FUB[0])
    counts = there.sum(axis=0)
    means, low, high = mean_with_interval(importance(drops_FUB), how, *keys)
    removed, noise = (mean_with_interval(one, Resampling(0, 0))[0] for one in drops_FUB)
    apart = np.where(counts, (disagree(drops_FUB) & there).sum(axis=0) / np.maximum(counts, 1), np.nan)
    return dict(zip(FIGURES, (counts, means, low, high, removed, noise, apart, 1 - there.mean(axis=0)), strict=True))


def source_table(values: pd.DataFrame, table: pd.DataFrame, cues: pd.DataFrame | None) -> pd.DataFrame:
    """One row for each source: utterances, the share answered right, the two bands that carry most, the cue that tells it best.

    cues: source, cue, f1 of `cue_figures`; None where no audit was made: then best_cue is empty.
    """
    found = []
    per_utterance = values.drop_duplicates("utt_id")
    for source, own in per_utterance.groupby("source", sort=False):
        bands = table[(table["source"] == source) & (table["language"] == EVERY)].dropna(subset=["mean_drop"])
        leading = bands.sort_values("mean_drop", ascending=False, kind="stable").head(2)
        row = {"source": source, "utterances": len(own), "right": float(own["right"].mean()), "mean_llr": float(own["llr"].mean())}
        row |= _leading(leading)
        best = None if cues is None else cues[cues["source"] == source].sort_values("f1", ascending=False, kind="stable").head(1)
        has_cue = best is not None and len(best)
        row |= {"best_cue": best["cue"].iloc[0] if has_cue else "", "cue_f1": float(best["f1"].iloc[0]) if has_cue else np.nan}
        found.append(row)
    return pd.DataFrame(found)


def _leading(bands: pd.DataFrame) -> dict[str, float | str]:
    texts = [Band(row.low_hz, row.high_hz).text for row in bands.itertuples()]
    first = bands.iloc[0] if len(bands) else {}
    figures = {name: float(first[name]) if len(bands) else np.nan for name in ("mean_drop", "ci_low", "ci_high")}
    second = float(bands["mean_drop"].iloc[1]) if len(bands) > 1 else np.nan
    return {"band": texts[0] if texts else "", **figures, "second_band": texts[1] if len(texts) > 1 else "", "second_drop": second}


def deletion_table(values: pd.DataFrame, how: Resampling) -> pd.DataFrame:
    """One row for each number of bands: the mean drop without the most important ones, without drawn ones, and their paired difference."""
    rows = values[values["kind"] == DELETION]
    found = []
    for number, own in rows.groupby("number", sort=True):
        first, second = own["first"].to_numpy(dtype=float), own["second"].to_numpy(dtype=float)
        (mean,), (low,), (high,) = mean_with_interval((first - second)[:, None], how, "deletion", str(number))
        found.append(
            {
                "bands": int(number),
                "utterances": len(own),
                "by_importance": first.mean(),
                "drawn": second.mean(),
                "difference": mean,
                "ci_low": low,
                "ci_high": high,
            }
        )
    return pd.DataFrame(found)


def check_table(values: pd.DataFrame, deletions: pd.DataFrame, how: Resampling) -> pd.DataFrame:
    """One row: the mean difference of the two deletion curves with its interval, and how alike the shuffled network's maps are."""
    rows = values[values["kind"] == DELETION]
    areas = (rows["first"] - rows["second"]).astype(float).groupby(rows["utt_id"], sort=False).mean().to_numpy()
    (area,), (low,), (high,) = mean_with_interval(areas[:, None], how, "areas")
    alike = values.loc[values["kind"] == SHUFFLED, "first"].astype(float)
    (correlation,), (least,), (most,) = mean_with_interval(alike.to_numpy()[:, None], how, "shuffled") if len(alike) else [[np.nan]] * 3
    return pd.DataFrame(
        [
            {
                "utterances": values["utt_id"].nunique(),
                "by_importance": deletions["by_importance"].mean() if len(deletions) else np.nan,
                "drawn": deletions["drawn"].mean() if len(deletions) else np.nan,
                "difference": area,
                "ci_low": low,
                "ci_high": high,
                "shuffled_utterances": int(alike.notna().sum()),
                "shuffled_correlation": correlation,
                "shuffled_low": least,
                "shuffled_high": most,
            }
        ]
    )


def cue_figures(scores: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """F1 of each source by each group of cues alone: columns source, cue, f1. scores: of script 11, of one training set."""
    found = []
    for system, rows in scores.groupby("system", sort=False):
        if system in (ALL, HEARD):
            continue
        known = rows[rows["label"] >= 0]
        confusion = confusion_matrix(known["label"].to_numpy(), known["prediction"].to_numpy(), range(len(classes)))
        cue = str(system).removeprefix(PREFIX)
        found += [{"source": name, "cue": cue, "f1": float(f1)} for name, f1 in zip(classes, f1_of_present(confusion), strict=True)]
    return pd.DataFrame(found, columns=["source", "cue", "f1"])


def with_run(table: pd.DataFrame, run: Mapping[str, object]) -> pd.DataFrame:
    """RUN_COLUMNS before the others."""
    return pd.concat([pd.DataFrame({name: [run[name]] * len(table) for name in RUN_COLUMNS}), table.reset_index(drop=True)], axis=1)
