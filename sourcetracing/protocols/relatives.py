"""What sources have in common: the labels of each, and how an unknown source is related to the known ones.

A *generator* is an acoustic model with a vocoder. The relation of an unknown source is one of RELATIONS, the first that holds:

* checkpoint: a known source has its acoustic model and vocoder. Another name is another checkpoint, voice or language of that generator.
* generator: a known source has its architecture.
* new: its architecture is that of no known source. A vocoder may be known all the same.
* unlabelled: nothing is known that would tell.

Sources that are a checkpoint or a generator have a relative (RELATED). The question is GenTraceBench's (docs/hierarchy.md).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import pandas as pd

from sourcetracing.corpora.labels import relabelled
from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.protocols.records import PROTOCOL_COMMAND
from sourcetracing.protocols.table import read_table
from sourcetracing.settings.schema import Settings

COARSE_LEVELS = ("architecture", "acoustic_model", "vocoder")  # columns of utterances.csv; the first is above the others
SOURCE_LEVEL = "source"
LEVELS = (*COARSE_LEVELS, SOURCE_LEVEL)
CHECKPOINT, GENERATOR, NEW, UNLABELLED = "checkpoint", "generator", "new", "unlabelled"
RELATIONS = {
    CHECKPOINT: "unseen checkpoint of a known generator",
    GENERATOR: "unseen generator of a known architecture",
    NEW: "wholly new architecture",
    UNLABELLED: "unlabelled",
}
RELATED = (CHECKPOINT, GENERATOR)
ALL_UNKNOWN, WITH_RELATIVE = "unknown", "related"
# What figures are of: name -> (relations of its sources, in words).
SUBSETS = {
    ALL_UNKNOWN: (tuple(RELATIONS), "all unknown sources"),
    WITH_RELATIVE: (RELATED, "with a known relative"),
    **{relation: ((relation,), words) for relation, words in RELATIONS.items()},
}


def labels_of_sources(utterances: pd.DataFrame) -> pd.DataFrame:
    """COARSE_LEVELS (columns) of each source (index, sorted), "" where none is known.

    utterances: columns source and those of COARSE_LEVELS that there are. A source whose utterances have several labels has none: it is no
    single one of them (`mixed_labels` names these).
    """
    sources = sorted(utterances["source"].unique())
    found = pd.DataFrame("", index=pd.Index(sources, name="source"), columns=list(COARSE_LEVELS), dtype=object)
    for level, labels in _labels_found(utterances):
        single = labels[labels.map(len) == 1].map(lambda names: names[0])
        found.loc[single.index, level] = single
    return found


def mixed_labels(utterances: pd.DataFrame) -> list[tuple[str, str, list[str]]]:
    """(source, level, its labels) of each source whose utterances have several labels of a level."""
    return [(source, level, names) for level, labels in _labels_found(utterances) for source, names in labels.items() if len(names) > 1]


def _labels_found(utterances: pd.DataFrame) -> Iterator[tuple[str, pd.Series]]:
    """Each level that there is, with the sorted labels of each source that has any."""
    for level in COARSE_LEVELS:
        if level in utterances:
            pairs = utterances[["source", level]].drop_duplicates()
            pairs = pairs[pairs[level].fillna("").str.strip() != ""]
            yield level, pairs.groupby("source")[level].agg(lambda names: sorted({name.strip() for name in names}))


def load_labels(settings: Settings) -> pd.DataFrame:
    """`labels_of_sources` of the corpus as script 02 wrote it, unknown sources included; without rows where it has not written any.

    With another corpus.label its values are the sources: of each vocoder, say, the architecture that all its utterances have.
    """
    return labels_of_sources(_utterances(settings))


def notes_on_labels(settings: Settings) -> list[str]:
    """A sentence for each source whose utterances disagree."""
    return [
        f"{source} has several labels of {level.replace('_', ' ')} ({', '.join(names)}), so it counts as unlabelled there"
        for source, level, names in mixed_labels(_utterances(settings))
    ]


def _utterances(settings: Settings) -> pd.DataFrame:
    path = Layout.of(settings).utterances
    if not path.is_file():
        return pd.DataFrame({"source": pd.Series(dtype=object)})
    return relabelled(read_table(path, ["source", settings.corpus.label], PROTOCOL_COMMAND), settings)


def relations(labels: pd.DataFrame, known: Collection[str]) -> pd.Series:
    """Source -> one of RELATIONS, of each source of `labels` (`labels_of_sources`) that is not `known`.

    Raises `UserError` for labels that name a source twice.
    """
    if (twice := labels.index.duplicated()).any():
        raise UserError(f"labels of sources: {labels.index[twice][0]} has two rows")
    is_known = labels.index.isin(list(known))
    own = labels[is_known]
    generators = {pair for pair in zip(own["acoustic_model"], own["vocoder"], strict=True) if all(pair)}
    architectures = set(own["architecture"]) - {""}
    others = labels[~is_known]
    return pd.Series(
        [_relation(*row, generators, architectures) for row in others[list(COARSE_LEVELS)].itertuples(index=False)],
        index=others.index,
        name="relation",
        dtype=object,
    )


def _relation(
    architecture: str, acoustic_model: str, vocoder: str, generators: Collection[tuple[str, str]], architectures: Collection[str]
) -> str:
    if (acoustic_model, vocoder) in generators:
        return CHECKPOINT
    if not architecture or not architectures:
        return UNLABELLED
    return GENERATOR if architecture in architectures else NEW


def subsets(sources: pd.Series, labels: pd.DataFrame, known: Collection[str]) -> dict[str, pd.Series]:
    """SUBSETS' name -> which rows (N,) bool belong to it; rows of known sources belong to none. sources (N,): of each row.

    A source that `labels` does not have is unlabelled.
    """
    relation = sources.map(relations(labels, known)).where(~sources.isin(list(known)), "")
    relation = relation.fillna(UNLABELLED)
    return {name: relation.isin(members) for name, (members, _) in SUBSETS.items()}


def tree_order(labels: pd.DataFrame, sources: Collection[str]) -> list[str]:
    """Sources by architecture, acoustic model, vocoder, name; those without an architecture last."""
    table = labels.reindex(list(dict.fromkeys(sources)), fill_value="")
    keys = [(not row.architecture, row.architecture, row.acoustic_model, row.vocoder, row.Index) for row in table.itertuples()]
    return [key[-1] for key in sorted(keys)]
