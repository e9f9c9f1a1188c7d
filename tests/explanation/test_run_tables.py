"""Tables of a run: every figure again by pandas and numpy from the values that are kept, intervals by a bootstrap of our own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from sourcetracing.explanation.bands import third_octaves
from sourcetracing.explanation.run_experiment import markdown
from sourcetracing.explanation.run_pictures import draw_runs
from sourcetracing.explanation.run_tables import (
    Resampling,
    band_table,
    check_table,
    cue_figures,
    deletion_table,
    mean_with_interval,
    source_table,
    with_run,
)
from sourcetracing.report.explanation_tab import explanation_tab

BANDS = third_octaves(50, 16000)
HOW = Resampling(2000, 5)
RUN = {"system": "s", "train_set": "en", "seed": 1, "protocol": "abc"}


@pytest.fixture(scope="module")
def values() -> pd.DataFrame:
    """Two sources in two languages, drops at random; one source has nothing in the last three bands, one utterance in the last alone."""
    random, rows = np.random.default_rng(0), []
    for number in range(24):
        source, language = ("flute", "drum")[number % 2], ("en", "de")[number // 2 % 2]
        facts = {"utt_id": f"u{number:02d}", "source": source, "language": language, "decided": "drum", "right": number % 3 > 0, "llr": 4.0}
        for place in range(len(BANDS)):
            first, second = random.normal(place % 5, 1, 2)
            if (source == "flute" and place > 19) or (number == 1 and place == 22):
                first = second = np.nan
            rows.append({**facts, "kind": "band", "number": place, "first": first, "second": second})
        for count in (1, 2, 4):
            first = count * random.uniform(1, 2)
            rows.append({**facts, "kind": "deletion", "number": count, "first": first, "second": first / 2 + random.normal()})
        rows.append({**facts, "kind": "shuffled", "number": 0, "first": random.uniform(-0.3, 0.3), "second": np.nan})
    return pd.DataFrame(rows)


def test_means_by_band_source_and_language_are_pandas(values):
    table = band_table(values, BANDS, HOW)
    own = values[values["kind"] == "band"].assign(deep=lambda frame: frame[["first", "second"]].max(axis=1))
    for language, rows in [("all", own), *own.groupby("language")]:
        expected = rows.groupby(["source", "number"]).agg(
            mean=("deep", "mean"), n=("deep", "count"), one=("first", "mean"), two=("second", "mean")
        )
        for source in ("flute", "drum"):
            found = table[(table["source"] == source) & (table["language"] == language)]
            wanted = expected.loc[source]
            np.testing.assert_allclose(found["mean_drop"], wanted["mean"])
            np.testing.assert_allclose(found[["mean_removed", "mean_noise"]], wanted[["one", "two"]])
            assert found["utterances"].tolist() == wanted["n"].tolist()
    flute = table[(table["source"] == "flute") & (table["language"] == "all")]
    assert flute["absent"].tolist()[-3:] == [1, 1, 1] and flute["mean_drop"].tail(3).isna().all()
    drum = table[(table["source"] == "drum") & (table["language"] == "all")]
    assert drum["absent"].iloc[-1] == pytest.approx(1 / 12)
    assert drum["utterances"].iloc[-1] == 11


def test_shares_of_disagreement_by_hand(values):
    own = values[(values["kind"] == "band") & (values["source"] == "drum") & (values["number"] == 4)]
    by_hand = [abs(a - b) > max(0.5, max(abs(a), abs(b)) / 2) for a, b in zip(own["first"], own["second"], strict=True)]
    table = band_table(values, BANDS, HOW).query("source == 'drum' and language == 'all'")
    assert table["disagree"].iloc[4] == pytest.approx(np.mean(by_hand))


def test_intervals_are_those_of_a_bootstrap_of_our_own():
    """n - 1 of n drawn, as everywhere (`metrics/bootstrap.py`), with another generator."""
    sample = np.random.default_rng(1).gamma(2, 1, 20)
    mean, low, high = mean_with_interval(sample[:, None], HOW, "x")
    resampled = np.random.default_rng(9).choice(sample, (40_000, 19)).mean(axis=1)
    expected = np.percentile(resampled, [2.5, 97.5])
    assert mean[0] == pytest.approx(sample.mean())
    assert [low[0], high[0]] == pytest.approx(expected, abs=0.08)


def test_missing_values_and_few_utterances_have_no_false_interval():
    sample = np.array([[1.0, np.nan, np.nan], [2.0, 3.0, np.nan]])
    mean, low, high = mean_with_interval(sample, HOW)
    np.testing.assert_array_equal(mean, [1.5, 3.0, np.nan])
    assert np.isnan(low).tolist() == [False, True, True] and np.isnan(high).tolist() == [False, True, True]
    assert np.isnan(mean_with_interval(sample[:1], HOW)[1]).all()


def test_the_table_of_sources_names_the_bands_that_carry_most(values):
    bands = band_table(values, BANDS, HOW)
    cues = pd.DataFrame({"source": ["flute", "flute", "drum"], "cue": ["level", "tilt", "level"], "f1": [0.4, 0.9, 0.5]})
    table = source_table(values, bands, cues).set_index("source")
    for source in ("flute", "drum"):
        own = bands[(bands["source"] == source) & (bands["language"] == "all")]
        assert table.loc[source, "mean_drop"] == own["mean_drop"].max()
        assert table.loc[source, "second_drop"] == own["mean_drop"].nlargest(2).iloc[1]
        assert table.loc[source, "right"] == values.query(f"source == '{source}'").drop_duplicates("utt_id")["right"].mean()
    assert table["best_cue"].to_dict() == {"flute": "tilt", "drum": "level"} and table.loc["flute", "cue_f1"] == 0.9
    assert (source_table(values, bands, None)["best_cue"] == "").all()


def test_checks_and_deletion_are_pandas(values):
    curve = deletion_table(values, HOW)
    expected = values[values["kind"] == "deletion"].groupby("number")[["first", "second"]].mean()
    np.testing.assert_allclose(curve[["by_importance", "drawn"]], expected)
    np.testing.assert_allclose(curve["difference"], expected["first"] - expected["second"])
    assert (curve["ci_low"] <= curve["difference"]).all() and (curve["difference"] <= curve["ci_high"]).all()
    checks = check_table(values, curve, HOW).iloc[0]
    assert checks["shuffled_correlation"] == pytest.approx(values.loc[values["kind"] == "shuffled", "first"].mean())
    assert checks["difference"] == pytest.approx((expected["first"] - expected["second"]).mean())
    without = values[values["kind"] == "band"]
    assert np.isnan(check_table(without, deletion_table(without, HOW), HOW)["shuffled_correlation"].iloc[0])


def test_f1_of_cues_is_scikit_learns():
    random = np.random.default_rng(2)
    labels = random.integers(-1, 3, 200)
    parts = [
        pd.DataFrame({"system": name, "label": labels, "prediction": random.integers(0, 3, 200)}) for name in ("cues_level", "cues_all")
    ]
    found = cue_figures(pd.concat(parts), ["a", "b", "c"])
    known = labels >= 0
    expected = f1_score(labels[known], parts[0]["prediction"][known], labels=[0, 1, 2], average=None)
    assert found["cue"].unique().tolist() == ["level"]
    np.testing.assert_allclose(found["f1"], expected)


def test_what_people_read(values, tmp_path):
    bands = band_table(values, BANDS, HOW)
    curve = deletion_table(values, HOW)
    parts = (bands, source_table(values, bands, None), check_table(values, curve, HOW))
    bands, sources, checks = (with_run(table, RUN) for table in parts)
    text = markdown(bands, sources, checks)
    assert "## s, trained on en, seed 1" in text and "## By language" in text and "no audit" in text
    draw_runs(bands, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    page = explanation_tab(sources, checks, b"png", {"abc"})
    assert "s, trained on en, seed 1" in page and "flute" in page
    assert explanation_tab(sources, checks, None, {"other"}) == "" and explanation_tab(None, checks, None, {"abc"}) == ""
