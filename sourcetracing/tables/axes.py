"""What a table ranges over, in display order, and which kind each of its cells is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sourcetracing.settings.corpora import SOURCE
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import shown_system
from sourcetracing.tables.scored_runs import REPORTED_SPLIT, ScoredRun
from sourcetracing.training.table_plans import TablePlan, family_of_languages, group_of, languages_of

POOLED = "pooled"
MONO, CROSS, PARTIAL = "mono", "cross", "partial"


@dataclass
class Axes:
    """Systems, sets, variants, seeds and classes. `place_of`: (train set, test set) -> (row, column) of the display.

    `floor`: systems that the others have to beat (`experiment.floor`). `label`: what the classes are values of (`corpus.label`).
    """

    systems: list[str]
    train_sets: list[str]
    test_sets: list[str]
    place_of: dict[tuple[str, str], tuple[str, str]]
    variants: list[str]
    seeds: list[int]
    classes: list[str]
    family_of: dict[str, str]
    split: str = REPORTED_SPLIT
    floor: list[str] = field(default_factory=list)
    label: str = SOURCE

    @property
    def all_variants(self) -> list[str]:
        """Pooled first, then each variant."""
        return [POOLED, *self.variants]

    @property
    def rows(self) -> list[str]:
        """Names of the display's rows: the training sets, or the held-out languages."""
        return unique(row for row, _ in self.place_of.values())

    @property
    def columns(self) -> list[str]:
        """Names of its columns: the test sets, or conditions such as seen and unseen."""
        return unique(column for _, column in self.place_of.values())

    def shown(self, system: str) -> str:
        """A system's name as people read it: one of the floor is marked."""
        return shown_system(system, self.floor)

    def cell_at(self, row: str, column: str) -> tuple[str, str]:
        """(train set, test set) at a place of the display."""
        return next(cell for cell, place in self.place_of.items() if place == (row, column))

    def is_mono(self, row: str, column: str) -> bool:
        """Whether the cell at a place is tested on what it was trained on."""
        return kind_of_cell(*self.cell_at(row, column)) == MONO

    def family_spans(self, sets: list[str]) -> list[tuple[str, int, int]]:
        """(family, first position, how many) where the sets are single languages that lie family by family; else empty."""
        spans: list[tuple[str, int, int]] = []
        for position, name in enumerate(sets):
            family = self.family_of.get(name)
            if family is None:
                return []
            if spans and spans[-1][0] == family:
                spans[-1] = (family, spans[-1][1], spans[-1][2] + 1)
            else:
                spans.append((family, position, 1))
        return spans if len({family for family, _, _ in spans}) == len(spans) else []


def axes_of(runs: list[ScoredRun], settings: Settings, expected: list[tuple[str, str, int]], plan: TablePlan) -> Axes:
    """As planned, then whatever else the runs hold; variants only as far as scored."""
    others = [run.train_set for run in runs if run.train_set not in plan.train_sets]
    places = dict(zip(plan.cells, plan.places, strict=True))
    places |= {(train, test): (train, test) for train in others for test in plan.test_sets}
    scored = set().union(*(run.scores["variant"].unique() for run in runs))
    return Axes(
        systems=unique([*(system for system, _, _ in expected), *(run.system for run in runs)]),
        train_sets=unique([*plan.train_sets, *others]),
        test_sets=plan.test_sets,
        place_of=places,
        variants=unique(variant for variant in [*settings.augment.variants, *sorted(scored)] if variant in scored),
        seeds=unique([*settings.experiment.seeds, *sorted(run.seed for run in runs)]),
        classes=list(settings.corpus.sources),
        family_of=family_of_languages(settings),
        floor=list(settings.experiment.floor),
        label=settings.corpus.label,
    )


def kind_of_cell(train_set: str, test_set: str) -> str:
    """mono: every test language was trained on; cross: none was; partial: some; or the group of speakers that is tested."""
    if group := group_of(test_set):
        return group
    train, test = set(languages_of(train_set)), set(languages_of(test_set))
    if test <= train:
        return MONO
    return PARTIAL if test & train else CROSS


def unique(values: Iterable) -> list:
    """Each value once, in the order in which it first appears."""
    return list(dict.fromkeys(values))
