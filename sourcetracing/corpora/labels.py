"""What is traced (corpus.label): the source itself, or another column of utterances.csv, whose values are the classes then.

utterances.csv and feature stores keep the true sources, so that one store serves every label. Whoever reads them for labels calls
`relabelled`, which puts the label into the column source and the true source into SYSTEM.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO

import pandas as pd

from sourcetracing.corpora.components import with_components
from sourcetracing.corpora.corpus import Corpus, asking_for, corpus_of, utterances_of_settings
from sourcetracing.errors import UserError
from sourcetracing.settings.checking import did_you_mean
from sourcetracing.settings.corpora import SOURCE
from sourcetracing.settings.names import require_usable_names
from sourcetracing.settings.schema import Settings

SYSTEM = "system"  # the true source, beside a label; no reader has a column of that name
NO_LABELS = frozenset({"utt_id", "path", "language", "transcript", "recording", "split", SYSTEM})
NUM_NAMED = 8


def labelled_corpus(settings: Settings) -> Corpus:
    """`corpus_of`, asked for the sources that have one of the settings' labels. Raises `UserError` for a label that nothing has."""
    return choose_by_label(settings)[0]


def choose_by_label(settings: Settings) -> tuple[Corpus, list[str]]:
    """`labelled_corpus`, and lines on which sources make up each class and how many utterances have no label."""
    corpus, label = corpus_of(settings), settings.corpus.label
    if label == SOURCE:
        return corpus, []
    with redirect_stdout(StringIO()):  # what is left out is said when the wanted ones are read
        everything = with_components(corpus.of_every_source(), settings)
    found = utterances_by_label(everything, settings)
    is_blank = everything[label] == ""
    classes = [f"{name} ({_named(found['system'][found['source'] == name].unique())})" for name in settings.corpus.sources]
    lines = [f"classes by {label}, and the sources that each is made of: {', '.join(classes)}"]
    if is_blank.any():
        without = _named(sorted(everything[SOURCE][is_blank].unique()))
        lines.append(
            f"corpus.label={label}: left out {is_blank.sum()} of {len(everything)} utterances whose {label} is not known ({without})"
        )
    return corpus_of(asking_for(settings, sorted(found[SYSTEM].unique()), [])), lines


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:NUM_NAMED]) + (f" and {len(names) - NUM_NAMED} more" if len(names) > NUM_NAMED else "")


def utterances_by_label(utterances: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """The utterances with a label of corpus.sources or corpus.unknown_sources, `relabelled`.

    utterances: columns utt_id, source, language and the label. Raises `UserError` for a column that there is not, one that tells nothing
    apart, and a class that is no value of it.
    """
    label = settings.corpus.label
    if label == SOURCE:
        return utterances
    _require_column(label, utterances)
    values = sorted(set(utterances[label]) - {""})
    if not values:
        raise UserError(f"corpus.label={label}: the {label} of every utterance is unknown. Name a table of labels as corpus.components")
    if len(values) == 1:
        raise UserError(f"corpus.label={label}: all that is known is {values[0]}: nothing to tell apart. Choose another label")
    where = f"the column {label} ({_named(values)})"
    found = utterances_of_settings(relabelled(utterances[utterances[label] != ""], settings), settings, where)
    require_usable_names((), found[SOURCE].unique())
    return found


def _require_column(label: str, utterances: pd.DataFrame) -> None:
    if label in NO_LABELS or label not in utterances:
        there = [name for name in utterances.columns if name not in NO_LABELS]
        what = "cannot be traced" if label in NO_LABELS else "is no column of the utterances"
        raise UserError(f"corpus.label: {label!r} {what} (further ones: corpus.components){did_you_mean(label, there)}")


def relabelled(table: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """A table whose column source is the label; the true sources stand in SYSTEM. With corpus.label=source the table itself."""
    label = settings.corpus.label
    return table if label == SOURCE else table.assign(**{SYSTEM: table[SOURCE], SOURCE: table[label]})


def with_true_sources(table: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """What `relabelled` was given."""
    return table if settings.corpus.label == SOURCE else table.assign(source=table[SYSTEM]).drop(columns=SYSTEM)


def strata_by_label(utterances: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """The utterances (true sources) as a split keeps their fractions: within each source, and in it within each label where it has several.

    So the labels keep their fractions too, and utterances that are classes, or unknown, under two labels are split alike.
    """
    label = settings.corpus.label
    if label == SOURCE:
        return utterances
    has_several = utterances.groupby(SOURCE)[label].transform("nunique") > 1
    return utterances.assign(source=utterances[SOURCE].where(~has_several, utterances[SOURCE] + " [" + utterances[label] + "]"))


def refuse_other_labels(settings: Settings, what: str) -> None:
    """Raises `UserError` where another label than the source is traced: `what` chooses among sources by their architectures."""
    if settings.corpus.label != SOURCE:
        raise UserError(
            f"{what} chooses among sources, and corpus.label={settings.corpus.label} traces another column: use one without the other"
        )
