"""The YAML of a first experiment: every choice with its reason beside it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import yaml

from sourcetracing.corpora.found_files import COLUMNS, FoundFiles
from sourcetracing.settings.corpora import LANGUAGE_NAMES
from sourcetracing.settings.training import SPLITS
from sourcetracing.starting.estimates import Estimate
from sourcetracing.starting.plans import ENCODER, LARGE, NETWORK, FirstPlan

_WIDTH = 120
_RARE = 1 / 3  # of the median source's utterances: a source with fewer
_MOST_NAMED = 8
_HOPELESS, _ENOUGH = 8, 20  # utterances of a source in a language


@dataclass(frozen=True)
class Place:
    """name: of the experiment. corpus: what was looked at, as it was typed. table: "" where the folder is read as it is. noises: paths.*"""

    name: str
    corpus: str
    root: str
    table: str
    noises: dict[str, str]


def table_of(found: FoundFiles) -> pd.DataFrame:
    """What folder.table gets: the columns that say something, sorted by path."""
    needed = ("path", "language", "source")
    kept = [column for column in COLUMNS if column in needed or (found.rows[column] != "").any()]
    return found.rows[kept].sort_values("path", ignore_index=True)


def holes(plan: FirstPlan) -> list[str]:
    """`no griffin_lim in de, fr`: what is missing where, a line for each source."""
    there = set(plan.counts.index)
    missing = {name: [language for language in plan.languages if (language, name) not in there] for name in plan.sources}
    return [f"no {name} in {_some(languages)}" for name, languages in missing.items() if languages]


def small_cells(plan: FirstPlan) -> str:
    """A warning where cells are hopelessly small; "" where none is."""
    sizes = plan.counts.sum(axis=1)
    if not (few := (sizes < _HOPELESS)).any():
        return ""
    language, source = sizes.idxmin()
    return (
        f"{int(few.sum())} of {len(sizes)} pairs of language and source have fewer than {_HOPELESS} utterances (least: {sizes.min()} "
        f"of {source} in {language}): too few to learn from or to test on, so their figures are mostly chance. "
        f"{_ENOUGH} of each or more say something"
    )


def candidates(plan: FirstPlan) -> dict[str, str]:
    """Source -> why it might rather be no class; nothing where fewer than two classes would stay."""
    sizes = plan.counts.sum(axis=1)
    known = sizes[sizes.index.get_level_values("source").isin(plan.sources)]
    total, num_languages = known.groupby(level="source").sum(), known.groupby(level="source").size()
    found = {}
    for name in plan.sources:
        if total[name] < _RARE * total.median():
            found[name] = f"{total[name]} utterances"
        elif num_languages[name] == 1 < num_languages.median():
            found[name] = f"in {known.xs(name, level='source').index[0]} only"
    return found if len(found) <= len(plan.sources) - 2 else {}


def yaml_of(plan: FirstPlan, found: FoundFiles, place: Place, guess: Estimate) -> str:
    """The text of the file. All but the line of the estimate depends on the corpus alone."""
    lines = _head(plan, found, place, guess)
    lines += [f"name: {text(place.name)}"]
    paths = {"corpus": place.root, **place.noises}
    lines += [f"paths: {{{', '.join(f'{key}: {text(value)}' for key, value in paths.items())}}}"]
    lines += [*_corpus(plan), *([f"folder: {{table: {text(place.table)}}}"] if place.table else [])]
    lines += [*_split(plan), *_sound(plan, place), *_experiment(plan), *_systems(plan)]
    return "\n".join(lines) + "\n"


def _head(plan: FirstPlan, found: FoundFiles, place: Place, guess: Estimate) -> list[str]:
    total = int(plan.counts.to_numpy().sum())
    first = (
        f"A first experiment on {place.corpus}: {total} utterances, {languages_in_words(len(plan.languages))}, {len(plan.sources)} sources"
    )
    facts = [
        f"{first} (read from {found.layout}). Written once by start_corpus.py; it is yours to change.",
        f"Size: {plan.size} ({plan.size_reason}).",
        *(f"Note: {note}." for note in found.notes),
        *([f"Warning: {few}."] if (few := small_cells(plan)) else []),
        *(f"Missing: {hole}." for hole in holes(plan)[:_MOST_NAMED]),
        f"Estimate, from a short measurement on this machine: {guess.text}.",
    ]
    return [line for fact in facts for line in comment(fact)]


def _corpus(plan: FirstPlan) -> list[str]:
    sizes = plan.counts.sum(axis=1)
    splits, languages = plan.counts.groupby(level="language").sum(), sizes.groupby(level="language")
    lines = ["corpus:", "  reader: folder", "  languages: # utterances (train/dev/eval), sources"]
    for name in plan.languages:
        counts = "/".join(str(splits.loc[name, split]) for split in SPLITS)
        english = f"{LANGUAGE_NAMES[name]}: " if name in LANGUAGE_NAMES else ""
        lines.append(f"    - {text(name)} # {english}{languages.sum()[name]} ({counts}), {languages.size()[name]} sources")
    lines.append("  sources: # the classes, in the order of their ids")
    lines += [f"    - {text(name)} # {_of_source(sizes, name)}" for name in plan.sources]
    if plan.unknown_sources:
        lines.append("  unknown_sources: # no classes, for no training utterance is theirs")
        lines += [f"    - {text(name)} # {_of_source(sizes, name)}" for name in plan.unknown_sources]
    elif some := candidates(plan):
        named = ", ".join(f"{text(name)}: {why}" for name, why in list(some.items())[:_MOST_NAMED])
        why = f"Sources that might rather be no class but unknown ones, for script 07; take them out of `sources` then ({named}):"
        lines += [*comment(why, "  "), f"  # unknown_sources: [{', '.join(text(name) for name in some)}]"]
    return lines


def _of_source(sizes: pd.Series, name: str) -> str:
    own = sizes.xs(name, level="source")
    return f"{own.sum()} utterances in {languages_in_words(own.size)}"


def languages_in_words(count: int) -> str:
    """`1 language`, `2 languages`."""
    return f"{count} language{'s' * (count != 1)}"


def _split(plan: FirstPlan) -> list[str]:
    lines = ["split:", *(line for reason in plan.split_reasons for line in comment(reason, "  "))]
    if plan.split.assignment == "published":
        return [*lines, "  assignment: published"]
    lines += [f"  {name}: {getattr(plan.split, name):g}" for name in SPLITS]
    return [*lines, f"  group_by: {plan.split.group_by}"]


def _sound(plan: FirstPlan, place: Place) -> list[str]:
    clean = "as they are: no noises (MUSAN) and room responses (RIRS_NOISES) were found; name theirs as paths.musan and paths.rirs"
    why = "with noise and reverberation, too; [original] alone takes a fifth of the time" if place.noises else clean
    return [
        "audio:",
        f"  crop_seconds: {plan.crop_seconds:g} # of each utterance; no more than most of them have",
        "  on_bad_audio: skip # script 02 lists what cannot be used; fail = it stops there",
        "augment:",
        *comment(why, "  "),
        f"  variants: [{', '.join(plan.variants)}]",
    ]


def _experiment(plan: FirstPlan) -> list[str]:
    lines = ["experiment:", "  tables: [table4] # trained and tested by language", *comment(plan.set_reason, "  ")]
    sets = {"train_sets": plan.train_sets, "test_sets": plan.test_sets}
    lines += [f"  {key}: [{', '.join(text(name) for name in names)}]" for key, names in sets.items() if names]
    what = "the floor first: what a network has to beat"
    if plan.size == LARGE:
        what += f"; {ENCODER} wants a GPU"
    return [
        *lines,
        f"  systems: [{', '.join(plan.systems)}] # {what}",
        f"  seeds: [{', '.join(map(str, plan.seeds))}] # a training run for each; from three on their spread is shown",
    ]


def _systems(plan: FirstPlan) -> list[str]:
    if NETWORK not in plan.systems:
        return []
    schedule = plan.schedule
    steps = f"steps: {schedule.steps}, steps_per_dev: {schedule.steps_per_dev}, warmup_steps: {schedule.warmup_steps}"
    rates = f"schedule: cosine, batch_size: {schedule.batch_size}, lr: 2.0e-3, weight_decay: 1.0e-2, mixup: none"
    return [
        "systems:",
        f"  {NETWORK}: # as narrow as the corpus is small; optimizer steps, and of these so many before each look at dev",
        f"    ecapa_tdnn: {{channels: {schedule.channels}}}",
        f"    train: {{{steps}, {rates}}}",
    ]


def comment(fact: str, indent: str = "") -> list[str]:
    """A text as lines of a YAML comment."""
    return textwrap.wrap(fact, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_long_words=False)


def text(value: str) -> str:
    """A word as YAML reads it back: in quotation marks where it might be taken for a number, a truth value or syntax."""
    return value if _is_plain(value) else json.dumps(value, ensure_ascii=False)


def _is_plain(value: str) -> bool:
    try:
        float(value)
        return False
    except ValueError:
        pass
    try:
        return value.replace("_", "").replace("-", "").replace(".", "").replace("/", "").isalnum() and yaml.safe_load(f"[{value}]") == [
            value
        ]
    except yaml.YAMLError:
        return False


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
