"""configs/ of the working folder comes first, what the project brings behind it."""

from __future__ import annotations

import pytest

from sourcetracing.errors import UserError
from sourcetracing.settings.places import config_files
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings
from sourcetracing.training.table_plans import read_plan
from tests.support.places import ROOT


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs" / "systems").mkdir(parents=True)
    return tmp_path


def test_the_projects_settings_are_found_from_any_folder(elsewhere):
    assert load_settings(["configs/demo.yaml"]) == load_settings([str(ROOT / "configs" / "demo.yaml")])
    with pytest.raises(UserError, match="demo.yaml does not exist"):
        load_settings(["demo.yaml"])


def test_a_misspelt_file_gets_the_nearest_name_of_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="configs/dmeo.yaml does not exist; did you mean 'configs/demo.yaml'"):
        load_settings(["configs/dmeo.yaml"])


def test_systems_and_settings_of_ones_own_win(elsewhere):
    (elsewhere / "configs" / "demo.yaml").write_text("train: {epochs: 3}\n")
    (elsewhere / "configs" / "systems" / "mine.yaml").write_text("backend: resnet18\n")
    settings = load_settings(["configs/demo.yaml", "system=mine"])
    assert (settings.train.epochs, settings.backend) == (3, "resnet18")
    assert {"mine", "lfcc_aasist"} <= set(config_files("systems"))
    assert read_plan("table4", Settings()).title
