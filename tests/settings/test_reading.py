"""Settings: what wins, and how mistakes are answered."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sourcetracing.errors import UserError
from sourcetracing.runtime.cli import run_script
from sourcetracing.settings.paths import Executor
from sourcetracing.settings.reading import load_settings, read_config, to_yaml
from sourcetracing.settings.schema import Settings
from tests.support.places import ROOT

DEMO = str(ROOT / "configs" / "demo.yaml")


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_later_wins_defaults_system_files_words(tmp_path):
    first = write(tmp_path / "a.yaml", "train: {epochs: 3, batch_size: 4}\nsystems: {lfcc_resnet18: {train: {epochs: 5}}}\n")
    second = write(tmp_path / "b.yaml", "train: {epochs: 7}\n")
    assert load_settings([]).train.epochs == 50
    assert load_settings([first]).train.epochs == 3
    assert load_settings([first, "system=lfcc_resnet18"]).train.epochs == 5
    assert load_settings([first, second, "system=lfcc_resnet18"]).train.epochs == 7
    assert load_settings([first, second, "train.epochs=9"]).train.epochs == 9
    assert load_settings([first, second]).train.batch_size == 4
    assert load_settings([first, "system=lfcc_resnet18"]).backend == "resnet18"


def test_a_group_with_a_kind_may_be_given_by_it_alone(tmp_path):
    assert load_settings(["executor=ray", "executor.address=10.0.0.1:6379"]).executor == Executor("ray", "10.0.0.1:6379")
    short = write(tmp_path / "short.yaml", "executor: ray\nsystems: {lfcc_resnet18: {executor: local}}\n")
    long = write(tmp_path / "long.yaml", "executor: {address: 10.0.0.1:6379}\n")
    assert load_settings([short, long]).executor == load_settings([long, short]).executor == Executor("ray", "10.0.0.1:6379")
    assert load_settings([short, "system=lfcc_resnet18"]).executor.kind == "local"


def test_one_word_swaps_the_back_end():
    assert load_settings([DEMO, "backend=aasist"]).backend == "aasist"


def test_resolved_settings_can_be_read_back(tmp_path):
    settings = load_settings([DEMO, "train.languages=[en]", "train.lr=1e-3"])
    assert load_settings([write(tmp_path / "resolved.yaml", to_yaml(settings))]) == replace(settings, systems={})


def test_changes_apply_after_the_command_line():
    config = read_config([DEMO, "train.languages=[de]"])
    assert config.resolve({"train.languages": ["fr"], "train.seed": 3}).train.languages == ["fr"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("train.epoch=3", "unknown setting 'train.epoch'; did you mean 'train.epochs'?"),
        ("epochs=3", "did you mean 'train.epochs'?"),
        ("trian.epochs=3", "did you mean 'train'?"),
        ("train.epochs=abc", "train.epochs=abc: a whole number is expected"),
        ("train.epochs=2.5", "train.epochs=2.5: a whole number is expected"),
        ("train.epochs=true", "train.epochs=true: a whole number is expected"),
        ("train.languages=en", "a list of words is expected, such as [en]"),
        ("train.languages=[xx]", "unknown language 'xx'; corpus.languages are en, de"),
        ("experiment.train_sets=[en+xx]", "unknown language 'xx'"),
        ("backend=aasit", "must be one of aasist, resnet18, ecapa_tdnn"),
        ("system=lfcc_ecapa", "did you mean 'lfcc_ecapa_tdnn'?"),
        ("systems.nonsense.train.epochs=1", "system 'nonsense' has no file"),
        ("train.epochs=-1", "must be at least 0"),
        ("split.train=0.7", "must add up to 1"),
        ("train.epochs.x=1", "is a single setting (a whole number)"),
        ("corpus=3", "a group of settings is expected"),
        ("augment.noise_snr_db=[5]", "two numbers are expected"),
        ("lfcc.n_lfcc=200", "is more than lfcc.n_filter"),
        ("train.lr=[1", "cannot be read as a number"),
        ("executor=rey", "executor.kind='rey': must be one of local, ray; did you mean 'ray'?"),
        ("executor=3", "executor.kind=3: text is expected"),
        ("executor.nkid=ray", "unknown setting 'executor.nkid'"),
        ("train.lr=.nan", "a finite number is expected"),
        ("augment.variants=[original,musik]", "must be one of original"),
        ("corpus.sources=[a,'a${b']", "'${b'"),
        ("name=${x}", "'x' not found"),
        ("corpus.sources=[a,'???']", "Names cannot be ???"),
    ],
)
def test_mistakes_get_one_line_that_names_the_thing(word, message):
    with pytest.raises(UserError) as caught:
        load_settings([DEMO, word])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_settings_take_words_that_yaml_would_convert():
    assert load_settings(["name=2024"]).name == "2024"
    assert load_settings(["corpus.languages=[no]"]).corpus.languages == ["no"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {epoch: 3}\n", "unknown setting 'train.epoch'"),
        ("train:\n  epochs: [3\n", "line 3: not valid YAML"),
        ("- 1\n- 2\n", "lines are expected"),
        ("", "is empty: lines such as `name: my_experiment` are expected"),
        ("# name: mine\n", "is empty"),
        ("name:\n", "name has no value: text is expected"),
        ("train: {epochs: three}\n", "train.epochs='three': a whole number is expected"),
        ("train: 3\n", "train=3: a group of settings is expected, such as train."),
        ("systems: {lfcc_resnet18: {trian: 3}}\n", "systems.lfcc_resnet18: unknown setting 'trian'"),
    ],
)
def test_mistakes_in_files_name_the_file(tmp_path, text, message):
    with pytest.raises(UserError) as caught:
        load_settings([write(tmp_path / "mine.yaml", text)])
    assert "mine.yaml" in str(caught.value)
    assert message in str(caught.value)


def test_missing_file_names_a_near_one():
    with pytest.raises(UserError, match=r"does not exist; did you mean .*demo\.yaml"):
        load_settings([DEMO.replace("demo", "dmeo")])


def test_the_old_path_of_an_overlay_names_the_new_one():
    with pytest.raises(UserError, match=r"configs/compat/published_ssl\.yaml is called .*configs/as_published/published_ssl\.yaml now$"):
        load_settings([DEMO, str(ROOT / "configs/compat/published_ssl.yaml")])


def run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=ROOT, timeout=100, check=False)


def test_a_script_answers_help_with_values_and_mistakes_with_status_2():
    helped = run("scripts/02_build_protocols.py", "configs/demo.yaml", "split.stratify=false", "--help")
    assert helped.returncode == 0
    assert "split.stratify=false  (bool)" in helped.stdout
    assert "Writes" in helped.stdout
    assert "finetune.lr" not in helped.stdout
    for words, message in [
        (["--frobnicate"], "--frobnicate: there is no such flag; there are: --audit, --help"),
        ([], "a settings file is missing. Run: python scripts/02_build_protocols.py configs/demo.yaml"),
        (["configs/demo.yaml", "paths.corpus=/nowhere/at/all"], "01_download_resources.py"),
    ]:
        wrong = run("scripts/02_build_protocols.py", *words)
        assert wrong.returncode == 2
        assert message in wrong.stderr
        assert "Traceback" not in wrong.stderr
        assert wrong.stderr.count("\n") == 1


FLAGS = {"--check": "looks", "--shard i/n": "takes a part"}


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        ([], {}),
        (["--check"], {"--check": ""}),
        (["--shard", "1/2"], {"--shard": "1/2"}),
        (["--shard=1/2", "--check"], {"--shard": "1/2", "--check": ""}),
    ],
)
def test_flags_stand_anywhere_and_may_have_a_value(words, flags, capsys):
    given = []

    def work(config, chosen):
        given.append((config.resolve().train.epochs, chosen))

    for argv in ([*words, DEMO, "train.epochs=3"], [DEMO, "train.epochs=3", *words]):
        with pytest.raises(SystemExit) as ended:
            run_script(work, doc="", uses=[], flags=FLAGS, argv=argv)
        assert ended.value.code == 0
    assert given == [(3, flags)] * 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shard"], "--shard i/n: what follows it is missing"),
        (["--check=1"], "--check: nothing follows it"),
        (["--train.epochs=3"], "--train.epochs=3: settings are written without dashes: train.epochs=3"),
        (["--epochs"], "--epochs: there is no such flag; there are: --check, --help, --shard. Settings are written key=value"),
        (["--chec"], "--chec: there is no such flag; did you mean '--check'?"),
    ],
)
def test_mistaken_flags_get_one_line(words, message, capsys):
    with pytest.raises(SystemExit) as ended:
        run_script(lambda config, chosen: pytest.fail("ran"), doc="", uses=[], flags=FLAGS, argv=[DEMO, *words])
    shown = capsys.readouterr().err
    assert ended.value.code == 2 and shown.startswith(f"error: {message}") and shown.count("\n") == 1


def test_help_shows_a_flags_value(capsys):
    with pytest.raises(SystemExit) as ended:
        run_script(lambda config, chosen: pytest.fail("ran"), doc="", uses=["executor"], flags=FLAGS, argv=["--shard", "1/2", DEMO, "-h"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert "[--check] [--shard i/n]" in shown and "takes a part" in shown and "executor.kind=local" in shown


def test_every_yaml_we_ship_resolves():
    files = [file for file in sorted((ROOT / "configs").rglob("*.yaml")) if file.parent.name != "experiments"]
    assert len(files) >= 5
    for file in files:
        for system in ("lfcc_aasist", "lfcc_resnet18", "lfcc_ecapa_tdnn"):
            assert read_config([str(file)]).resolve(system=system).system == system


@pytest.mark.parametrize(
    "names", [["1e3", "007", "nan", "NA", "True", "null", "no", "inf", ".5", "1_0", "0x1", "1:30", "a, b", "a/b", "~", "--", "2024-01-01"]]
)
def test_names_come_back_from_a_config_that_was_written(tmp_path, names):
    settings = Settings()
    settings.corpus.sources, settings.corpus.unknown_sources, settings.corpus.languages = names, ["None", "1E-3"], ["nan", "no", "1e5"]
    settings.name = "1e3"
    (tmp_path / "config.yaml").write_text(to_yaml(settings), encoding="utf-8")
    assert load_settings([str(tmp_path / "config.yaml")]) == settings
