"""`--help` shows every group of settings that a script reads: each runs here on a very small corpus, and what it reads is noted."""

from __future__ import annotations

import runpy
import shlex
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
from tests.support.audio_files import write_wav
from tests.support.finished_street import SCRIPTS, write_audio
from tests.support.places import ROOT

GROUP_OF = {kind: name for name, (kind, _) in fields_of(Settings).items() if is_dataclass(kind)} | {Settings: ""}
SETTINGS = {kind: {*fields_of(kind), "__dict__"} for kind in GROUP_OF}
SETTINGS[Settings] -= {*GROUP_OF.values(), "__dict__"}


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> list[str]:
    """Settings of an experiment with two known sources and an unknown one."""
    root = tmp_path_factory.mktemp("help")
    write_audio(root)
    paths = [f"paths.corpus={root}/corpus", f"paths.musan={root}/musan", f"paths.rirs={root}/rirs", f"paths.exp={root}/exp", "name=help"]
    corpus = ["corpus.reader=folder", "corpus.languages=[en,de]", "corpus.sources=[quiet,loud]", "corpus.unknown_sources=[all]"]
    sizes = ["audio.crop_seconds=0.4", "ecapa_tdnn.channels=8", "train.epochs=1", "evaluation.bootstrap_samples=20", "compute.workers=1"]
    speakers = ["speakers.k_max=4", "speakers.k_restarts=1", "speakers.restarts=1"]
    more = ["compute.device=cpu", "embedding_pictures.projections=[pca]", "embedding_pictures.variants=[original]"]
    more += ["robustness.operations=[lowpass_3k4,babble_10db]", "robustness.utterances=4"]
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
def run(monkeypatch, groups_read, capsys):
    """Runs a script in this process as its command line would; returns the groups that it reads and does not declare, and its output."""
    for module in ("training.matrix", "embeddings.visualizing"):
        monkeypatch.setattr(f"sourcetracing.{module}.map_unordered", _in_this_process)
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.chdir(ROOT)
    real = {door: getattr(cli, door) for door in ("run_script", "run_tool")}

    def run(script: str, *words: str) -> tuple[set[str], str]:
        declared: list[str] = []

        def recording(door):
            def record(work, *, uses, **more):
                declared.extend(uses)
                with pytest.raises(SystemExit) as ended:
                    real[door](work, uses=uses, argv=words, **more)
                assert ended.value.code == 0, capsys.readouterr().err

            return record

        for door in real:
            monkeypatch.setattr(cli, door, recording(door))
        groups_read.clear()
        capsys.readouterr()
        runpy.run_path(str(ROOT / script), run_name="__main__")
        assert groups_read
        return groups_read - set(declared), "".join(capsys.readouterr())

    return run


NUMBERED = ("01_download_resources", *SCRIPTS)
FLAGS = {"01_download_resources": ["--check"]}


def test_help_names_every_group_that_a_script_reads_and_scripts_name_what_comes_next(words, run, tmp_path):
    """And no command that they print says CONFIG.yaml: it names the files and words of this run."""
    files = [tmp_path / "my first.yaml", tmp_path / "second.yaml"]
    files[0].write_text("name: somebody\n", encoding="utf-8")
    files[1].write_text("seed: 688\n", encoding="utf-8")
    words = [*map(str, files), *words]
    typed = shlex.join(words)
    for number, script in enumerate(NUMBERED):
        unnamed, shown = run(f"scripts/{script}.py", *words, *FLAGS.get(script, []))
        assert unnamed == set(), script
        assert "CONFIG.yaml" not in shown
        if script not in FLAGS:
            after = NUMBERED[number + 1] if script != NUMBERED[-1] else "trace_audio"
            assert f"\nnext: python scripts/{after}.py {typed if script != NUMBERED[-1] else 'FILE.wav --run'}" in shown
        if script == "05_train_matrix":
            assert run("scripts/list_runs.py", *words)[0] == set()
            assert run("train_refd.py", *words)[0] == set()
            metric = [*words, "backend=embedding_head", "metric_learning.classes_per_batch=2"]
            unnamed, shown = run("train_ge2e.py", *metric)
            assert unnamed == set() and f"next: python scripts/08_generate_embeddings.py {shlex.join(metric)} --run" in shown
    config = read_config(words)
    trained = load_runs(config)[0]
    audio = next(Path(config.resolve().paths.corpus).rglob("*.wav"))
    # The other settings of a trained run are those in its folder, and not for this script to change.
    unnamed, shown = run("scripts/trace_audio.py", str(audio), "--run", str(trained.folder))
    assert unnamed <= set(RUN) and f"next: python scripts/export_model.py {trained.folder}" in shown
    explained = ["--explain", str(tmp_path / "why"), "explain.windows=1"]
    assert run("scripts/trace_audio.py", str(audio), "--run", str(trained.folder), *explained)[0] <= set(RUN)
    unnamed, shown = run("scripts/explain_runs.py", *words, "explain.utterances=2")
    assert unnamed == set() and f"next: python scripts/13_make_tables.py {typed}" in shown
    of_library = ["--run", str(trained.folder), "--library", str(tmp_path / "library"), "verification.trials_per_condition=20"]
    unnamed, shown = run("scripts/enroll_source.py", "new", str(audio), *of_library, "enrolment.min_seconds=0.1")
    assert unnamed <= set(RUN) and f"next: python scripts/trace_audio.py FILE.wav --run {trained.folder} --library" in shown
    assert run("scripts/trace_audio.py", str(audio), *of_library)[0] <= set(RUN)
    unnamed, shown = run(
        "scripts/group_audio.py", str(audio.parent), "--run", str(trained.folder), "grouping.draws=20", "trace.compare_by=cosine"
    )
    assert unnamed <= set(RUN) and f"next: python scripts/trace_audio.py FILE.wav --run {trained.folder}" in shown
    audios = [str(tmp_path / f"{number}.wav") for number in range(2)]  # those of the corpus are too short to compare
    for number, path in enumerate(audios):
        write_wav(Path(path), 0.8, number)
    unnamed, shown = run("scripts/compare_audio.py", *audios, "--run", str(trained.folder))
    assert unnamed <= set(RUN) and f"next: python scripts/trace_audio.py FILE.wav --run {trained.folder} --report case.html" in shown
    run("scripts/export_model.py", str(trained.folder), "--folder", str(tmp_path / "system"))  # looks for paths in every group
