"""corpus.label=vocoder and =architecture through every script, each a process of its own; figures beside pandas' and scikit-learn's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from tests.support.fork_server import ForkServer
from tests.support.labelled_street import (
    BY_ARCHITECTURE,
    BY_SOURCE,
    BY_VOCODER,
    COMPONENTS,
    LATER,
    SCRIPTS,
    run,
    words,
    write_labelled_corpus,
)
from tests.support.places import ROOT

pytestmark = pytest.mark.slow
SYSTEM = "stats_logreg"
CLASSES = {"vocoder": ["hifigan", "lpc"], "architecture": ["vits", "tacotron"]}
UNKNOWN = {"vocoder": "world", "architecture": "flow"}
BY = {"vocoder": BY_VOCODER, "architecture": BY_ARCHITECTURE}


class Street:
    """The experiment below `root`. outputs: (label, script) -> what it printed."""

    def __init__(self, root: Path):
        self.root, self.exp, self.table, self.outputs = root, root / "exp" / "labels", write_labelled_corpus(root), {}
        with ForkServer(ROOT, seconds=170) as server:
            for script in SCRIPTS[:3]:
                run(server, script, words(root, *BY_SOURCE))
            self.plain = self.paths()
            for label, scripts in (("vocoder", (*SCRIPTS, *LATER)), ("architecture", (*SCRIPTS, "07_ood_detector", "13_make_tables"))):
                for script in scripts:
                    self.outputs[label, script] = run(server, script, words(root, *BY[label]))
                self.keep_tables(label)
            folder, file = self.run_folder("vocoder"), f"{root}/corpus/en/epsilon/0.wav"
            for name, script, arguments in (
                ("traced", "trace_audio", [f"{root}/corpus/en/gamma/0.wav", file, "--run", str(folder), "--json", f"{root}/traced.json"]),
                ("export", "export_model", [str(folder), "--folder", f"{root}/export"]),
            ):
                self.outputs["vocoder", name] = run(server, script, arguments)

    def paths(self) -> dict[str, bytes]:
        """What records of protocol and runs hold, by file."""
        kept = [*self.exp.glob("protocol.*"), *self.exp.glob("utterances.csv"), *self.exp.glob("runs/*/*/*.json")]
        return {str(path): path.read_bytes() for path in kept}

    def keep_tables(self, label: str) -> None:
        """Tables of open-set figures belong to the last label."""
        for name in ("openset", "verification"):
            path = self.exp / "tables" / f"{name}.csv"
            if path.is_file():
                (self.root / f"{label}_{name}.csv").write_bytes(path.read_bytes())

    def protocol_folder(self, label: str) -> Path:
        (found,) = (
            path.parent
            for path in self.exp.glob("protocols/*/protocol.json")
            if json.loads(path.read_text())["settings"]["corpus.label"] == label
        )
        return found

    def run_folder(self, label: str) -> Path:
        folders = (path.parent for path in self.exp.glob(f"runs/{SYSTEM}/*/classes.json") if json.loads(path.read_text()) == CLASSES[label])
        (found,) = folders
        return found

    def scores(self, label: str, split: str = "eval") -> pd.DataFrame:
        """Scores of the run with the truth of table.csv."""
        scores = pd.read_parquet(self.run_folder(label) / "scores" / f"{split}.parquet")
        logits = scores[[f"logit_{number}" for number in range(2)]].to_numpy()
        truth = self.table[label].reindex(scores["utt_id"]).to_numpy()
        return scores.assign(truth=truth, predicted=np.array(CLASSES[label])[logits.argmax(axis=1)])


@pytest.fixture(scope="module")
def street(tmp_path_factory) -> Street:
    return Street(tmp_path_factory.mktemp("labels"))


@pytest.mark.parametrize("label", CLASSES)
def test_protocol_by_label(street, label):
    folder = street.protocol_folder(label)
    utterances = pd.read_csv(folder / "utterances.csv", keep_default_na=False).set_index("utt_id")
    known = street.table[street.table[label] != ""]
    assert sorted(utterances.index) == sorted(known.index)
    for column in ("source", "vocoder", "architecture"):
        assert (utterances[column] == street.table[column].reindex(utterances.index)).all()
    counts = pd.read_csv(folder / "tables" / "table1_counts.csv").set_index("language").loc["total"]
    assert [counts[name] for name in CLASSES[label]] == [(known[label] == name).sum() for name in CLASSES[label]]
    assert counts["unknown_sources"] == (known[label] == UNKNOWN[label]).sum()
    splits = pd.read_csv(folder / "protocol.csv").set_index("utt_id")["split"]
    assert set(splits[known.index[known[label] == UNKNOWN[label]]]) == {"dev", "eval"}
    named = [line.split("|")[0].strip() for line in (folder / "label_assignment.txt").read_text().splitlines()]
    assert named == [*CLASSES[label], UNKNOWN[label]]


def test_utterances_without_the_label_are_left_out_and_counted(street):
    total, without = len(street.table), (street.table["vocoder"] == "").sum()
    said = street.outputs["vocoder", "02_build_protocols"]
    assert f"left out {without} of {total} utterances whose vocoder is not known (zeta)" in said
    assert "hifigan (alpha, beta), lpc (gamma, delta)" in said or "hifigan (alpha, beta), lpc (delta, gamma)" in said


def test_another_label_of_the_same_utterances_needs_no_new_features_and_touches_no_other_run(street):
    assert (street.protocol_folder("vocoder") / "protocol.csv").read_bytes() == (street.exp / "protocol.csv").read_bytes()
    stores = {path.parent.name: pd.read_csv(path) for path in street.exp.glob("features/*/index.csv")}
    assert len(stores) == 2  # one for source and vocoder, one for architecture, which zeta has too
    for index in stores.values():
        assert (index["source"] == street.table["source"].reindex(index["utt_id"]).to_numpy()).all()
    assert set(map(frozenset, (index["source"] for index in stores.values()))) == {frozenset(COMPONENTS), frozenset(COMPONENTS) - {"zeta"}}
    assert {path: Path(path).read_bytes() for path in street.plain} == street.plain
    assert len(list(street.exp.glob(f"runs/{SYSTEM}/*/classes.json"))) == 3


@pytest.mark.parametrize("label", CLASSES)
def test_scores_and_table_4(street, label):
    scores = street.scores(label)
    assert (scores["source"] == scores["truth"]).all()
    assert set(scores.loc[scores["label"] == -1, "truth"]) == {UNKNOWN[label]}
    folders = [path for path in street.exp.glob("tables/**/table4.csv") if _label_of(path.parent / "made_with.json") == label]
    (path,) = folders
    cells = pd.read_csv(path).query(f"system == '{SYSTEM}' and variant == 'pooled'")
    assert set(cells["test"]) == {"en", "de"}
    for cell in cells.itertuples():
        rows = scores[(scores["language"] == cell.test) & (scores["label"] >= 0)]
        assert cell.n == len(rows)
        assert cell.macro_f1 == pytest.approx(f1_score(rows["truth"], rows["predicted"], average="macro", labels=CLASSES[label]), abs=2e-6)
        assert cell.accuracy == pytest.approx(accuracy_score(rows["truth"], rows["predicted"]), abs=2e-6)
    assert (
        label == "architecture" or cells["macro_f1"].mean() > 0.9
    )  # a vocoder is a colour here, an architecture a level, which nobody hears
    assert f"2 classes of {label}, chance 50" in street.outputs[label, "13_make_tables"]


def _label_of(record: Path) -> str:
    return json.loads(record.read_text())["settings"]["corpus.label"] if record.is_file() else ""


@pytest.mark.parametrize("label", CLASSES)
def test_open_set_figures(street, label):
    (path,) = street.exp.glob(f"openset/{SYSTEM}/{street.run_folder(label).name}/scores_eval.parquet")
    scores = pd.read_parquet(path)
    unknown = street.table[label].reindex(scores["utt_id"]).to_numpy() == UNKNOWN[label]
    table = pd.read_csv(street.root / f"{label}_openset.csv")
    rows = table.query("split == 'eval' and variant == 'pooled'").set_index("detector")
    for detector in ("max_softmax", "mahalanobis"):
        assert rows.loc[detector, "auroc"] == pytest.approx(roc_auc_score(unknown, scores[detector]), abs=2e-6)


def test_embeddings_are_of_labels(street):
    index = pd.read_parquet(street.run_folder("vocoder") / "embeddings" / "index.parquet")
    truth = street.table["vocoder"].reindex(index["utt_id"]).to_numpy()
    assert (index["source"] == truth).all()
    assert (index["known"] == np.isin(truth, CLASSES["vocoder"])).all()


def test_trials_ask_for_the_same_vocoder(street):
    folder = street.protocol_folder("vocoder") / "verification_trials"
    trials = pd.read_csv(folder / "eval.csv", dtype=str)
    vocoder = street.table["vocoder"]
    same = vocoder.reindex(trials["enrol"]).to_numpy() == vocoder.reindex(trials["test"]).to_numpy()
    assert (same == (trials["label"] == "1")).all()


def test_answers_name_vocoders(street):
    answers = json.loads((street.root / "traced.json").read_text())
    assert answers["system"]["classes"] == CLASSES["vocoder"] and answers["system"]["label"] == "vocoder"
    assert answers["files"][0]["top"][0]["source"] == "lpc"
    assert "2 values of vocoder" in (street.root / "export" / "README.md").read_text()
