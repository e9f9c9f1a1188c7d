"""What variants in training buy: runs that differ in nothing but train.variants, on the same utterances after the same operations.

A gain is macro-F1 of the run that heard more less that of the one that heard less; spared is how much less of its clean figure it loses.
Both are taken within the same resamples of utterances, so their intervals are paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from sourcetracing.drawing.text import percent, points
from sourcetracing.features.rows import UNKNOWN_LABEL
from sourcetracing.layout import Layout
from sourcetracing.metrics.bootstrap import percentile_interval
from sourcetracing.metrics.classification import confusion_matrix, macro_f1
from sourcetracing.robustness.evaluation import Judged
from sourcetracing.robustness.tables import markdown_lines
from sourcetracing.robustness.utterances import CLEAN
from sourcetracing.runtime.files import write_frame, write_text
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import shown_system, trained_variants
from sourcetracing.training.runs import TrainingRun, front_end_key, run_recipe

PAIR = ["system", "than", "train_set", "seed"]  # system: heard more; than: heard less
TEXTS = ["system", "than", "train_set", "operation", "protocol"]
LEGEND = (
    "Runs that differ in the acoustic variants of training alone. Gain: macro-F1 of the system less that of the other, in points. "
    "Spared: how many points less it loses from clean. In brackets 95 % intervals, both systems in the same resamples of utterances. "
    "An interval with 0 inside shows no difference; one training run each, so another seed may move all of them."
)


def pairs_of(runs: Sequence[TrainingRun]) -> list[tuple[TrainingRun, TrainingRun]]:
    """(heard more, heard less) of runs that are alike but for that: languages, seed, front-end, back-end, training."""
    likeness = [_all_but_variants(run) for run in runs]
    heard = [set(trained_variants(run.settings)) for run in runs]
    places = [(more, less) for more in range(len(runs)) for less in range(len(runs)) if heard[more] > heard[less]]
    return [(runs[more], runs[less]) for more, less in places if likeness[more] == likeness[less]]


def _all_but_variants(run: TrainingRun) -> tuple:
    recipe = run_recipe(run.settings)
    train = {name: value for name, value in recipe["train"].items() if name != "variants"}
    return run.train_set, run.seed, front_end_key(run.settings), {**recipe, "train": train}


def gains_of(judged: Judged, more: Mapping[str, np.ndarray], less: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """A row for each operation, CLEAN first: operation, macro_f1, macro_f1_less, gain and spared with _low and _high.

    more, less: operation -> the classes (N,) that each run takes the utterances for.
    """
    figures = {name: [_figure(judged, predicted[name]) for predicted in (more, less)] for name in more}
    draws, units = judged.draws()
    samples = {name: [_resampled(judged, predicted[name], draws, units) for predicted in (more, less)] for name in more}
    clean_gain, clean_samples = (one[CLEAN][0] - one[CLEAN][1] for one in (figures, samples))
    rows = []
    for name, (own, other) in figures.items():
        gain, gains = own - other, samples[name][0] - samples[name][1]
        row = {"operation": name, "macro_f1": own, "macro_f1_less": other}
        for figure, value, resampled in (("gain", gain, gains), ("spared", gain - clean_gain, gains - clean_samples)):
            low, high = percentile_interval(resampled, value)
            row |= {figure: value, f"{figure}_low": low, f"{figure}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def _figure(judged: Judged, predictions: np.ndarray) -> float:
    labels = judged.table["label"].to_numpy()
    known = labels != UNKNOWN_LABEL
    return float(macro_f1(confusion_matrix(labels[known], predictions[known], range(len(judged.classes)))))


def _resampled(judged: Judged, predictions: np.ndarray, draws, units: np.ndarray) -> np.ndarray:
    labels = judged.table["label"].to_numpy()
    known = labels != UNKNOWN_LABEL
    return macro_f1(draws.confusions(units[known], labels[known], predictions[known], len(judged.classes)))


def write_gains(table: pd.DataFrame, settings: Settings) -> str:
    """Writes tables/robustness_gains.{csv,md} of PAIR, protocol and the columns of `gains_of`; the text for a terminal, "" without any.

    Those of an earlier call, of other runs or operations, do not stay.
    """
    layout = Layout.of(settings)
    if table.empty:
        for path in (layout.robustness_gains, layout.robustness_gains_text):
            path.unlink(missing_ok=True)
        return ""
    write_frame(table[[*PAIR, *(name for name in table.columns if name not in PAIR)]], layout.robustness_gains)
    lines, shown = [f"# What variants in training buy: {settings.name}", "", LEGEND], [LEGEND]
    for name, texts in gain_texts(table, settings.experiment.floor):
        lines += ["", f"## {name}", "", *markdown_lines(texts)]
        shown += ["", name, texts.to_string(index=False)]
    write_text(layout.robustness_gains_text, "\n".join(lines) + "\n")
    return "\n".join(["", "", *shown, f"tables: {layout.robustness_gains}, {layout.robustness_gains_text.name}"])


def gain_texts(table: pd.DataFrame, floor: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """(what is compared, its rows as texts) for each pair."""
    for (system, than, train_set, seed), rows in table.groupby(PAIR, sort=False):
        yield f"{shown_system(system, floor)} against {shown_system(than, floor)}, trained on {train_set}, seed {int(seed)}", _texts(rows)


def _texts(rows: pd.DataFrame) -> pd.DataFrame:
    shown = pd.DataFrame({"operation": rows["operation"]})
    for heading, name in (("heard more", "macro_f1"), ("heard less", "macro_f1_less")):
        shown[heading] = [percent(value) for value in rows[name]]
    for name in ("gain", "spared"):
        ends = zip(rows[name], rows[f"{name}_low"], rows[f"{name}_high"], strict=True)
        shown[name] = [f"{points(value)} ({points(low)} to {points(high)})" for value, low, high in ends]
    shown.loc[rows["operation"] == CLEAN, "spared"] = ""
    return shown
