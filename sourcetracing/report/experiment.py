"""From the runs of an experiment to everything that people read: the last step of the street."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from sourcetracing.enrolment.tables import TEXTS as ENROLMENT_TEXTS
from sourcetracing.errors import UserError
from sourcetracing.layout import Layout, OpensetLayout, TablesLayout
from sourcetracing.openset.relatives import TEXTS as RELATIVES_TEXTS
from sourcetracing.openset.tables import TEXTS as OPENSET_TEXTS
from sourcetracing.protocols.leakage import read_audit
from sourcetracing.protocols.records import protocol_facts
from sourcetracing.protocols.relatives import load_labels, notes_on_labels
from sourcetracing.protocols.table import load_protocol
from sourcetracing.report.embeddings_tab import embeddings_tab, read_runs
from sourcetracing.report.explanation_tab import CHECK_TEXTS, SOURCE_TEXTS, explanation_tab
from sourcetracing.report.hierarchy_tab import hierarchy_tab
from sourcetracing.report.openset_tab import openset_tab
from sourcetracing.report.results_tab import tabs_of_tables, write_report
from sourcetracing.report.robustness_tab import robustness_tab
from sourcetracing.report.table_tabs import claims_tab, labels_tab, shortcuts_tab, speakers_tab
from sourcetracing.report.verification_tab import verification_tab
from sourcetracing.robustness.gains import TEXTS as GAINS_TEXTS
from sourcetracing.robustness.tables import TEXTS as ROBUSTNESS_TEXTS
from sourcetracing.robustness.tables import WORST_TEXTS
from sourcetracing.runtime.files import is_whole, read_csv, write_frame
from sourcetracing.runtime.outcomes import digest_of_inputs, made_once
from sourcetracing.scoring.scores import is_scored
from sourcetracing.settings.reading import ConfigSources, to_yaml
from sourcetracing.settings.schema import Settings
from sourcetracing.shortcuts.audit import MEANS_TEXTS as SHORTCUT_TEXTS
from sourcetracing.shortcuts.audit import best_system, dev_figures
from sourcetracing.speakers.counts import TEXTS as SPEAKER_TEXTS
from sourcetracing.speakers.counts import count_groups
from sourcetracing.speakers.records import labels_of
from sourcetracing.tables import hierarchy_text
from sourcetracing.tables.claims import check_claims
from sourcetracing.tables.floor import against_floor
from sourcetracing.tables.hierarchy import Hierarchy, make_hierarchy
from sourcetracing.tables.hierarchy_text import write_hierarchy
from sourcetracing.tables.labels import TEXTS as LABEL_TEXTS
from sourcetracing.tables.levelled_runs import levelled_runs
from sourcetracing.tables.making import Tables
from sourcetracing.tables.of_runs import table_of, with_units
from sourcetracing.tables.pictures import write_curves, write_pictures
from sourcetracing.tables.place import claim_tables, tables_of_others
from sourcetracing.tables.scored_runs import REPORTED_SPLIT, ScoredRun, environment_of, scored_runs
from sourcetracing.tables.significance import compare_systems, rank_stability
from sourcetracing.tables.text import terminal, write_text_tables
from sourcetracing.tables.writing import write_csv
from sourcetracing.training.matrix import those_trained
from sourcetracing.training.runs import TrainingRun, load_runs
from sourcetracing.training.table_plans import plans_of
from sourcetracing.verification.tables import TEXTS as VERIFICATION_TEXTS


def report_experiment(config: ConfigSources) -> str:
    """Writes the tables, figures and report of an experiment; returns the matrices and the paths as text. Raises `UserError`.

    Nothing is written again while all that they are made from is as it was.
    """
    settings, trained = config.resolve(), load_runs(config)
    _, lack = those_trained(trained)
    inputs = digest_of_inputs(_facts_of(settings, trained, lack), _files_read(settings, trained))
    return made_once(Layout.of(settings).report_record, inputs, lambda: _report(settings, trained, lack))


def _facts_of(settings: Settings, trained: Sequence[TrainingRun], lack: str) -> list:
    of_runs = [[run.system, run.train_set, run.seed, run.folder.name, to_yaml(run.settings), _has_scores(run)] for run in trained]
    return [to_yaml(settings), repr(plans_of(settings)), of_runs, labels_of(settings), protocol_facts(settings), lack]


def _has_scores(run: TrainingRun) -> bool:
    return run.files.is_finished and is_scored(run, REPORTED_SPLIT)


def _files_read(settings: Settings, trained: Sequence[TrainingRun]) -> list[Path]:
    """All that `_report` may read, whether it is there or not."""
    layout, files = Layout.of(settings), [run.files for run in trained]
    found = [layout.utterances, layout.protocol, layout.counts, layout.leakage, layout.pseudo_speakers, layout.speakers_record]
    found += [
        layout.speaker_objective_figure,
        layout.speaker_groups,
        layout.speaker_counts,
        layout.openset_table,
        layout.openset_by_language,
        layout.openset_relatives,
        layout.label_table,
        layout.verification_table,
        layout.verification_det,
        layout.enrolment_table,
        layout.enrolment_picture,
        layout.robustness_table,
        layout.robustness_worst,
        layout.robustness_picture,
        layout.robustness_gains,
    ]
    found += [layout.explanation_sources, layout.explanation_checks, layout.explanation_picture]
    found += [layout.shortcut_table, layout.shortcut_means, *sorted(layout.openset.glob("*/*/*"))]
    for run in files:
        found += [
            run.scores(REPORTED_SPLIT),
            run.scores("dev"),
            run.label_scores(REPORTED_SPLIT),
            run.history,
            *run.records,
            run.embeddings.pictures_record,
            run.embeddings.numbers,
            run.embeddings.points,
            run.embeddings.page,
            *sorted(run.embeddings.root.glob("*.png")),
        ]
    return found


def _report(settings: Settings, trained: Sequence[TrainingRun], lack: str) -> str:
    layout, runs = Layout.of(settings), with_units(scored_runs(trained), settings)
    made = [table_of(plan, trained, runs, settings) for plan in plans_of(settings)]
    floor = against_floor(made)
    claim_tables(settings)
    for tables in made:
        write_csv(tables, layout.tables)
        write_text_tables(tables, layout.tables)
        write_pictures(tables, layout.tables)
    write_curves(runs, layout.tables)
    statistics = compare(made) | {"floor": floor}
    for name, frame in statistics.items():
        write_frame(frame, TablesLayout(layout.tables).csv(name))
    levels = hierarchy_of(trained, settings)
    write_hierarchy(levels, layout.tables, settings.name, settings.experiment.floor)
    write_page(made, runs, statistics, settings, levels)
    lines = [
        "",
        *(f"{terminal(tables)}\n" for tables in made),
        f"{hierarchy_text.terminal(levels)}\n",
        f"tables: {layout.tables}",
        f"report: {layout.report}",
    ]
    return "\n".join([*lines, *filter(None, (tables_of_others(settings), lack))])


def hierarchy_of(trained: Sequence[TrainingRun], settings: Settings) -> Hierarchy:
    """The figures of all runs level by level, known and unknown sources."""
    evaluation, labels = settings.evaluation, load_labels(settings)
    is_labelled = (labels.reindex(settings.corpus.sources).fillna("") != "").any(axis=None)
    runs = levelled_runs(trained) if is_labelled else []
    made = make_hierarchy(runs, settings.corpus.sources, labels, evaluation.bootstrap_samples, settings.seed)
    made.notes += notes_on_labels(settings)
    return made


def compare(made: Sequence[Tables]) -> dict[str, pd.DataFrame]:
    """Which claims of the paper hold, which system is better in which cell, and whether seeds agree on the order: name -> table."""
    found = {"claims": check_claims(made)}
    for name, function in (("significance", compare_systems), ("rank_stability", rank_stability)):
        frames = [function(tables).assign(table=tables.plan.name) for tables in made]
        found[name] = pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)
    return found


def write_page(
    made: Sequence[Tables],
    runs: Sequence[ScoredRun],
    statistics: dict[str, pd.DataFrame],
    settings: Settings,
    levels: Hierarchy,
) -> None:
    """Writes report.html."""
    layout = Layout.of(settings)
    more_tabs = {
        **tabs_of_tables(made[1:]),
        "Claims": claims_tab(statistics["claims"], statistics["significance"], statistics["rank_stability"]),
        "Levels": hierarchy_tab(levels, settings.experiment.floor, _tree_pictures(layout, levels)),
        "Open set": openset_tab(
            *_openset_tables(layout),
            _openset_pictures(layout),
            settings.experiment.floor,
            _read(layout.openset_relatives, RELATIVES_TEXTS),
        ),
        "Labels": labels_tab(_label_table(layout, runs)),
        "Verification": verification_tab(
            _read(layout.verification_table, VERIFICATION_TEXTS),
            settings,
            {run.protocol for run in runs},
            _bytes(layout.verification_det),
            _read(layout.enrolment_table, ENROLMENT_TEXTS),
            _bytes(layout.enrolment_picture),
        ),
        "Robustness": robustness_tab(
            _read(layout.robustness_table, ROBUSTNESS_TEXTS),
            _read(layout.robustness_worst, WORST_TEXTS),
            settings,
            {run.protocol for run in runs},
            _bytes(layout.robustness_picture),
            _read(layout.robustness_gains, GAINS_TEXTS),
        ),
        "Embeddings": embeddings_tab(*read_runs([(run.system, run.train_set, run.seed, run.folder) for run in runs])),
        "Speakers": speakers_tab(_speaker_counts(settings), _facts(layout.speakers_record), _bytes(layout.speaker_objective_figure)),
        "Shortcuts": shortcuts_tab(_shortcut_means(layout, runs)),
        "Why": explanation_tab(
            _read(layout.explanation_sources, SOURCE_TEXTS),
            _read(layout.explanation_checks, CHECK_TEXTS),
            _bytes(layout.explanation_picture),
            {run.protocol for run in runs},
        ),
    }
    context = {"name": settings.name, "settings_yaml": to_yaml(settings), "environment": environment_of(runs)}
    leakage = read_audit(layout.leakage) if layout.leakage.is_file() else None
    write_report(made[0], runs, layout.report, corpus=_read(layout.counts, ["language"]), leakage=leakage, more_tabs=more_tabs, **context)


def _speaker_counts(settings: Settings) -> pd.DataFrame | None:
    """Table 2 of the labels and the protocol that the settings mean; counted again where script 03 left that of others last."""
    counts, labels = _read(Layout.of(settings).speaker_counts, SPEAKER_TEXTS), labels_of(settings)
    protocol = protocol_facts(settings)
    if counts is None or "labels" not in counts or not labels or not protocol:
        return counts
    is_ours = (counts["labels"] == labels).all() and (counts["protocol"] == protocol["digest"][:8]).all()
    try:
        return counts if is_ours else count_groups(settings, *load_protocol(settings))
    except UserError:  # labels of other utterances: no reason to have no report
        return None


def _read(path: Path, texts: Collection[str]) -> pd.DataFrame | None:
    return read_csv(path, texts=texts) if path.is_file() else None


def _shortcut_means(layout: Layout, runs: Sequence[ScoredRun]) -> pd.DataFrame | None:
    """What script 11 found, where that is of the protocol that the page is about; another one's figures would contradict it."""
    table = read_csv(layout.shortcut_table) if layout.shortcut_table.is_file() else None
    if table is None or ("protocol" in table and set(table["protocol"]) != {run.protocol for run in runs}):
        return None
    return _read(layout.shortcut_means, SHORTCUT_TEXTS)


def _label_table(layout: Layout, runs: Sequence[ScoredRun]) -> pd.DataFrame | None:
    """What script 06 found of several heads, of the protocol that the page is about."""
    table = _read(layout.label_table, LABEL_TEXTS)
    return None if table is None else table[table["protocol"].isin({run.protocol for run in runs})]


def _openset_tables(layout: Layout) -> list[pd.DataFrame | None]:
    return [_read(path, OPENSET_TEXTS) for path in (layout.openset_table, layout.openset_by_language)]


def _openset_pictures(layout: Layout) -> dict[str, dict[str, bytes]]:
    """Run folder's name -> file name -> PNG bytes."""
    found = [files for path in sorted(layout.openset.glob("*/*")) if is_whole((files := OpensetLayout(path)).record)]
    return {files.root.name: {path.name: image for path in files.pictures if (image := _bytes(path))} for files in found}


def _tree_pictures(layout: Layout, levels: Hierarchy) -> dict[str, bytes]:
    files, systems = TablesLayout(layout.tables), dict.fromkeys(system for system, _ in levels.confusions)
    return {
        f"{system}: answers of each source, in the order of the tree": files.picture(f"hierarchy_{system}").read_bytes()
        for system in systems
    }


def _facts(path: Path) -> dict | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def best_on_dev(runs: Sequence[TrainingRun]) -> TrainingRun:
    """The first finished run of the system that dev prefers. Raises StopIteration without a finished one."""
    finished = [run for run in runs if run.files.is_finished]
    best = best_system(dev_figures(finished))
    return next(run for run in finished if run.system == best)
