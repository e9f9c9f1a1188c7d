"""Which operations and utterances are asked for: names, draws, what a machine lacks."""

from __future__ import annotations

import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.robustness.experiment import in_training, plan_of
from sourcetracing.robustness.utterances import CLEAN, drawn
from sourcetracing.settings.reading import load_settings
from tests.support.audio_files import write_noises


@pytest.fixture
def words(tmp_path) -> list[str]:
    write_noises(tmp_path / "musan")
    return [f"paths.musan={tmp_path}/musan", f"paths.exp={tmp_path}/exp", "robustness.operations=[babble_10db,noise_10db]"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("robustness.operations=[mp3_32]", "robustness.operations: unknown operation 'mp3_32'.*mp3_32k"),
        ("robustness.operations=[mp3_32k+ops_16k]", "unknown operation 'ops_16k'.*opus_16k"),
        ("robustness.operations=[gsm]", "none can be done here. gsm: this ffmpeg has no encoder libgsm"),
    ],
)
def test_wrong_operations_are_named_before_anything_is_done(words, word, message):
    with pytest.raises(UserError, match=message):
        plan_of(load_settings([*words, word]))


@pytest.mark.parametrize("word", ["robustness.operations=[]", "robustness.utterances=-1", "robustness.detector=softmx"])
def test_wrong_settings_are_named(word):
    with pytest.raises(UserError, match=word.partition("=")[0]):
        load_settings([word])


def test_without_noises_babble_is_named_and_left_out(words, tmp_path):
    assert plan_of(load_settings(words)).operations == [CLEAN, "babble_10db", "noise_10db"]
    plan = plan_of(load_settings([*words, f"paths.musan={tmp_path}/none"]))
    assert plan.left_out["babble_10db"] == "there are no speech clips at hand" and "noise_10db" in plan.operations


def test_the_draw_is_even_nested_and_hangs_on_names_alone():
    items = pd.DataFrame(
        [{"utt_id": f"{lang}/{s}/{n}", "language": lang, "source": s} for lang in ("en", "de", "fr") for s in "ab" for n in range(20)]
    )
    few, more = (drawn(items, ["en", "de"], count, 1) for count in (12, 25))
    assert few.groupby(["language", "source"]).size().tolist() == [3] * 4 and len(more) == 25
    assert set(few["utt_id"]) < set(more["utt_id"]) and set(few["language"]) == {"en", "de"}
    shuffled = drawn(items.sample(frac=1, random_state=0), ["en", "de"], 12, 1)
    assert set(shuffled["utt_id"]) == set(few["utt_id"]) != set(drawn(items, ["en", "de"], 12, 2)["utt_id"])
    assert len(drawn(items, ["en"], 0, 1)) == len(drawn(items, ["en"], 99, 1)) == 40


def test_what_is_in_training_is_said(words):
    settings = load_settings([*words, "augment.variants=[original,noise,reverb,speech]"])
    assert [in_training(name, settings) for name in ("noise_0db", "babble_5db", "reverb_small+noise_0db", "mp3_32k", CLEAN)] == [
        *("noise", "speech", "reverb+noise", "", "")
    ]
