"""`--help` shows every group of settings that a script reads: each runs here on a very small corpus, and what it reads is noted."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path

import pytest

from sourcetracing.runtime import cli
from sourcetracing.settings.checking import fields_of
from sourcetracing.settings.groups import RUN
from sourcetracing.settings.reading import read_config
from sourcetracing.settings.schema import Settings
from sourcetracing.training.runs import load_runs
from tests.support.audio_files import write_noises, write_responses, write_wav
from tests.support.places import ROOT

LEVELS = {"quiet": 0.02, "loud": 0.2, "foreign": 0.6}
GROUP_OF = {kind: name for name, (kind, _) in fields_of(Settings).items() if is_dataclass(kind)} | {Settings: ""}
SETTINGS = {kind: {*fields_of(kind), "__dict__"} for kind in GROUP_OF}
SETTINGS[Settings] -= {*GROUP_OF.values(), "__dict__"}


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> list[str]:
    """Settings of an experiment with two known sources and an unknown one."""
    root = tmp_path_factory.mktemp("help")
    for language in ("en", "de"):
        for source, level in LEVELS.items():
            for number in range(8):
                write_wav(root / "corpus" / language / source / f"{number}.wav", 0.4, len(language + source) * 100 + number, level=level)
    write_noises(root / "musan", num_files=9)
    write_responses(root / "rirs")
    paths = [f"paths.corpus={root}/corpus", f"paths.musan={root}/musan", f"paths.rirs={root}/rirs", f"paths.exp={root}/exp", "name=help"]
    corpus = ["corpus.reader=folder", "corpus.languages=[en,de]", "corpus.sources=[quiet,loud]", "corpus.unknown_sources=[all]"]
    sizes = ["audio.crop_seconds=0.4", "ecapa_tdnn.channels=8", "train.epochs=1", "evaluation.bootstrap_samples=20", "compute.workers=1"]
    speakers = ["speakers.k_max=4", "speakers.k_restarts=1", "speakers.restarts=1"]
    more = ["compute.device=cpu", "embedding_pictures.projections=[pca]", "embedding_pictures.variants=[original]"]
    tables = ["experiment.tables=[table4,table6]", "augment.variants=[original,noise]"]
    return [*paths, *corpus, *sizes, *speakers, *more, *tables]


@pytest.fixture
def groups_read(monkeypatch) -> Iterator[set[str]]:
    """The groups that modules above the settings read a setting of; whole groups that are written down or digested do not count."""
    found: set[str] = set()
    for kind, group in GROUP_OF.items():

        def noting(self, name, group=group, names=SETTINGS[kind]):
            if name in names and _is_above_the_settings(sys._getframe(1).f_globals.get("__name__", "")):
                found.add(group)
            return object.__getattribute__(self, name)

        monkeypatch.setattr(kind, "__getattribute__", noting, raising=False)
    return found


def _is_above_the_settings(module: str) -> bool:
    return module == "__main__" or (module.startswith("sourcetracing.") and not module.startswith("sourcetracing.settings."))


def _in_this_process(function, items, *, num_workers, initializer=None, initargs=()):
    """`map_unordered`, where what is read can be noted."""
    return ((item, function(item)) for item in items)


@pytest.fixture
def run(monkeypatch, groups_read):
    """Runs a script in this process; returns the groups that it reads and does not declare."""
    for module in ("training.matrix", "embeddings.visualizing"):
        monkeypatch.setattr(f"sourcetracing.{module}.map_unordered", _in_this_process)
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))

    def run(script: str, *arguments) -> set[str]:
        declared: list[str] = []

        def record(work, *, uses, **_):
            declared.extend(uses)
            work(*arguments)

        for door in ("run_script", "run_tool"):
            monkeypatch.setattr(cli, door, record)
        groups_read.clear()
        runpy.run_path(str(ROOT / script), run_name="__main__")
        assert groups_read
        return groups_read - set(declared)

    return run


def test_help_names_every_group_that_a_script_reads(words, run, tmp_path):
    config = read_config(words)
    assert run("scripts/01_download_resources.py", config, {"--check": ""}) == set()
    assert run("scripts/02_build_protocols.py", config, {}) == set()
    assert run("scripts/03_label_speakers.py", config, {}) == set()
    assert run("scripts/04_preprocess_dataset.py", config) == set()
    assert run("scripts/05_train_matrix.py", config, {}) == set()
    assert run("train_refd.py", config) == set()
    assert run("train_ge2e.py", read_config([*words, "backend=embedding_head", "metric_learning.classes_per_batch=2"])) == set()
    assert run("scripts/06_get_classification_metrics.py", config) == set()
    assert run("scripts/07_ood_detector.py", config) == set()
    assert run("scripts/08_generate_embeddings.py", config, {}) == set()
    assert run("scripts/09_visualize_embeddings.py", config, {}) == set()
    assert run("scripts/11_audit_shortcuts.py", config) == set()
    assert run("scripts/13_make_tables.py", config) == set()
    trained = load_runs(config)[0]
    audio = next(Path(config.resolve().paths.corpus).rglob("*.wav"))
    # The other settings of a trained run are those in its folder, and not for this script to change.
    assert run("scripts/trace_audio.py", [str(audio)], {"--run": str(trained.folder)}, []) <= set(RUN)
    assert run("scripts/export_model.py", [str(trained.folder)], {"--folder": str(tmp_path / "system")}, []) <= set(RUN)
