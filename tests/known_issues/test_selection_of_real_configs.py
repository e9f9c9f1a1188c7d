"""What the special session's configs select from the official lists, by each door: counted without audio, against the lists themselves.

Seen: script 05 cut dev to the eight training languages (3,000 of 4,800 rows, 7 of 8 classes) and, where dev is trained on, to 16,800 files
of 31 classes instead of 23,100 of 41; train_ge2e.py trained on 38 languages what scripts 05 to 13 looked for under 8; train_refd.py took
the default system instead of the one that the YAML names; cells of MCL-MLAAD could be missing altogether.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from sourcetracing.corpora.mcl_mlaad import MclMlaad
from sourcetracing.corpora.mlaad_source_tracing import MlaadSourceTracing
from sourcetracing.errors import UserError
from sourcetracing.features.rows import known_rows
from sourcetracing.settings.reading import load_settings, read_config
from sourcetracing.settings.schema import Settings
from sourcetracing.training.loop import objective_of
from sourcetracing.training.runs import settings_of_one_run, settings_of_runs
from tests.support.places import GOLDEN

ZIP = GOLDEN / "mlaad4sourcetracing.zip"
TRAINED = ["ar", "de", "en", "fr", "it", "ko", "lt", "pl"]
SESSION = ("mlaad5_source_tracing", "ge2e")


@pytest.fixture(scope="module")
def lists() -> dict[str, dict[str, str]]:
    """split -> path -> model, read without this library; the 109 rows listed twice once."""
    with zipfile.ZipFile(ZIP) as archive:
        texts = {split: archive.read(f"{split}.csv").decode() for split in ("train", "dev", "eval")}
    return {split: {row["path"]: row["model_name"] for row in csv.DictReader(io.StringIO(text))} for split, text in texts.items()}


@pytest.fixture(scope="module")
def store() -> SimpleNamespace:
    """What training looks at of a feature store that has the official lists' files, one clean row each."""
    index = MlaadSourceTracing(load_settings(["configs/ge2e.yaml", f"paths.protocols={ZIP}"])).needed.assign(variant="original")
    return SimpleNamespace(index=index.assign(row=range(len(index))), folder=Path("store"))


def counted(store: SimpleNamespace, settings: Settings, split: str) -> tuple[int, int]:
    """(rows, classes) that training or choosing sees."""
    languages = settings.train.languages
    found = (
        objective_of(settings).train_rows(store, settings, languages) if split == "train" else known_rows(store, settings, split, languages)
    )
    return len(found[0]), len(set(found[1].tolist()))


@pytest.mark.parametrize("config", SESSION)
def test_train_is_what_is_listed_and_dev_is_restricted_by_label_alone(lists, store, config):
    words = ["train.variants=[original]", "train.dev_variants=[original]"]
    settings, floor = settings_of_runs(read_config([f"configs/{config}.yaml", *words]))
    known = Counter(model for model in lists["dev"].values() if model in set(lists["train"].values()))
    assert (sum(known.values()), len(known)) == (4800, 8)
    assert counted(store, settings, "dev") == (4800, 8)
    assert counted(store, settings, "train") == (len(lists["train"]), 24) == (11_100, 24)
    assert [counted(store, floor, split) for split in ("train", "dev")] == [counted(store, settings, split) for split in ("train", "dev")]
    settings.train.dev_languages = []  # the default: as in the tables by language
    ours = Counter(model for path, model in lists["dev"].items() if path.split("/")[-3] in TRAINED and model in known)
    assert counted(store, settings, "dev") == (sum(ours.values()), len(ours)) == (3000, 7)


def test_ge2e_as_published_trains_on_all_of_dev(lists, store):
    settings, floor = settings_of_runs(read_config(["configs/ge2e.yaml", "configs/as_published/published_ge2e.yaml"]))
    both = Counter([*lists["train"].values(), *lists["dev"].values()])
    assert counted(store, settings, "train") == (sum(both.values()), len(both)) == (23_100, 41)
    assert counted(store, floor, "train") == (len(lists["train"]), 24)  # which dev is not for


@pytest.mark.parametrize("config", SESSION)
def test_the_trainers_train_the_run_that_the_numbered_scripts_look_for(config):
    words = read_config([f"configs/{config}.yaml"])
    expected, floor = settings_of_runs(words)
    assert (floor.system, floor.train.languages, floor.train.seed) == ("stats_logreg", expected.train.languages, expected.train.seed)
    assert settings_of_one_run(words) == expected
    assert expected.train.languages == TRAINED
    assert expected.train.seed == {"mlaad5_source_tracing": 688, "ge2e": 42}[config]  # the baselines' seeds


def test_a_seed_on_the_command_line_is_that_of_every_door():
    words = read_config(["configs/demo.yaml", "system=lfcc_ecapa_tdnn", "train.seed=5"])
    assert {settings.train.seed for settings in settings_of_runs(words)} == {5} == {settings_of_one_run(words).train.seed}
    assert {one.train.seed for one in settings_of_runs(read_config(["configs/demo.yaml", "train.seed=5", "experiment.seeds=[1,2]"]))} == {
        1,
        2,
    }


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["configs/mcl_mlaad.yaml"], r"experiment.systems has 3 entries \(lfcc_aasist, lfcc_resnet18, lfcc_ecapa_tdnn\).*add system=NAME"),
        (
            ["configs/demo.yaml", "system=long_term", "experiment.train_sets=[en,de+fr]"],
            r"experiment.train_sets has 2 entries \(en, de\+fr\).*train.languages",
        ),
        (["configs/demo.yaml", "system=long_term", "experiment.seeds=[1,2]"], r"experiment.seeds has 2 entries \(1, 2\).*add train.seed=N"),
    ],
)
def test_where_several_runs_are_meant_the_choice_is_the_users(words, line):
    with pytest.raises(UserError, match=line):
        settings_of_one_run(read_config(words))


def test_a_named_choice_is_taken():
    words = ["configs/mcl_mlaad.yaml", "system=lfcc_resnet18", "train.languages=[ru]", "experiment.seeds=[1,2]", "train.seed=2"]
    settings = settings_of_one_run(read_config(words))
    assert (settings.system, settings.train.languages, settings.train.seed) == ("lfcc_resnet18", ["ru"], 2)


def test_more_classes_in_a_batch_than_there_are_is_refused_with_the_settings():
    words = read_config(["configs/ge2e.yaml", "metric_learning.classes_per_batch=25"])
    for door in (settings_of_runs, settings_of_one_run):
        with pytest.raises(UserError, match=r"classes_per_batch=25, but corpus.sources has 24"):
            door(words)
    assert settings_of_runs(read_config(["configs/ge2e.yaml", "metric_learning.classes_per_batch=24"]))


def test_a_missing_cell_of_mcl_mlaad_is_noticed(tmp_path, lists):
    settings = load_settings(["configs/mcl_mlaad.yaml", f"paths.protocols={ZIP}"])
    utterances = MclMlaad(settings).needed
    assert len(utterances) == 11_700
    for split, rows in lists.items():
        left = [(path, model) for path, model in rows.items() if "fake/ru/griffin_lim/" not in path]
        pd.DataFrame(left, columns=["path", "model_name"]).to_csv(tmp_path / f"{split}.csv", index=False)
    settings.paths.protocols = str(tmp_path)
    with pytest.raises(UserError, match="MCL-MLAAD has 300 utterances of griffin_lim in ru, this protocol has 0"):
        MclMlaad(settings).needed  # noqa: B018
