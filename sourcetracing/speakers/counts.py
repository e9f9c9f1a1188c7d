"""Table 2: seen and unseen speakers' test utterances for each held-out language, the paper's counts beside ours."""

from __future__ import annotations

import pandas as pd

from sourcetracing.layout import Layout
from sourcetracing.protocols.records import protocol_facts
from sourcetracing.runtime.files import atomic_path
from sourcetracing.settings.corpora import LANGUAGE_NAMES, comparable_corpus
from sourcetracing.settings.schema import Settings
from sourcetracing.speakers.groups import FREQUENT, NEVER_SEEN, RARE, SEEN, UNSEEN, Grouping, group_speakers, published_counts
from sourcetracing.speakers.records import labels_of

TEXTS = ("held_out", "language", "test_set", "protocol", "labels")  # columns that are no numbers


def count_groups(settings: Settings, utterances: pd.DataFrame, protocol: pd.DataFrame) -> pd.DataFrame:
    """One row per held-out language, in the order of the corpus; also written to exp/<name>/tables/table2.csv.

    Columns held_out, language, test_set, threshold, p_min, p_max (smallest and largest share of the training data among the speakers of the
    test utterances), seen, unseen, never_seen, rare, frequent, total (utterances); of the paper's corpus
    published_seen, published_unseen, published_total, published_threshold; protocol, labels: which ones it was counted with.
    """
    rows = []
    for held_out in settings.corpus.languages:
        grouping = group_speakers(settings, held_out, utterances, protocol)
        rows.append({"held_out": held_out, "language": LANGUAGE_NAMES.get(held_out, held_out), **_counts(grouping)})
        if comparable_corpus(settings.corpus) == "mcl_mlaad":
            rows[-1] |= _published(held_out)
    made_from = protocol_facts(settings) or {"digest": ""}
    table = pd.DataFrame(rows).assign(protocol=made_from["digest"][:8], labels=labels_of(settings))
    with atomic_path(Layout.of(settings).speaker_counts) as partial:
        table.to_csv(partial, index=False)
    return table


def _counts(grouping: Grouping) -> dict[str, object]:
    table = grouping.table
    facts = {"test_set": grouping.test_set, "threshold": grouping.threshold, "p_min": table["share"].min(), "p_max": table["share"].max()}
    counts = {group: int((table["published_group"] == group).sum()) for group in (SEEN, UNSEEN)}
    strict = {group: int((table["strict_group"] == group).sum()) for group in (NEVER_SEEN, RARE, FREQUENT)}
    return {**facts, **counts, **strict, "total": len(table)}


def _published(held_out: str) -> dict[str, object]:
    table = published_counts()
    if held_out not in table.index:
        return {}
    row = table.loc[held_out]
    seen, unseen = int(row["seen_utterances"]), int(row["unseen_utterances"])
    return {
        "published_seen": seen,
        "published_unseen": unseen,
        "published_total": seen + unseen,
        "published_threshold": row["threshold"],
    }
