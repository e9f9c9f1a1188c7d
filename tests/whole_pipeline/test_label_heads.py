"""Several heads on configs/awkward.yaml, whose labels have holes and odd names: scripts as processes, figures beside scikit-learn's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from tests.support.awkward_figures import CLASSES, as_text, truth
from tests.support.places import ROOT

pytestmark = pytest.mark.slow
STAGES = ("01_download_resources", "02_build_protocols", "04_preprocess_dataset", "05_train_matrix", "06_get_classification_metrics")
LABELS = ("vocoder", "architecture")
PRECISION = 2e-6  # tables have six digits


class Street:
    """Where the scripts' results lie."""

    def __init__(self, root: Path):
        self.corpus, self.exp, self.said = root / "corpus", root / "exp" / "awkward", {}
        folders = {"corpus": "corpus", "musan": "musan", "rirs": "rirs", "exp": "exp"}
        self.words = [*(f"paths.{name}={root}/{folder}" for name, folder in folders.items()), f"folder.table={root}/corpus/table.csv"]
        self.words += ["experiment.tables=[table4]", "experiment.train_sets=[en+de+fr+nan]", "compute.device=cpu"]
        self.words += ["train.labels=[source,vocoder,architecture]", "train.label_weights=[1,0.5,0.5]", "evaluation.bootstrap_samples=50"]

    def stage(self, name: str) -> None:
        command = [sys.executable, f"scripts/{name}.py", "configs/awkward.yaml", *self.words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False)
        assert done.returncode == 0, f"{name}: {done.stdout[-1000:]}{done.stderr[-3000:]}"
        self.said[name] = done.stdout

    @property
    def run(self) -> Path:
        (folder,) = (self.exp / "runs" / "lfcc_ecapa_tdnn").iterdir()
        return folder


@pytest.fixture(scope="module")
def street(tmp_path_factory) -> Street:
    street = Street(tmp_path_factory.mktemp("heads"))
    for name in (*STAGES, "13_make_tables"):
        street.stage(name)
    return street


def test_utterances_have_the_labels_of_the_table_with_their_holes(street):
    written, known = as_text(street.exp / "utterances.csv").set_index("utt_id"), truth(street.corpus)
    for label in ("acoustic_model", *LABELS):
        assert written[label].tolist() == known.loc[written.index, label].tolist()
        assert (written[label] == "").any() and (written[label] != "").any()


def test_heads_have_the_classes_of_training_rows_and_no_other(street):
    recorded, known = json.loads((street.run / "label_classes.json").read_text()), truth(street.corpus)
    train = known[known["split"] == "train"]
    assert list(recorded["source"]) == CLASSES
    for label in LABELS:
        counts = train.loc[train[label] != "", label].value_counts()
        assert recorded[label] == {name: 2 * counts[name] for name in sorted(counts.index)}  # two variants


def test_the_loss_stayed_a_number_and_the_floor_has_no_heads(street):
    history = pd.read_csv(street.run / "history.csv")
    assert np.isfinite(history["train_loss"]).all()
    (floor,) = (street.exp / "runs" / "stats_logreg").iterdir()
    assert not (floor / "label_classes.json").exists() and not (floor / "scores" / "eval.labels.parquet").exists()


@pytest.mark.parametrize("label", LABELS)
def test_figures_of_a_head_beside_scikit_learns(street, label):
    said, known = pd.read_parquet(street.run / "scores" / "eval.labels.parquet"), truth(street.corpus)
    counts = json.loads((street.run / "label_classes.json").read_text())[label]
    names, rows = list(counts), known.loc[said["utt_id"]]
    logits = said[[f"logit_{label}_{number}" for number in range(len(names))]].to_numpy()
    predicted, text = np.array(names, dtype=object)[logits.argmax(axis=1)], rows[label].to_numpy(dtype=object)
    constant = max(names, key=counts.get)
    table = pd.read_csv(street.exp / "tables" / "labels.csv", keep_default_na=False, na_values=[""])
    for sources, is_known in (("known", True), ("unknown", False)):
        of_kind = (rows["source"].isin(CLASSES) == is_known).to_numpy()
        counted = of_kind & np.isin(text, names)
        own = table[(table["label"] == label) & (table["sources"] == sources)].set_index("answer")
        assert len(own) == (2 if counted.any() else 0)
        if not counted.any():
            continue
        for answer, prediction in (("the head", predicted[counted]), (f"always {constant}", [constant] * counted.sum())):
            there = sorted(set(text[counted]))
            macro = f1_score(text[counted], prediction, labels=there, average="macro", zero_division=0)
            assert float(own.loc[answer, "macro_f1"]) == pytest.approx(macro, abs=PRECISION)
            assert float(own.loc[answer, "accuracy"]) == pytest.approx(accuracy_score(text[counted], prediction), abs=PRECISION)
            assert own.loc[answer, "rows"] == counted.sum() and own.loc[answer, "unlabelled"] == (text[of_kind] == "").sum()


def test_script_06_and_the_report_show_them(street):
    assert "each head, beside the constant answer:" in street.said["06_get_classification_metrics"]
    page = (street.exp / "report.html").read_text(encoding="utf-8")
    assert "Several labels" in page and "always " in page
    assert "always nan" in (street.exp / "tables" / "labels.md").read_text(encoding="utf-8")
