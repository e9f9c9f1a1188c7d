"""Open-set detection for the trained runs of an experiment: fit on train, threshold from dev, report eval (script 07).

Below exp/<name>/openset/<system>/<run>/ lie scores_dev.parquet and scores_eval.parquet (the score of every detector for each row),
figures.csv, relatives.csv (eval's unknown sources by their relation to known ones), the pictures, and, written last, detectors.json: the
thresholds and what all of it was made from. While that is unchanged, nothing is made again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout, OpensetLayout
from sourcetracing.metrics.ranking import threshold_at_eer
from sourcetracing.openset.detectors import make_detectors
from sourcetracing.openset.evaluation import evaluate
from sourcetracing.openset.pictures import draw_pictures
from sourcetracing.openset.relatives import TEXTS as RELATIVES_TEXTS
from sourcetracing.openset.relatives import figures_by_relation, named_by_relation
from sourcetracing.openset.tables import TEXTS, write_tables
from sourcetracing.openset.trials import Trials, load_trials, padded, require_both_kinds
from sourcetracing.protocols.relatives import load_labels
from sourcetracing.protocols.table import load_protocol
from sourcetracing.runtime.files import (
    atomic_path,
    digest_of_file,
    digest_of_json,
    is_whole,
    read_csv,
    write_frame,
    write_json,
    written_together,
)
from sourcetracing.runtime.locks import held
from sourcetracing.runtime.progress import bar
from sourcetracing.scoring.matrix import score_runs, unscored
from sourcetracing.scoring.scores import with_transcripts_as_units
from sourcetracing.settings.reading import to_dict
from sourcetracing.settings.training import SPLITS
from sourcetracing.tables.levelled_runs import levelled_run
from sourcetracing.training.matrix import those_trained
from sourcetracing.training.recorded import overlays_of_run, protocol_of_run
from sourcetracing.training.runs import TrainingRun

JUDGED = ("dev", "eval")
METHOD_VERSION = 4  # goes up when the same scores give other figures


def run_openset(runs: Sequence[TrainingRun]) -> str:
    """Makes what is missing for trained runs, then the tables over all of them; returns what a terminal shows. Raises `UserError`.

    runs: of one experiment, some of which may not be trained yet; they are left out and counted.
    """
    if not runs:
        raise UserError("experiment.systems and experiment.train_sets name no run")
    trained, lack = those_trained(runs)
    trained = [_with_all_splits(run) for run in trained]
    if unscored(trained):
        require_both_kinds(trained[0].settings, JUDGED)
    score_runs(trained)
    to_do = [run for run in trained if not is_up_to_date(run)]
    for run in bar(to_do, total=len(to_do), desc="detectors", unit="run", disable=not to_do):
        judge(run)
    files = [openset_files(run) for run in trained]
    relatives = [_with_run(run, read_csv(one.relatives, texts=RELATIVES_TEXTS)) for run, one in zip(trained, files, strict=True)]
    text = write_tables([_figures_of(run) for run in trained], trained[0].settings, relatives)
    return text + (f"\n{lack}; they stand in no table" if lack else "")


def _with_all_splits(run: TrainingRun) -> TrainingRun:
    evaluation = replace(run.settings.evaluation, splits=list(SPLITS))
    return replace(run, settings=replace(run.settings, evaluation=evaluation))


def openset_files(run: TrainingRun) -> OpensetLayout:
    """Where the detectors of a run lie."""
    return Layout.of(run.settings).openset_of(run.system, run.folder.name)


def recipe_of(run: TrainingRun) -> str:
    """A digest of everything that decides the figures: the stored scores, and the settings that read them."""
    settings = run.settings
    parts = {
        "method": METHOD_VERSION,
        "scores": {split: digest_of_file(run.files.scores(split)) for split in SPLITS},
        "openset": to_dict(settings.openset),
        "evaluation": to_dict(settings.evaluation),
        "labels": load_labels(settings).T.to_dict(),
        "train_variants": settings.train.variants,
        "seed": settings.seed,
    }
    return digest_of_json(parts)


def is_up_to_date(run: TrainingRun) -> bool:
    """Whether the files are whole and were made from the scores and settings at hand."""
    record = openset_files(run).record
    try:
        return is_whole(record) and json.loads(record.read_text(encoding="utf-8"))["recipe"] == recipe_of(run)
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return False


def judge(run: TrainingRun) -> None:
    """Fits the detectors of a run, sets their thresholds on dev, and writes scores, figures and pictures of dev and eval.

    Another process that does so is waited for.
    """
    files = openset_files(run)
    with held(files.lock, f"another process is writing {files.root}", wait=True):
        if not is_up_to_date(run):
            _judge(run)


def _judge(run: TrainingRun) -> None:
    files, openset = openset_files(run), run.settings.openset
    train, *judged = (padded(load_trials(run, split), openset.padded_batch) for split in SPLITS)
    trials = dict(zip(JUDGED, judged, strict=True))
    scores = detector_scores(train, trials, run)
    points = {name: threshold_at_eer(trials["dev"].is_unknown, values, openset.eer_point) for name, values in scores["dev"].items()}
    thresholds = {name: threshold for name, (_, threshold) in points.items()}
    with written_together(files.record):
        for split in JUDGED:
            with atomic_path(files.scores(split)) as partial:
                trials[split].table.assign(**scores[split]).to_parquet(partial, index=False)
        figures = pd.concat([_figures(run, trials[split], scores[split], thresholds).assign(split=split) for split in JUDGED])
        write_frame(_figures_by_relation(run, trials["eval"], scores["eval"], thresholds), files.relatives)
        figures["dev_eer_at_threshold"] = figures["detector"].map({name: eer for name, (eer, _) in points.items()})
        write_frame(figures, files.figures)
        draw_pictures(trials["eval"], scores["eval"], thresholds, f"{run.system}, {run.train_set}, eval", files)
        write_json(
            files.record, {"recipe": recipe_of(run), "positive": "unknown source", "threshold_from": "dev", "thresholds": thresholds}
        )


def detector_scores(train: Trials, trials: dict[str, Trials], run: TrainingRun) -> dict[str, dict[str, np.ndarray]]:
    """split -> detector -> scores (N,) of detectors fitted on `train`. Raises `UserError` for a score that is not finite."""
    found: dict[str, dict[str, np.ndarray]] = {split: {} for split in trials}
    for name, detector in make_detectors(run.settings.openset).items():
        detector.fit(train.embeddings, train.logits, train.labels)
        for split, rows in trials.items():
            values = np.asarray(detector.score(rows.embeddings, rows.logits), dtype=np.float64)
            if not np.isfinite(values).all():
                raise UserError(f"{name}: {int((~np.isfinite(values)).sum())} {split} scores of {run.folder} are not finite numbers")
            found[split][name] = values
    return found


def _figures_by_relation(run: TrainingRun, trials: Trials, scores: dict[str, np.ndarray], thresholds: dict[str, float]) -> pd.DataFrame:
    settings, table = run.settings, _with_units(run, trials)
    labels = load_labels(settings)
    how = {"num_samples": settings.evaluation.bootstrap_samples, "seed": settings.seed}
    figures = figures_by_relation(table, scores, thresholds, settings.corpus.sources, labels, **how)
    if figures.empty:
        return figures
    return figures.merge(named_by_relation(levelled_run(run), settings.corpus.sources, labels, **how), on="subset", how="left")


def _figures(run: TrainingRun, trials: Trials, scores: dict[str, np.ndarray], thresholds: dict[str, float]) -> pd.DataFrame:
    settings, table = run.settings, _with_units(run, trials)
    figures = evaluate(table, scores, thresholds, len(settings.corpus.sources), settings.evaluation.bootstrap_samples, settings.seed)
    return figures.assign(threshold=figures["detector"].map(thresholds))


def _with_units(run: TrainingRun, trials: Trials) -> pd.DataFrame:
    if run.settings.evaluation.bootstrap_by == "transcript":
        return with_transcripts_as_units(trials.table, load_protocol(run.settings, unknown=True)[0])
    return trials.table.assign(unit=trials.table["utt_id"])


def _figures_of(run: TrainingRun) -> pd.DataFrame:
    return _with_run(run, read_csv(openset_files(run).figures, texts=TEXTS))


def _with_run(run: TrainingRun, table: pd.DataFrame) -> pd.DataFrame:
    what = {"system": run.system, "train_set": run.train_set, "seed": run.seed, "run": run.folder.name}
    return table.assign(**what, compat=overlays_of_run(run), protocol=protocol_of_run(run)["digest"][:8])
