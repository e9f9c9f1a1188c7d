"""What an answer's limits say of the sound that a system heard in training."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import line_of_variants
from sourcetracing.tracing.phrases import limits


@pytest.mark.parametrize(
    ("stored", "trained", "said"),
    [
        (["original", "noise"], [], "It heard clean files and artificial noise, no codec, no telephone."),
        (["original", "codec", "telephone"], ["original"], "It heard clean files, no codec, no telephone."),
        (["original", "codec", "telephone"], ["original", "codec"], "It heard clean files and artificial codec, no telephone."),
        (["codec", "telephone"], [], "It heard artificial codec, telephone."),
    ],
)
def test_only_what_was_not_heard_is_said_to_be_missing(stored, trained, said):
    settings = Settings()
    settings.augment.variants, settings.train.variants = stored, trained
    system = SimpleNamespace(settings=settings, classes=["a", "b"], run=SimpleNamespace(train_set="en", settings=settings))
    assert any(sentence.startswith(said) for sentence in limits(system, None, None))


def test_systems_are_named_together_that_heard_the_same():
    heard = {"one": ["original", "codec"], "two": ["original"], "three": ["original", "codec"]}
    assert line_of_variants(heard) == "Trained on different acoustic variants. one, three: original, codec; two: original."
    assert line_of_variants({"one": ["original"], "two": ["original"]}) == line_of_variants({}) == ""
