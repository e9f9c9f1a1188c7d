"""What `small_corpora.py` makes of the predictions that it has kept: means over seeds, differences from one system, their intervals.

Each eval utterance of a corpus is drawn once for all seeds, systems and test sets, within language x source; a seed takes the slice that
its split tests. So what is hard for two systems drops out of their difference, and what several seeds test is no news to the second. The
seeds are drawn too where there are three of them (`sourcetracing.metrics.bootstrap.over_seeds`). Seeds test other utterances, so part of
what differs between them is counted twice: the intervals are rather too wide.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sourcetracing.metrics.bootstrap import LEAST_SEEDS, Draws, over_seeds, percentile_interval
from sourcetracing.metrics.classification import confusion_matrix, macro_f1
from sourcetracing.runtime.seeding import rng
from sourcetracing.tables.axes import CROSS, MONO, POOLED, kind_of_cell

CELL_COLUMNS = ["system", "seed", "train", "utt_id", "variant", "language", "label", "prediction"]
FIGURE_COLUMNS = ["corpus", "tested", "system", "kind", "seeds", "mean", "sd", "against", "difference", "low", "high"]
TESTED = {POOLED: "trained on five variants, tested on all five", "original": "trained on five variants, tested on clean audio"}
SEED = 688  # of the resamples
MARKERS = ("<!-- made by benchmarks/small_corpora.py: begin -->", "<!-- made by benchmarks/small_corpora.py: end -->")

Side = dict[int, tuple[float, np.ndarray]]  # seed -> (macro-F1, its resamples (num_samples,)): means over cells


def figures_of(corpus: str, cells: pd.DataFrame, num_classes: int, against: str, num_samples: int = 1000) -> pd.DataFrame:
    """Percent, FIGURE_COLUMNS: a row for each system, mono and cross, and what is tested. cells: predictions, CELL_COLUMNS.

    sd: over seeds. difference, low, high: from the system `against`, on the seeds that both have; nan where there are none.
    """
    units = cells[["utt_id", "language", "label"]].drop_duplicates().sort_values("utt_id", ignore_index=True)
    numbers, strata = pd.factorize(pd.MultiIndex.from_frame(units[["language", "label"]]))
    draws = Draws(numbers, num_samples, lambda number: rng(SEED, "small corpora", *map(str, strata[number])))
    cells = cells.assign(unit=pd.Index(units["utt_id"]).get_indexer(cells["utt_id"]))
    rows = []
    for tested in TESTED:
        chosen = cells if tested == POOLED else cells[cells["variant"] == tested]
        sides = _sides(chosen, draws, num_classes)
        for (system, kind), side in sides.items():
            values = [value for value, _ in side.values()]
            sd = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
            compared = _difference(side, sides.get((against, kind), {})) if system != against else (np.nan,) * 3
            figures = [100 * float(number) for number in (np.mean(values), sd, *compared)]
            rows.append([corpus, tested, system, kind, len(side), *figures[:2], against, *figures[2:]])
    return pd.DataFrame(rows, columns=FIGURE_COLUMNS)


def _sides(cells: pd.DataFrame, draws: Draws, num_classes: int) -> dict[tuple[str, str], Side]:
    """(system, kind of cell) -> macro-F1 of each seed, the mean over its cells."""
    found: dict[tuple[str, str], dict[int, list]] = {}
    for (system, seed, train, language), rows in cells.groupby(["system", "seed", "train", "language"], sort=False, observed=True):
        labels, predictions = rows["label"].to_numpy(), rows["prediction"].to_numpy()
        value = float(macro_f1(confusion_matrix(labels, predictions, range(num_classes))))
        samples = macro_f1(draws.confusions(rows["unit"].to_numpy(), labels, predictions, num_classes))
        found.setdefault((system, kind_of_cell(train, language)), {}).setdefault(seed, []).append((value, samples))
    return {
        key: {seed: tuple(np.mean(part, axis=0) for part in zip(*own, strict=True)) for seed, own in by_seed.items()}
        for key, by_seed in found.items()
    }


def _difference(side: Side, other: Side) -> tuple[float, float, float]:
    """Mean difference over the seeds that both have, and its 95 % interval; nan for none."""
    shared = sorted(side.keys() & other.keys())
    if not shared:
        return np.nan, np.nan, np.nan
    value = float(np.mean([side[seed][0] - other[seed][0] for seed in shared]))
    samples = over_seeds({seed: side[seed][1] - other[seed][1] for seed in shared}, lambda seeds: rng(SEED, "small corpora", *seeds))
    return value, *percentile_interval(samples, value)


def table_lines(figures: pd.DataFrame, corpora: Sequence[str], systems: Sequence[str]) -> list[str]:
    """The Markdown tables of docs/log.md, one for each entry of TESTED; what was not run says so."""
    return [line for tested in TESTED for line in _table(figures[figures["tested"] == tested], tested, corpora, systems)]


def _table(figures: pd.DataFrame, tested: str, corpora: Sequence[str], systems: Sequence[str]) -> Iterator[str]:
    against = figures["against"].iloc[0] if len(figures) else "the floor"
    yield from ("", f"Macro-F1 in percent, {TESTED[tested]}:", "")
    yield f"| corpus | system | seeds | mono | cross | mono − `{against}` | cross − `{against}` |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    found = {(row.corpus, row.system, row.kind): row for row in figures.itertuples()}
    for corpus in corpora:
        for system in systems:
            sides = [found.get((corpus, system, kind)) for kind in (MONO, CROSS)]
            if None in sides:
                yield f"| {corpus} | `{system}` | 0 | not run | not run | | |"
                continue
            shown = [*(_mean_text(side) for side in sides), *(_difference_text(side) for side in sides)]
            yield f"| {corpus} | `{system}` | {min(side.seeds for side in sides)} | {' | '.join(shown)} |"
    yield ""


def _mean_text(row: object) -> str:
    return f"{row.mean:.1f}" + ("" if np.isnan(row.sd) else f" ± {row.sd:.1f}")


def _difference_text(row: object) -> str:
    if np.isnan(row.difference):
        return "–"
    mark = "" if row.seeds >= LEAST_SEEDS else " (utterances alone)"
    return f"{row.difference:+.1f} ({row.low:+.1f} to {row.high:+.1f}){mark}"


def table_in(document: str) -> list[str]:
    """The lines between the markers."""
    return document.split(MARKERS[0] + "\n")[1].split("\n" + MARKERS[1])[0].split("\n")


def written(figures: pd.DataFrame) -> str:
    """As CSV, with two decimals: what the table is made of."""
    return figures.round(2).to_csv(index=False)
