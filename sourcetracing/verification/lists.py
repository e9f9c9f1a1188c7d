"""The trials of an experiment: over dev they are drawn, over eval drawn or given (`verification.trials`), and written down.

A trial belongs to a condition: are both sources seen in training, do both sides share a speaker (where speakers are known), a language?
Pairs of a seen and an unseen source are none: they have no same-source counterpart. In each condition there are as many trials of one
source as of two. CSV columns: enrol, test, label, condition; models of several utterances stand beside it, in <name>_models.csv: enrol,
utt_id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.protocols.table import load_protocol
from sourcetracing.runtime.files import digest_of_json, write_csv
from sourcetracing.runtime.locks import held
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.schema import Settings
from sourcetracing.verification.audit import faults, trial_counts
from sourcetracing.verification.formats import read_trial_lists
from sourcetracing.verification.trials import COLUMNS, OTHER, SAME, TrialList

JUDGED = ("dev", "eval")
ALL_PAIRS = 4_000_000  # up to so many ordered pairs all are looked at; of more so many are drawn, half of them of one source
_SHARED = [[f"same {what}", f"different {what}s", f"{what} not known"] for what in ("speaker", "language")]
CONDITIONS = [", ".join(words) for words in product(("seen", "unseen"), *_SHARED)]


@dataclass(frozen=True)
class Lists:
    """trials: by split of JUDGED; sources: utt_id -> source of all utterances; notes: lines that a reader has to know."""

    trials: Mapping[str, TrialList]
    sources: Mapping[str, str]
    digest: str
    notes: Sequence[str] = ()


def trial_lists(settings: Settings) -> Lists:
    """Draws or reads the trials, and writes them below the protocol's folder. Raises `UserError`."""
    utterances, protocol = load_protocol(settings, unknown=True)
    table = utterances.drop(columns="split", errors="ignore").merge(protocol, on="utt_id")
    for column in ("speaker", "transcript"):
        table[column] = table[column].fillna("").astype(str) if column in table else ""
    parts = {split: table[table["split"] == split].reset_index(drop=True) for split in JUDGED}
    given = settings.verification.trials
    trials = {split: draw_trials(part, settings, split) for split, part in parts.items() if split == "dev" or not given}
    notes = ()
    if given:
        trials["eval"] = read_trial_lists(Path(given), set(parts["eval"]["utt_id"]))
        notes = (f"eval: the trials of {given}; those of dev, for calibration, are drawn", *faults(trials["eval"], parts["eval"]))
    layout = Layout.of(settings)
    with held(layout.trials("").with_name(".lock"), f"another process is writing {layout.trials('').parent}", wait=True):
        for split in JUDGED:
            write_trials(trials[split], layout.trials(split))
            _write_where_new(trial_counts(trials[split], parts[split]), counts_path(layout.trials(split)))
    facts = [[trials[split].models, trials[split].table.astype(str).to_numpy().tolist()] for split in JUDGED]
    return Lists(trials, dict(zip(table["utt_id"], table["source"], strict=True)), digest_of_json(facts), notes)


# --- drawn


def draw_trials(table: pd.DataFrame, settings: Settings, split: str) -> TrialList:
    """Trials over the utterances of a split: columns utt_id, source, speaker, language, transcript. They hang on the seed alone.

    No utterance is tested against a model that it is part of; with same_transcript=none neither against one that says the same. Raises
    `UserError` where no condition has trials of both kinds.
    """
    table = table.sort_values("utt_id").reset_index(drop=True)
    members = _models(table, settings)
    enrol, test = _pairs(table, members, settings, split)
    is_same, condition = _labelled(table, enrol, test, settings)
    chosen = _balanced(is_same, condition, settings, split)
    if not len(chosen):
        raise UserError(
            f"{split} of {settings.name} has no condition with trials of one source and of two: it needs two sources of two utterances "
            "each, whose sentences differ (verification.same_transcript=any takes equal ones, too)"
        )
    ids, size = table["utt_id"].to_numpy(), settings.verification.enrol_utterances
    names = {row: ids[row] if size == 1 else f"{ids[row]} +{size - 1}" for row in np.unique(enrol[chosen])}
    rows = {"enrol": [names[row] for row in enrol[chosen]], "test": ids[test[chosen]], "label": np.where(is_same[chosen], SAME, OTHER)}
    models = {name: tuple(ids[members[row]]) for row, name in names.items()}
    return TrialList(models, pd.DataFrame({**rows, "condition": np.array(CONDITIONS)[condition[chosen]]}))


def _models(table: pd.DataFrame, settings: Settings) -> dict[int, np.ndarray]:
    """Row -> rows of the model that it leads: itself and others of its source, speaker and language, as many as are wanted.

    Of models of the same utterances there is one: their trials would be the same trials.
    """
    size, ids = settings.verification.enrol_utterances, table["utt_id"]
    models = {}
    for rows in table.groupby(["source", "speaker", "language"], sort=True).indices.values():
        for row in rows if len(rows) >= size else ():
            others = rng(settings.seed, "enrolment", ids[row]).permutation(rows[rows != row])[: size - 1]
            models.setdefault(frozenset([row, *others]), np.array([row, *others]))
    return {int(members[0]): members for members in models.values()}


def _pairs(table: pd.DataFrame, members: Mapping[int, np.ndarray], settings: Settings, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Candidates: rows that lead a model, rows that are tested against it; of models of one utterance each pair once."""
    leaders, count = np.array(sorted(members), dtype=int), len(table)
    if len(leaders) * count <= ALL_PAIRS:
        enrol, test = np.repeat(leaders, count), np.tile(np.arange(count), len(leaders))
    else:
        generator, source = rng(settings.seed, "pairs", split), table["source"].to_numpy()
        enrol, test = leaders[generator.integers(0, len(leaders), ALL_PAIRS)], generator.integers(0, count, ALL_PAIRS)
        order = np.argsort(source, kind="stable")
        first, last = (np.searchsorted(source[order], source, side=side) for side in ("left", "right"))
        half = enrol[: ALL_PAIRS // 2]
        test[: len(half)] = order[generator.integers(first[half], last[half])]
        if settings.verification.enrol_utterances == 1:  # either may enrol
            enrol, test = np.minimum(enrol, test), np.maximum(enrol, test)
        enrol, test = np.divmod(np.unique(enrol * count + test), count)
    kept = enrol < test if settings.verification.enrol_utterances == 1 else np.ones(len(enrol), bool)
    says = table["transcript"].to_numpy()
    for place in range(settings.verification.enrol_utterances):
        member = np.array([members[row][place] if row in members else -1 for row in range(count)], dtype=int)[enrol]
        kept &= member != test
        if settings.verification.same_transcript == "none":
            kept &= (says[member] != says[test]) | (says[test] == "")
    return enrol[kept], test[kept]


def _labelled(table: pd.DataFrame, enrol: np.ndarray, test: np.ndarray, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Whether pairs are of one source, and their condition, a position in CONDITIONS; -1 for a seen source with an unseen one."""
    seen = table["source"].isin(settings.corpus.sources).to_numpy()
    code = np.where(seen[enrol], 0, 1).astype(np.int16)
    for column in ("speaker", "language"):
        values, _ = pd.factorize(table[column].where(table[column] != ""))  # -1 where nobody knows
        is_known = (values[enrol] >= 0) & (values[test] >= 0)
        code = 3 * code + np.where(is_known, np.where(values[enrol] == values[test], 0, 1), 2).astype(np.int16)
    source, _ = pd.factorize(table["source"])
    return source[enrol] == source[test], np.where(seen[enrol] == seen[test], code, -1)


def _balanced(is_same: np.ndarray, condition: np.ndarray, settings: Settings, split: str) -> np.ndarray:
    """Numbers of the trials that are taken, conditions one after the other."""
    chosen = []
    for code, name in enumerate(CONDITIONS):
        kinds = [np.flatnonzero((condition == code) & kind) for kind in (is_same, ~is_same)]
        size = min(settings.verification.trials_per_condition, *map(len, kinds))
        generator = rng(settings.seed, "trials", split, name)
        chosen += [np.sort(generator.permutation(kind)[:size]) for kind in kinds]
    return np.concatenate(chosen)


# --- given, and written


def write_trials(trials: TrialList, path: Path) -> None:
    """The list, and its models beside it where one has several utterances."""
    _write_where_new(trials.table[list(COLUMNS)], path)
    several = [(name, utt_id) for name, members in trials.models.items() if members != (name,) for utt_id in members]
    if several:
        _write_where_new(pd.DataFrame(several, columns=["enrol", "utt_id"]), models_path(path))
    else:
        models_path(path).unlink(missing_ok=True)


def _write_where_new(table: pd.DataFrame, path: Path) -> None:
    if not path.is_file() or path.read_bytes() != table.to_csv(index=False, lineterminator="\n").encode():
        write_csv(table, path, lineterminator="\n")


def models_path(path: Path) -> Path:
    """Where the models of a list stand."""
    return path.with_name(f"{path.stem}_models.csv")


def counts_path(path: Path) -> Path:
    """Where the numbers of a list's trials stand, by condition."""
    return path.with_name(f"{path.stem}_counts.csv")
