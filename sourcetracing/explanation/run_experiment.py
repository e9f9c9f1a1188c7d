"""What the answers of an experiment's runs rest on: values, tables, picture (explain_runs.py)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch

from sourcetracing.drawing.text import percent
from sourcetracing.explanation.bands import third_octaves
from sourcetracing.explanation.run_pictures import draw_runs
from sourcetracing.explanation.run_tables import (
    EVERY,
    Resampling,
    band_table,
    check_table,
    cue_figures,
    deletion_table,
    source_table,
    with_run,
)
from sourcetracing.explanation.run_values import values_of
from sourcetracing.layout import Layout
from sourcetracing.report.experiment import best_on_dev
from sourcetracing.runtime.compute import prepare_device
from sourcetracing.runtime.files import read_csv, write_frame, write_text
from sourcetracing.settings.explaining import BEST
from sourcetracing.settings.schema import Settings
from sourcetracing.training.matrix import those_trained
from sourcetracing.training.recorded import protocol_of_run
from sourcetracing.training.runs import TrainingRun

LEGEND = (
    "A band of a third of an octave is taken away from an utterance, once left empty (50 dB weaker), once filled with noise as loud as the "
    "bands beside it. Drop: how far the log-likelihood ratio of the decided source against all others falls (natural logarithm; 2.3 is a "
    "factor of ten), the deeper of both falls, a mean over utterances, in brackets its 95 % interval over utterances."
)
CHECKS = (
    "Deletion: the mean drop when 1, 2, 4, ... bands go, the most important ones first, less that when drawn ones go; above 0 the order "
    "means something. Shuffled: the rank correlation of a map with that of the same network with its last layer shuffled; near 1 the maps "
    "would not be of what was learned."
)
CUES = "Best cue: the group of trivial cues (script 11) that alone tells this source best, with its F1."


def explain_runs(runs: Sequence[TrainingRun], settings: Settings) -> str:
    """Explains the chosen runs (`explain.runs`), writes tables and picture; returns what a terminal shows. Raises `UserError`."""
    trained, lack = those_trained(runs)
    chosen = [best_on_dev(trained)] if settings.explain.runs == BEST else list(trained)
    layout, how = Layout.of(settings), Resampling(settings.evaluation.bootstrap_samples, settings.seed)
    device = prepare_device(settings.compute)
    parts = [_explain(run, device, how) for run in chosen]
    bands, sources, checks, deletions = (pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True))
    paths = (layout.explanation_table, layout.explanation_sources, layout.explanation_checks, layout.explanation_deletion)
    for frame, path in zip((bands, sources, checks, deletions), paths, strict=True):
        write_frame(frame, path)
    draw_runs(bands, layout.explanation_picture)
    text = markdown(bands, sources, checks)
    write_text(layout.explanation_text, text)
    return "\n".join(filter(None, (text.partition("\n## By language")[0], lack, f"wrote {layout.explanation_text}")))


def _explain(run: TrainingRun, device: torch.device, how: Resampling) -> tuple[pd.DataFrame, ...]:
    settings, values = run.settings, values_of(run, device)
    bands = third_octaves(settings.explain.lowest_hz, settings.audio.sample_rate)
    facts = {"system": run.system, "train_set": run.train_set, "seed": run.seed, "protocol": _protocol(run)}
    table, deletions = band_table(values, bands, how), deletion_table(values, how)
    tables = (table, source_table(values, table, _cues(run)), check_table(values, deletions, how), deletions)
    return tuple(with_run(one, facts) for one in tables)


def _protocol(run: TrainingRun) -> str:
    return protocol_of_run(run)["digest"][:8]


def _cues(run: TrainingRun) -> pd.DataFrame | None:
    """Of the audit, where script 11 made one of this protocol and training set."""
    settings, layout = run.settings, Layout.of(run.settings)
    paths = [path for path in (layout.cured_shortcut_scores, layout.shortcut_scores) if path.is_file()]
    if not paths or not layout.shortcut_table.is_file():
        return None
    audited = read_csv(layout.shortcut_table)
    if "protocol" not in audited or set(audited["protocol"]) != {_protocol(run)}:
        return None
    scores = pd.read_parquet(paths[0])
    scores = scores[scores["train_set"] == run.train_set]
    return cue_figures(scores, settings.corpus.sources) if len(scores) else None


def markdown(bands: pd.DataFrame, sources: pd.DataFrame, checks: pd.DataFrame) -> str:
    """tables/explanation.md: sources of each run, checks, and by language the band that carries most."""
    lines = ["# What answers rest on", "", LEGEND, ""]
    for (system, train_set, seed), own in sources.groupby(["system", "train_set", "seed"], sort=False):
        lines += [f"## {system}, trained on {train_set}, seed {seed}", "", _grid(own.apply(source_cells, axis=1, result_type="expand")), ""]
        lines += [] if (own["best_cue"] == "").all() else [CUES, ""]
    return "\n".join([*lines, CHECKS, "", _grid(checks.apply(check_cells, axis=1, result_type="expand")), "", *_by_language(bands)])


def source_cells(row: pd.Series) -> dict[str, str]:
    """Heading -> text of one source of a run."""
    cells = {
        "source": row["source"],
        "utterances": str(row["utterances"]),
        "right": percent(row["right"]),
        "LLR": f"{row['mean_llr']:.1f}",
        "rests most on": row["band"],
        "drop": drop_text(row["mean_drop"], row["ci_low"], row["ci_high"]),
        "then on": f"{row['second_band']} ({row['second_drop']:.1f})" if row["second_band"] else "",
    }
    return {**cells, "best cue": f"{row['best_cue']} ({percent(row['cue_f1'])})" if row["best_cue"] else "no audit"}


def check_cells(row: pd.Series) -> dict[str, str]:
    """Heading -> text of the checks of one run."""
    return {
        "system": f"{row['system']}, {row['train_set']}, seed {row['seed']}",
        "utterances": str(row["utterances"]),
        "most important first": f"{row['by_importance']:.1f}",
        "drawn": f"{row['drawn']:.1f}",
        "difference": drop_text(row["difference"], row["ci_low"], row["ci_high"]),
        "shuffled": drop_text(row["shuffled_correlation"], row["shuffled_low"], row["shuffled_high"], digits=2),
    }


def drop_text(value: float, low: float, high: float, digits: int = 1) -> str:
    """`3.1 (2.2 to 4.0)`; nothing for nan."""
    if value != value:
        return ""
    return f"{value:.{digits}f}" if low != low else f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _grid(table: pd.DataFrame) -> str:
    head = [f"| {' | '.join(table.columns)} |", f"|{'---|' * len(table.columns)}"]
    return "\n".join([*head, *(f"| {' | '.join(map(str, row))} |" for row in table.itertuples(index=False, name=None))])


def _by_language(bands: pd.DataFrame) -> list[str]:
    own = bands[(bands["language"] != EVERY) & bands["mean_drop"].notna()]
    if own["language"].nunique() < 2:
        return []
    leading = own.loc[own.groupby(["system", "train_set", "seed", "source", "language"], sort=False)["mean_drop"].idxmax()]
    shown = pd.DataFrame(
        {
            "system": leading["system"] + ", " + leading["train_set"],
            "source": leading["source"],
            "language": leading["language"],
            "utterances": leading["utterances"],
            "rests most on": [f"{row.low_hz:,.0f}–{row.high_hz:,.0f} Hz" for row in leading.itertuples()],
            "drop": [drop_text(row.mean_drop, row.ci_low, row.ci_high) for row in leading.itertuples()],
        }
    )
    return ["## By language", "", _grid(shown), ""]
