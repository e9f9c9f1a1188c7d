"""The whole street on a small corpus: killed at each station and run again, it ends with the same table; run once more, it does nothing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.features.extracting import extract_features
from sourcetracing.features.store import StoreWriter
from sourcetracing.layout import Layout
from sourcetracing.protocols import building as protocol_building
from sourcetracing.protocols.building import build_protocols
from sourcetracing.protocols.table import load_protocol
from sourcetracing.report.experiment import report_experiment
from sourcetracing.scoring import reports as classification
from sourcetracing.scoring.matrix import score_runs
from sourcetracing.scoring.reports import write_reports
from sourcetracing.settings.reading import ConfigSources, load_settings, read_config
from sourcetracing.training.matrix import train_runs
from sourcetracing.training.run_folder import RunFolder
from sourcetracing.training.runs import load_runs, run_of, system_label
from tests.support.audio_files import write_noises, write_responses, write_wav
from tests.support.small_corpus import LANGUAGES, SOURCES, write_small_corpus


def words(root: Path, name: str) -> list[str]:
    paths = [f"paths.corpus={root}/corpus", f"paths.musan={root}/musan", f"paths.rirs={root}/rirs", f"paths.exp={root}/exp", f"name={name}"]
    corpus = ["corpus.languages=[en,de]", "corpus.sources=[espeak_formant,griffin_lim]", "audio.crop_seconds=0.5", "compute.device=cpu"]
    sizes = [
        "ecapa_tdnn.channels=8",
        "train.epochs=2",
        "augment.variants=[original,noise,reverb]",
        "evaluation.bootstrap_samples=50",
        "store.block_rows=30",
    ]
    return [*paths, *corpus, *sizes, "experiment.systems=[lfcc_ecapa_tdnn]", "experiment.floor=[]", "compute.workers=2"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("street")
    write_small_corpus(root / "corpus")
    write_noises(root / "musan", num_files=9)
    write_responses(root / "rirs")
    return root


@pytest.fixture(autouse=True)
def no_synthesizer(monkeypatch):
    """The corpus is there already; nothing is to be synthesized."""
    monkeypatch.setattr("sourcetracing.corpora.demo.DemoCorpus.check", lambda corpus: None)


def run_all(config: ConfigSources) -> None:
    settings = config.resolve()
    build_protocols(settings)
    extract_features(settings, *load_protocol(settings))
    runs = load_runs(config)
    train_runs(runs)
    score_runs(runs)
    write_reports(runs)
    report_experiment(config)


def modification_times(root: Path) -> dict[str, int]:
    skipped = ("report.html", ".lock")
    files = [path for path in root.rglob("*") if path.is_file() and path.name not in skipped and "tables" not in path.parts]
    return {str(path): path.stat().st_mtime_ns for path in files if not path.name.endswith(".txt")}


@pytest.fixture(scope="module")
def finished(corpus: Path) -> ConfigSources:
    patch = pytest.MonkeyPatch()
    patch.setattr("sourcetracing.corpora.demo.DemoCorpus.check", lambda corpus: None)
    config = read_config(words(corpus, "uninterrupted"))
    run_all(config)
    patch.undo()
    return config


def test_every_table_cell_is_there(finished):
    table = pd.read_csv(Layout.of(finished.resolve()).tables / "table4.csv")
    pairs = set(zip(table["train"], table["test"], table["variant"], strict=True))
    assert pairs == {(a, b, v) for a in LANGUAGES for b in LANGUAGES for v in ("pooled", "original", "noise", "reverb")}
    assert table["macro_f1"].between(0, 1).all()
    assert (table["ci_low"] <= table["macro_f1"]).all()
    assert (table["macro_f1"] <= table["ci_high"]).all()
    assert (table.loc[table["variant"] == "pooled", "n"] == 2 * 2 * 3).all()
    assert Layout.of(finished.resolve()).report.stat().st_size > 10_000


def test_a_second_run_changes_nothing(finished):
    root = Layout.of(finished.resolve()).root
    before = modification_times(root)
    table = (root / "tables" / "table4.csv").read_bytes()
    run_all(finished)
    assert modification_times(root) == before
    assert (root / "tables" / "table4.csv").read_bytes() == table


@pytest.mark.slow
def test_interrupted_at_each_station_ends_with_the_same_table(finished, corpus, monkeypatch):
    config = read_config(words(corpus, "interrupted"))

    def interrupt(owner: object, name: str, at_call: int) -> None:
        """Runs everything, but the n-th call of a function raises what Ctrl-C raises."""
        original, calls = getattr(owner, name), iter(range(1, 1000))

        def interrupting(*args, **kwargs):
            if next(calls) == at_call:
                raise KeyboardInterrupt
            return original(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, interrupting)
            with pytest.raises(KeyboardInterrupt):
                run_all(config)

    interrupt(protocol_building, "split_utterances", 1)
    interrupt(StoreWriter, "commit", 2)
    interrupt(RunFolder, "read_outcome", 1)  # when the first of two runs is done
    interrupt(classification, "write_text", 2)
    run_all(config)
    tables = [Layout.of(each.resolve()).tables / "table4.csv" for each in (finished, config)]
    assert tables[0].read_bytes() == tables[1].read_bytes()


def test_changed_settings_make_a_run_of_their_own(finished, corpus):
    runs = load_runs(finished)
    other = load_runs(read_config([*words(corpus, "uninterrupted"), "train.mixup=none"]))
    assert all(run.files.is_finished for run in runs)
    assert not any(run.files.is_finished for run in other)
    with pytest.raises(UserError, match=r"04_preprocess_dataset\.py"):
        load_runs(read_config([*words(corpus, "uninterrupted"), "audio.crop_seconds=1.5"]))
    with pytest.raises(UserError, match=r"protocol\.csv was made with seed=688, these settings say seed=1\. .*02_build_protocols\.py"):
        load_runs(read_config([*words(corpus, "uninterrupted"), "seed=1"]))


def test_a_swapped_back_end_gets_its_own_name(corpus):
    assert system_label(load_settings(words(corpus, "x"))) == "lfcc_ecapa_tdnn"
    swapped = load_settings([*words(corpus, "x"), "backend=resnet18"])
    assert system_label(swapped) == "lfcc_resnet18"
    assert run_of(swapped, "store").folder.parent.name == "lfcc_resnet18"


def test_settings_that_make_two_systems_one_are_refused(corpus):
    config = read_config([*words(corpus, "uninterrupted"), "experiment.systems=[lfcc_ecapa_tdnn,lfcc_resnet18]", "backend=resnet18"])
    with pytest.raises(UserError, match="are the same system"):
        load_runs(config)


def test_a_step_without_the_one_before_names_its_command(corpus):
    config = read_config(words(corpus, "nothing"))
    with pytest.raises(UserError, match=r"Run: python scripts/02_build_protocols\.py"):
        load_runs(config)


def test_bad_audio_is_named_and_can_be_left_out(corpus, tmp_path):
    write_small_corpus(tmp_path / "corpus", per_group=5)
    empty, silent = (tmp_path / "corpus" / "fake" / "en" / source / "1.wav" for source in SOURCES)
    empty.write_bytes(b"")
    write_wav(silent, 0.6, 1, level=0.0)
    mine = [*words(corpus, "bad"), f"paths.corpus={tmp_path / 'corpus'}", f"paths.exp={tmp_path / 'exp'}"]
    with pytest.raises(UserError, match=r"2 of 20 audio files cannot be used: fake/en/espeak_formant/1\.wav") as caught:
        build_protocols(load_settings(mine))
    assert "silent" in str(caught.value)
    settings = load_settings([*mine, "audio.on_bad_audio=skip"])
    built = build_protocols(settings)
    assert built.counts["utterances"].iloc[-1] == 18
    assert (built.num_left_out, built.is_new) == (2, True)
    assert (build_protocols(settings).num_left_out, build_protocols(settings).is_new) == (2, False)
    assert len(pd.read_csv(Layout.of(settings).bad_audio)) == 2
