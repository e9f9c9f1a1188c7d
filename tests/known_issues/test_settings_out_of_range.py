"""`audio.crop_seconds=.inf`, `lfcc.n_fft=100`, `augment.variants=[]` ...: a traceback, or the machine's whole memory."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator

import pytest

from sourcetracing.errors import UserError
from sourcetracing.settings.checking import check_values, fields_of
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["audio.crop_seconds=.inf"], "audio.crop_seconds=inf: a finite number is expected"),
        (["audio.crop_seconds=1e9"], "must be at most 600"),
        (["audio.sample_rate=1000000000000"], "must be at most 192000"),
        (["lfcc.n_fft=100"], "lfcc.win_length=320 is more than lfcc.n_fft=100"),
        (["lfcc.n_fft=2048", "audio.crop_seconds=0.1"], "fewer than lfcc.n_fft=2048"),
        (["lfcc.hop_length=1", "audio.crop_seconds=600"], "lfcc.hop_length=1 needs an array of"),
        (["train.batch_size=65536"], "train.batch_size=65536 needs an array of"),
        (["augment.variants=[]"], "augment.variants=[]: it must name at least one"),
        (["experiment.systems=[]"], "experiment.systems=[]: it must name at least one"),
        (["augment.noise_snr_db=[.nan, 5]"], "a finite number is expected"),
        (["augment.noise_snr_db=[5]"], "two numbers are expected, the lower one first"),
        (["rawboost.taps=[100, 10]"], "two numbers are expected, the lower one first"),
        (["aasist.channels=[32]"], "2 values are expected"),
        (
            ["ecapa_raw.channels=12", "backend=ecapa_raw", "frontend=waveform", "store.dtype=float32"],
            "ecapa_raw.channels=12: must be a multiple",
        ),
        (["speakers.thresholds={en: .inf}"], "speakers.thresholds=inf: a finite number is expected"),
        (["train.lr=" + "9" * 400], "a finite number is expected"),
        (["finetune.regularization=${nothing}"], "nothing"),
        (["augment.stacked=\ud800"], "cannot be read as true or false"),
        (["train.beta_1=1"], "must be at most 0.999999"),
    ],
)
def test_what_no_number_or_list_may_be(words, message):
    with pytest.raises(UserError) as caught:
        load_settings(words)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", [b"seed: 1\0\n", b"\xff\xfe", b"seed: ${x}\n", b"[" * 5000])
def test_a_file_that_is_no_yaml(tmp_path, content):
    (tmp_path / "odd.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"odd\.yaml"):
        load_settings([str(tmp_path / "odd.yaml")])


def numbers(group: type, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field]]:
    for name, (kind, field) in fields_of(group).items():
        if dataclasses.is_dataclass(kind):
            yield from numbers(kind, f"{prefix}{name}.")
        elif kind in (int, float) or typing.get_args(kind)[:1] in ((int,), (float,)):
            yield f"{prefix}{name}", field


def test_every_number_declares_both_ends_of_its_range():
    """A new setting without them would let infinity and terabytes in again."""
    open_ends = [
        name
        for name, field in numbers(Settings)
        if not field.metadata["choices"] and None in map(field.metadata.get, ("at_least", "at_most"))
    ]
    assert not open_ends
    check_values(Settings())


def test_more_filters_than_frequencies_are_refused():
    with pytest.raises(UserError, match=r"^lfcc.n_filter=4096 is more than the 161 frequencies of lfcc.n_fft=320"):
        load_settings(["lfcc.n_filter=4096", "lfcc.n_fft=320"])
