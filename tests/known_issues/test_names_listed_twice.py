"""corpus.sources=[a,b,a] gave macro-F1 22.2 instead of 33.3, augment.variants=[noise,noise] a store without end: names count once."""

from __future__ import annotations

import dataclasses
import re

import pytest

from sourcetracing.errors import UserError
from sourcetracing.settings.checking import fields_of
from sourcetracing.settings.declaring import admitted
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings

# Ranges, widths and shares: two numbers that may be the same.
MAY_REPEAT = {
    *("aasist.channels", "aasist.gat_dims", "aasist_raw.channels", "aasist_raw.gat_dims"),
    *("augment.noise_snr_db", "augment.speech_snr_db", "augment.music_snr_db", "augment.telephone_snr_db", "augment.babble_talkers"),
    *("rawboost.center_hz", "rawboost.width_hz", "rawboost.taps", "rawboost.gain_db", "rawboost.bias_db", "rawboost.snr_db"),
    *("statistics.coefficients", "neighbours.coefficients", "plain_neighbours.coefficients"),
    *("pruning.augment_shares", "train.label_weights"),
}


def list_settings() -> dict[str, str]:
    """Name of each setting that is a list -> an item that it admits, as text."""
    groups = {"": Settings, **{name: kind for name, (kind, _) in fields_of(Settings).items() if dataclasses.is_dataclass(kind)}}
    found = {}
    for group, kind in groups.items():
        for name, (type_of, field) in fields_of(kind).items():
            if str(type_of).startswith("list["):
                default = field.default_factory()
                number = "int" in str(type_of) or "float" in str(type_of)
                found[f"{group}.{name}".lstrip(".")] = str((default or list(admitted(field.metadata) or ([3] if number else ["en"])))[-1])
    return found


def test_every_list_of_settings_refuses_what_is_listed_twice():
    items = list_settings()
    assert len(items) > 40 and items.keys() > MAY_REPEAT
    for name, item in items.items():
        word = f"{name}=[{item},{item}]"
        if name in MAY_REPEAT:
            continue
        with pytest.raises(UserError, match=f"^{name}: .*{re.escape(item.split(':')[0])}.* is listed twice; name it once$"):
            load_settings([word])


@pytest.mark.parametrize("name", sorted(MAY_REPEAT - {"pruning.augment_shares", "train.label_weights"}))
def test_both_ends_of_a_range_may_be_the_same(name):
    load_settings([f"{name}=[32,32]"])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("corpus.sources=[cafe\u0301,b,caf\u00e9]", "is listed twice (in two Unicode forms, NFD and NFC)"),
        ("experiment.families={Nordic: [da, sv, da]}", "experiment.families.Nordic: 'da' is listed twice"),
        ("detection.sets={Mine: [odss, odss]}", "detection.sets.Mine: 'odss' is listed twice"),
        ("experiment.train_sets=[en+de,de+en]", "en+de and de+en are the same set"),
        ("experiment.test_sets=[en+en]", "'en' is listed twice"),
        ("corpus.unknown_sources=[griffin_lim]", "'griffin_lim' is in corpus.sources too"),
        ("corpus.unknown_sources=[all,other]", "write [all] alone"),
    ],
)
def test_what_counts_twice_in_other_ways_is_refused(word, message):
    with pytest.raises(UserError) as refused:
        load_settings([word])
    assert message in str(refused.value) and "\n" not in str(refused.value)
