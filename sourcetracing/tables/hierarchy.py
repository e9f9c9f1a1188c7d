"""How right answers are level by level: the label of the answer against that of the true source. Reads no files and writes none.

The answer at a level is the label whose known sources are likeliest together (`metrics.hierarchy.summed`). Rows whose true source has no
label there are masked and counted. A cell is a run on the languages it was trained on (mono) or on the others (cross), all variants pooled;
its figures are of known sources and of each of SUBSETS. An unknown source has no right source, but may have a right architecture.

Hierarchical precision, recall and F are no published measure of source tracing, but our addition; they are of the likeliest source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.sparse import csr_array, hstack
from scipy.special import softmax

from sourcetracing.metrics import bootstrap
from sourcetracing.metrics.hierarchy import hierarchical, label_groups, macro_f1_of_sums, summed, weighted_sums
from sourcetracing.protocols.relatives import COARSE_LEVELS, SOURCE_LEVEL, SUBSETS, subsets, tree_order
from sourcetracing.runtime.seeding import rng
from sourcetracing.tables.axes import CROSS, MONO
from sourcetracing.tables.making import resampled_mean

KNOWN, ANCESTORS = "known", "ancestors"
GROUPS = (KNOWN, *SUBSETS)
WITH_INTERVAL = ("accuracy", "macro_f1", "hierarchical_f")
KEYS = ["system", "kind", "group", "level"]
COUNTS = ["rows", "masked", "sources", "labels", "known_labels"]
PLAIN = [
    "reachable",
    "constant_accuracy",
    "constant_macro_f1",
    "argmax_accuracy",
    "differs",
    "precision",
    "recall",
    "constant_f",
    "ceiling_f",
]
CELL_TEXTS = [*KEYS, "train", "constant", "protocol"]  # text
CELL_COLUMNS = [*KEYS, "train", "seed", *COUNTS, *(f"{name}{end}" for name in WITH_INTERVAL for end in ("", "_low", "_high"))]
CELL_COLUMNS += [*PLAIN, "constant", "temperature", "protocol"]
MEAN_COLUMNS = [*KEYS, *COUNTS, *(f"{name}{end}" for name in WITH_INTERVAL for end in ("", "_sd", "_low", "_high"))]
MEAN_COLUMNS += [*PLAIN, "cells", "seeds"]


@dataclass(frozen=True)
class LevelledRun:
    """A run's scores with the probabilities of its classes.

    rows: columns unit (drawn together), language, source; probabilities (N, C), in the order of `classes`; languages: trained on.
    temperature: that of dev, nan where dev is not scored (then they are the softmax as it is). levels: the probabilities (N, L) of a level
    with their labels, where heads of the network say them; else they are summed.
    """

    system: str
    train_set: str
    seed: int
    languages: Sequence[str]
    rows: pd.DataFrame
    probabilities: np.ndarray
    temperature: float = float("nan")
    protocol: str = ""
    levels: dict[str, tuple[list[str], np.ndarray]] = field(default_factory=dict)


@dataclass
class Hierarchy:
    """cells: CELL_COLUMNS; means: MEAN_COLUMNS, over training sets, then seeds; confusions: (system, kind) -> counts, true x answered."""

    cells: pd.DataFrame
    means: pd.DataFrame
    confusions: dict[tuple[str, str], pd.DataFrame]
    labels: pd.DataFrame
    classes: list[str]
    notes: list[str]

    @property
    def is_empty(self) -> bool:
        """Whether no label is known of any known source, so that there is nothing to say."""
        return self.cells.empty


def probabilities_of(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax (N, C) of logits (N, C) at a temperature; as they are where it is nan."""
    scaled = np.asarray(logits, dtype=np.float64) / (1.0 if np.isnan(temperature) else temperature)
    return softmax(scaled, axis=1).astype(np.float32)  # of a hundred runs at once


def make_hierarchy(runs: Sequence[LevelledRun], classes: Sequence[str], labels: pd.DataFrame, num_samples: int, seed: int) -> Hierarchy:
    """All figures. classes: the known sources in the order of the probabilities; labels: of `protocols.relatives.labels_of_sources`."""
    classes = list(classes)
    named = [level for level in COARSE_LEVELS if (labels[level].reindex(classes).fillna("") != "").any()]
    if not runs or not named:
        return Hierarchy(pd.DataFrame(columns=CELL_COLUMNS), pd.DataFrame(columns=MEAN_COLUMNS), {}, labels, classes, [])
    maker = _Maker(classes, labels, named, _units(runs), num_samples, seed)
    found = [one for run in runs for one in maker.cells(run)]
    cells = pd.DataFrame([row for row, _ in found], columns=CELL_COLUMNS)
    means = _means(cells, [samples for _, samples in found], seed)
    return Hierarchy(cells, means, _confusions(runs, classes, labels), labels, classes, list(_notes(classes, labels, named)))


def _notes(classes: Sequence[str], labels: pd.DataFrame, named: Sequence[str]) -> Iterator[str]:
    own = labels.reindex(classes).fillna("")
    for level in COARSE_LEVELS:
        word = level.replace("_", " ")
        if level not in named:
            yield f"No label of {word} is known of any known source: that level is missing."
            continue
        without, names = list(own.index[own[level] == ""]), set(own[level]) - {""}
        if without:
            yield f"Known sources without a label of {word}: {', '.join(without)}; an answer that is one of them names no {word}."
        if len(names) == 1 and not without:
            yield f"All known sources have the {word} {names.pop()}: there is nothing to tell at that level."


def _units(runs: Sequence[LevelledRun]) -> pd.DataFrame:
    """language, source by unit (sorted) of all runs; a text may be spoken in several languages."""
    rows = [run.rows[["unit", "language", "source"]].drop_duplicates() for run in runs]
    units = pd.concat(rows).drop_duplicates().sort_values(["unit", "language"])
    return units.groupby("unit").agg({"language": "+".join, "source": "first"})


class _Maker:
    """What all cells share. classes: known sources; levels: those that have labels."""

    def __init__(self, classes: list[str], labels: pd.DataFrame, levels: list[str], units: pd.DataFrame, num_samples: int, seed: int):
        self.classes, self.levels, self.units = classes, levels, units
        sources = sorted({*classes, *units["source"], *labels.index})
        self.labels = labels.reindex(sources).fillna("")
        self.is_known = np.array([source in set(classes) for source in sources])
        self.class_places = self.labels.index.get_indexer(classes)
        self.shared, self.sizes = _ancestors(self.labels)
        numbers, strata = pd.factorize(pd.MultiIndex.from_frame(units[["language", "source"]]))
        self.draws = bootstrap.Draws(numbers, num_samples, lambda stratum: rng(seed, "bootstrap of levels", *strata[stratum]))

    def cells(self, run: LevelledRun) -> Iterator[tuple[dict, dict[str, np.ndarray]]]:
        """(a row of CELL_COLUMNS, the resamples of WITH_INTERVAL that it has) for each kind of cell, group and level."""
        rows = _Rows.of(run, self)
        trained = run.rows["language"].isin(run.languages).to_numpy()
        known = run.rows["source"].isin(self.classes).to_numpy()
        groups = {KNOWN: known}
        groups |= {name: mask.to_numpy() for name, mask in subsets(run.rows["source"], self.labels, self.classes).items()}
        for kind, own in ((MONO, trained), (CROSS, ~trained)):
            for group, members in groups.items():
                if not (own & members).any():
                    continue
                chosen = rows.where(own & members)
                levels = [*self.levels, *([SOURCE_LEVEL] if group == KNOWN else [])]
                parts = {level: self._level(level, chosen) for level in levels} | {ANCESTORS: self._ancestors(chosen)}
                # All levels at once: to weigh the rows is what takes its time.
                columns = csr_array(hstack([part.columns for part in parts.values()]))
                sampled = weighted_sums(self.draws.counts, self.draws.scale, chosen.drawn, columns)
                ends = np.cumsum([part.columns.shape[1] for part in parts.values()])[:-1]
                key = {"system": run.system, "kind": kind, "group": group, "train": run.train_set, "seed": run.seed}
                key |= {"temperature": run.temperature, "protocol": run.protocol}
                for (level, part), sums in zip(parts.items(), np.split(sampled, ends, axis=1), strict=True):
                    samples = part.figures_of(sums)
                    values = part.figures_of(np.asarray(part.columns.sum(axis=0), dtype=float))
                    yield {**key, "level": level, **part.figures, **_with_ends(values, samples)}, samples

    def names(self, level: str) -> np.ndarray:
        """The label of each source at a level."""
        return self.labels.index.to_numpy() if level == SOURCE_LEVEL else self.labels[level].to_numpy()

    def answers(self, level: str, run: LevelledRun) -> np.ndarray:
        """The level's answer (N,) to each row, "" where that is a source without a label."""
        if level in run.levels:  # said by a head
            names, probabilities = run.levels[level]
        else:
            names, groups = label_groups(list(self.names(level)[self.class_places]))
            probabilities = summed(run.probabilities, groups)
        return np.array(names, dtype=object)[probabilities.argmax(axis=1)]

    def _level(self, level: str, rows: _Rows) -> _Part:
        names, answers = self.names(level), rows.answers[level]
        of_classes, true = names[self.class_places], names[rows.sources]
        of_argmax, labelled = of_classes[rows.argmax], true != ""
        known_labels = set(of_classes) - {""}
        constant, constant_figures = _constant(true[labelled], known_labels)
        figures = {
            "rows": int(labelled.sum()),
            "masked": int((~labelled).sum()),
            "sources": len(np.unique(rows.sources[labelled])),
            "labels": len(set(true[labelled])),
            "known_labels": len(known_labels),
            "reachable": _share(np.isin(true[labelled], list(known_labels))),
            "argmax_accuracy": _share((of_argmax == true)[labelled]),
            "differs": _share((of_argmax != answers)[labelled]),
            "constant": constant,
            **constant_figures,
        }
        return _Part(figures, _indicators(true, answers, labelled), _figures_of_level)

    def _ancestors(self, rows: _Rows) -> _Part:
        """Hierarchical figures of the likeliest sources."""
        shared, sizes, sources = self.shared[:, self.class_places], self.sizes[self.class_places], rows.sources
        columns = np.stack([shared[sources, rows.argmax], sizes[rows.argmax], self.sizes[sources]], axis=1)
        precision, recall, _ = hierarchical(*columns.sum(axis=0))
        by_class = hierarchical(shared[sources].sum(axis=0), sizes * len(sources), self.sizes[sources].sum())[2]
        best = (2 * shared / (sizes[None] + self.sizes[:, None])).argmax(axis=1)[sources]
        ceiling = hierarchical(shared[sources, best].sum(), sizes[best].sum(), self.sizes[sources].sum())[2]
        figures = {
            "rows": len(sources),
            "masked": 0,
            "sources": len(np.unique(sources)),
            "labels": len(np.unique(sources)),
            "known_labels": len(self.classes),
            "precision": float(precision),
            "recall": float(recall),
            "constant": self.classes[int(by_class.argmax())],
            "constant_f": float(by_class.max()),
            "ceiling_f": float(ceiling),
        }
        return _Part(figures, csr_array(columns), lambda sums: {"hierarchical_f": hierarchical(*np.moveaxis(sums, -1, 0))[2]})


@dataclass(frozen=True)
class _Rows:
    """Rows of a run: their unit in the draws, their source's place in the labels, the likeliest class, each level's answer; all (N,)."""

    drawn: np.ndarray
    sources: np.ndarray
    argmax: np.ndarray
    answers: dict[str, np.ndarray]

    @classmethod
    def of(cls, run: LevelledRun, maker: _Maker) -> _Rows:
        drawn = maker.units.index.get_indexer(run.rows["unit"])
        answers = {level: maker.answers(level, run) for level in [*maker.levels, SOURCE_LEVEL]}
        return cls(drawn, maker.labels.index.get_indexer(run.rows["source"]), run.probabilities.argmax(axis=1), answers)

    def where(self, chosen: np.ndarray) -> _Rows:
        answers = {level: values[chosen] for level, values in self.answers.items()}
        return _Rows(self.drawn[chosen], self.sources[chosen], self.argmax[chosen], answers)


@dataclass(frozen=True)
class _Part:
    """A level of a cell: figures of which there are no intervals, columns (N, K) to be summed, and what the sums (..., K) come to."""

    figures: dict
    columns: csr_array
    figures_of: Callable[[np.ndarray], dict[str, np.ndarray]]


def _indicators(true: np.ndarray, answers: np.ndarray, labelled: np.ndarray) -> csr_array:
    """(N, 3 L): is a row a hit, an answer, an item of each true label? Rows without one are empty, other answers none of these."""
    place = pd.Index(sorted(set(true[labelled])), dtype=object)
    wanted, got, number = place.get_indexer(true), place.get_indexer(answers), np.arange(len(true))
    size, told = len(place), labelled & (got >= 0)
    right = told & (wanted == got)
    row = np.concatenate([number[right], number[told], number[labelled]])
    column = np.concatenate([wanted[right], size + got[told], 2 * size + wanted[labelled]])
    return csr_array((np.ones(len(row)), (row, column)), shape=(len(true), 3 * size))


def _figures_of_level(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy and macro-F1 (...) from sums (..., 3 L) of `_indicators`."""
    hits, answered, support = np.split(sums, 3, axis=-1)
    with np.errstate(invalid="ignore"):
        accuracy = hits.sum(axis=-1) / support.sum(axis=-1)
    return {"accuracy": accuracy, "macro_f1": macro_f1_of_sums(hits, answered, support)}


def _ancestors(labels: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """How many ancestors each two sources share (S, S) and each has (S,): its labels, and itself."""
    shared = np.eye(len(labels))
    for level in COARSE_LEVELS:
        names = labels[level].to_numpy()
        shared += (names[:, None] == names[None]) & (names != "")[:, None]
    return shared, np.diagonal(shared).copy()


def _constant(true: np.ndarray, known_labels: set[str]) -> tuple[str, dict[str, float]]:
    """The known label that is most frequent among the true ones (N,), of equals the first, and what always answering it gets."""
    counts = {name: int((true == name).sum()) for name in sorted(known_labels)}
    if not len(true) or not counts:
        return "", {"constant_accuracy": float("nan"), "constant_macro_f1": float("nan")}
    best = max(counts, key=lambda name: counts[name])
    accuracy = counts[best] / len(true)
    # Its precision is the accuracy, its recall 1; the F1 of all others is 0.
    return best, {"constant_accuracy": accuracy, "constant_macro_f1": 2 * accuracy / (1 + accuracy) / len(set(true))}


def _share(chosen: np.ndarray) -> float:
    return float(chosen.mean()) if len(chosen) else float("nan")


def _with_ends(values: dict[str, np.ndarray], samples: dict[str, np.ndarray]) -> dict[str, float]:
    found = {}
    for name, value in values.items():
        low, high = bootstrap.percentile_interval(samples[name], float(value))
        found |= {name: float(value), f"{name}_low": low, f"{name}_high": high}
    return found


def _means(cells: pd.DataFrame, samples: list[dict[str, np.ndarray]], seed: int) -> pd.DataFrame:
    """Mean over training sets, then over seeds, of each of KEYS, with intervals over what is drawn."""
    rows = []
    for key, own in cells.groupby(KEYS, sort=False):
        by_seed = own.groupby("seed")[[*COUNTS, *WITH_INTERVAL, *PLAIN]].mean()
        row = dict(zip(KEYS, key, strict=True)) | by_seed.mean().to_dict() | {"cells": len(own), "seeds": len(by_seed)}
        for name in WITH_INTERVAL:
            keyed = {
                (line.system, line.train, line.kind, line.group, line.seed): samples[line.Index][name]
                for line in own.itertuples()
                if name in samples[line.Index] and not np.isnan(row[name])
            }
            ends = bootstrap.percentile_interval(resampled_mean(keyed, seed), row[name]) if keyed else (float("nan"),) * 2
            row |= dict(zip((f"{name}_low", f"{name}_high"), map(float, np.clip(ends, 0, 1)), strict=True))
            row[f"{name}_sd"] = float(by_seed[name].std(ddof=1)) if len(by_seed) > 1 else float("nan")
        rows.append(row)
    return pd.DataFrame(rows, columns=MEAN_COLUMNS)


def _confusions(runs: Sequence[LevelledRun], classes: Sequence[str], labels: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """(system, kind) -> counts over its runs: true sources (rows) x likeliest ones (columns), both ordered by the tree."""
    found: dict[tuple[str, str], pd.DataFrame] = {}
    everywhere = sorted({source for run in runs for source in run.rows["source"].unique()})
    rows = [*(known := tree_order(labels, classes)), *tree_order(labels, set(everywhere) - set(classes))]
    for run in runs:
        answers = np.array(classes, dtype=object)[run.probabilities.argmax(axis=1)]
        trained = run.rows["language"].isin(run.languages).to_numpy()
        for kind, own in ((MONO, trained), (CROSS, ~trained)):
            if own.any():
                counts = pd.crosstab(run.rows["source"].to_numpy()[own], answers[own], rownames=["true"], colnames=["answer"]).reindex(
                    index=rows, columns=known, fill_value=0
                )
                found[run.system, kind] = found.get((run.system, kind), 0) + counts
    return found
