"""name= (empty) wrote into exp itself, name=../../x outside of it; en+de, a/b and a:b as languages cut the names of runs in two."""

from __future__ import annotations

import os

import pytest

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.settings.names import require_folder_name
from sourcetracing.settings.reading import load_settings

BAD = ["", " ", ".", "..", "../../x", "/abs", "a/b", "a\\b", "a\nb", " a", "a\u200b", "n" * 101, os.fsdecode(b"a\xff")]


@pytest.mark.parametrize("name", BAD)
def test_names_that_are_no_folder_are_refused(name):
    with pytest.raises(UserError, match=r"^name\b") as refused:
        load_settings([f"name={name}"])
    assert "\n" not in str(refused.value)
    str(refused.value).encode()


@pytest.mark.parametrize("name", ["nan", "007", "2024", "a b", "日本語", "$^$", "a+b", "a.b", ".hidden", "-x", "n" * 100])
def test_other_names_lie_below_the_folder_of_experiments(tmp_path, name):
    settings = load_settings([f"name={name}", f"paths.exp={tmp_path}"])
    assert Layout.of(settings).root.parent == tmp_path
    Layout.of(settings).root.mkdir()
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("language", ["en+de", "en/us", "en:seen", "", ".", "..", "a\u200bb"])
def test_languages_that_cut_a_name_in_two_are_refused_by_every_script(tmp_path, language):
    config = tmp_path / "mine.yaml"
    config.write_text(f'corpus: {{languages: [en, "{language}"]}}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"^corpus\.languages: "):
        load_settings([str(config)])


@pytest.mark.parametrize("name", ["A+B", "../A", "A/B", ""])
def test_sets_of_detection_are_named_like_files(tmp_path, name):
    config = tmp_path / "mine.yaml"
    config.write_text(f'detection: {{sets: {{"{name}": [odss]}}}}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"^detection\.sets"):
        load_settings([str(config)])


def test_a_file_prefix_of_a_table_is_part_of_a_name_too(tmp_path):
    from sourcetracing.training.table_plans import read_plan

    table = tmp_path / "mine.yaml"
    table.write_text("title: Mine\ntrain_sets: languages\ntest_sets: languages\nfile_prefix: ../up_\n", encoding="utf-8")
    with pytest.raises(UserError, match="file_prefix"):
        read_plan(str(table), load_settings([]))


def test_the_rule_says_what_to_do():
    with pytest.raises(UserError, match="paths.exp"):
        require_folder_name("name", "../x")
