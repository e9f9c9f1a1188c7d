"""The enrolment curve of the trained runs of an experiment: how well sources work that are enrolled from K files (script 10).

Below exp/<name>/verification/<system>/<run>/ lie enrolment.csv, a row for each K, and, written last, enrolment.json: what it was made from
and what a reader has to know. While that is unchanged, nothing is made again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from sourcetracing.enrolment.acceptance import FEW_SOURCES, acceptance_threshold, dev_scores
from sourcetracing.enrolment.figures import FIGURES, Rule, with_intervals
from sourcetracing.enrolment.protocol import Pool, draw_files, judged, those_with
from sourcetracing.enrolment.tables import TEXTS, write_enrolment
from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.protocols.table import load_protocol
from sourcetracing.runtime.files import digest_of_file, digest_of_json, is_whole, read_csv, write_frame, write_json, written_together
from sourcetracing.runtime.locks import held
from sourcetracing.runtime.parallel import map_unordered, resolve_workers
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.openset import BEST_ON_DEV
from sourcetracing.settings.reading import to_dict
from sourcetracing.settings.recorded import traced
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.verification import SCORINGS
from sourcetracing.training.matrix import those_trained
from sourcetracing.training.runs import TrainingRun
from sourcetracing.verification.representations import Embedded, on_all_splits, why_no_speakers
from sourcetracing.verification.scoring import SPACES
from sourcetracing.verification.subjects import LEFT_OUT_FOR_SPEAKERS, Subject, subject_of_run, subject_of_speakers
from sourcetracing.verification.verifier import Verifier

METHOD_VERSION = 1  # goes up when the same embeddings and settings give other figures
FACTS = (
    *("count", "sources", "of_dev", "tests", "strangers", "draws", "scoring", "dev_files", "dev_sources", "dev_unseen"),
    *("rests_on", "threshold", "chance"),
)
COLUMNS = (*FACTS, *(f"{figure}{end}" for figure in FIGURES for end in ("", "_low", "_high")))


def enrol_in_runs(runs: Sequence[TrainingRun]) -> str:
    """Makes what is missing for the trained ones of `runs`, then table and picture over all; returns what a terminal shows.

    runs: of one experiment, which `verify_runs` has seen. Without unknown sources there is nothing to enrol, and a line says so.
    """
    trained = [on_all_splits(run) for run in those_trained(runs)[0]]
    settings = trained[0].settings
    if not settings.corpus.unknown_sources:
        return "no curve of enrolment: no source is left that training never saw (corpus.unknown_sources)"
    subjects = [subject_of_run(run) for run in trained]
    if not why_no_speakers(settings) and settings.trace.compare_by not in LEFT_OUT_FOR_SPEAKERS:
        subjects.append(subject_of_speakers(settings))
    to_do = [subject for subject in subjects if not is_up_to_date(subject, settings)]
    num_workers = min(resolve_workers(settings.compute.workers), len(to_do))
    work = partial(enrol, settings=settings)
    done = map_unordered(work, to_do, num_workers=num_workers) if num_workers > 1 else map(work, to_do)
    for _ in bar(done, total=len(to_do), desc="enrolment", unit="system", disable=not to_do):
        pass
    return write_enrolment([_curve_of(subject) for subject in subjects], settings, _notes_of(subjects))


def _curve_of(subject: Subject) -> pd.DataFrame:
    return read_csv(subject.files.enrolment, texts=TEXTS).assign(**subject.keys)


def _notes_of(subjects: Sequence[Subject]) -> list[str]:
    """What records say that a reader has to know; whose it is, unless it is said of all."""
    names: dict[str, list[str]] = {}
    for subject in subjects:
        for note in _read_record(subject)["notes"]:
            names.setdefault(note, []).append(subject.name)
    return [note if len(own) == len(subjects) else f"{'; '.join(own)}: {note}" for note, own in names.items()]


def recipe_of(subject: Subject, settings: Settings) -> str:
    """A digest of everything that decides the curve: stored embeddings, texts, and the settings that read them."""
    parts = {
        "method": METHOD_VERSION,
        "inputs": subject.inputs,
        "utterances": digest_of_file(Layout.of(settings).utterances),
        "sources": traced(settings.corpus),
        "enrolment": to_dict(settings.enrolment),
        "compare_by": settings.trace.compare_by,
        "num_trials": settings.verification.trials_per_condition,
        "bootstrap_samples": settings.evaluation.bootstrap_samples,
        "seed": settings.seed,
    }
    return digest_of_json(parts)


def is_up_to_date(subject: Subject, settings: Settings) -> bool:
    """Whether the curve is whole and was made from the embeddings and settings at hand."""
    try:
        return is_whole(subject.files.enrolment_record) and _read_record(subject)["recipe"] == recipe_of(subject, settings)
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return False


def _read_record(subject: Subject) -> dict:
    return json.loads(subject.files.enrolment_record.read_text(encoding="utf-8"))


def enrol(subject: Subject, settings: Settings) -> None:
    """Writes the curve of one run, or of voices alone. Another process that does so is waited for. Raises `UserError`."""
    files = subject.files
    with held(files.lock, f"another process is writing {files.root}", wait=True):
        if is_up_to_date(subject, settings):
            return
        embedded = subject.load()
        try:
            verifiers = verifiers_of(subject, embedded, settings)
        except UserError as error:
            rows, notes = [], [f"no curve of enrolment: {error}"]
        else:
            rows, notes = curve(_pool(embedded["eval"], settings), verifiers, settings)
        with written_together(files.enrolment_record):
            write_frame(pd.DataFrame(rows, columns=list(COLUMNS)), files.enrolment)
            write_json(files.enrolment_record, {"recipe": recipe_of(subject, settings), "notes": notes})


def verifiers_of(subject: Subject, embedded: Mapping[str, Embedded], settings: Settings) -> list[Verifier]:
    """What files may be compared by (`trace.compare_by`): one space, or all that the subject has. Raises `UserError` where dev cannot
    calibrate anything.
    """
    names = [settings.trace.compare_by]
    if names == [BEST_ON_DEV]:
        names = [name for name in SCORINGS if name not in subject.without and SPACES[name](embedded["train"]) is not None]
    how = {"num_trials": settings.verification.trials_per_condition, "seed": settings.seed}
    made = [Verifier.fitted(embedded["train"], embedded["dev"], settings.corpus.sources, compare_by=name, **how) for name in names]
    made[0].line(1, 1)
    return made


def _pool(files: Embedded, settings: Settings) -> Pool:
    utterances = load_protocol(settings, unknown=True)[0].set_index("utt_id")
    texts = utterances["transcript"].fillna("").astype(str) if "transcript" in utterances else pd.Series("", utterances.index)
    return Pool.of(files, texts.reindex(files.utt_ids, fill_value="").to_numpy(), settings.corpus.sources)


def curve(pool: Pool, verifiers: Sequence[Verifier], settings: Settings) -> tuple[list[dict], list[str]]:
    """A row for each K that a source can fill, and what a reader has to know.

    Of several verifiers each K takes that of the lowest Cllr on dev's sets of K files: what is best for one file is not so for ten.
    """
    sizes, rows, notes = pool.unseen_counts(), [], []
    if not sizes:
        return [], ["no curve of enrolment: eval has no file of a source that training never saw"]
    if not verifiers[0].are_unseen:
        notes.append(
            "dev has not three sources that training never saw, so LLRs and thresholds come from all of dev's, most of which it saw"
        )
    for count in sorted(settings.enrolment.counts):
        names = those_with(pool, count)
        if not names:
            notes.append(f"K = {count} is left out: no unseen source has {count} files and one to test, {max(sizes.values())} at most")
            continue
        row = _row(pool, min(verifiers, key=lambda verifier: verifier.cllr(count, 1)), count, settings)
        if row is None:
            notes.append(f"K = {count} is left out: all other files of eval say what enrolled ones say")
            continue
        rows.append(row)
        if left := sorted(set(sizes) - set(names)):
            notes.append(
                f"K = {count}: without {', '.join(left)}, which cannot spare {count} of {', '.join(str(sizes[n]) for n in left)} files"
            )
    if rows and (few := rows[0]["dev_sources"]) < FEW_SOURCES:
        notes.append(
            f"thresholds rest on {few} sources of dev: with so few, false alarms of other sources may be several times as many as set"
        )
    return rows, notes


def _row(pool: Pool, verifier: Verifier, count: int, settings: Settings) -> dict | None:
    wanted, seed = settings.enrolment, settings.seed
    draws = [draw_files(pool, count, number, tests_per_source=wanted.tests_per_source, seed=seed) for number in range(wanted.draws)]
    if not all(len(draw.tests) for draw in draws):
        return None
    outcomes, known, names = [judged(draw, pool, verifier) for draw in draws], dev_scores(verifier, count), draws[0].names
    of_all, of_others = (acceptance_threshold(known, size, wanted.false_alarms) for size in (len(names), len(names) - 1))
    rule = Rule(verifier.line(count, 1), of_all, of_others)
    facts = {
        "count": count,
        "sources": len(names),
        "of_dev": len(set(names) & set(verifier.dev.sources)),
        "tests": round(np.mean([len(draw.tests) for draw in draws])),
        "strangers": round(np.mean([len(draw.strangers) for draw in draws])),
        "draws": len(draws),
        "scoring": verifier.scoring,
        "dev_files": verifier.dev_trials(count, 1).sizes[0],
        "dev_sources": verifier.num_sources,
        "dev_unseen": verifier.are_unseen,
        "rests_on": of_all.regime,
        "threshold": of_all.threshold,
        "chance": 1 / len(names),
    }
    return facts | with_intervals(outcomes, rule, num_samples=settings.evaluation.bootstrap_samples, seed=seed)
