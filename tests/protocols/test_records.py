"""Protocols of several settings side by side: each finds its own, a command of other settings is refused with both values."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.protocols.building import build_protocols
from sourcetracing.protocols.table import load_protocol
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings
from tests.support.places import ROOT

PUBLISHED_SPLIT = str(ROOT / "configs/as_published/published_split.yaml")


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A corpus of two languages and two sources, ten files each, in the layout that needs no list."""
    for number in range(40):
        language, source = ("en", "de")[number % 2], ("a", "b")[number // 2 % 2]
        path = tmp_path / "corpus" / language / source / f"{number:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.random.default_rng(number).normal(0, 0.1, 4800), 16000, subtype="PCM_16")
    corpus = ["corpus.reader=folder", "corpus.languages=[en,de]", "corpus.sources=[a,b]", f"paths.corpus={tmp_path / 'corpus'}"]
    return [*corpus, f"paths.exp={tmp_path / 'exp'}", "name=x"]


def split_of(settings: Settings) -> dict[str, str]:
    utterances, protocol = load_protocol(settings)
    assert len(utterances) == 40
    return dict(zip(protocol["utt_id"], protocol["split"], strict=True))


def test_two_recipes_lie_side_by_side_and_each_command_finds_its_own(words, tmp_path):
    stratified, published = load_settings(words), load_settings([PUBLISHED_SPLIT, *words])
    first = tmp_path / "exp" / "x"
    build_protocols(stratified)
    bytes_before = (first / "protocol.csv").read_bytes()
    assert build_protocols(published).is_new
    assert (first / "protocol.csv").read_bytes() == bytes_before
    others = list((first / "protocols").iterdir())
    assert len(others) == 1
    by_hand = [pd.read_csv(folder / "protocol.csv", index_col="utt_id")["split"].to_dict() for folder in (first, others[0])]
    assert by_hand[0] != by_hand[1]
    assert [split_of(stratified), split_of(published)] == by_hand
    assert not build_protocols(stratified).is_new
    assert not build_protocols(published).is_new
    # Counts and audit go with their protocol, too.
    assert Layout.of(published).counts == others[0] / "tables" / "table1_counts.csv"
    assert Layout.of(stratified).leakage == first / "tables" / "leakage.csv"


def test_the_record_holds_the_settings(words, tmp_path):
    build_protocols(load_settings([PUBLISHED_SPLIT, *words]))
    record = json.loads((tmp_path / "exp" / "x" / "protocol.json").read_text())
    assert record["settings"]["split.stratify"] is False
    assert record["settings"]["seed"] == 688
    assert record["settings"]["corpus.sources"] == ["a", "b"]
    assert len(record["digest"]) == 32


@pytest.mark.parametrize(
    ("said", "made_words", "said_words"),
    [
        ([PUBLISHED_SPLIT], "split.stratify=true", "split.stratify=false"),
        (["seed=3"], "seed=688", "seed=3"),
        (["split.group_by=transcript"], "split.group_by=none", "split.group_by=transcript"),
        (["corpus.sources=[a]"], 'corpus.sources=["a", "b"]', 'corpus.sources=["a"]'),
        (["audio.on_bad_audio=skip"], "audio.on_bad_audio=fail", "audio.on_bad_audio=skip"),
    ],
)
def test_other_settings_are_refused_with_both_values_and_the_command(words, said, made_words, said_words):
    build_protocols(load_settings(words))
    with pytest.raises(UserError) as caught:
        load_protocol(load_settings([*words, *said] if "=" in said[0] else [*said, *words]))
    message = str(caught.value)
    assert f"protocol.csv was made with {made_words}, these settings say {said_words}." in message
    assert "scripts/02_build_protocols.py" in message
    assert "\n" not in message


def test_what_a_protocol_does_not_depend_on_changes_nothing(words):
    build_protocols(load_settings(words))
    load_protocol(load_settings([*words, "audio.crop_seconds=2", "train.epochs=3", "speakers.k=5", "system=lfcc_aasist"]))


def test_a_record_from_before_settings_were_noted_is_refused_and_then_completed_by_script_02(words, tmp_path):
    settings, root = load_settings(words), tmp_path / "exp" / "x"
    build_protocols(settings)
    record = json.loads((root / "protocol.json").read_text())
    (root / "protocol.json").write_text(json.dumps({key: record[key] for key in ("inputs", "num_left_out")}))
    with pytest.raises(UserError, match=r"does not say which settings it was made with.*02_build_protocols"):
        load_protocol(settings)
    assert build_protocols(settings).is_new  # its audio is checked again: what is cut off was not noticed then
    assert json.loads((root / "protocol.json").read_text()) == record
    assert split_of(settings)


def test_a_record_from_before_that_other_settings_made_stays_and_gets_company(words, tmp_path):
    settings, root = load_settings(words), tmp_path / "exp" / "x"
    build_protocols(settings)
    before = {"inputs": json.loads((root / "protocol.json").read_text())["inputs"], "num_left_out": 0}
    (root / "protocol.json").write_text(json.dumps(before))
    assert build_protocols(load_settings([PUBLISHED_SPLIT, *words])).is_new
    assert json.loads((root / "protocol.json").read_text()) == before
    assert len(list((root / "protocols").iterdir())) == 1


def test_a_protocol_made_by_hand_is_taken_as_it_is(words, tmp_path):
    build_protocols(load_settings(words))
    (tmp_path / "exp" / "x" / "protocol.json").unlink()
    assert split_of(load_settings(words)) == split_of(load_settings([PUBLISHED_SPLIT, *words]))


def test_a_kill_before_the_record_leaves_no_protocol_of_other_settings(words, tmp_path):
    """What is unfinished at a place of its own is not taken for finished."""
    published = load_settings([PUBLISHED_SPLIT, *words])
    build_protocols(load_settings(words))
    build_protocols(published)
    Layout.of(published).protocol_record.unlink()
    with pytest.raises(UserError, match=re.escape("split.stratify=false")):
        load_protocol(published)
    assert build_protocols(published).is_new
    assert split_of(published)
