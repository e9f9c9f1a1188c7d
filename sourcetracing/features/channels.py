"""Variants that need no noises: through a codec, a telephone call, RawBoost or another vocoder. What each is for: docs/variants.md.

What is drawn (codec and bit rate, call, noise, filters, phases) depends on (seed, utt_id, variant) alone. Every variant is as long as the
utterance and in step with it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from sourcetracing.audio.codecs import ffmpeg_version, fitted
from sourcetracing.audio.reading import resample
from sourcetracing.errors import UserError
from sourcetracing.features.rawboost import rawboost
from sourcetracing.postprocessing.noises import with_white_noise
from sourcetracing.postprocessing.operations import Sound, apply, at_hand
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.frontends import Augment, Rawboost
from sourcetracing.synthesis.vocoders import CHECKPOINTS, VOCODERS
from sourcetracing.synthesis.vocoders import SAMPLE_RATE as VOCODER_HZ

OPERATION_SETTINGS = {"codec": "codecs", "telephone": "telephones"}  # variant -> the setting of augment that names what is drawn from


@dataclass(frozen=True)
class Channels:
    """Makes the variants of `CHANNEL_VARIANTS`. rate: of the waveforms, in Hz."""

    augment: Augment
    boost: Rawboost
    rate: int
    seed: int

    def __call__(self, clean: np.ndarray, utt_id: str, variant: str) -> np.ndarray:
        """(samples,) float32 -> (samples,) float32. Raises `UserError` for what this machine lacks, such as ffmpeg or its encoder."""
        draw = rng(self.seed, utt_id, variant)
        if variant == "rawboost":
            return rawboost(clean, self.rate, self.boost, draw).astype(np.float32)
        if variant == "copy_synthesis":
            return copy_synthesis(clean, self.rate, self.augment.vocoder, draw)
        if variant == "telephone" and draw.random() < self.augment.telephone_noisy:
            clean = with_white_noise(clean, Sound(self.rate, draw, {}), snr_db=draw.uniform(*self.augment.telephone_snr_db))
        return apply(drawn_operation(self.augment, variant, draw), clean, self.rate, self.seed, utt_id)


def drawn_operation(augment: Augment, variant: str, draw: np.random.Generator) -> str:
    """The name of a codec or call, each of the setting's as likely."""
    names = getattr(augment, OPERATION_SETTINGS[variant])
    return names[draw.integers(len(names))]


def copy_synthesis(clean: np.ndarray, rate: int, vocoder: str, draw: np.random.Generator) -> np.ndarray:
    """(samples,) at `rate` Hz analysed and made again by a vocoder of the demo, which hears 16 kHz; as long and as loud.

    Raises `UserError`.
    """
    first, *_ = CHECKPOINTS[vocoder]
    made = VOCODERS[vocoder](resample(clean, rate, VOCODER_HZ), draw, **first)
    made = fitted(resample(made, VOCODER_HZ, rate), len(clean)).astype(np.float32, copy=False)
    level, wanted = (float(np.sqrt(np.square(sound, dtype=np.float64).mean())) for sound in (made, clean))
    return made * np.float32(wanted / level) if level > 0 else made  # else its level would tell copies apart


def refuse_channels(augment: Augment, sources: Collection[str]) -> None:
    """Raises `UserError` where the variants need an encoder that is not here, or a vocoder that is one of the sources themselves."""
    for variant, key in OPERATION_SETTINGS.items():
        names = getattr(augment, key) if variant in augment.variants else []
        for name, lack in at_hand(names)[1].items() if names else ():
            raise UserError(f"augment.{key}: {name} cannot be done here, {lack}. Leave it out, or pip install imageio-ffmpeg")
    if "copy_synthesis" in augment.variants:
        made_by = VOCODERS[augment.vocoder]
        same = [name for name in sources if VOCODERS.get(name) is made_by or _plain(name) == _plain(augment.vocoder)]
        if same:
            raise UserError(
                f"augment.vocoder={augment.vocoder} is what makes the source {same[0]}: copies of other sources by it would carry wrong "
                "labels. Choose another vocoder, or leave copy_synthesis out of augment.variants"
            )


def coder_version(variants: Collection[str]) -> dict[str, str]:
    """{"ffmpeg": its version} where it made some of the variants, else {}."""
    return {"ffmpeg": ffmpeg_version()} if OPERATION_SETTINGS.keys() & set(variants) else {}


def _plain(name: str) -> str:
    return "".join(sign for sign in name.casefold() if sign.isalnum())
