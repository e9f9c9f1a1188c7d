"""All mixtures: the same classifiers as from scratch, every subset once, resumed after kill -9, ranked without peeking."""

import os
import signal
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sourcetracing.detection.classifier.logistic import fit, load_model
from sourcetracing.detection.classifier.mixing_solver import Corpus, MixingSolver
from sourcetracing.detection.data.layout import DetectionLayout
from sourcetracing.detection.data.manifest import load_manifest
from sourcetracing.detection.experiments.mixing import (
    MixingPlan,
    MixingResults,
    marginal_effects,
    mixing_results,
    mixtures_of,
    ranked_table,
    run_mixing,
    start_of,
)
from sourcetracing.detection.experiments.scoring import selection_mask
from sourcetracing.errors import UserError
from sourcetracing.settings.detection import Logreg
from sourcetracing.settings.reading import load_settings
from tests.support.detection import detection_settings, evaluate, make_detection
from tests.support.places import ROOT

SEVEN = ["ASV19", "ODSS", "FoR", "TIMIT", "MLAAD", "ASV5", "ASV21"]
NAMED = (  # three sets with names that the published table knows
    "detection.sets={ASV19: [asv19_train, asv19_dev], FoR: [for], ODSS: [odss], ITW: [itw], AI4T: [ai4trust]}",
    "detection.train=[ASV19,ODSS,FoR]",
    "detection.baseline_train=[ASV19]",
    "detection.baseline_test=[ODSS,FoR,ITW,AI4T]",
)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """settings and the text of a finished run over three corpora."""
    settings = detection_settings(tmp_path_factory.mktemp("mixed"), *NAMED)
    make_detection(settings)
    return settings, run_mixing(settings)


def five_words(folder):
    return [f"paths.exp={folder}", "name=five", "logreg.layer=1", f"detection.train=[{','.join(SEVEN[:5])}]"]


def table_of(settings, name="dataset_mixing"):
    return pd.read_csv(DetectionLayout(settings).root / "results" / f"{name}.csv")


def made_up_corpora(width=30, sizes=(150, 90, 300)):
    """Correlated clouds; the first two have fewer rows than would determine the weights well."""
    generator, corpora = np.random.default_rng(0), {}
    blend = np.eye(width) + 0.4 * generator.normal(size=(width, width)) / np.sqrt(width)
    for name, size in zip("ABC", sizes, strict=True):
        labels = generator.integers(0, 2, size)
        features = generator.standard_t(4, size=(size, width)) @ blend + generator.normal(size=width)
        features[:, :5] += 0.5 * (2 * labels - 1)[:, None]
        corpora[name] = Corpus([features.astype(np.float32)], [labels])
    return corpora


def test_mixtures_are_all_subsets_in_the_order_of_combinations():
    mixtures = mixtures_of(SEVEN)
    assert len(mixtures) == 127 and mixtures[:2] == [("ASV19",), ("ODSS",)] and mixtures[-1] == tuple(SEVEN)
    assert mixtures == [members for size in range(1, 8) for members in combinations(SEVEN, size)]


def test_a_mixture_starts_at_one_with_the_smallest_missing_corpus_more():
    assert start_of(("A", "D"), ["A", "B", "C", "D"], {"A": 9, "B": 5, "C": 3, "D": 1}) == ("A", "C", "D")
    names, rows = SEVEN, dict.fromkeys(SEVEN, 10)
    assert all(set(start_of(mixture, names, rows)) - set(mixture) for mixture in mixtures_of(names)[:-1])
    assert {start_of(mixture, names, rows) for mixture in mixtures_of(names)[:-1]} <= set(mixtures_of(names))


def test_every_mixture_is_the_classifier_of_a_fit_from_scratch(tmp_path):
    corpora = made_up_corpora()
    solver, models = MixingSolver(corpora, Logreg(), tmp_path), {}
    rows = {name: sum(map(len, corpus.blocks)) for name, corpus in corpora.items()}
    for mixture in mixtures_of(list(corpora))[::-1]:
        models[mixture] = solver.fit(mixture, models[start_of(mixture, list(corpora), rows)] if models else None)
        solver.share(models[("A", "B", "C")])
        blocks, labels = [corpora[name].blocks[0] for name in mixture], [corpora[name].labels[0] for name in mixture]
        scratch = fit(blocks, labels, Logreg())
        assert models[mixture].coef == pytest.approx(scratch.coef, rel=1e-5, abs=1e-6)
        ours, theirs = (
            evaluate(model, corpora["C"].blocks[0], corpora["C"].labels[0], Logreg())[0] for model in (models[mixture], scratch)
        )
        assert ours == pytest.approx(theirs, abs=1e-4)


def test_a_corpus_of_one_class_is_named():
    corpora = made_up_corpora()
    corpora["B"] = Corpus(corpora["B"].blocks, [np.zeros(90, dtype=int)])
    with pytest.raises(UserError, match="mixtures of B alone: both classes are needed, but all 90 training rows are spoof"):
        MixingSolver(corpora, Logreg(), Path("unused"))


def test_tables_hold_every_mixture_with_its_published_values(mixed):
    table = table_of(mixed[0])
    assert table.sort_values("row")["mixture"].tolist() == ["+".join(mixture) for mixture in mixtures_of(["ASV19", "ODSS", "FoR"])]
    assert table["rank"].tolist() == list(range(1, 8))
    pair = table.set_index("mixture").loc["ASV19+ODSS"]
    assert (pair["published_ITW"], pair["published_AI4T"], pair["published_MEAN"]) == pytest.approx((0.0377, 0.1428, 0.0903))
    assert pair["files"] == 3 * 60
    assert pair["MEAN_all"] == pytest.approx((pair["ITW_all"] + pair["AI4T_all"]) / 2)


def test_eers_are_those_of_the_models_beside_the_scores(mixed):
    settings, plan = mixed[0], MixingPlan.of(mixed[0])
    rows = load_manifest(settings).query("corpus == 'itw'")
    report = ~selection_mask(settings, rows)
    itw = next(one for one in plan.tested if one.name == "ITW")
    for mixture in (("ODSS",), ("ASV19", "FoR")):
        eer = evaluate(load_model(plan.model_path(mixture)), itw.blocks(1)[0][report], itw.labels[0][report], settings.logreg)[0]
        assert table_of(settings).set_index("mixture").at["+".join(mixture), "ITW_report"] == pytest.approx(eer, abs=1e-6)


def test_the_terminal_names_choice_published_way_and_published_best(mixed):
    lines = mixed[1].splitlines()
    best = table_of(mixed[0]).iloc[0]
    assert any(line.startswith(f"chosen: {best['mixture']}, by the selection part") for line in lines)
    assert any("published way:" in line and "D70" in line for line in lines)
    assert any(line.startswith("published best: ASV19+ODSS, 9.03 %") for line in lines)


def test_a_second_run_fits_nothing_and_says_the_same(mixed):
    settings, text = mixed
    files = {path: path.stat().st_mtime_ns for path in DetectionLayout(settings).root.glob("scores/dataset_mixing/*")}
    assert len(files) == 7 and run_mixing(settings) == text
    assert files == {path: path.stat().st_mtime_ns for path in files}
    assert not list(DetectionLayout(settings).root.glob("scratch_*"))


def test_published_solver_and_weak_weights_in_place_of_the_default_fit_again(mixed, tmp_path):
    settings = detection_settings(tmp_path, *NAMED, "logreg.solver=published")
    make_detection(settings)
    run_mixing(settings)
    ours, theirs = table_of(mixed[0]).set_index("mixture"), table_of(settings).set_index("mixture")
    assert np.abs(ours["MEAN_all"] - theirs.loc[ours.index, "MEAN_all"]).max() < 0.03
    path = MixingPlan.of(settings).model_path(("ODSS",))
    before = np.abs(load_model(path).coef).max()
    run_mixing(detection_settings(tmp_path, *NAMED, "logreg.c=1e-4"))
    assert np.abs(load_model(path).coef).max() < 0.1 * before


def test_report_and_test_files_do_not_change_the_choice(mixed):
    results = mixing_results(MixingPlan.of(mixed[0]))
    shuffled = results.eers.assign(**{name: 1 - results.eers[name] for name in results.eers if name.endswith(("_report", "_all"))})
    changed = ranked_table(MixingResults(shuffled, results.corpora, results.tested, results.layer))
    assert changed["mixture"].tolist() == ranked_table(results)["mixture"].tolist()
    assert changed["rank_published_way"].tolist() != ranked_table(results)["rank_published_way"].tolist()


def test_marginal_effect_is_with_minus_without(mixed):
    results = mixing_results(MixingPlan.of(mixed[0]))
    eers = results.eers.set_index("mixture")["ITW_report"]
    row = marginal_effects(results).query("corpus == 'ODSS' and dataset == 'ITW' and part == 'report'").iloc[0]
    having, lacking = ["ODSS", "ASV19+ODSS", "ODSS+FoR", "ASV19+ODSS+FoR"], ["ASV19", "FoR", "ASV19+FoR"]
    assert row["effect"] == pytest.approx(eers[having].mean() - eers[lacking].mean())
    assert row["paired_effect"] == pytest.approx((eers[having[1:]].to_numpy() - eers[lacking].to_numpy()).mean())
    printed = marginal_effects(results).query("corpus == 'ODSS' and dataset == 'AI4T' and part == 'all'").iloc[0]["published_effect"]
    table = ranked_table(results).set_index("mixture")["published_AI4T"]
    assert printed == pytest.approx(table[having].mean() - table[lacking].mean())


def test_what_is_tested_cannot_be_mixed(tmp_path):
    settings = detection_settings(tmp_path, *NAMED, "mixing.train_sets=[ODSS,ITW]")
    make_detection(settings)
    with pytest.raises(UserError, match=r"itw would be tested \(in ITW\) though it is trained on"):
        run_mixing(settings)


def test_killed_and_run_again_it_ends_like_an_undisturbed_run(tmp_path):
    """The script itself on five corpora, kill -9 when a few of the 31 mixtures are done."""
    killed, whole = (load_settings(five_words(tmp_path / name)) for name in ("killed", "whole"))
    for settings in (killed, whole):
        make_detection(settings)
    command = [sys.executable, "scripts/detection/04_dataset_mixing.py", "configs/demo.yaml", *five_words(tmp_path / "killed")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = DetectionLayout(killed).root / "scores" / "dataset_mixing"
    while process.poll() is None and len(list(folder.glob("[!.]*.parquet"))) < 3:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("[!.]*.parquet")}
    assert 3 <= len(kept) < 31
    run_mixing(killed)
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    run_mixing(whole)
    pd.testing.assert_frame_equal(table_of(killed), table_of(whole), atol=1e-5)
    assert len(table_of(killed)) == 31
