"""Systems of a user's own YAML: what they stand on, what wins, what is refused, what a run's config keeps of them."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from sourcetracing.errors import UserError
from sourcetracing.settings.as_published import overlays_of
from sourcetracing.settings.reading import load_settings, read_config, system_parts, to_dict, to_yaml
from sourcetracing.settings.recorded import differences, in_words, name_of_table_recipe, table_recipe, with_lines_of_systems
from sourcetracing.settings.systems import lineage
from sourcetracing.training.runs import settings_of_one_run, settings_of_runs, system_label
from tests.support.places import ROOT

MINE = """
train: {epochs: 9}
experiment: {systems: [my_ecapa, my_narrow, my_resnet]}
systems:
  lfcc_ecapa_tdnn: {ecapa_tdnn: {channels: 48}, train: {batch_size: 8, lr: 0.1}}
  my_ecapa: {base: lfcc_ecapa_tdnn, train: {lr: 0.2, epochs: 3}}
  my_narrow: {base: my_ecapa, ecapa_tdnn: {channels: 24}}
  my_resnet: {base: lfcc_ecapa_tdnn, backend: resnet18, resnet18: {width: 8}}
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    return write(tmp_path / "mine.yaml", MINE)


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_system_is_its_base_as_this_file_has_it_but_for_its_own_lines(mine):
    for system, channels, lr, epochs in (("lfcc_ecapa_tdnn", 48, 0.1, 9), ("my_ecapa", 48, 0.2, 3), ("my_narrow", 24, 0.2, 3)):
        settings = load_settings([mine, f"system={system}"])
        assert (settings.frontend, settings.backend, settings.system) == ("lfcc", "ecapa_tdnn", system)
        assert (settings.ecapa_tdnn.channels, settings.train.lr, settings.train.epochs, settings.train.batch_size) == (
            channels,
            lr,
            epochs,
            8,
        )
    assert load_settings([mine, "system=my_resnet"]).backend == "resnet18"
    assert lineage("my_narrow", read_config([mine]).systems) == ["lfcc_ecapa_tdnn", "my_ecapa", "my_narrow"]


def test_later_wins_files_then_the_command_line(mine, tmp_path):
    later = write(tmp_path / "later.yaml", "systems: {my_narrow: {ecapa_tdnn: {channels: 16}}, lfcc_ecapa_tdnn: {train: {lr: 0.5}}}\n")
    settings = load_settings([mine, later, "system=my_narrow", "systems.my_narrow.train.epochs=2"])
    assert (settings.ecapa_tdnn.channels, settings.train.lr, settings.train.epochs) == (16, 0.5, 2)
    assert load_settings([mine, "system=my_narrow", "ecapa_tdnn.channels=32"]).ecapa_tdnn.channels == 32
    assert load_settings(["systems.quick.base=lfcc_resnet18", "systems.quick.train.epochs=1", "system=quick"]).backend == "resnet18"


def test_a_base_of_a_file_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "configs" / "systems").mkdir(parents=True)
    write(tmp_path / "configs" / "systems" / "house.yaml", "backend: resnet18\nresnet18: {width: 8}\n")
    monkeypatch.chdir(tmp_path)
    settings = load_settings([write(tmp_path / "a.yaml", "system: wide\nsystems: {wide: {base: house, resnet18: {width: 16}}}\n")])
    assert (settings.backend, settings.resnet18.width, system_label(settings)) == ("resnet18", 16, "wide")


def test_tables_show_its_name_unless_a_setting_swaps_a_part(mine):
    labels = {system: system_label(load_settings([mine, f"system={system}"])) for system in ("my_ecapa", "my_narrow", "my_resnet")}
    assert list(labels) == list(labels.values())
    assert system_label(load_settings([mine, "system=my_resnet", "backend=aasist"])) == "lfcc_aasist"
    assert system_label(load_settings([mine, "system=my_ecapa", "backend=aasist"])) == "lfcc_aasist"
    assert system_parts("my_resnet", read_config([mine]).systems) == ("lfcc", "resnet18")
    changed = [mine, "systems.lfcc_ecapa_tdnn.backend=resnet18"]  # what it stands on is another one in this experiment
    assert system_label(load_settings([*changed, "system=my_ecapa"])) == "my_ecapa"
    assert system_label(load_settings([*changed, "system=lfcc_ecapa_tdnn"])) == "lfcc_resnet18"


def test_an_experiment_has_a_run_of_each(mine):
    runs = settings_of_runs(read_config([mine, "experiment.train_sets=[en]", "experiment.floor=[]"]))
    assert [(run.system, run.backend, run.train.epochs) for run in runs] == [
        ("my_ecapa", "ecapa_tdnn", 3),
        ("my_narrow", "ecapa_tdnn", 3),
        ("my_resnet", "resnet18", 9),
    ]
    assert settings_of_one_run(read_config([mine, "system=my_narrow", "train.languages=[en]"])).ecapa_tdnn.channels == 24


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("name=x", "share its folder"),
        ("paths.exp=x", "share its folders"),
        ("paths.corpus=x", "share its folders"),
        ("system=x", "base: NAME names what it stands on"),
        ("experiment.floor=[]", "a system is a part of it"),
        ("train.languages=[en]", "experiment.train_sets says"),
        ("train.seed=5", "experiment.seeds says"),
        ("seed=5", "it is no part of a system"),
        ("corpus.sources=[a]", "it is no part of a system"),
        ("split.train=0.5", "it is no part of a system"),
        ("speakers.k=3", "it is no part of a system"),
        ("audio.on_bad_audio=skip", "it decides which utterances there are"),
        ("audio.trim_silence_db=40", "it decides which utterances there are"),
        ("evaluation.bootstrap_samples=5", "tables treat all systems alike"),
        ("compute.workers=1", "systems are trained side by side"),
    ],
)
def test_what_is_no_single_systems_is_refused_with_its_reason(tmp_path, monkeypatch, word, reason):
    key, _, value = word.partition("=")
    lines = "".join(f"{'  ' * depth}{part}:\n" for depth, part in enumerate(key.split(".")))[:-1] + f" {value}\n"
    path = write(tmp_path / "a.yaml", "systems:\n  lfcc_resnet18:\n" + textwrap.indent(lines, "    "))
    (tmp_path / "configs" / "systems").mkdir(parents=True)
    write(tmp_path / "configs" / "systems" / "house.yaml", f"backend: resnet18\n{lines}")
    monkeypatch.chdir(tmp_path)
    for words, where in (
        ([path], "systems.lfcc_resnet18."),
        ([f"systems.lfcc_resnet18.{word}"], "systems.lfcc_resnet18."),
        (["system=house"], "configs/systems/house.yaml: "),
    ):
        with pytest.raises(UserError) as caught:
            load_settings(words)
        assert f"{where}{key}: not a setting of a single system, for " in str(caught.value)
        assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_systems_that_are_not_in_use_move_no_tables(tmp_path):
    """Nor do the lines of the system that is there by default, where the experiment names others."""
    text = "experiment: {systems: [mine], floor: [stats_logreg]}\nsystems: {mine: {base: lfcc_resnet18}"
    names = {}
    for key, more in {
        "as it is": "",
        "idle": ", other: {base: lfcc_aasist, train: {epochs: 3}}",
        "idle default": ", lfcc_ecapa_tdnn: {train: {epochs: 3}}",
        "floor": ", stats_logreg: {statistics: {c: 3}}",
        "base": ", lfcc_resnet18: {train: {epochs: 3}}",
    }.items():
        settings = load_settings([write(tmp_path / "a.yaml", f"{text}{more}}}\n")])
        names[key] = name_of_table_recipe(table_recipe(settings))
        before = {**table_recipe(settings), "systems": settings.systems}  # as it was noted before
        assert differences(before, table_recipe(settings)) == []
    assert names["idle"] == names["idle default"] == names["as it is"]
    assert len({names["as it is"], names["floor"], names["base"]}) == 3


def test_what_differs_in_systems_is_said_line_by_line(tmp_path):
    text = "experiment: {systems: [mine]}\nsystems: {mine: {base: lfcc_resnet18, train: {"
    made, said = (
        table_recipe(load_settings([write(tmp_path / "a.yaml", f"{text}{rest}")])) for rest in ("lr: 0.5}}}\n", "lr: 0.25, epochs: 3}}}\n")
    )
    made, said = with_lines_of_systems(made, said)
    names = differences(made, said)
    assert in_words(made, names) == "systems.mine.train.lr=0.5, systems.mine.train.epochs=not said"
    assert in_words(said, names) == "systems.mine.train.lr=0.25, systems.mine.train.epochs=3"


@pytest.mark.parametrize(
    "words", [["system=my_narrow"], ["system=my_resnet"], ["system=my_ecapa", "backend=aasist"], ["system=lfcc_aasist"]]
)
def test_the_config_of_a_run_is_read_alone(mine, tmp_path, words):
    settings = load_settings([mine, *words])
    path = write(tmp_path / "config.yaml", to_yaml(settings))
    alone = load_settings([path])
    assert {**to_dict(alone), "systems": {}} == {**to_dict(settings), "systems": {}}
    assert system_label(alone) == system_label(settings)
    assert to_yaml(alone) == to_yaml(settings)
    assert alone.systems.keys() == ({settings.system} if settings.system.startswith("my_") else set())


def test_overlays_of_what_it_stands_on_hold_for_it(tmp_path):
    path = write(tmp_path / "a.yaml", "systems: {mine: {base: xlsr_aasist}}\n")
    published = str(ROOT / "configs" / "as_published" / "as_published.yaml")
    base, own = (load_settings([path, published, f"system={system}"]) for system in ("xlsr_aasist", "mine"))
    assert {**to_dict(base), "system": "", "systems": {}} == {**to_dict(own), "system": "", "systems": {}}
    assert overlays_of(own) == overlays_of(base) == "as_published"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("systems: {a: {base: b}, b: {base: a}}", "systems: a -> b -> a: a loop; the last base must be a file in configs/systems"),
        ("systems: {a: {base: a}}", "systems: a -> a: a loop"),
        ("systems: {a: {base: b}, b: {base: c}, c: {base: b}}", "systems: a -> b -> c -> b: a loop"),
        ("systems: {a: {base: lfcc_aasit}}", "systems.a.base='lfcc_aasit': there is no such system; did you mean 'lfcc_aasist'?"),
        ("systems: {mine: {base: lfcc_aasist}, a: {base: mien}}", "systems.a.base='mien': there is no such system; did you mean 'mine'?"),
        ("systems: {lfcc_aasist: {base: lfcc_resnet18}}", "systems.lfcc_aasist.base: configs/systems/lfcc_aasist.yaml has this name"),
        ("systems: {a: {base: 3}}", "systems.a.base=3: text is expected, the name of a system"),
        ("systems: {a/b: {base: lfcc_aasist}}", "systems='a/b': a name without '/' is expected"),
        ("systems: {'a[1]': {base: lfcc_aasist}}", "a name without '[' is expected"),
        ("systems: {mine: {train: {epochs: 3}}}", "system 'mine' has no file configs/systems/mine.yaml, and no base in systems"),
        ("systems: {mine: {base: lfcc_aasist, trian: 3}}", "systems.mine: unknown setting 'trian'"),
        (
            "system: mien\nsystems: {mine: {base: lfcc_aasist}}",
            "system 'mien' has no file configs/systems/mien.yaml, and no base in systems; did you",
        ),
        ("base: lfcc_aasist", "unknown setting 'base'"),
    ],
)
def test_mistakes_get_one_line(tmp_path, text, message):
    with pytest.raises(UserError) as caught:
        load_settings([write(tmp_path / "a.yaml", f"{text}\n")])
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_an_experiments_unknown_system_gets_the_nearest_name(mine):
    for setting in ("experiment.systems", "experiment.floor"):
        with pytest.raises(UserError, match=f"^{setting}: system 'my_ecap' has no file .*did you mean 'my_ecapa'"):
            settings_of_runs(read_config([mine, f"{setting}=[my_ecap]"]))
