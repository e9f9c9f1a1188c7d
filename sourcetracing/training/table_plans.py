"""What each table of the paper consists of, as data: configs/experiments/<table>.yaml names its training and test sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sourcetracing.errors import UserError
from sourcetracing.settings.checking import did_you_mean
from sourcetracing.settings.places import config_files
from sourcetracing.settings.reading import read_yaml
from sourcetracing.settings.schema import Settings

FAMILIES = {"Germanic": ("en", "de"), "Romance": ("fr", "it"), "Slavic": ("pl", "ru")}
TRAIN_RULES = ("languages", "families", "all_but_one")
TEST_RULES = ("languages", "families", "seen_and_unseen", "speaker_groups")
SPEAKER_GROUPS = ("seen", "unseen", "never_seen", "rare", "frequent")  # the published two, then the strict three (D11)
GROUP_MARK = ":"


@dataclass(frozen=True)
class TablePlan:
    """A table: `cells` are its (training set, test set) pairs in display order; `places` the row and column that each is shown in.

    A set is languages joined by +, in the corpus's order. Behind a colon a test set names a speaker group: en+de:seen. Tables of
    held-out languages have a row for each of those (-en), and columns such as seen and unseen.
    """

    name: str
    title: str
    cells: tuple[tuple[str, str], ...]
    places: tuple[tuple[str, str], ...]

    @property
    def train_sets(self) -> list[str]:
        """The training sets in display order."""
        return list(dict.fromkeys(train for train, _ in self.cells))

    @property
    def test_sets(self) -> list[str]:
        """The test sets in display order."""
        return list(dict.fromkeys(test for _, test in self.cells))

    @property
    def needs_speakers(self) -> bool:
        """Whether a test set is a group of speakers."""
        return any(GROUP_MARK in test for _, test in self.cells)


def languages_of(test_set: str) -> list[str]:
    """The languages of a training or test set."""
    return test_set.partition(GROUP_MARK)[0].split("+")


def group_of(test_set: str) -> str:
    """The speaker group of a test set; "" for all speakers."""
    return test_set.partition(GROUP_MARK)[2]


def plans_of(settings: Settings) -> list[TablePlan]:
    """The tables of `experiment.tables`. Raises `UserError` for a name without a file."""
    return [read_plan(name, settings) for name in settings.experiment.tables]


def read_plan(name: str, settings: Settings) -> TablePlan:
    """One table for the languages of a corpus. Raises `UserError`: no such file, an unknown rule, a corpus with too few languages."""
    files = config_files("experiments")
    if name not in files:
        raise UserError(f"experiment.tables: {name!r} has no file configs/experiments/{name}.yaml{did_you_mean(name, files)}")
    words = read_yaml(files[name])
    _check(words, files[name])
    trains = _train_sets(words["train_sets"], settings)
    if words["train_sets"] == "all_but_one" and len(settings.corpus.languages) < 2:
        raise UserError(f"experiment.tables: {name} holds one language out, but corpus.languages={settings.corpus.languages}")
    cells = [(train, test) for train in trains for test in _test_sets(words["test_sets"], train, settings)]
    places = cells
    if words["train_sets"] == "all_but_one":
        places = [(f"-{held_out_of(train, settings.corpus.languages)}", _condition(train, test)) for train, test in cells]
    return TablePlan(name, words["title"], tuple(cells), tuple(places))


def _condition(train_set: str, test_set: str) -> str:
    return group_of(test_set) or ("seen" if test_set == train_set else "unseen")


def _check(words: dict, path: Path) -> None:
    rules = {"train_sets": TRAIN_RULES, "test_sets": TEST_RULES}
    if set(words) != {"title", *rules}:
        raise UserError(f"{path}: the settings title, train_sets and test_sets are expected, there are {', '.join(map(str, words))}")
    for key, choices in rules.items():
        if words[key] not in choices:
            raise UserError(f"{path}: {key}={words[key]!r}: must be one of {', '.join(choices)}")


def _train_sets(rule: str, settings: Settings) -> list[str]:
    languages = settings.corpus.languages
    if rule == "languages":
        return settings.experiment.train_sets or list(languages)
    if rule == "families":
        return _families(languages)
    return [_others(languages, held_out) for held_out in languages]


def _test_sets(rule: str, train_set: str, settings: Settings) -> list[str]:
    languages = settings.corpus.languages
    if rule == "languages":
        return settings.experiment.test_sets or list(languages)
    if rule == "families":
        return _families(languages)
    held_out = held_out_of(train_set, languages)
    if rule == "seen_and_unseen":
        return [train_set, held_out]
    tested = train_set if settings.speakers.test_set == "seen_languages" else held_out
    return [f"{tested}{GROUP_MARK}{group}" for group in SPEAKER_GROUPS]


def held_out_of(train_set: str, languages: Sequence[str]) -> str:
    """The one language of the corpus that a training set of Table 5 lacks."""
    (held_out,) = set(languages) - set(languages_of(train_set))
    return held_out


def _others(languages: Sequence[str], held_out: str) -> str:
    return "+".join(language for language in languages if language != held_out)


def _families(languages: Sequence[str]) -> list[str]:
    """The families of a corpus, each as far as its languages are there; languages of no known family are left out."""
    found = [[language for language in languages if language in members] for members in FAMILIES.values()]
    return ["+".join(members) for members in found if members]
