"""The floor among the runs of an experiment: which there are, which stores they need, what they say on dev."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sourcetracing.errors import UserError
from sourcetracing.settings.reading import read_config, to_yaml
from sourcetracing.settings.training import all_systems, shown_system
from sourcetracing.training.dev_floor import dev_beside_floor
from sourcetracing.training.plan import describe_plan, make_plan
from sourcetracing.training.runs import TrainingRun, front_ends, load_runs, run_of, settings_of_one_run, settings_of_runs, system_label
from tests.support.small_experiment import SmallExperiment
from tests.support.small_store import small_settings

SIX = ["en", "de", "fr", "it", "pl", "ru"]


def systems_of(*words: str) -> list[str]:
    return list(dict.fromkeys(system_label(settings) for settings in settings_of_runs(read_config(list(words)))))


def test_the_floor_comes_behind_and_once():
    assert systems_of("experiment.systems=[lfcc_resnet18]") == ["lfcc_resnet18", "stats_logreg"]
    assert systems_of("experiment.systems=[stats_logreg,lfcc_resnet18]") == ["stats_logreg", "lfcc_resnet18"]
    assert systems_of("experiment.systems=[lfcc_resnet18]", "experiment.floor=[]") == ["lfcc_resnet18"]
    assert systems_of("experiment.floor=[lfcc_aasist,lfcc_ecapa_tdnn]") == ["lfcc_ecapa_tdnn", "lfcc_aasist"]
    runs = settings_of_runs(read_config(["experiment.seeds=[1,2]"]))
    keys = [(one.system, *one.train.languages, one.train.seed) for one in runs]
    assert len(keys) == 2 * 6 * 2 == len(set(keys)) and {key[1] for key in keys} == set(SIX)


def test_training_free_systems_may_be_systems_or_floor_and_have_their_stores():
    words = ["experiment.systems=[lfcc_ecapa_tdnn,knn_w2v2_base]", "experiment.floor=[stats_logreg,residual_fingerprint]"]
    assert systems_of(*words) == ["lfcc_ecapa_tdnn", "knn_w2v2_base", "stats_logreg", "residual_fingerprint"]
    assert [one.frontend for one in front_ends(read_config(words))] == ["lfcc", "ssl", "residual"]
    w2v_bert, residual = settings_of_runs(read_config(["experiment.systems=[knn_w2vbert]", "experiment.floor=[residual_fingerprint]"]))[::6]
    assert (w2v_bert.ssl.model, w2v_bert.ssl.layer, w2v_bert.ssl.mode) == ("facebook/w2v-bert-2.0", 4, "frozen")
    options = w2v_bert.plain_neighbours
    assert (options.statistics, options.coefficients, options.k, options.metric) == (["mean"], [0, -1], 21, "euclidean")
    assert (residual.residual.n_fft, residual.residual.cutoff_hz, residual.fingerprints.score) == (128, 1000, "mahalanobis")


def test_an_unknown_floor_is_named():
    with pytest.raises(UserError, match="did you mean 'stats_logreg'"):
        settings_of_runs(read_config(["experiment.floor=[stats_logrge]"]))


def test_words_for_all_systems_leave_the_floor_what_it_is(tmp_path):
    assert systems_of("backend=resnet18") == ["lfcc_resnet18", "stats_logreg"]
    assert systems_of("frontend=waveform", "backend=aasist_raw", "store.dtype=float32")[-1] == "stats_logreg"
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"of a network")
    *_, floor = settings_of_runs(read_config([f"train.initial_weights={weights}", "train.epochs=0"]))
    assert floor.system == "stats_logreg" and floor.train.initial_weights == ""
    (tmp_path / "mine.yaml").write_text("systems: {stats_logreg: {backend: neighbours, statistics: {c: 3}}}\n")
    *_, floor = settings_of_runs(read_config([str(tmp_path / "mine.yaml"), "backend=resnet18"]))
    assert (floor.backend, floor.statistics.c) == ("neighbours", 3)


def test_one_run_and_one_system_are_meant_as_before():
    assert settings_of_one_run(read_config(["experiment.systems=[lfcc_resnet18]"])).system == "lfcc_resnet18"
    assert [one.system for one in front_ends(read_config(["system=lfcc_aasist"]))] == ["lfcc_aasist"]


def test_another_front_end_has_a_second_store_and_the_same_one_has_none():
    assert [one.frontend for one in front_ends(read_config(["experiment.systems=[w2v2_base_aasist]"]))] == ["ssl", "lfcc"]
    assert [one.frontend for one in front_ends(read_config(["experiment.systems=[lfcc_ecapa_tdnn,lfcc_aasist]"]))] == ["lfcc"]
    assert [one.frontend for one in front_ends(read_config(["experiment.systems=[w2v2_base_aasist]", "experiment.floor=[]"]))] == ["ssl"]
    shared = front_ends(read_config(["configs/demo.yaml"]))
    assert len(shared) == 1  # network, long_term and floor


def test_a_floor_without_a_store_names_script_04_and_how_to_do_without(tmp_path):
    experiment = SmallExperiment.write(tmp_path, num_utterances=18)
    settings = experiment.settings("floor")
    experiment.prepare(settings)
    settings.experiment.floor = ["lfcc_resnet18"]
    text = to_yaml(settings).replace("systems: {}", "systems: {lfcc_resnet18: {audio: {crop_seconds: 0.25}}}")
    (tmp_path / "floor.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"Run: .*04_preprocess.*for the floor, lfcc_resnet18; experiment.floor=\[\] goes without it"):
        load_runs(read_config([str(tmp_path / "floor.yaml")]))
    assert len(load_runs(read_config([str(tmp_path / "floor.yaml"), "experiment.floor=[]"]))) == 1


def test_names():
    settings = small_settings(Path("x"), "experiment.systems=[b,f,c]", "experiment.floor=[d,f]")
    assert all_systems(settings.experiment) == ["b", "f", "c", "d"]
    assert [shown_system(name, settings.experiment.floor) for name in ("b", "f")] == ["b", "f (floor)"]


# ------------------------------------------------------------------------------------------------ dev


def trained(tmp_path: Path, system: str, train: str, dev: float | None, *words: str, seed: int = 1, **record) -> TrainingRun:
    """A run whose record has this dev macro-F1."""
    settings = small_settings(tmp_path, "experiment.floor=[stats_logreg]", f"system={system}", f"train.languages=[{train}]", *words)
    settings.train.seed = seed
    run = run_of(settings, "store")
    run = replace(run, folder=tmp_path / system / f"{train}-{seed}")
    run.folder.mkdir(parents=True)
    run.files.weights.write_bytes(b"weights")
    outcome = {"selected_by": "dev_macro_f1", **({} if dev is None else {"dev_macro_f1": dev}), **record}
    run.files.outcome.write_text(json.dumps(outcome))
    return run


def unwrapped(text: str) -> str:
    return " ".join(text.split())


def test_dev_figures_stand_beside_those_of_the_floor(tmp_path):
    runs = [trained(tmp_path, "lfcc_ecapa_tdnn", train, dev) for train, dev in (("en", 0.951), ("de", 0.99), ("en,de", 0.9))]
    runs += [trained(tmp_path, "stats_logreg", train, dev) for train, dev in (("en", 0.97), ("de", 0.98), ("en,de", 0.9))]
    assert unwrapped(dev_beside_floor(runs)) == (
        "on dev, macro-F1 in %: lfcc_ecapa_tdnn is below the floor stats_logreg in 1 of 3 runs: en 95.1 against 97.0"
    )
    assert dev_beside_floor([]) == "" == dev_beside_floor(runs[3:])
    equal = [
        trained(tmp_path, system, "en", dev, seed=7) for system, dev in (("lfcc_ecapa_tdnn", 0.8666666666666666), ("stats_logreg", 13 / 15))
    ]
    assert "is nowhere below the floor stats_logreg: en 86.7 against 86.7" in unwrapped(dev_beside_floor(equal))
    for run in runs:
        run.settings.experiment.floor = []
    assert dev_beside_floor(runs) == ""


@pytest.mark.parametrize(
    ("ours", "floors", "why"),
    [
        (["train.dev_variants=[original]"], [], "their dev rows are of other acoustic variants (original and noise, original)"),
        (["train.variants=[original]"], ["train.dev_variants=[original]"], ""),
        ([], ["train.dev_languages=[all]"], "their train.dev_languages differ"),
        (["train.dev_languages=[en]"], [], ""),
    ],
)
def test_they_are_compared_where_dev_is_the_same_rows(tmp_path, ours, floors, why):
    runs = [trained(tmp_path, "lfcc_ecapa_tdnn", "en", 0.8, *ours), trained(tmp_path, "stats_logreg", "en", 0.9, *floors)]
    shown = unwrapped(dev_beside_floor(runs))
    assert ("not compared: " in shown) == bool(why)
    assert shown.endswith(why) if why else "below the floor stats_logreg in 1 of 1 runs: en 80.0 against 90.0" in shown


def test_what_has_no_dev_figure_is_said(tmp_path):
    runs = [trained(tmp_path, "lfcc_ecapa_tdnn", train, 0.8) for train in ("en", "de")]
    runs += [trained(tmp_path, "lfcc_ecapa_tdnn", "en", 0.7, seed=2)]
    runs += [trained(tmp_path, "stats_logreg", "en", 0.9), trained(tmp_path, "stats_logreg", "de", None, selected_by="last_epoch")]
    assert unwrapped(dev_beside_floor(runs)) == (
        "on dev, macro-F1 in %: lfcc_ecapa_tdnn is below the floor stats_logreg in 1 of 1 runs: en seed 1 80.0 against 90.0; "
        "2 not compared: the floor has no dev rows; the floor is not trained on the same languages with the same seed"
    )
    runs[0].files.outcome.unlink()
    assert "not compared: not trained yet" in unwrapped(dev_beside_floor(runs[:1]))


def test_the_plan_marks_the_floor(tmp_path, store):
    words = ["experiment.floor=[stats_logreg]"]
    runs = [run_of(small_settings(tmp_path, *words, f"system={name}"), "x") for name in ("lfcc_aasist", "stats_logreg")]
    utterances = store.index.drop_duplicates("utt_id")[["utt_id", "language", "split"]]
    lines = describe_plan(make_plan(runs, utterances), runs).splitlines()
    assert lines[1].startswith("lfcc_aasist ") and lines[2].startswith("stats_logreg (floor)  ")
    assert len({len(line.split("  ")[0]) for line in lines[2:]}) == 1
