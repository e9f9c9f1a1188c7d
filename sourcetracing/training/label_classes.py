"""What rows are labelled with besides their class, for further heads (`train.labels`): columns of utterances.csv, their classes, holes."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from sourcetracing.corpora.components import COMPONENTS, RESERVED
from sourcetracing.corpora.labels import with_true_sources
from sourcetracing.errors import UserError
from sourcetracing.features.rows import UNKNOWN_LABEL, FeatureRows, FurtherLabels, label_ids
from sourcetracing.features.store import FeatureStore
from sourcetracing.layout import RunLayout
from sourcetracing.protocols.table import load_protocol
from sourcetracing.runtime.files import digest_of_json
from sourcetracing.settings.checking import did_you_mean
from sourcetracing.settings.corpora import SOURCE
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import further_labels


def label_texts(settings: Settings) -> pd.DataFrame:
    """By utt_id, of all utterances of the settings: a text column for each further label, "" where it is not known.

    Raises `UserError` for a label that utterances.csv has no column of.
    """
    utterances, _ = load_protocol(settings, unknown=True)
    utterances = with_true_sources(utterances, settings)
    there = [SOURCE, *COMPONENTS, *(name for name in utterances if name not in COMPONENTS and name not in RESERVED)]
    for name in further_labels(settings):
        if name not in there:
            raise UserError(f"train.labels: {name!r} is no label{did_you_mean(name, there)}")
        if name not in utterances:
            raise UserError(f"train.labels: utterances.csv has no {name} yet. Run: python scripts/02_build_protocols.py CONFIG.yaml")
    return utterances.set_index("utt_id")[further_labels(settings)]


def digest_of_labels(settings: Settings) -> str:
    """Of the further labels of training utterances: with others of these, a run learns something else."""
    texts, (_, protocol) = label_texts(settings), load_protocol(settings)
    train = texts[texts.index.isin(protocol["utt_id"][protocol["split"] == "train"])].sort_index()
    return digest_of_json([train.index.tolist(), train.to_numpy().tolist()])


def further_labels_of(store: FeatureStore, rows: np.ndarray, settings: Settings) -> FurtherLabels | None:
    """Those of training rows, their classes sorted by name; None without further labels. Raises `UserError` for one with a single class."""
    if not further_labels(settings):
        return None
    utt_ids = store.index.set_index("row").loc[rows, "utt_id"]
    texts = label_texts(settings).reindex(utt_ids)
    classes = {name: sorted(set(texts[name]) - {""}) for name in texts}
    for name, found in classes.items():
        if len(found) < 2:
            has = f"only {found[0]!r}" if found else "none"
            raise UserError(
                f"train.labels: the training rows have {has} of {name}, and a head needs two classes. Leave it out of train.labels"
            )
    return FurtherLabels(classes, np.stack([label_ids(texts[name], classes[name]) for name in texts], axis=1))


def class_counts(rows: FeatureRows, settings: Settings) -> dict[str, dict[str, int]]:
    """Label -> class -> training rows, corpus.label with the classes of corpus.sources first; {} without further labels."""
    if not rows.further.classes:
        return {}
    found = {settings.corpus.label: (settings.corpus.sources, rows.labels.cpu().numpy())}
    found |= {name: (classes, ids) for (name, classes), ids in zip(rows.further.classes.items(), rows.further.ids.T, strict=True)}
    return {
        name: dict(zip(classes, np.bincount(ids[ids != UNKNOWN_LABEL], minlength=len(classes)).tolist(), strict=True))
        for name, (classes, ids) in found.items()
    }


def recorded_counts(files: RunLayout, settings: Settings) -> dict[str, dict[str, int]]:
    """`class_counts` of a run, by its record; {} where it has no further heads. Raises `UserError`."""
    if not further_labels(settings):
        return {}
    try:
        return json.loads(files.label_classes.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{files.label_classes} cannot be read ({error}). Train the run again: scripts/05_train_matrix.py") from None


def recorded_classes(files: RunLayout, settings: Settings) -> dict[str, list[str]]:
    """Further label -> its classes in the order of the logits, of a run; {} where it has no further heads. Raises `UserError`."""
    return {name: list(counts) for name, counts in recorded_counts(files, settings).items() if name != settings.corpus.label}


def head_sizes(classes: dict[str, list[str]]) -> list[int]:
    """How many logits each further head has."""
    return [len(names) for names in classes.values()]
