"""What the tables of the awkward corpus must say, from its table.csv and the raw scores, by pandas and scikit-learn alone.

Nothing here calls the code under test. `headline` is the one place that knows how a table names its two macro-F1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score, roc_auc_score, roc_curve

CLASSES = ["007", "nan", "NA", "acme/tts-v2", "voice, large", "1e3", "True"]
UNKNOWN = ["null", "inf", "None"]
LANGUAGES = ["en", "de", "fr", "nan"]
VARIANTS = ["original", "noise"]


def as_text(path: Path) -> pd.DataFrame:
    """Every cell as it stands in the file."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def truth(corpus: Path) -> pd.DataFrame:
    """table.csv by utt_id: the path without its suffix."""
    table = as_text(corpus / "table.csv")
    return table.set_index(table["path"].str.rsplit(".", n=1).str[0].rename("utt_id"))


def raw_scores(path: Path, corpus: Path) -> pd.DataFrame:
    """Scores of a run with what table.csv says of each row (true_source, true_language) and the name of the class that was predicted."""
    scores, known = pd.read_parquet(path), truth(corpus)
    logits = scores[[f"logit_{number}" for number in range(len(CLASSES))]].to_numpy()
    predicted = np.array(CLASSES, dtype=object)[logits.argmax(axis=1)]
    return scores.assign(
        true_source=known["source"].reindex(scores["utt_id"]).to_numpy(),
        true_language=known["language"].reindex(scores["utt_id"]).to_numpy(),
        predicted=predicted,
    )


def rows_tested(scores: pd.DataFrame, test_set: str, variant: str) -> pd.DataFrame:
    """Rows of known sources in the languages of a test set and a variant ("pooled" = all)."""
    kept = scores["true_language"].isin(test_set.split("+")) & scores["true_source"].isin(CLASSES)
    return scores[kept & ((variant == "pooled") | (scores["variant"] == variant))]


def macro_f1(true: pd.Series, predicted: pd.Series, labels: list[str]) -> float:
    return f1_score(true, predicted, labels=labels, average="macro", zero_division=0)


def present(rows: pd.DataFrame) -> list[str]:
    """The classes with test items."""
    return [name for name in CLASSES if (rows["true_source"] == name).any()]


def headline(cells: pd.DataFrame) -> tuple[pd.Series | None, pd.Series]:
    """(macro-F1 over the classes with test items, macro-F1 over the declared ones); None where a table has only the second."""
    if "macro_f1_declared" in cells:
        return cells["macro_f1"].astype(float), cells["macro_f1_declared"].astype(float)
    return None, cells["macro_f1"].astype(float)


def eer(is_unknown: np.ndarray, scores: np.ndarray) -> float:
    """Where the ROC, with straight lines between its points, has as many false alarms as misses: by bisection."""
    false_alarms, found, _ = roc_curve(is_unknown, scores, drop_intermediate=False)
    # Steps of the ROC are made a hair wide, so that both rates are functions of one parameter: the length walked along it.
    walked = np.concatenate([[0], np.cumsum(np.abs(np.diff(false_alarms)) + np.abs(np.diff(found)))])
    low, high = 0.0, walked[-1]
    for _ in range(100):
        middle = (low + high) / 2
        if np.interp(middle, walked, false_alarms) < 1 - np.interp(middle, walked, found):
            low = middle
        else:
            high = middle
    return float(np.interp(low, walked, false_alarms))


def auroc(is_unknown: np.ndarray, scores: np.ndarray) -> float:
    return float(roc_auc_score(is_unknown, scores))


def fpr_at_95_tpr(is_unknown: np.ndarray, scores: np.ndarray) -> float:
    """Share of known rows at or above the highest score that at least 95 % of the unknown rows reach."""
    ranked = np.sort(scores[is_unknown])[::-1]
    threshold = ranked[int(np.ceil(0.95 * len(ranked) - 1e-9)) - 1]
    return float((scores[~is_unknown] >= threshold).mean())
