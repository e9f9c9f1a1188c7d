"""Which test utterances come from speakers that a training set has seen (MCL-MLAAD paper, section 2.2.4; D10, D11).

For a held-out language h the training data are train and dev of all other languages. P = the share of it that a pseudo-speaker has.
published_group  seen: P > theta; unseen: all others, so also speakers with up to theta of the training data
strict_group     never_seen: P = 0; rare: 0 < P <= theta; frequent: P > theta
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.protocols.table import read_table
from sourcetracing.published import published_table
from sourcetracing.settings.schema import Settings
from sourcetracing.speakers.records import LABEL_COMMAND, require_grouping, require_labels

SEEN, UNSEEN = "seen", "unseen"
NEVER_SEEN, RARE, FREQUENT = "never_seen", "rare", "frequent"
IMPORTED = "imported lists"


@dataclass(frozen=True)
class Grouping:
    """Of one held-out language. table: utt_id, published_group, strict_group ("" unknown), share (P; nan unknown) of the test utterances.

    threshold: theta, nan where imported lists come without pseudo-speakers. test_set: `speakers.test_set`, or "imported lists".
    """

    table: pd.DataFrame
    threshold: float
    test_set: str


def load_groups(settings: Settings, held_out: str, utterances: pd.DataFrame, protocol: pd.DataFrame) -> pd.DataFrame:
    """utt_id, published_group (seen, unseen) and strict_group (never_seen, rare, frequent) of each test utterance; see `group_speakers`.

    Raises `UserError` where labels or groups were made with other settings.
    """
    require_grouping(settings)
    return group_speakers(settings, held_out, utterances, protocol).table[["utt_id", "published_group", "strict_group"]]


def group_speakers(settings: Settings, held_out: str, utterances: pd.DataFrame, protocol: pd.DataFrame) -> Grouping:
    """Groups the test utterances of a held-out language.

    utterances, protocol: as `protocols.load_protocol` gives them. Where script 02 imported lists of seen and unseen speakers, these say
    what is tested and what is seen; pseudo-speakers, if there are any, say the strict group. Raises `UserError`: no such language, no
    pseudo-speakers, no threshold.
    """
    layout = Layout.of(settings)
    if held_out not in settings.corpus.languages:
        raise UserError(f"held-out language {held_out!r} is not in corpus.languages ({', '.join(settings.corpus.languages)})")
    rows = utterances[["utt_id", "path", "language"]].merge(protocol, on="utt_id", validate="one_to_one")
    if not layout.speaker_groups.is_file():
        tested = rows[(rows["split"] == "eval") & _is_tested(rows["language"], settings, held_out)]
        return _grouped(settings, held_out, rows, tested, settings.speakers.test_set)
    tested = _imported(layout.speaker_groups, rows, held_out)
    if not layout.pseudo_speakers.is_file():
        return Grouping(tested.assign(strict_group="", share=np.nan), np.nan, IMPORTED)
    grouping = _grouped(settings, held_out, rows, tested, IMPORTED)
    return Grouping(grouping.table.assign(published_group=tested["published_group"].to_numpy()), grouping.threshold, IMPORTED)


def _is_tested(language: pd.Series, settings: Settings, held_out: str) -> pd.Series:
    return language == held_out if settings.speakers.test_set == "unseen_language" else language != held_out


def _grouped(settings: Settings, held_out: str, rows: pd.DataFrame, tested: pd.DataFrame, test_set: str) -> Grouping:
    speaker_of = load_pseudo_speakers(settings, rows["utt_id"])
    is_training = (rows["language"] != held_out) & rows["split"].isin(["train", "dev"])
    shares = speaker_shares(speaker_of[rows["utt_id"][is_training]])
    share = speaker_of[tested["utt_id"]].map(shares).fillna(0.0).to_numpy()
    threshold = threshold_for(settings, held_out, share)
    table = pd.DataFrame({"utt_id": tested["utt_id"].to_numpy(), "published_group": np.where(share > threshold, SEEN, UNSEEN)})
    table["strict_group"] = np.select([share == 0, share <= threshold], [NEVER_SEEN, RARE], FREQUENT)
    return Grouping(table.assign(share=share), threshold, test_set)


def load_pseudo_speakers(settings: Settings, utt_ids: pd.Series) -> pd.Series:
    """The pseudo-speaker of each utterance, by utt_id. Raises `UserError` when script 03 has not labelled all of them."""
    require_labels(settings)
    path = Layout.of(settings).pseudo_speakers
    labelled = read_table(path, ["utt_id", "pseudo_speaker"], LABEL_COMMAND).set_index("utt_id")["pseudo_speaker"]
    if (missing := ~utt_ids.isin(labelled.index)).any():
        raise UserError(f"{path} does not have {utt_ids[missing].iloc[0]}. Run: {LABEL_COMMAND}")
    return labelled


def speaker_shares(training_speakers: pd.Series) -> pd.Series:
    """P = N_i / N of each speaker i among the speakers of N training utterances."""
    return training_speakers.value_counts(normalize=True)


def _imported(path: Path, rows: pd.DataFrame, held_out: str) -> pd.DataFrame:
    """utt_id, published_group of the eval utterances that the lists name for a held-out language."""
    lists = read_table(path, ["path", "heldout", "group"], "python scripts/02_build_protocols.py CONFIG.yaml")
    named = rows[rows["split"] == "eval"].merge(lists[lists["heldout"] == held_out][["path", "group"]], on="path")
    if named.empty:
        there = ", ".join(sorted(lists["heldout"].unique()))
        raise UserError(f"{path} names no eval utterance for held-out language {held_out}; it has: {there}")
    return named[["utt_id", "group"]].rename(columns={"group": "published_group"})


# --- thresholds


def threshold_for(settings: Settings, held_out: str, share: np.ndarray) -> float:
    """theta for a held-out language; share: P of each test utterance's speaker, for the search. Raises `UserError`."""
    rule = settings.speakers.thresholds
    return balancing_threshold(share) if rule == "search" else thresholds_by_language(rule)[held_out]


def check_thresholds(settings: Settings) -> None:
    """Raises `UserError` unless `speakers.thresholds` gives every language of the corpus one."""
    rule = settings.speakers.thresholds
    if rule == "search":
        return
    known = thresholds_by_language(rule)
    if without := [language for language in settings.corpus.languages if language not in known]:
        raise UserError(f"speakers.thresholds={rule!r} has none for {without[0]}. Use speakers.thresholds=search, or name one")


def thresholds_by_language(rule: object) -> dict[str, float]:
    """Those of Table 2, or the user's own. Raises `UserError` for anything else."""
    if rule == "published":
        return published_counts()["threshold"].to_dict()
    if isinstance(rule, Mapping) and rule and all(_is_share(value) for value in rule.values()):
        return {str(language): float(value) for language, value in rule.items()}
    raise UserError(f"speakers.thresholds={rule!r}: must be search, published, or fractions by language such as {{en: 0.085, de: 0.075}}")


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1


def published_counts() -> pd.DataFrame:
    """Table 2 of the paper by language code: seen_utterances, unseen_utterances, threshold."""
    return published_table("table2").set_index("code")


def balancing_threshold(share: np.ndarray) -> float:
    """The theta that makes seen (P > theta) and unseen as equal in number as they get; of several the lowest, and halfway between two P.

    share: P of each test utterance's speaker, (test utterances,).
    """
    levels = np.unique(share)  # sorted
    thresholds = np.concatenate([[0.0], (levels[:-1] + levels[1:]) / 2])
    num_seen = (share[:, None] > thresholds).sum(axis=0)
    return float(thresholds[np.argmin(np.abs(2 * num_seen - len(share)))])
