"""The numbered scripts on configs/mcl_mlaad.yaml and on a folder of one's own, from audio the demo's synthesizer made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from sourcetracing.corpora import demo, mcl_mlaad
from sourcetracing.corpora.mlaad import META_COLUMNS, model_dir_of, read_meta
from sourcetracing.runtime.files import write_text
from sourcetracing.settings.reading import load_settings
from tests.support.places import ROOT

DEMO_SOURCES = ("griffin_lim", "espeak_formant", "espeak_klatt", "lpc_vocoder")
LANGUAGES = ("en", "ru")
SMALL = ["ecapa_tdnn.channels=8", "train.epochs=1", "evaluation.bootstrap_samples=20"]
SMALL += ["experiment.systems=[lfcc_ecapa_tdnn]", "experiment.floor=[]"]


@pytest.fixture(scope="module")
def demo_root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("demo")
    paths = [f"paths.corpus={root}", f"paths.musan={root}/musan", f"paths.rirs={root}/RIRS_NOISES"]
    sizes = ["demo.utterances_per_source=10", "demo.noises_per_category=8", "demo.noise_seconds=5", "demo.long_noises_per_category=0"]
    demo.DemoCorpus(
        load_settings(["configs/demo.yaml", *paths, *sizes, "demo.rirs_per_room_size=1", "corpus.languages=[en,ru]"])
    ).download()
    return root


@pytest.fixture(scope="module")
def mlaad_root(demo_root, tmp_path_factory) -> Path:
    """The demo's speech under MLAAD's names of the four sources, and lists that name all of it in several splits."""
    root = tmp_path_factory.mktemp("mlaad")
    for language in LANGUAGES:
        for demo_source, source in zip(DEMO_SOURCES, mcl_mlaad.SOURCES, strict=True):
            folder = root / "fake" / language / model_dir_of(source)
            shutil.copytree(demo_root / "fake" / language / demo_source, folder)
            rename_meta(folder / "meta.csv", demo_source, source)
    rows = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*.wav"))]
    names = {model_dir_of(source): source for source in mcl_mlaad.SOURCES}
    for number, split in enumerate(("train", "dev", "eval")):
        lines = [f"./{path},{names[path.split('/')[2]]}" for path in rows[number::3]]
        write_text(root / "lists" / f"{split}.csv", "\n".join(["path,model_name", *lines]) + "\n")
    return root


def rename_meta(path: Path, demo_source: str, source: str) -> None:
    meta = read_meta(path)
    meta["path"] = meta["path"].str.replace(f"/{demo_source}/", f"/{model_dir_of(source)}/")
    meta["model_name"] = source
    write_text(path, "\n".join(["|".join(META_COLUMNS), *meta[list(META_COLUMNS)].agg("|".join, axis=1)]) + "\n")


def run(script: str, *words: str, status: int = 0) -> str:
    """Runs a script in a process of its own; returns what it printed."""
    done = subprocess.run([sys.executable, script, *words], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def words_for(root: Path, demo_root: Path, exp: Path) -> list[str]:
    paths = [f"paths.corpus={root}", f"paths.protocols={root}/lists", f"paths.exp={exp}"]
    noises = [f"paths.musan={demo_root}/musan", f"paths.rirs={demo_root}/RIRS_NOISES"]
    return ["configs/mcl_mlaad.yaml", *paths, *noises, "corpus.languages=[en,ru]", "mcl_mlaad.published_counts=false", *SMALL]


@pytest.mark.slow
def test_mcl_mlaad_runs_to_the_end(mlaad_root, demo_root, tmp_path):
    words = words_for(mlaad_root, demo_root, tmp_path)
    assert "complete: 80 utterances" in run("scripts/01_download_resources.py", *words)
    assert "as it would be" in run("scripts/02_build_protocols.py", *words, "--audit")
    assert [path.name for path in tmp_path.rglob("*.csv")] == ["leakage_planned.csv"]
    shown = run("scripts/02_build_protocols.py", *words)
    assert "transcript" in shown
    assert "as it would be" not in run("scripts/02_build_protocols.py", *words, "--audit")
    run("scripts/04_preprocess_dataset.py", *words)
    run("scripts/05_train_matrix.py", *words)
    run("scripts/06_get_classification_metrics.py", *words)
    run("scripts/13_make_tables.py", *words)
    table = pd.read_csv(tmp_path / "mcl_mlaad" / "tables" / "table4.csv")
    assert set(table["train"]) >= set(LANGUAGES)
    assert (tmp_path / "mcl_mlaad" / "label_assignment.txt").read_text().splitlines()[0].startswith("griffin_lim ")
    assert "Leakage" in (tmp_path / "mcl_mlaad" / "report.html").read_text()


def test_what_is_missing_is_counted_and_listed(mlaad_root, demo_root, tmp_path):
    words = words_for(mlaad_root, demo_root, tmp_path / "exp")
    copy = tmp_path / "copy"
    shutil.copytree(mlaad_root, copy)
    gone = sorted(copy.glob("fake/ru/griffin_lim/*.wav"))[:3]
    for path in gone:
        path.unlink()
    words[1] = f"paths.corpus={copy}"
    shown = run("scripts/01_download_resources.py", *words, "--check", status=2)
    [line] = [line for line in shown.splitlines() if line.split()[:2] == ["ru", "griffin_lim"]]
    assert line.split()[2:] == ["10", "7", "3"]
    assert "3 of" in shown.splitlines()[-1]
    assert "01_download_resources.py" in shown.splitlines()[-1]
    listed = (tmp_path / "exp" / "mcl_mlaad" / "missing_files.txt").read_text().split()
    assert sorted(listed) == [path.relative_to(copy).as_posix() for path in gone]
    assert "complete" in run("scripts/01_download_resources.py", *words[:1], f"paths.corpus={mlaad_root}", *words[2:], "--check")
    assert not (tmp_path / "exp" / "mcl_mlaad" / "missing_files.txt").exists()


@pytest.mark.slow
def test_official_splits_with_an_unknown_source(mlaad_root, demo_root, tmp_path):
    words = words_for(mlaad_root, demo_root, tmp_path)
    known, unknown = mcl_mlaad.SOURCES[:3], mcl_mlaad.SOURCES[3]
    words[0] = "configs/mlaad5_source_tracing.yaml"
    words += [
        f"corpus.sources=[{','.join(known)}]",
        "augment.variants=[original]",
        "experiment.train_sets=[en+ru]",
        "experiment.test_sets=[ru]",
    ]
    refused = run("scripts/02_build_protocols.py", *words, status=2)
    assert unknown in refused  # it is in train, so it cannot be unknown
    lists = tmp_path / "lists"
    shutil.copytree(mlaad_root / "lists", lists)
    lines = (lists / "train.csv").read_text().splitlines()
    (lists / "train.csv").write_text("\n".join(line for line in lines if not line.endswith(unknown)) + "\n")
    words[2] = f"paths.protocols={lists}"
    run("scripts/02_build_protocols.py", *words)
    labels = (tmp_path / "mlaad5_source_tracing" / "label_assignment.txt").read_text().splitlines()
    assert labels[3] == f"{unknown:<50}|3  |OOD"
    table = pd.read_csv(tmp_path / "mlaad5_source_tracing" / "protocol.csv")
    assert len(table) == 80 - sum(line.endswith(unknown) for line in lines)
    assert f"{len(table)} utterances x 1 variants" in run("scripts/04_preprocess_dataset.py", *words)  # of known and unknown sources
    run("scripts/05_train_matrix.py", *words)
    run("scripts/06_get_classification_metrics.py", *words)
    assert "nsd" in run("scripts/07_ood_detector.py", *words)
    figures = pd.read_csv(tmp_path / "mlaad5_source_tracing" / "tables" / "openset.csv")
    ours = figures[figures["published_figure"].isna()]
    assert ours["auroc"].between(0, 1).all() and len(ours) and len(ours) < len(figures)


def test_the_plan_names_source_size_licence_and_fetches_nothing(tmp_path):
    here = [f"paths.{name}={tmp_path}/{name}" for name in ("corpus", "musan", "rirs", "exp")]
    offline = ["download.musan_urls=[http://127.0.0.1:9/musan.tar.gz]"]
    shown = run(
        "scripts/01_download_resources.py", "configs/mcl_mlaad.yaml", *here, *offline, f"paths.protocols={tmp_path}/p.zip", "--dry-run"
    )
    for text in ("mueller91/MLAAD", "11,700 files", "CC BY-NC 4.0", "11.09 GB", "1.31 GB", "Apache 2.0", "deepfake-total.com", "free"):
        assert text in shown
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_an_own_folder_runs(demo_root, tmp_path):
    paths = [f"paths.corpus={demo_root}/fake", f"paths.exp={tmp_path}", "corpus.languages=[en]", "corpus.sources=[griffin_lim,lpc_vocoder]"]
    words = ["name=mine", "corpus.reader=folder", *paths, "augment.variants=[original]"]
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    words.insert(0, str(tmp_path / "mine.yaml"))
    assert "complete: 20 utterances" in run("scripts/01_download_resources.py", *words)
    assert "20" in run("scripts/02_build_protocols.py", *words)
    assert "20 utterances x 1 variants" in run("scripts/04_preprocess_dataset.py", *words)


def test_unknown_flags_are_refused():
    shown = run("scripts/01_download_resources.py", "configs/demo.yaml", "--chek", status=2)
    assert "--chek: there is no such flag; did you mean '--check'?" in shown
    assert "--dry-run" in run("scripts/01_download_resources.py", "configs/mcl_mlaad.yaml", "--help")


def test_a_reader_that_has_seen_enough_is_no_traceback():
    """As in `python scripts/... --help | head -1`."""
    process = subprocess.Popen(
        [sys.executable, "scripts/01_download_resources.py", "configs/mlaad5_source_tracing.yaml", "--help"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    assert process.wait() == 141
