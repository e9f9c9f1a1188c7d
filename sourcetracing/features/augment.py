"""Acoustic variants of an utterance: reverberation, babble, music, noise (MCL-MLAAD paper, section 2.1; D5 to D8); others by `channels`.

The recipe is that of REFD (Xie et al., the source that the published code took it from): each variant starts from the clean signal; noise
clips begin at a random place; babble sums several talkers, each at its own SNR against the clean level. What a variant sounds like depends
on (seed, utt_id, variant) alone. The published code differs (always speech, stacked, one talker, from the beginning):
configs/as_published/published_augmentation.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.fft

from sourcetracing.errors import UserError
from sourcetracing.features.channels import Channels
from sourcetracing.features.noise_bank import ClipBank
from sourcetracing.features.noise_files import NOISE_KINDS, RIR
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.frontends import CHANNEL_VARIANTS, Audio, Augment, Rawboost
from sourcetracing.settings.schema import Settings

LEVEL_FLOOR = 1e-4  # part of the published level formula; quiet clips come out weaker than the SNR says


def level_db(signal: np.ndarray) -> float:
    """10 log10(mean square + 1e-4) of (samples,), in dB: the level that SNRs refer to in the published code."""
    return 10 * np.log10(np.square(signal).mean(dtype=np.float64) + LEVEL_FLOOR)


def noise_gain(clean_level_db: float, clip: np.ndarray, snr_db: float) -> np.float32:
    """The factor that puts a clip `snr_db` below the clean level."""
    return np.float32(10 ** ((clean_level_db - level_db(clip) - snr_db) / 20))


def add_reverb(clean: np.ndarray, response: np.ndarray) -> np.ndarray:
    """(samples,) float32 convolved with a room response of unit energy, cut to its length; the delay stays in, as published."""
    energy = np.square(response).sum(dtype=np.float64)
    if not energy > 0:
        raise UserError("a room response without any sound")
    response = response[: len(clean)] * np.float32(1 / np.sqrt(energy))
    size = scipy.fft.next_fast_len(len(clean) + len(response) - 1, real=True)
    spectrum = scipy.fft.rfft(clean, size)
    spectrum *= scipy.fft.rfft(response, size)
    return scipy.fft.irfft(spectrum, size, overwrite_x=True)[: len(clean)]


class Augmenter:
    """Makes the variants of cropped utterances from banks of clips. Raises `UserError` when babble wants more talkers than there are."""

    def __init__(
        self, augment: Augment, banks: Mapping[str, ClipBank], seed: int, *, rate: int = Audio().sample_rate, boost: Rawboost | None = None
    ):
        self.augment, self.banks, self.seed = augment, banks, seed
        self.channels = Channels(augment, boost or Rawboost(), rate, seed)
        fewest = augment.babble_talkers[0]
        if "speech" in banks and not 1 <= fewest <= len(banks["speech"]):
            raise UserError(f"augment.babble_talkers={augment.babble_talkers}: there are {len(banks['speech'])} speech files to sum")

    @classmethod
    def of(cls, settings: Settings, banks: Mapping[str, ClipBank]) -> Augmenter:
        """The one that settings describe."""
        return cls(settings.augment, banks, settings.seed, rate=settings.audio.sample_rate, boost=settings.rawboost)

    def variants(self, clean: np.ndarray, utt_id: str) -> np.ndarray:
        """(samples,) float32 -> (variants, samples) float32, in the order of augment.variants."""
        made = np.empty((len(self.augment.variants), len(clean)), np.float32)
        for row, variant in enumerate(self.augment.variants):
            start = made[row - 1] if self.augment.stacked and row else clean
            made[row] = self.variant(start, utt_id, variant)
        return made

    def variant(self, clean: np.ndarray, utt_id: str, variant: str) -> np.ndarray:
        """One variant (samples,) float32 of an utterance; the same for the same (seed, utt_id, variant) and audio."""
        if variant == "original":
            return clean
        if variant in CHANNEL_VARIANTS:
            return self.channels(clean, utt_id, variant)
        generator = rng(self.seed, utt_id, variant)
        if variant == "reverb":
            responses = self.banks[RIR]
            return add_reverb(clean, responses.read(int(generator.integers(len(responses)))))
        assert variant in NOISE_KINDS, variant
        return self._with_noise(clean, "speech" if self.augment.force_speech else variant, generator)

    def _with_noise(self, clean: np.ndarray, kind: str, generator: np.random.Generator) -> np.ndarray:
        """The sum is neither rescaled nor clipped."""
        bank = self.banks[kind]
        low_db, high_db = getattr(self.augment, f"{kind}_snr_db")
        clean_level_db = level_db(clean)
        mixed = clean.copy()
        for clip in generator.choice(len(bank), self._num_clips(kind, generator), replace=False):
            noise = bank.read(clip, self._start(bank, clip, len(clean), generator), len(clean))
            noise *= noise_gain(clean_level_db, noise, generator.uniform(low_db, high_db))
            mixed += noise
        return mixed

    def _num_clips(self, kind: str, generator: np.random.Generator) -> int:
        if kind != "speech":
            return 1
        fewest, most = self.augment.babble_talkers
        return int(generator.integers(fewest, min(most, len(self.banks[kind])) + 1))

    def _start(self, bank: ClipBank, clip: int, num_samples: int, generator: np.random.Generator) -> int:
        """Anywhere in a clip from which num_samples follow; anywhere at all in a shorter clip, which is repeated."""
        if not self.augment.random_offset:
            return 0
        surplus = bank.lengths[clip] - num_samples
        return int(generator.integers(surplus + 1 if surplus >= 0 else bank.lengths[clip]))
