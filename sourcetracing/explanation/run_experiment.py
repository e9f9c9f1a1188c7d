"""What the answers of an experiment's runs rest on: values, tables, picture (explain_runs.py)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch

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
from sourcetracing.report.explanation_tab import CHECKS, CUES, LEGEND, check_cells, drop_text, source_cells
from sourcetracing.runtime.compute import prepare_device
from sourcetracing.runtime.files import read_csv, write_frame, write_text
from sourcetracing.runtime.outcomes import digest_of_inputs, made_once
from sourcetracing.settings.explaining import BEST
from sourcetracing.settings.reading import to_yaml
from sourcetracing.settings.schema import Settings
from sourcetracing.tables.scored_runs import REPORTED_SPLIT
from sourcetracing.training.matrix import those_trained
from sourcetracing.training.recorded import protocol_of_run
from sourcetracing.training.runs import TrainingRun


def explain_runs(runs: Sequence[TrainingRun], settings: Settings) -> str:
    """Explains the chosen runs (`explain.runs`), writes tables and picture; returns what a terminal shows. Raises `UserError`.

    Nothing is written again while runs, scores, the audit and settings are as they were.
    """
    trained, lack = those_trained(runs)
    chosen = [best_on_dev(trained)] if settings.explain.runs == BEST else list(trained)
    layout = Layout.of(settings)
    facts = [to_yaml(settings), [[run.folder.name, run.system, to_yaml(run.settings)] for run in chosen], lack]
    files = [path for run in chosen for path in (run.files.weights, run.files.scores(REPORTED_SPLIT), *run.files.records)]
    files += [layout.utterances, layout.protocol, layout.shortcut_table, layout.shortcut_scores, layout.cured_shortcut_scores]
    layout.explanation.mkdir(parents=True, exist_ok=True)
    return made_once(layout.explanation_record, digest_of_inputs(facts, files), lambda: _tables(chosen, settings, lack))


def _tables(runs: Sequence[TrainingRun], settings: Settings, lack: str) -> str:
    layout, how = Layout.of(settings), Resampling(settings.evaluation.bootstrap_samples, settings.seed)
    device = prepare_device(settings.compute)
    parts = [_explain(run, settings, device, how) for run in runs]
    bands, sources, checks, deletions = (pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True))
    paths = (layout.explanation_table, layout.explanation_sources, layout.explanation_checks, layout.explanation_deletion)
    for frame, path in zip((bands, sources, checks, deletions), paths, strict=True):
        write_frame(frame, path)
    draw_runs(bands, layout.explanation_picture)
    text = markdown(bands, sources, checks)
    write_text(layout.explanation_text, text)
    return "\n".join(filter(None, (text.partition("\n## By language")[0], lack, f"wrote {layout.explanation_text}")))


def _explain(run: TrainingRun, settings: Settings, device: torch.device, how: Resampling) -> tuple[pd.DataFrame, ...]:
    values = values_of(run, device)
    bands = third_octaves(run.settings.explain.lowest_hz, run.settings.audio.sample_rate)
    facts = {"system": run.system, "train_set": run.train_set, "seed": run.seed, "protocol": _protocol(run)}
    table, deletions = band_table(values, bands, how), deletion_table(values, how)
    tables = (table, source_table(values, table, _cues(run, settings)), check_table(values, deletions, how), deletions)
    return tuple(with_run(one, facts) for one in tables)


def _protocol(run: TrainingRun) -> str:
    return protocol_of_run(run)["digest"][:8]


def _cues(run: TrainingRun, settings: Settings) -> pd.DataFrame | None:
    """Of the audit, where script 11 made one of this protocol and training set."""
    layout = Layout.of(settings)
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
