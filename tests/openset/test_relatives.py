"""Figures with and without relatives against scikit-learn, by the names of MLAAD's pairs; the files of script 07; nothing labelled."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from sourcetracing.layout import Layout
from sourcetracing.openset import experiment
from sourcetracing.openset.evaluation import evaluate
from sourcetracing.openset.experiment import openset_files, run_openset
from sourcetracing.openset.relatives import blocks, figures_by_relation, joined, missing, named_by_relation, relatives_part
from sourcetracing.openset.tables import TEXTS
from sourcetracing.protocols.relatives import COARSE_LEVELS
from sourcetracing.report.openset_tab import openset_tab
from sourcetracing.runtime.files import read_csv
from sourcetracing.runtime.seeding import rng
from sourcetracing.scoring.scores import read_scores, score_run
from sourcetracing.tables.hierarchy import LevelledRun
from sourcetracing.training.loop import train_run
from sourcetracing.training.runs import run_of
from tests.support.awkward_figures import fpr_at_95_tpr, unknown_accepted_at_95
from tests.support.small_store import small_settings, write_store

CLASSES = ["suno/bark", "xtts_v2", "vits"]
# By components of MLAAD v5: architecture, acoustic model, vocoder, and how far above the known ones the scores of a source lie.
SOURCES = {
    "suno/bark": ("ar-codec-lm", "bark", "encodec", 0.0),
    "xtts_v2": ("ar-codec-lm-gpt", "xtts_v2", "hifigan", 0.0),
    "vits": ("vits", "vits", "hifigan", 0.0),
    "suno/bark-small": ("ar-codec-lm", "bark", "encodec", 0.3),
    "vixTTS": ("ar-codec-lm-gpt", "xtts_v2", "hifigan", 0.2),
    "vits--neon": ("vits", "vits", "hifigan", 0.1),
    "xtts_v1.1": ("ar-codec-lm-gpt", "xtts_v1.1", "univnet", 1.0),
    "optispeech": ("non-autoregressive", "optispeech", "wavenext", 3.0),
    "no label": ("", "", "", 2.0),
}
MEMBERS = {
    "unknown": list(SOURCES)[3:],
    "related": ["suno/bark-small", "vixTTS", "vits--neon", "xtts_v1.1"],
    "checkpoint": ["suno/bark-small", "vixTTS", "vits--neon"],
    "generator": ["xtts_v1.1"],
    "new": ["optispeech"],
    "unlabelled": ["no label"],
}


def labels_of(sources=SOURCES) -> pd.DataFrame:
    rows = {name: values[:3] for name, values in sources.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(COARSE_LEVELS)).rename_axis("source").sort_index()


@pytest.fixture(scope="module")
def simulated() -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    generator, rows, scores = rng("relatives"), [], []
    for source, (*_, shift) in SOURCES.items():
        label = CLASSES.index(source) if source in CLASSES else -1
        for number in range(20):
            for variant in ("original", "noise"):
                prediction = label if label >= 0 and generator.random() < 0.8 else generator.integers(0, 3)
                rows.append((f"{source}/{number}", variant, "en", source, label, prediction, f"{source}/{number}"))
                scores.append(generator.normal() + shift)
    table = pd.DataFrame(rows, columns=["utt_id", "variant", "language", "source", "label", "prediction", "unit"])
    return table, {"simulated": np.array(scores), "upside_down": -np.array(scores)}


@pytest.fixture(scope="module")
def figures(simulated) -> pd.DataFrame:
    table, scores = simulated
    thresholds = dict.fromkeys(scores, 0.7)
    return figures_by_relation(table, scores, thresholds, CLASSES, labels_of(), 50, 1)


@pytest.mark.parametrize("subset", MEMBERS)
@pytest.mark.parametrize("detector", ["simulated", "upside_down"])
def test_figures_of_a_subset_by_scikit_learn(simulated, figures, subset, detector):
    table, all_scores = simulated
    row = figures[(figures["subset"] == subset) & (figures["detector"] == detector)].iloc[0]
    kept = table["source"].isin([*CLASSES, *MEMBERS[subset]]).to_numpy()
    is_unknown, scores = (table["label"] < 0).to_numpy()[kept], all_scores[detector][kept]
    assert (row["sources"], row["known"], row["unknown"]) == (len(MEMBERS[subset]), 120, 40 * len(MEMBERS[subset]))
    assert row["auroc"] == pytest.approx(roc_auc_score(is_unknown, scores))
    assert row["fpr_at_95_tpr"] == pytest.approx(fpr_at_95_tpr(is_unknown, scores))
    assert row["unknown_accepted_at_95"] == pytest.approx(unknown_accepted_at_95(is_unknown, scores))
    assert row["unknown_found"] == pytest.approx((scores[is_unknown] > 0.7).mean())
    assert row["unknown_found_low"] <= row["unknown_found"] <= row["unknown_found_high"]


def test_siblings_hide_and_strangers_do_not(figures):
    auroc = figures.query("detector == 'simulated'").set_index("subset")["auroc"]
    assert auroc["checkpoint"] < auroc["generator"] < auroc["new"]


def test_all_unknown_sources_have_the_figures_of_the_main_table(simulated, figures):
    table, scores = simulated
    main = evaluate(table, scores, dict.fromkeys(scores, 0.7), 3, 50, 1).query("variant == 'pooled' and language == 'all'")
    own = figures[figures["subset"] == "unknown"]
    shared = [name for name in main if name in own and name != "detector"]
    np.testing.assert_array_equal(own[shared].to_numpy(), main[shared].to_numpy())


def test_what_is_named_rightly_in_each_subset(simulated):
    table, _ = simulated
    probabilities = rng("named").dirichlet(np.ones(3), len(table))
    run = LevelledRun("net", "en", 1, ["en"], table[["unit", "language", "source"]], probabilities)
    found = named_by_relation(run, CLASSES, labels_of(), 50, 1).set_index("subset")
    vocoder = probabilities[:, 1] + probabilities[:, 2] > probabilities[:, 0]  # hifigan against encodec
    true = table["source"].map({name: values[2] for name, values in SOURCES.items()})
    for subset, members in MEMBERS.items():
        own = table["source"].isin(members) & (true != "")
        assert found.loc[subset, "named_vocoder_rows"] == own.sum()
        if own.any():
            right = (np.where(vocoder, "hifigan", "encodec") == true)[own].mean()
            assert found.loc[subset, "named_vocoder"] == pytest.approx(right)
    assert np.isnan(found.loc["unlabelled", "named_architecture"])


def test_texts_name_what_is_missing(figures, simulated):
    table, scores = simulated
    run = LevelledRun("net", "en", 1, ["en"], table[["unit", "language", "source"]], rng("named").dirichlet(np.ones(3), len(table)))
    whole = figures.merge(named_by_relation(run, CLASSES, labels_of(), 50, 1), on="subset").assign(system="net", train_set="en", seed=1)
    named, flagged = blocks(whole, ["net"])
    assert (named[0], flagged[0]) == tuple(f"net (floor) trained on en, seed 1: what is {what}" for what in ("named", "flagged"))
    assert (len(named[1]), len(flagged[1])) == (6, 12)
    assert missing(whole) == []
    text = relatives_part(whole[whole["subset"].isin(["unknown", "new"])])
    assert "* No unknown eval source is of the kind: unseen checkpoint of a known generator." in text
    assert "* No unknown eval source is of the kind: with a known relative." in text
    nothing = figures_by_relation(table, scores, {}, CLASSES, labels_of().assign(architecture="", vocoder=""), 50, 1)
    assert nothing.empty
    assert "There are no figures with and without relatives" in relatives_part(joined([nothing]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on sources a and b, scored; source c is unknown."""
    root = tmp_path_factory.mktemp("relatives")
    store = write_store(root / "features", utterances_per_group=14)
    words = ["corpus.sources=[a,b]", "corpus.unknown_sources=[c]", "train.languages=[en,de]", "evaluation.bootstrap_samples=30"]
    settings = small_settings(root, *words, "evaluation.splits=[train,dev,eval]", "train.mixup=none", "openset.detectors=[energy]")
    run = run_of(settings, "some-store")
    train_run(run, store, torch.device("cpu"))
    score_run(run, store, torch.device("cpu"))
    return run


def test_script_07_writes_them_and_notices_other_labels(trained, monkeypatch):
    layout = Layout.of(trained.settings)
    run_openset([trained])
    assert pd.read_csv(layout.openset_relatives).empty
    assert "There are no figures with and without relatives" in layout.openset_text.read_text()
    layout.utterances.write_text("utt_id,source,architecture,acoustic_model,vocoder\n1,a,x,m,v\n2,b,y,n,w\n3,c,x,o,v\n", encoding="utf-8")
    assert not experiment.is_up_to_date(trained)
    run_openset([trained])
    own, table = pd.read_csv(openset_files(trained).relatives), pd.read_csv(layout.openset_relatives)
    assert list(own["subset"]) == ["unknown", "related", "generator"]
    assert list(table["system"]) == [trained.system] * 3
    main = pd.read_csv(layout.openset_table).query("split == 'eval' and variant == 'pooled'").iloc[0]
    assert own.iloc[0]["auroc"] == main["auroc"]
    scores = read_scores(trained, "eval", unknown=True).query("source == 'c'")
    assert own.iloc[2]["named_architecture"] == pytest.approx((scores["prediction"] == 0).mean())
    assert own.iloc[2]["named_acoustic_model"] == 0
    text = layout.openset_text.read_text()
    assert "unseen generator of a known architecture" in text
    page = str(openset_tab(read_csv(layout.openset_table, texts=TEXTS), None, {}, (), table))
    assert page.count("what is named") == 1
    assert "No unknown eval source is of the kind: wholly new architecture." in page
    monkeypatch.setattr(experiment, "judge", lambda run: pytest.fail("made again"))
    run_openset([trained])
