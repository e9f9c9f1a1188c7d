"""What each table consists of, as data: its YAML file names the rules for its training and test sets, `configs/experiments/<table>.yaml`.

The two rules are the *shape* of a table. All that a table gets follows from its shape, nothing from its name: a table of your own gets
what the paper's table of that shape gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sourcetracing.errors import UserError
from sourcetracing.settings.checking import did_you_mean
from sourcetracing.settings.names import require_folder_name
from sourcetracing.settings.places import config_files, config_path
from sourcetracing.settings.reading import read_yaml
from sourcetracing.settings.schema import Settings

# Rule for the training sets -> rules for the test sets that go with it.
SHAPES = {
    "languages": ("languages", "families"),
    "families": ("families", "languages"),
    "all_but_one": ("seen_and_unseen", "speaker_groups"),
}
REQUIRED_WORDS, OPTIONAL_WORDS = ("title", "train_sets", "test_sets"), ("tab", "file_prefix")
SPEAKER_GROUPS = ("seen", "unseen", "never_seen", "rare", "frequent")  # the published two, then the strict three (D11)
GROUP_MARK = ":"


@dataclass(frozen=True)
class TablePlan:
    """A table: `cells` are its (training set, test set) pairs in display order; `places` the row and column that each is shown in.

    A set is languages joined by +, in the corpus's order. Behind a colon a test set names a speaker group: en+de:seen. Tables of
    held-out languages have a row for each of those (-en), and columns such as seen and unseen. `shape`: the rules for training and test
    sets. `tab`: its name in the report. `file_prefix`: begins the names of its files but for <table>.csv, .md and .tex.
    """

    name: str
    title: str
    cells: tuple[tuple[str, str], ...]
    places: tuple[tuple[str, str], ...]
    shape: tuple[str, str]
    tab: str
    file_prefix: str

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
        return self.shape[1] == "speaker_groups"

    @property
    def has_details(self) -> bool:
        """Whether figures by class, confusion matrices and variants are shown too: where languages are trained on one by one."""
        return self.shape[0] == "languages"


def languages_of(test_set: str) -> list[str]:
    """The languages of a training or test set."""
    return test_set.partition(GROUP_MARK)[0].split("+")


def group_of(test_set: str) -> str:
    """The speaker group of a test set; "" for all speakers."""
    return test_set.partition(GROUP_MARK)[2]


def plans_of(settings: Settings) -> list[TablePlan]:
    """The tables of `experiment.tables`. Raises `UserError` for a name without a file, or where one would overwrite another."""
    plans = [read_plan(name, settings) for name in settings.experiment.tables]
    for word in ("name", *OPTIONAL_WORDS):
        owners: dict[str, TablePlan] = {}
        for plan in plans:
            if (first := owners.setdefault(getattr(plan, word), plan)) is not plan:
                both = f"{first.name} and {plan.name} have the same {word} {getattr(plan, word)!r}"
                raise UserError(f"experiment.tables: {both}. Give one of them another in its YAML file")
    return plans


def read_plan(name: str, settings: Settings) -> TablePlan:
    """One table for the languages of a corpus; `name`: of a file in configs/experiments/, or the path of a .yaml file.

    Raises `UserError`: no such file, an unknown rule, a corpus with too few languages.
    """
    files = config_files("experiments")
    if not name.endswith(".yaml") and name not in files:
        raise UserError(f"experiment.tables: {name!r} has no file configs/experiments/{name}.yaml{did_you_mean(name, files)}")
    path = Path(name) if name.endswith(".yaml") else files[name]
    words, name = read_yaml(path), path.stem
    _check(words, path)
    shape, languages = (words["train_sets"], words["test_sets"]), settings.corpus.languages
    if shape[0] == "all_but_one" and len(languages) < 2:
        raise UserError(f"experiment.tables: {name} holds one language out, but corpus.languages={languages}")
    if "families" in shape and not _families(settings):
        raise UserError(f"experiment.tables: {name} needs language families, but experiment.families has none of {', '.join(languages)}")
    cells = [(train, test) for train in _train_sets(shape[0], settings) for test in _test_sets(shape[1], train, settings)]
    places = cells
    if shape[0] == "all_but_one":
        places = [(f"-{held_out_of(train, languages)}", _condition(train, test)) for train, test in cells]
    words = {"tab": words["title"], "file_prefix": f"{name}_", **words}
    require_folder_name(f"{path}: file_prefix", f"{words['file_prefix']}x")  # an empty one is fine
    return TablePlan(name, str(words["title"]), tuple(cells), tuple(places), shape, str(words["tab"]), str(words["file_prefix"]))


def _condition(train_set: str, test_set: str) -> str:
    return group_of(test_set) or ("seen" if test_set == train_set else "unseen")


def _check(words: dict, path: Path) -> None:
    if not set(REQUIRED_WORDS) <= set(words) <= {*REQUIRED_WORDS, *OPTIONAL_WORDS}:
        wanted = "the settings title, train_sets and test_sets are expected, and tab and file_prefix are possible"
        raise UserError(f"{path}: {wanted}; there are {', '.join(map(str, words))}")
    train, test = words["train_sets"], words["test_sets"]
    if train not in SHAPES:
        raise UserError(f"{path}: train_sets={train!r}: must be one of {', '.join(SHAPES)}")
    if test not in SHAPES[train]:
        raise UserError(f"{path}: test_sets={test!r}: with train_sets={train} it must be one of {', '.join(SHAPES[train])}")


def _train_sets(rule: str, settings: Settings) -> list[str]:
    languages = settings.corpus.languages
    if rule == "all_but_one":
        return ["+".join(language for language in languages if language != held_out) for held_out in languages]
    return _families(settings) if rule == "families" else settings.experiment.train_sets or list(languages)


def _test_sets(rule: str, train_set: str, settings: Settings) -> list[str]:
    languages = settings.corpus.languages
    if rule in ("languages", "families"):
        return _families(settings) if rule == "families" else settings.experiment.test_sets or list(languages)
    held_out = held_out_of(train_set, languages)
    if rule == "seen_and_unseen":
        return [train_set, held_out]
    tested = train_set if settings.speakers.test_set == "seen_languages" else held_out
    return [f"{tested}{GROUP_MARK}{group}" for group in SPEAKER_GROUPS]


def held_out_of(train_set: str, languages: Sequence[str]) -> str:
    """The one language of the corpus that a training set lacks where one is held out."""
    (held_out,) = set(languages) - set(languages_of(train_set))
    return held_out


def family_of_languages(settings: Settings) -> dict[str, str]:
    """Language -> its family, family by family: of `experiment.families`, else of configs/families.yaml. Raises `UserError`."""
    families = settings.experiment.families or read_yaml(config_path("configs/families.yaml"))["experiment"]["families"]
    found: dict[str, str] = {}
    for family, members in families.items():
        for language in members:
            if found.setdefault(language, family) != family:
                raise UserError(f"experiment.families: {language} is in {found[language]} and in {family}; leave it in one")
    return found


def _families(settings: Settings) -> list[str]:
    """The families of a corpus, each as far as its languages are there; languages of no known family are left out."""
    family_of, languages = family_of_languages(settings), settings.corpus.languages
    families = [[language for language in languages if family_of.get(language) == family] for family in dict.fromkeys(family_of.values())]
    return ["+".join(members) for members in families if members]
