"""configs/awkward.yaml: every script as a process of its own, and every figure of its tables beside pandas' and scikit-learn's."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support, recall_score
from sklearn.neighbors import KNeighborsClassifier

from tests.support.awkward_figures import (
    CLASSES,
    LANGUAGES,
    UNKNOWN,
    VARIANTS,
    Bootstrap,
    as_text,
    auroc,
    eer,
    fpr_at_95_tpr,
    harmonic_f1,
    headline,
    interval,
    macro_f1,
    mean_average_precision,
    oscr,
    pairs,
    present,
    raw_scores,
    rows_tested,
    truth,
    unit,
    unknown_accepted_at_95,
)
from tests.support.finished_street import SCRIPTS
from tests.support.places import ROOT

pytestmark = pytest.mark.slow
GE2E = ["experiment.systems=[demo_ge2e]", "augment.variants=[original]", "audio.crop_seconds=0.5"]
PRECISION = 2e-6  # tables have six digits
NETWORK, FLOOR = SYSTEMS = ("lfcc_ecapa_tdnn", "stats_logreg")


class Street:
    """Where the run of all scripts lies; runs one."""

    def __init__(self, root: Path):
        self.root, self.corpus, self.exp = root, root / "corpus", root / "exp" / "awkward"
        self.words = [
            *(
                f"paths.{name}={root}/{folder}"
                for name, folder in (("corpus", "corpus"), ("musan", "musan"), ("rirs", "rirs"), ("exp", "exp"))
            ),
            f"folder.table={root}/corpus/table.csv",
            *("compute.device=cpu", "compute.workers=2", "embedding_pictures.projections=[pca]"),
        ]

    def run(self, script: str, *words: str) -> str:
        done = subprocess.run([sys.executable, script, *words], cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False)
        assert done.returncode == 0, f"{script}: {done.stdout[-1000:]}{done.stderr[-3000:]}"
        assert "Traceback" not in done.stdout + done.stderr
        return done.stdout

    def stage(self, name: str) -> str:
        return self.run(f"scripts/{name}.py", "configs/awkward.yaml", *self.words)

    def table(self, name: str) -> pd.DataFrame:
        return as_text(self.exp / "tables" / f"{name}.csv")

    def of(self, system: str, name: str) -> pd.DataFrame:
        """A system's rows of a table."""
        table = self.table(name)
        assert set(SYSTEMS) <= set(table["system"])
        return table[table["system"] == system]

    def run_folder(self, train_set: str, system: str = NETWORK) -> Path:
        (found,) = (self.exp / "runs" / system).glob(f"{train_set}-seed*")
        return found

    def scores(self, train_set: str, system: str = NETWORK) -> pd.DataFrame:
        return raw_scores(self.run_folder(train_set, system) / "scores" / "eval.parquet", self.corpus)


@pytest.fixture(scope="module")
def street(tmp_path_factory) -> Street:
    street = Street(tmp_path_factory.mktemp("awkward"))
    for name in ("01_download_resources", *SCRIPTS):
        street.stage(name)
    return street


# ------------------------------------------------------------------------------------------------ the corpus


def test_corpus_has_the_awkward_shape(street):
    table = truth(street.corpus)
    assert len(table) <= 250
    assert set(table["source"]) == {*CLASSES, *UNKNOWN}
    sizes = table["source"].value_counts()
    assert len(set(sizes[CLASSES])) == len(CLASSES)
    where = table.groupby("source")["language"].agg(set)
    assert sum(len(where[name]) < len(LANGUAGES) for name in CLASSES) >= 3
    assert where["True"] == {"de"}
    splits = table.groupby("source")["split"].agg(set)
    assert (splits["null"], splits["inf"], splits["None"]) == ({"dev"}, {"eval"}, {"eval"})
    assert set(table.loc[table["language"] == "nan", "split"]) == {"train", "eval"}
    per_speaker = table["speaker"].value_counts()
    assert per_speaker.max() == 2
    assert (table.groupby("transcript")["source"].nunique() > 1).mean() > 0.5
    assert {"NA", "null", "1234"} <= set(table["transcript"])


def test_files_have_the_awkward_formats(street):
    infos = [soundfile.info(street.corpus / path) for path in truth(street.corpus)["path"]]
    assert {info.samplerate for info in infos} >= {8000, 11025, 16000, 22050, 44100, 48000}
    assert {info.channels for info in infos} == {1, 2}
    assert {info.subtype for info in infos} == {"PCM_16", "PCM_24"}
    assert {info.format for info in infos} == {"WAV", "FLAC"}
    seconds = [info.duration for info in infos]
    assert min(seconds) == pytest.approx(0.3, abs=1e-3)
    assert max(seconds) == pytest.approx(40.0, abs=1e-3)


def test_names_pass_unchanged_into_utterances_and_protocol(street):
    known, utterances = truth(street.corpus), as_text(street.exp / "utterances.csv").set_index("utt_id")
    assert sorted(utterances.index) == sorted(known.index)
    same = known.reindex(utterances.index)
    for column in ("path", "language", "source", "speaker", "transcript"):
        assert (utterances[column] == same[column]).all(), column
    protocol = as_text(street.exp / "protocol.csv").set_index("utt_id")["split"]
    assert (protocol == known["split"].reindex(protocol.index)).all()


def test_counts_of_script_02(street):
    known, counts = truth(street.corpus), street.table("table1_counts").set_index("language")
    seconds = {path: soundfile.info(street.corpus / path).duration for path in known["path"]}
    for language in [*LANGUAGES, "total"]:
        own = known if language == "total" else known[known["language"] == language]
        assert int(counts.loc[language, "utterances"]) == len(own)
        for column, names in (("split", ("train", "dev", "eval")), ("source", CLASSES)):
            for name in names:
                assert int(counts.loc[language, name]) == (own[column] == name).sum(), (language, name)
        hours = sum(seconds[path] for path in own["path"]) / 3600
        assert float(counts.loc[language, "hours"]) == pytest.approx(hours, abs=6e-4)


def test_leakage_of_script_02(street):
    known, leakage = truth(street.corpus), street.table("leakage")
    overall = leakage[leakage["scope"] == "overall"].set_index(["kind", "first", "second"])
    for kind, (first, second) in itertools.product(("transcript", "speaker"), itertools.combinations(("train", "dev", "eval"), 2)):
        one, other = (known.loc[known["split"] == split, kind] for split in (first, second))
        row = overall.loc[(kind, first, second)]
        affected = other.isin(set(one)).sum()
        assert (int(row["values"]), int(row["shared"])) == (one.nunique(), len(set(one) & set(other)))
        assert (int(row["affected"]), int(row["utterances"])) == (affected, len(other))
        assert float(row["percent"]) == pytest.approx(100 * affected / len(other))
    cells = leakage[(leakage["kind"] == "transcript") & (leakage["scope"] == "source") & (leakage["first"] == "train")]
    for row in cells[cells["second"] == "eval"].itertuples():
        own = known[known["source"] == row.source]
        one, other = (own.loc[own["split"] == split, "transcript"] for split in ("train", "eval"))
        if row.shared:
            assert (int(row.shared), int(row.affected)) == (len(set(one) & set(other)), other.isin(set(one)).sum())


# ------------------------------------------------------------------------------------------------ tables


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("name", ["table4", "table5", "figure4", "table6"])
def test_cells_of_tables(street, name, system):
    cells = street.of(system, name)
    over_present, over_declared = headline(cells)
    compared = set()
    for number, row in cells.iterrows():
        if ":" in row["test"]:
            continue  # groups of speakers: see below
        rows = rows_tested(street.scores(row["train"], system), row["test"], row["variant"])
        true, predicted, there = rows["true_source"], rows["predicted"], present(rows)
        assert over_declared[number] == pytest.approx(macro_f1(true, predicted, CLASSES), abs=PRECISION)
        if over_present is not None:
            assert over_present[number] == pytest.approx(macro_f1(true, predicted, there), abs=PRECISION)
            assert int(row["num_classes"]) == len(there)
        assert float(row["accuracy"]) == pytest.approx(accuracy_score(true, predicted), abs=PRECISION)
        assert float(row["balanced_accuracy"]) == pytest.approx(recall_score(true, predicted, labels=there, average="macro"), abs=PRECISION)
        assert float(row["macro_f1_harmonic"]) == pytest.approx(harmonic_f1(rows), abs=PRECISION)
        assert int(row["n"]) == len(rows)
        compared.add((row["train"], row["test"], row["variant"]))
    assert len(compared) == sum(":" not in test for test in cells["test"])
    assert len(compared) >= {"table4": 48, "table5": 24}.get(name, 0)


def test_groups_of_table_6_are_parts_of_the_test_sets(street):
    cells = street.of(NETWORK, "table6").query("variant == 'pooled'")
    for train, own in cells.groupby("train"):
        of_group = {test.rpartition(":")[2]: int(n) for test, n in zip(own["test"], own["n"], strict=True)}
        (languages,) = {test.rpartition(":")[0] for test in own["test"]}
        rows = rows_tested(street.scores(train), languages, "pooled")
        assert of_group.get("seen", 0) + of_group.get("unseen", 0) == len(rows)


@pytest.mark.parametrize("system", SYSTEMS)
def test_means_are_those_of_their_cells(street, system):
    cells, means = street.of(system, "table4"), street.of(system, "means")
    is_mono = cells["train"] == cells["test"]
    for row in means.itertuples():
        own = cells[(cells["variant"] == row.variant) & (is_mono if row.kind == "mono" else ~is_mono)]
        assert int(row.cells) == len(own)
        assert float(row.macro_f1) == pytest.approx(own["macro_f1"].astype(float).mean(), abs=PRECISION)


@pytest.mark.parametrize("system", SYSTEMS)
def test_intervals_of_cells_and_means(street, system):
    """The tables' hundred resamples know an end to about a third of the standard error; over all cells the differences cancel."""
    cells, means = (street.of(system, name).query("variant == 'pooled'") for name in ("table4", "means"))
    scores = {train: street.scores(train, system) for train in LANGUAGES}
    drawn = Bootstrap(scores["en"][scores["en"]["true_source"].isin(CLASSES)])
    resampled, gaps = {}, []
    for row in cells.itertuples():
        rows = rows_tested(scores[row.train], row.test, "pooled")
        resampled[row.train, row.test] = drawn.macro_f1(rows)
        gaps += _gaps(row, resampled[row.train, row.test])
    for row in means.itertuples():
        own = [samples for (train, test), samples in resampled.items() if (train == test) == (row.kind == "mono")]
        gaps += _gaps(row, np.mean(own, axis=0))
    gaps = np.array(gaps)
    assert len(gaps) >= 14
    assert np.abs(gaps).max() < 0.8
    assert np.abs(gaps.mean(axis=0)).max() < 0.25
    assert abs((gaps[:, 1] - gaps[:, 0]).mean()) < 0.3, "widths"


def _gaps(row, samples: np.ndarray) -> list[tuple[float, float]]:
    """Of both ends, in standard errors; none where nothing varies."""
    low, high = interval(samples, float(row.macro_f1))
    if samples.std() < 1e-9:
        assert float(row.ci_low) == pytest.approx(low, abs=PRECISION) and float(row.ci_high) == pytest.approx(high, abs=PRECISION)
        return []
    return [((float(row.ci_low) - low) / samples.std(), (float(row.ci_high) - high) / samples.std())]


@pytest.mark.parametrize("system", SYSTEMS)
def test_figures_of_each_class(street, system):
    per_class = street.of(system, "per_class")
    assert list(dict.fromkeys(per_class["class"])) == CLASSES
    for (train, test, variant), own in per_class.groupby(["train", "test", "variant"]):
        rows = rows_tested(street.scores(train, system), test, variant)
        figures = precision_recall_fscore_support(rows["true_source"], rows["predicted"], labels=CLASSES, zero_division=0)
        own = own.set_index("class").loc[CLASSES]
        for column, values in zip(("precision", "recall", "f1", "support"), figures, strict=True):
            np.testing.assert_allclose(own[column].replace("", "nan").astype(float), values, atol=PRECISION)


@pytest.mark.parametrize("system", SYSTEMS)
def test_confusion_matrices(street, system):
    confusion = street.of(system, "confusion")
    for (train, test, variant), own in confusion.groupby(["train", "test", "variant"]):
        rows = rows_tested(street.scores(train, system), test, variant)
        wide = own.pivot(index="true", columns="predicted", values="count").loc[CLASSES, CLASSES].astype(int)
        assert (wide.to_numpy() == confusion_matrix(rows["true_source"], rows["predicted"], labels=CLASSES)).all()


def test_shortcut_table(street):
    cells, known = street.table("shortcuts"), truth(street.corpus)
    scores = pd.read_parquet(street.exp / "shortcuts" / "scores.parquet")
    scores["true_source"] = known["source"].reindex(scores["utt_id"]).to_numpy()
    scores["true_language"] = known["language"].reindex(scores["utt_id"]).to_numpy()
    logits = scores[[f"logit_{number}" for number in range(len(CLASSES))]].to_numpy()
    scores["predicted"] = np.array(CLASSES, dtype=object)[logits.argmax(axis=1)]
    over_present, over_declared = headline(cells)
    of_cues = cells[cells["system"].str.startswith("cues_")]
    assert of_cues["train"].nunique() == len(LANGUAGES)
    for number, row in of_cues.iterrows():
        own = scores[(scores["system"] == row["system"]) & (scores["train_set"] == row["train"])]
        rows = rows_tested(own, row["test"], row["variant"])
        assert over_declared[number] == pytest.approx(macro_f1(rows["true_source"], rows["predicted"], CLASSES), abs=PRECISION)
        if over_present is not None:
            assert over_present[number] == pytest.approx(macro_f1(rows["true_source"], rows["predicted"], present(rows)), abs=PRECISION)
        assert float(row["accuracy"]) == pytest.approx(accuracy_score(rows["true_source"], rows["predicted"]), abs=PRECISION)


# ------------------------------------------------------------------------------------------------ open set


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("table", ["openset", "openset_by_language"])
def test_open_set_figures(street, table, system):
    figures, known = street.of(system, table), truth(street.corpus)
    assert len(figures)
    for (train, split), of_run in figures.groupby(["train_set", "split"]):
        folder = street.exp / "openset" / system / street.run_folder(train, system).name
        scores = pd.read_parquet(folder / f"scores_{split}.parquet")
        scores["true_source"] = known["source"].reindex(scores["utt_id"]).to_numpy()
        scores["true_language"] = known["language"].reindex(scores["utt_id"]).to_numpy()
        for _, row in of_run.iterrows():
            _check_open_set_row(row, scores)


def _check_open_set_row(row: pd.Series, scores: pd.DataFrame) -> None:
    own = scores[scores["true_language"] == row["language"]] if row["language"] != "all" else scores
    own = own if row["variant"] == "pooled" else own[own["variant"] == row["variant"]]
    is_unknown, values = own["true_source"].isin(UNKNOWN).to_numpy(), own[row["detector"]].to_numpy()
    assert (int(row["unknown"]), int(row["known"])) == (is_unknown.sum(), (~is_unknown).sum())
    assert int(row["classes"]) == own.loc[~is_unknown, "true_source"].nunique()
    if is_unknown.all() or not is_unknown.any():
        assert row["auroc"] == "", "no figure where there is nothing to tell apart"
        return
    said = values > float(row["threshold"])
    expected = {
        "auroc": auroc(is_unknown, values),
        "eer": eer(is_unknown, values),
        "fpr_at_95_tpr": fpr_at_95_tpr(is_unknown, values),
        "unknown_accepted_at_95": unknown_accepted_at_95(is_unknown, values),
        "oscr": oscr(is_unknown, own["true_source"].to_numpy() == np.array(CLASSES, dtype=object)[own["prediction"].to_numpy()], values),
    }
    for name, value in expected.items():
        assert float(row[name]) == pytest.approx(value, abs=PRECISION), (name, dict(row[["detector", "language", "variant", "split"]]))
    if np.abs(values - float(row["threshold"])).min() < 1e-5 * max(1.0, abs(float(row["threshold"]))):
        return  # the table's six digits do not say on which side of the threshold a row lies
    assert float(row["detection_f1"]) == pytest.approx(f1_score(is_unknown, said, zero_division=0), abs=PRECISION)
    assert float(row["unknown_found"]) == pytest.approx(said[is_unknown].mean(), abs=PRECISION)
    assert float(row["known_rejected"]) == pytest.approx(said[~is_unknown].mean(), abs=PRECISION)
    true = np.where(is_unknown, "(unknown)", own["true_source"])
    decided = np.where(said, "(unknown)", np.array(CLASSES, dtype=object)[own["prediction"].to_numpy()])
    there = [name for name in [*CLASSES, "(unknown)"] if (true == name).any()]
    assert float(row["open_macro_f1_present"]) == pytest.approx(macro_f1(true, decided, there), abs=PRECISION)


# ------------------------------------------------------------------------------------------------ single files, metric learning, embeddings


def test_a_language_without_dev_keeps_its_last_epoch_and_says_so(street):
    outcome = json.loads((street.run_folder("nan") / "model.json").read_text())
    assert (outcome["selected_by"], outcome["best_epoch"], outcome["num_dev_rows"]) == ("last_epoch", 2, 0)
    assert "dev_loss" not in outcome
    assert json.loads((street.run_folder("en") / "model.json").read_text())["selected_by"] == "dev_macro_f1"


def test_embeddings_hold_every_row(street):
    index = pd.read_parquet(street.run_folder("en") / "embeddings" / "index.parquet")
    known = truth(street.corpus)
    assert sorted(set(index["utt_id"])) == sorted(known.index)
    assert len(index) == len(known) * len(VARIANTS)
    assert (index["source"].to_numpy() == known["source"].reindex(index["utt_id"]).to_numpy()).all()
    numbers = street.of(NETWORK, "embeddings")
    row = numbers[(numbers["label"] == "source") & (numbers["rows_of"] == "all") & (numbers["train"] == "en")].iloc[0]
    assert (int(row["values"]), int(row["rows"])) == (len(CLASSES) + len(UNKNOWN), len(index))


def test_a_run_without_dev_cannot_be_calibrated_and_says_so(street):
    words = [str(street.corpus / "0001.wav"), "--run", str(street.run_folder("nan"))]
    done = subprocess.run([sys.executable, "scripts/trace_audio.py", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "no dev scores of known sources in nan" in line and "Traceback" not in done.stderr


def test_tracing_and_export(street, tmp_path):
    run = street.run_folder("en+de+fr")
    files = [str(street.corpus / name) for name in ("0001.wav", "0006.wav", "de/voice, large", "de/acme/tts-v2", "nan/NA")]
    files = [name for name in files if Path(name).exists()]
    outputs = ["--csv", str(tmp_path / "traced.csv"), "--json", str(tmp_path / "traced.json"), "--timeline", str(tmp_path / "timelines")]
    street.run("scripts/trace_audio.py", *files, "--run", str(run), *outputs)
    traced = as_text(tmp_path / "traced.csv")
    assert set(traced["source"]) <= set(CLASSES)
    shares = traced[[f"p_{name}" for name in CLASSES]].astype(float)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-4)
    assert (shares.idxmax(axis=1).str.removeprefix("p_") == traced["source"]).all()
    street.run("scripts/export_model.py", str(run), "--folder", str(tmp_path / "system"))
    assert "acme/tts-v2" in (tmp_path / "system" / "README.md").read_text()


def test_ge2e(street):
    encoder = f"ssl.model={street.corpus}/tiny_wav2vec2"
    words = ["configs/awkward.yaml", *street.words, encoder, *GE2E]
    street.run("scripts/04_preprocess_dataset.py", *words)
    street.run("train_ge2e.py", *words, "system=demo_ge2e", "train.epochs=1")
    figures = street.table("metric_learning")
    (run,) = (street.exp / "runs" / "demo_ge2e").iterdir()
    scores = raw_scores(run / "scores" / "eval.parquet", street.corpus)
    embeddings = {split: unit(np.load(run / "scores" / f"{split}.embeddings.npy").astype(np.float64)) for split in ("train", "eval")}
    train = raw_scores(run / "scores" / "train.parquet", street.corpus)
    learned = train["true_source"].isin(CLASSES).to_numpy()
    neighbours = KNeighborsClassifier(5, metric="cosine", weights=lambda far: 1 + 1e-3 * (1 - far))
    scores["by_neighbours"] = neighbours.fit(embeddings["train"][learned], train["true_source"][learned]).predict(embeddings["eval"])
    for row in figures.itertuples():
        own = scores if row.language == "pooled" else scores[scores["true_language"] == row.language]
        known = own[own["true_source"].isin(CLASSES)]
        assert (int(row.num_rows), int(row.num_unknown_rows)) == (len(known), len(own) - len(known))
        assert int(row.num_classes) == known["true_source"].nunique()
        assert float(row.centroid_accuracy) == pytest.approx(accuracy_score(known["true_source"], known["predicted"]), abs=1e-5)
        assert float(row.centroid_macro_f1) == pytest.approx(macro_f1(known["true_source"], known["predicted"], present(known)), abs=1e-5)
        _check_pairs(row, embeddings["eval"][known.index], known)
        assert float(row.knn_accuracy) == pytest.approx(accuracy_score(known["true_source"], known["by_neighbours"]), abs=1e-5)
        assert float(row.knn_macro_f1) == pytest.approx(macro_f1(known["true_source"], known["by_neighbours"], present(known)), abs=1e-5)
        if row.unknown_auroc:
            highest = own[[f"logit_{number}" for number in range(len(CLASSES))]].to_numpy().max(axis=1)
            is_unknown = own["true_source"].isin(UNKNOWN).to_numpy()
            assert float(row.unknown_auroc) == pytest.approx(auroc(is_unknown, -highest), abs=1e-5)
            assert float(row.unknown_eer) == pytest.approx(eer(is_unknown, -highest), abs=1e-5)


def _check_pairs(row, embeddings: np.ndarray, known: pd.DataFrame) -> None:
    sources, utterances = known["true_source"].to_numpy(), known["utt_id"].to_numpy()
    is_same, cosines = pairs(embeddings, sources, utterances)
    assert float(row.verification_eer) == pytest.approx(eer(is_same, cosines), abs=1e-3)  # the table's cosines are rounded to 1e-5
    assert float(row.retrieval_map) == pytest.approx(mean_average_precision(embeddings, sources, utterances), abs=1e-4)


def test_report_names_sources_as_they_are(street):
    page = (street.exp / "report.html").read_text(encoding="utf-8")
    for name in CLASSES:
        assert name in page, name
