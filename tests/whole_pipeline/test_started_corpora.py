"""start_corpus.py on corpora of every shape that the project can make: the YAML runs to the end without an edit, and beats chance.

The longer ones with one seed and fewer steps than the YAML says.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.support.places import ROOT

pytestmark = pytest.mark.slow
STAGES = ("01_download_resources", "02_build_protocols", "03_label_speakers", "04_preprocess_dataset", "05_train_matrix")
STAGES += ("06_get_classification_metrics", "11_audit_shortcuts", "13_make_tables")


def run(script: str, *words: object, folder: Path) -> str:
    command = [sys.executable, ROOT / "scripts" / f"{script}.py", *words]
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, f"{script}: {done.stdout[-2000:]}{done.stderr[-3000:]}"
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


def run_to_the_end(yaml: Path, folder: Path, *words: str) -> pd.DataFrame:
    """What `make stages CONFIG=yaml` runs; the means of the experiment's table over variants. words: what saves the test time."""
    for stage in STAGES:
        run(stage, yaml, *words, *(["--if-needed"] if stage.startswith("03") else []), folder=folder)
    means = pd.read_csv(folder / "exp" / yaml.stem / "tables" / "means.csv")
    return means[means["variant"] == "pooled"].set_index(["system", "kind"])


def best_above_chance(means: pd.DataFrame, kind: str) -> float:
    own = means.xs(kind, level="kind")
    return float((own["macro_f1"] - own["chance"]).max())


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """The demo's folder, with fewer files: languages, sources, noises and rooms."""
    root = tmp_path_factory.mktemp("demo")
    words = [
        f"paths.corpus={root}/data",
        f"paths.musan={root}/data/musan",
        f"paths.rirs={root}/data/RIRS_NOISES",
        "corpus.languages=[en,de]",
    ]
    words += ["demo.utterances_per_source=20", "demo.noises_per_category=8", "demo.noise_seconds=6", "demo.long_noises_per_category=0"]
    run("01_download_resources", ROOT / "configs" / "demo.yaml", *words, "demo.rirs_per_room_size=2", folder=root)
    return root / "data"


def test_the_demos_folder_as_a_foreign_one(demo, tmp_path):
    shown = run("start_corpus", demo, "--out", "mine.yaml", "--name", "mine", folder=tmp_path)
    assert "next: python" in shown
    assert "reverb" in (tmp_path / "mine.yaml").read_text()
    means = run_to_the_end(Path("mine.yaml"), tmp_path, "experiment.seeds=[1]", "train.steps=200")
    assert best_above_chance(means, "mono") > 0.3
    assert best_above_chance(means, "cross") > 0.1


def test_the_awkward_corpus(tmp_path):
    root = tmp_path / "data"
    words = [f"paths.corpus={root}", f"folder.table={root}/table.csv", f"paths.musan={root}/musan", f"paths.rirs={root}/RIRS_NOISES"]
    run("01_download_resources", ROOT / "configs" / "awkward.yaml", *words, folder=tmp_path)
    run("start_corpus", "data/table.csv", "--out", "awkward_too.yaml", "--name", "awkward_too", folder=tmp_path)
    means = run_to_the_end(Path("awkward_too.yaml"), tmp_path, "experiment.seeds=[1]", "train.steps=60")
    assert best_above_chance(means, "mono") > 0.05


def test_forty_files_and_nothing_else(demo, tmp_path):
    for source in ("espeak_formant", "espeak_klatt", "griffin_lim", "lpc_vocoder"):
        (tmp_path / "forty" / source).mkdir(parents=True)
        for number, path in enumerate(sorted((demo / "fake" / "en" / source).glob("*.wav"))[:10]):
            shutil.copy(path, tmp_path / "forty" / source / f"{number}.wav")
    run("start_corpus", "forty", folder=tmp_path)
    means = run_to_the_end(Path("forty.yaml"), tmp_path)
    assert best_above_chance(means, "mono") > 0.2
    shown = run("list_runs", "forty.yaml", "train.weight_decay=0", folder=tmp_path)
    assert "differs: train.weight_decay=0.01 (now 0.0)" in shown
