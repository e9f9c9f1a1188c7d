"""What variants in training buy: which runs are compared, and figures against scikit-learn's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from sourcetracing.features.rows import UNKNOWN_LABEL
from sourcetracing.layout import Layout
from sourcetracing.metrics.bootstrap import percentile_interval
from sourcetracing.robustness.evaluation import Judged
from sourcetracing.robustness.gains import PAIR, gains_of, pairs_of, write_gains
from sourcetracing.robustness.utterances import CLEAN
from sourcetracing.settings.schema import Settings
from sourcetracing.training.runs import TrainingRun

CLASSES = ["a", "b", "c"]
NUM = 90


def judged() -> Judged:
    """Ninety utterances of three sources, and ten of an unknown one."""
    labels = np.concatenate([np.arange(NUM) % 3, np.full(10, UNKNOWN_LABEL)])
    utt_ids = [f"u{number}" for number in range(len(labels))]
    sources = [CLASSES[label] if label != UNKNOWN_LABEL else "other" for label in labels]
    table = pd.DataFrame({"utt_id": utt_ids, "unit": utt_ids, "language": "en", "source": sources, "label": labels})
    return Judged(table, CLASSES, num_samples=200, seed=5)


def predictions(share_right: float, seed: int) -> np.ndarray:
    labels, draw = judged().table["label"].to_numpy(), np.random.default_rng(seed)
    return np.where(draw.random(len(labels)) < share_right, labels, draw.integers(0, 3, len(labels))).clip(0)


MORE = {CLEAN: predictions(0.9, 1), "mp3_16k": predictions(0.8, 2)}
LESS = {CLEAN: predictions(0.9, 3), "mp3_16k": predictions(0.3, 4)}


def test_gains_and_intervals_are_those_of_scikit_learn():
    one = judged()
    labels, (draws, units) = one.table["label"].to_numpy(), one.draws()
    known = labels != UNKNOWN_LABEL

    def figures(predicted: np.ndarray) -> np.ndarray:
        """Of all, then of each resample."""
        weights = [np.ones(known.sum()), *(draws.counts[:, units[known]] * draws.scale[units[known]])]
        return np.array([f1_score(labels[known], predicted[known], average="macro", sample_weight=weight) for weight in weights])

    table = gains_of(one, MORE, LESS).set_index("operation")
    difference = {name: figures(MORE[name]) - figures(LESS[name]) for name in MORE}
    for name, each in difference.items():
        assert table.loc[name, "macro_f1"] == pytest.approx(figures(MORE[name])[0])
        assert table.loc[name, "macro_f1_less"] == pytest.approx(figures(LESS[name])[0])
        for figure, values in (("gain", each), ("spared", each - difference[CLEAN])):
            assert table.loc[name, figure] == pytest.approx(values[0])
            expected = percentile_interval(values[1:], values[0])
            np.testing.assert_allclose(table.loc[name, [f"{figure}_low", f"{figure}_high"]].astype(float), expected, atol=1e-12)
    assert table.loc["mp3_16k", "gain_low"] > 0.2


def test_a_run_against_itself_gains_nothing():
    table = gains_of(judged(), MORE, MORE)
    assert (table.filter(regex="gain|spared") == 0).all(axis=None)


def run_of_variants(system: str, variants: list[str], **changes) -> TrainingRun:
    settings = Settings()
    settings.augment.variants, settings.train.variants = ["original", "noise", "codec"], variants
    for name, value in changes.items():
        group, key = name.split("__")
        setattr(getattr(settings, group), key, value)
    return TrainingRun(system, changes.get("train_set", "en"), settings.train.seed, settings, Path(system))


def test_only_runs_that_differ_in_variants_alone_are_compared():
    plain, coded = run_of_variants("plain", ["original", "noise"]), run_of_variants("coded", [])  # empty: all stored
    assert pairs_of([plain, coded]) == pairs_of([coded, plain]) == [(coded, plain)]
    others = [
        run_of_variants("other noise", ["noise", "codec"]),  # neither heard all of the other's
        run_of_variants("longer", [], train__epochs=7),
        run_of_variants("wider", [], ecapa_tdnn__channels=64),
        run_of_variants("other seed", [], train__seed=1),
        run_of_variants("other store", [], lfcc__n_lfcc=20),
    ]
    assert pairs_of([plain, *others]) == []
    assert pairs_of([plain, plain]) == []


def test_tables_for_programs_and_people(tmp_path):
    settings = Settings()
    settings.paths.exp, settings.experiment.floor = str(tmp_path), ["plain"]
    table = gains_of(judged(), MORE, LESS).assign(**dict(zip(PAIR, ("coded", "plain", "en", 688), strict=True)))
    shown = write_gains(table, settings)
    layout = Layout.of(settings)
    pd.testing.assert_frame_equal(pd.read_csv(layout.robustness_gains)[table.columns], table, check_dtype=False, atol=1e-6)
    text = layout.robustness_gains_text.read_text(encoding="utf-8")
    assert "## coded against plain (floor), trained on en, seed 688" in text and "coded against plain (floor)" in shown
    row = table.set_index("operation").loc["mp3_16k"]
    assert f"{100 * row['gain']:+.1f} ({100 * row['gain_low']:+.1f} to {100 * row['gain_high']:+.1f})" in text


def test_without_pairs_gains_of_an_earlier_call_do_not_stay(tmp_path):
    settings = Settings()
    settings.paths.exp = str(tmp_path)
    write_gains(gains_of(judged(), MORE, LESS).assign(**dict(zip(PAIR, ("coded", "plain", "en", 688), strict=True))), settings)
    assert write_gains(pd.DataFrame(), settings) == ""
    assert not list(Layout.of(settings).robustness_gains.parent.glob("robustness_gains*"))
