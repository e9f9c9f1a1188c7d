"""What the tables of the awkward corpus must say, from its table.csv and the raw scores, by pandas and scikit-learn alone.

Nothing here calls the code under test. `headline` is the one place that knows how a table names its two macro-F1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score, roc_auc_score, roc_curve

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


def oscr(is_unknown: np.ndarray, is_right: np.ndarray, scores: np.ndarray) -> float:
    """Area under correctly classified known rows over accepted unknown ones, threshold by threshold (a row below one is accepted)."""
    thresholds = [-np.inf, *sorted(set(scores))]
    accepted = [(scores[is_unknown] <= threshold).mean() for threshold in thresholds]
    correct = [(is_right & (scores <= threshold))[~is_unknown].mean() for threshold in thresholds]
    return float(np.trapezoid(correct, accepted))


def unknown_accepted_at_95(is_unknown: np.ndarray, scores: np.ndarray) -> float:
    """Share of unknown rows at or below the lowest score that at least 95 % of the known rows do not exceed."""
    ranked = np.sort(scores[~is_unknown])
    threshold = ranked[int(np.ceil(0.95 * len(ranked) - 1e-9)) - 1]
    return float((scores[is_unknown] <= threshold).mean())


def harmonic_f1(rows: pd.DataFrame) -> float:
    """Of mean precision and mean recall over the classes with test items."""
    asked = {"labels": present(rows), "average": "macro", "zero_division": 0}
    means = [figure(rows["true_source"], rows["predicted"], **asked) for figure in (precision_score, recall_score)]
    return 2 * means[0] * means[1] / sum(means) if sum(means) else 0.0


# --- intervals


class Bootstrap:
    """Utterances drawn within language and source: n - 1 of n, each counting n / (n - 1), for all test sets at once."""

    def __init__(self, scores: pd.DataFrame, num_samples: int = 3000):
        units = scores.drop_duplicates("utt_id").set_index("utt_id")
        generator, columns = np.random.default_rng(0), {}
        for _, own in units.groupby(["true_language", "true_source"]):
            size = len(own)
            if size == 1:
                drawn = np.ones((num_samples, 1))
            else:
                drawn = generator.multinomial(size - 1, np.full(size, 1 / size), num_samples) * size / (size - 1)
            columns |= dict(zip(own.index, drawn.T, strict=True))
        self.weights = columns

    def macro_f1(self, rows: pd.DataFrame) -> np.ndarray:
        """Of each resample, over the classes with test items."""
        weights = np.stack([self.weights[utt_id] for utt_id in rows["utt_id"]], axis=1)
        true, predicted, by_class = rows["true_source"].to_numpy(), rows["predicted"].to_numpy(), []
        for name in present(rows):
            hits = weights[:, (true == name) & (predicted == name)].sum(axis=1)
            by_class.append(2 * hits / (weights[:, true == name].sum(axis=1) + weights[:, predicted == name].sum(axis=1)))
        return np.mean(by_class, axis=0)


def interval(samples: np.ndarray, value: float) -> tuple[float, float]:
    """Efron's bias-corrected 95 % interval; ties count half."""
    below = np.clip((samples < value).mean() + (samples == value).mean() / 2, 0.25, 0.75)
    low, high = norm.cdf(2 * norm.ppf(below) - 1.959964), norm.cdf(2 * norm.ppf(below) + 1.959964)
    return float(np.quantile(samples, low)), float(np.quantile(samples, high))


# --- embeddings


def unit(embeddings: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def pairs(embeddings: np.ndarray, sources: np.ndarray, utterances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(whether it is of one source, cosine) of each pair of rows of different utterances."""
    first, second = np.triu_indices(len(embeddings), 1)
    kept = utterances[first] != utterances[second]
    first, second = first[kept], second[kept]
    return sources[first] == sources[second], (embeddings[first] * embeddings[second]).sum(axis=1)


def mean_average_precision(embeddings: np.ndarray, sources: np.ndarray, utterances: np.ndarray) -> float:
    """scikit-learn's, over rows that have another one of their source to find."""
    found = []
    for row in range(len(embeddings)):
        others = utterances != utterances[row]
        hits = sources[others] == sources[row]
        if hits.any():
            found.append(average_precision_score(hits, embeddings[others] @ embeddings[row]))
    return float(np.mean(found))
