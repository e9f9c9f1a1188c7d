"""Post-processing by name: `apply("mp3_32k", waveform, rate, utt_id)`, chains by +, and which operations this machine can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sourcetracing.audio.codecs import known_encoders, known_filters
from sourcetracing.errors import UserError
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.operations import CHAIN, OPERATIONS, OperationEntry, steps_of


class Clips(Protocol):
    """Sounds to mix in, at the rate of what they are mixed with, such as a noise bank's: `lengths` in samples."""

    lengths: list[int]

    def read(self, clip: int, start: int = 0, num_samples: int | None = None) -> np.ndarray:
        """(num_samples,) float32 of a clip, going round when it ends."""


@dataclass(frozen=True)
class Sound:
    """What an operation gets beside the samples: their rate in Hz, its random state, the clips at hand by kind."""

    rate: int
    draw: np.random.Generator
    clips: Mapping[str, Clips]


def apply(name: str, waveform: np.ndarray, rate: int, *words: str | int, clips: Mapping[str, Clips] | None = None) -> np.ndarray:
    """(samples,) float32 at `rate` Hz after an operation, or a chain such as mp3_64k+opus_16k: (samples,) float32.

    As long as before and in step with it but for the families time and length. words: seed and utt_id; what is random depends on them and
    the operation's name alone. clips: for babble and music, by kind. Raises `UserError` for an unknown name, or what this machine lacks.
    """
    steps = name.split(CHAIN)
    for place, (step, entry) in enumerate(zip(steps, steps_of(name), strict=True)):
        if lack := _lack(entry, clips or {}):
            raise UserError(f"operation {step}: {lack}")
        again = [turn] if (turn := steps[:place].count(step)) else []  # the same noise twice would add up as one
        made = entry.load()(waveform, Sound(rate, rng(*words, step, *again), clips or {}), **entry.parameters)
        waveform = np.ascontiguousarray(made, dtype=np.float32)
    return waveform


def at_hand(names: list[str], clips: Mapping[str, Clips] | None = None) -> tuple[list[str], dict[str, str]]:
    """(those that can be done here, why the others cannot). Raises `UserError` for a name that is none."""
    lacks = {name: next(filter(None, (_lack(step, clips or {}) for step in steps_of(name))), "") for name in dict.fromkeys(names)}
    return [name for name, lack in lacks.items() if not lack], {name: lack for name, lack in lacks.items() if lack}


def in_words(name: str) -> str:
    """What an operation or chain does."""
    return ", then ".join(OPERATIONS[step].says for step in name.split(CHAIN))


def family_of(name: str) -> str:
    """Of a chain: "chain"."""
    steps = steps_of(name)
    return steps[0].family if len(steps) == 1 else "chain"


def _lack(entry: OperationEntry, clips: Mapping[str, Clips]) -> str:
    try:
        encoders, filters = known_encoders() if entry.encoder else (), known_filters() if entry.filter else ()
    except UserError as error:  # no ffmpeg at all
        return str(error)
    if entry.encoder and entry.encoder not in encoders:
        return f"this ffmpeg has no encoder {entry.encoder}"
    if entry.filter and entry.filter not in filters:
        return f"this ffmpeg has no filter {entry.filter}"
    if entry.clips and not (entry.clips in clips and clips[entry.clips].lengths):
        return f"there are no {entry.clips} clips at hand"
    return ""
