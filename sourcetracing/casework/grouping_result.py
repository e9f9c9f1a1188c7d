"""What came out of grouping files: all of it in one place, as a table, and as lines for people."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.casework.grouping import (
    NO_GROUP,
    SAME_SOUND,
    Draws,
    Neighbours,
    each_alone,
    members_of,
    near_copies,
    num_groups,
    threshold_of,
)
from sourcetracing.casework.groups_truth import agreement
from sourcetracing.casework.wording import LN_10
from sourcetracing.drawing.text import ABSENT
from sourcetracing.settings.grouping import Grouping
from sourcetracing.settings.names import printable
from sourcetracing.tracing.output import Failure
from sourcetracing.verification.verifier import Verifier

NUM_NAMED = 3  # members of a group that a line names
NUM_SHOWN = 20  # groups that the terminal shows
LEAST_NEARER = 1e-3  # LLR that another group is nearer by than the own one: less is rounding
OF_KNOWN = (
    "LLRs are those of sources that training never saw. Sources that it did see may fall apart into many groups, and the range misses "
    "that: trace_audio.py names them better."
)
FEW_SOURCES = 6  # of dev: drawing fewer anew says little of what others would do


@dataclass(frozen=True)
class GroupedFile:
    """Files of the same bytes, each path of them. direction: the embedding as files are compared by it, of length 1.

    notes: what is odd; spectrum: (bins,) in dB, None unless somebody looks at it.
    """

    paths: tuple[Path, ...]
    digest: str
    embedding: np.ndarray
    direction: np.ndarray
    notes: tuple[str, ...]
    spectrum: np.ndarray | None

    @property
    def name(self) -> str:
        return printable(str(self.paths[0]))


@dataclass(frozen=True)
class GroupingResult:
    """N files in the order of their digests, so that nothing hangs on the order in which they were named.

    llrs (N, N), natural logarithms, and labels (N,) as `sourcetracing.casework.grouping` has them; stability (N,);
    sources (N,), "" where not known, or None.
    """

    run: str
    files: Sequence[GroupedFile]
    failures: Sequence[Failure]
    llrs: np.ndarray
    labels: np.ndarray
    draws: Draws
    stability: np.ndarray
    neighbours: Neighbours
    sources: Sequence[str] | None
    verifier: Verifier
    rate: int  # of what was heard, Hz
    settings: Grouping

    @cached_property
    def groups(self) -> list[np.ndarray]:
        """The files of each group, the most stable first."""
        steady = -np.nan_to_num(self.stability)
        return [rows[np.lexsort(([self.files[row].name for row in rows], steady[rows]))] for rows in members_of(self.labels)]

    @cached_property
    def ungrouped(self) -> np.ndarray:
        """Files without a group."""
        return np.flatnonzero(self.labels == NO_GROUP)

    @cached_property
    def agreement(self) -> dict[str, float]:
        """Figures against the sources, of the files whose source is known."""
        known = self._with_source
        return agreement(each_alone(self.labels)[known], [self.sources[row] for row in known]) if len(known) else {}

    @property
    def _with_source(self) -> np.ndarray:
        return np.flatnonzero([bool(source) for source in self.sources or ()])

    def mean_stability(self, rows: np.ndarray) -> float:
        """The stability of a group: the mean of its files'."""
        return float(np.mean(self.stability[rows]))

    def log10_within(self, rows: np.ndarray) -> float:
        """The mean log10 LR over the pairs of a group; nan of a file alone."""
        return float(np.mean(self.neighbours.within[rows])) / LN_10

    @cached_property
    def mixed(self) -> list[int]:
        """The groups that their own pairs speak against: their mean LLR is below 0."""
        return [number for number, rows in enumerate(self.groups) if self.log10_within(rows) < 0]

    @cached_property
    def misplaced(self) -> np.ndarray:
        """The files that are nearer to another group than to the others of their own, those by the most first."""
        nearer = np.nan_to_num(self.neighbours.to_nearest - self.neighbours.within)
        rows = np.flatnonzero(nearer > LEAST_NEARER)
        return rows[np.argsort(-nearer[rows], kind="stable")]

    def doubts_about_group(self, number: int) -> list[str]:
        """What its LLRs say against a group."""
        return ["its LLRs speak for two sources"] if number in self.mixed else []

    def doubts_about_file(self, row: int) -> list[str]:
        """What its LLRs say against the group of a file."""
        return [f"nearer to group {self.neighbours.nearest[row] + 1}"] if row in self.misplaced else []

    def contradictions(self) -> list[str]:
        """Where the LLRs contradict the grouping; nothing is grouped anew because of it."""
        found = []
        if self.mixed:
            named = [f"group {number + 1} (mean log10 LR {signed(self.log10_within(self.groups[number]))})" for number in self.mixed]
            found.append(f"LLRs speak for two sources, not one, within {_count(len(named), 'group')}: {_first(named)}")
        if len(self.misplaced):
            named = [
                f"{self.files[row].name} (in group {self.labels[row] + 1}, {self.doubts_about_file(row)[0]})"
                for row in self.misplaced[: NUM_NAMED + 1]
            ]
            own = "file is nearer to another group than to its" if len(named) == 1 else "files are nearer to another group than to their"
            found.append(f"{len(self.misplaced):,} {own} own: {_first(named)}")
        return found

    @cached_property
    def near_copies(self) -> list[np.ndarray]:
        """Sets of files that the system hears as one recording, such as a WAV and its FLAC."""
        embeddings, directions = (np.stack([getattr(file, name) for file in self.files]) for name in ("embedding", "direction"))
        lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
        return near_copies(embeddings / np.where(lengths > 0, lengths, 1), directions)

    def copies_line(self) -> list[str]:
        """The one line that names them, if there are any."""
        if not self.near_copies:
            return []
        named = [
            " = ".join(self.files[row].name for row in rows[:NUM_NAMED]) + " = ..." * (len(rows) > NUM_NAMED) for rows in self.near_copies
        ]
        return [
            f"{_count(sum(map(len, self.near_copies)), 'file')} sound like copies of each other to this system (cosine above "
            f"{SAME_SOUND:g}), sample for sample or nearly; each is counted, since only equal bytes are merged. Keep one of each: "
            f"{_first(named)}"
        ]

    def composition(self, rows: np.ndarray) -> str:
        """`38 sinusoidal, 2 griffin_lim`: the sources of some files; "" where none is known."""
        counts = Counter(self.sources[row] for row in rows if self.sources[row]) if self.sources else Counter()
        return ", ".join(f"{count} {printable(name)}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def headline(self) -> str:
        """`4 groups (3 to 6)`: the number and its range."""
        found, drawn = num_groups(self.labels), self.draws.range
        return f"{_count(found, 'group')} ({'the same in nearly all draws' if drawn == (found, found) else _range(drawn)})"

    def lines(self) -> list[str]:
        """For the terminal."""
        without = f"; {_count(len(self.ungrouped), 'file')} without a group" if len(self.ungrouped) else ""
        alone = sum(len(rows) == 1 for rows in self.groups)
        singles = f", {alone} of them a single file" if alone else ""
        found = [f"{self.headline()} of {_count(len(self.files), 'file')}{singles}{without}"]
        for number, rows in enumerate(self.groups[:NUM_SHOWN], 1):
            names = _first([self.files[row].name for row in rows[: NUM_NAMED + 1]])
            stability, log10 = number_text(self.mean_stability(rows)), signed(self.log10_within(rows))
            facts = f"{_count(len(rows), 'file')}, stability {stability}, mean log10 LR {log10}"
            true = f" [{self.composition(rows)}]" if self.composition(rows) else ""
            found.append(f"  group {number}: {facts}{true}: {names}")
        if len(self.groups) > NUM_SHOWN:
            found.append(f"  and {len(self.groups) - NUM_SHOWN} smaller groups (--csv FILE has all)")
        against = [f"contradicted by its own numbers: {line}" for line in self.contradictions()]
        return [*found, *self.copies_line(), *against, *([self.truth_line()] if self.agreement else [])]

    def truth_line(self) -> str:
        """How groups and sources agree."""
        figures = ", ".join(f"{name} {value:.2f}" for name, value in self.agreement.items())
        return f"against the truth of {self.truth_size()}: {figures}"

    def truth_size(self) -> str:
        """Of how many files the source is known, and how many sources these have."""
        known = self._with_source
        return f"{_count(len(known), 'file')} of {_count(len({self.sources[row] for row in known}), 'source')}"

    def basis(self) -> str:
        """What the LLRs rest on."""
        line, verifier = self.verifier.line(1, 1), self.verifier
        seen = "that training never saw" if verifier.are_unseen else "some or all of which were trained on"
        return (
            f"compared by {verifier.scoring}; LLRs from {line.targets} pairs of one source and {line.nontargets} of two, of "
            f"{verifier.num_sources} sources of dev {seen}: log10 LR {line.low / LN_10:.2f} to {line.high / LN_10:+.2f}, "
            f"Cllr {verifier.cllr(1, 1):.2f} bits (0 = perfect, 1 = says nothing)"
        )

    def limits(self) -> list[str]:
        """When not to believe it."""
        threshold, drawn = threshold_of(self.settings.prior), len(self.draws.numbers)
        found = [
            "A group is what this system hears as alike. One generator with two voices, languages or codecs may make two groups, relatives "
            "one. A person's recordings make groups, too.",
            "LLRs are right for files like dev's: clean, about a window long, of its kinds of sources. Elsewhere they may all lie too high "
            "or too low, and the number of groups with them.",
            f"The range is that of {drawn} groupings with dev's sources drawn anew. Stability: in what share of them, of "
            f"{self.settings.share:.0%} of the files each, a file was with the others of its group. A stable grouping can be wrong: all "
            "draws share this system and its errors. Neither holds that your files are of other kinds than dev's.",
        ]
        if self.verifier.num_sources < FEW_SOURCES:
            found.append(
                f"Dev has {self.verifier.num_sources} sources to draw from: too few to say how others would do. The range is too narrow."
            )
        if self.verifier.are_unseen:
            found.append(OF_KNOWN)
        else:
            found.append(
                "Training heard sources that LLRs are calibrated on: of sources that it never heard they are surer than they should be."
            )
        if self.draws.num_silent:
            found.append(
                f"{self.draws.num_silent} of {drawn + self.draws.num_silent} draws of dev's sources could tell no files apart; range and "
                "stability are of the others."
            )
        joined = "a mean log10 LR" if self.settings.method == "agglomerative" else "chains of single log10 LRs"
        found.append(
            f"Groups are joined from {joined} of {threshold / LN_10:.2f} on (grouping.prior={self.settings.prior:g}). Another prior, other "
            "groups."
        )
        return found

    def table(self) -> pd.DataFrame:
        """One row for each file, groups from 1 on in their order, files without one, those that could not be compared."""
        order = [int(row) for rows in (*self.groups, self.ungrouped) for row in rows]
        table = pd.DataFrame([self._row(row) for row in order] + [{"path": printable(f.path), "reason": f.reason} for f in self.failures])
        columns = ["path", "status", "group", "size", "stability", "log10_lr_within", "nearest_group", "log10_lr_nearest", "doubts"]
        columns += [*(["source"] if self.sources else []), "copies", "digest", "notes", "reason"]
        table = table.reindex(columns=columns)
        table["status"] = table["status"].fillna("failed")
        return table.astype(dict.fromkeys(("group", "size", "nearest_group"), "Int64"))

    def _row(self, row: int) -> dict[str, object]:
        file, label, nearest = self.files[row], int(self.labels[row]), int(self.neighbours.nearest[row])
        return {
            "path": file.name,
            "status": "no group" if label == NO_GROUP else "grouped",
            "group": None if label == NO_GROUP else label + 1,
            "size": None if label == NO_GROUP else len(self.groups[label]),
            "stability": self.stability[row],
            "log10_lr_within": self.neighbours.within[row] / LN_10,
            "nearest_group": None if nearest < 0 else nearest + 1,
            "log10_lr_nearest": self.neighbours.to_nearest[row] / LN_10,
            "doubts": "; ".join([*self.doubts_about_file(row), *self.doubts_about_group(label)]),
            "source": printable(self.sources[row]) if self.sources else None,
            "copies": " | ".join(printable(str(path)) for path in file.paths[1:]),
            "digest": file.digest,
            "notes": "; ".join(file.notes),
        }


def number_text(value: float) -> str:
    """A share, or - where it is not known."""
    return ABSENT if math.isnan(value) else f"{value:.2f}"


def signed(value: float) -> str:
    """A log10 LR, or - where there is none."""
    return ABSENT if math.isnan(value) else f"{value:+.2f}"


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:NUM_NAMED]) + (" ..." if len(names) > NUM_NAMED else "")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _range(found: tuple[int, int] | None) -> str:
    if found is None:
        return "how stable that is, no draw of dev can say"
    return f"{found[0]:,} in 95 % of the draws" if found[0] == found[1] else f"{found[0]:,} to {found[1]:,} in 95 % of the draws"
