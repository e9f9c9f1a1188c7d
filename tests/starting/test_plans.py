"""Sizes, splits, training sets and schedules for corpora of many shapes."""

from __future__ import annotations

import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.runtime.parallel import resolve_workers
from sourcetracing.starting.estimates import duration, estimate, size
from sourcetracing.starting.measuring import Speed
from sourcetracing.starting.plans import (
    LARGE,
    SMALL,
    TINY,
    crop_seconds_of,
    make_first_plan,
    schedule_of,
    sets_of,
    size_of,
)
from sourcetracing.starting.splits import FRACTIONS, choose_split

COLUMNS = ["utt_id", "language", "source", "speaker", "transcript", "recording", "split"]


def utterances(cells: dict[tuple[str, str], int], **columns) -> pd.DataFrame:
    """columns: name -> function of the number of an utterance in its cell, the language and the source."""
    rows = [(f"{language}/{source}/{n}", language, source, n) for (language, source), count in cells.items() for n in range(count)]
    table = pd.DataFrame(rows, columns=["utt_id", "language", "source", "n"])
    for column in COLUMNS[3:]:
        make = columns.get(column, lambda n, language, source: "")
        table[column] = [make(row.n, row.language, row.source) for row in table.itertuples()]
    return table[COLUMNS]


def grid(languages: str, sources: str, count: int) -> dict[tuple[str, str], int]:
    return {(language, source): count for language in languages for source in sources}


def counts_of(cells: dict[tuple[str, str], tuple[int, int, int]]) -> pd.DataFrame:
    index = pd.MultiIndex.from_tuples(cells, names=["language", "source"])
    return pd.DataFrame(list(cells.values()), index=index, columns=["train", "dev", "eval"])


def sets(cells: dict[tuple[str, str], tuple[int, int, int]]) -> tuple[list[str], list[str], str]:
    return sets_of(counts_of(cells), sorted({language for language, _ in cells}))


def test_large_cells_keep_the_papers_fractions_and_small_ones_test_more():
    assert FRACTIONS[0] == (0.6, 0.2, 0.2)
    chosen = choose_split(utterances(grid("ed", "ab", 40)), 688)
    assert (chosen.split.train, chosen.split.eval, chosen.split.group_by) == (0.6, 0.2, "none")
    assert (chosen.counts == [24, 8, 8]).all(axis=None)
    few = choose_split(utterances(grid("x", "abcd", 10)), 688)
    assert (few.counts["eval"] >= 3).all() and (few.counts > 0).all(axis=None)


@pytest.mark.parametrize("count", [3, 4, 5, 6, 7, 11])
def test_every_cell_of_three_or_more_is_in_every_split(count):
    assert (choose_split(utterances(grid("ed", "abc", count)), 688).counts > 0).all(axis=None)


def test_transcripts_that_sources_share_stay_in_one_split():
    shared = utterances(grid("ed", "abc", 30), transcript=lambda n, language, source: f"{language} {n}")
    chosen = choose_split(shared, 688)
    assert chosen.split.group_by == "transcript"
    assert (chosen.counts > 0).all(axis=None)
    own = utterances(grid("ed", "abc", 30), transcript=lambda n, language, source: f"{language} {source} {n}")
    assert choose_split(own, 688).split.group_by == "none"


def test_speakers_are_grouped_by_where_that_leaves_every_source_something():
    many = utterances(grid("e", "ab", 40), speaker=lambda n, language, source: f"{n % 8}")
    assert choose_split(many, 688).split.group_by == "speaker"
    one_each = utterances(grid("e", "ab", 40), speaker=lambda n, language, source: source)
    chosen = choose_split(one_each, 688)
    assert chosen.split.group_by == "none"
    assert "group_by=speaker would leave" in chosen.reasons[0]


def test_published_splits_are_kept_and_their_untrained_sources_are_unknown():
    def split(n, language, source):
        return "eval" if source == "c" or n % 2 else "train"

    chosen = choose_split(utterances(grid("ed", "abc", 6), split=split), 688)
    assert (chosen.split.assignment, chosen.unknown_sources) == ("published", ["c"])
    nothing_to_test = choose_split(utterances(grid("ed", "abc", 6), split=lambda n, language, source: "train"), 688)
    assert nothing_to_test.split.assignment == "seeded"
    assert "drawn anew" in nothing_to_test.reasons[0]


def test_sizes():
    assert size_of(counts_of({("e", "a"): (1000, 0, 0), ("e", "b"): (900, 0, 0)}))[0] == TINY
    assert size_of(counts_of({("e", f"{n}"): (50, 0, 0) for n in range(50)}))[0] == TINY
    assert size_of(counts_of({("e", f"{n}"): (100, 0, 0) for n in range(50)}))[0] == SMALL
    assert size_of(counts_of({("e", "a"): (50_000, 0, 0), ("e", "b"): (1, 0, 0)}))[0] == LARGE


def test_training_and_test_sets():
    full = (8, 2, 2)
    assert sets({(lang, s): full for lang in "ed" for s in "ab"})[:2] == ([], [])
    assert sets({("e", s): full for s in "ab"})[:2] == ([], [])
    # A language with one source, and one that is never tested.
    cells = {**{(lang, s): full for lang in "ed" for s in "ab"}, ("f", "a"): full, ("g", "a"): (8, 2, 0), ("g", "b"): (8, 2, 0)}
    assert sets(cells)[:2] == (["d", "e", "g"], ["d", "e", "f"])
    # Each source in a language of its own: together or not at all.
    assert sets({("e", "a"): full, ("d", "b"): full})[:2] == (["d+e"], [])
    # A language of unknown sources alone is tested on nothing.
    assert sets_of(counts_of({("e", s): full for s in "ab"}), ["e", "u"])[:2] == (["e"], ["e"])
    many = {(f"l{n}", s): full for n in range(12) for s in "ab"}
    assert len(sets(many)[0]) == 1


@pytest.mark.parametrize("rows", [1, 20, 96, 480, 3000, 50_000, 150_000])
@pytest.mark.parametrize("kind", [TINY, SMALL])
def test_the_number_of_steps_is_sensible(rows, kind):
    schedule = schedule_of(kind, rows)
    assert schedule.looks == len(range(0, schedule.steps, schedule.steps_per_dev)) in range(5, 21)
    assert 0 < schedule.warmup_steps <= schedule.steps / 10
    assert (300 if rows > 20 else 100) <= schedule.steps <= 3000
    assert schedule.channels % 8 == 0


def test_crops_are_no_longer_than_most_utterances():
    assert [crop_seconds_of(seconds) for seconds in (0.4, 1.4, 2.6, 5.1, 60)] == [1.0, 1.0, 2.5, 4.0, 4.0]


def test_a_class_in_one_language_only_is_a_class():
    cells = {**grid("ed", "ab", 20), ("e", "c"): 20}
    plan = make_first_plan(choose_split(utterances(cells), 688), 3.0, ["original"])
    assert plan.sources == ["a", "b", "c"]
    assert plan.train_sets == []


def test_the_estimate_counts_the_steps_and_the_looks_at_dev():
    plan = make_first_plan(choose_split(utterances(grid("ed", "abc", 40)), 688), 3.0, ["original"])
    assert plan.counts["dev"].sum() == plan.num_dev_rows == 2 * 3 * 8
    schedule, num_runs = plan.schedule, 2 * 3
    network_s = num_runs * schedule.steps + 3 * schedule.looks * (48 / schedule.batch_size) / 3
    slow, slower = (estimate(plan, Speed(row_s=0.0, step_s=step_s)).training_s for step_s in (1.0, 2.0))
    assert slower - slow == pytest.approx(network_s / min(resolve_workers(0), num_runs * len(plan.systems)))


def test_estimates_have_one_digit():
    assert [duration(seconds) for seconds in (0.01, 34, 100, 3000, 40_000)] == [
        "about 1 s",
        "about 30 s",
        "about 2 min",
        "about 50 min",
        "about 10 h",
    ]
    assert [size(count) for count in (1e5, 3.4e8, 8.7e10)] == ["about 1 MB", "about 300 MB", "about 90 GB"]


def test_a_corpus_that_leaves_nothing_to_test_is_refused():
    with pytest.raises(UserError, match="too few utterances to train and to test two sources"):
        make_first_plan(choose_split(utterances(grid("e", "ab", 1)), 688), 3.0, ["original"])


def test_sources_of_a_file_or_two_are_unknown_ones():
    chosen = choose_split(utterances({**grid("e", "abc", 4), ("e", "d"): 1}), 688)
    assert chosen.unknown_sources in ([], ["d"])
    plan = make_first_plan(chosen, 3.0, ["original"])
    assert (plan.counts["train"].groupby(level="source").sum()[plan.sources] > 0).all()
