"""Speakers of the demo corpus: espeak-ng voice variants with their own pitch, vocal-tract length, flutter and breath."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sourcetracing.runtime.seeding import rng

LOWEST_PITCH_HZ, HIGHEST_PITCH_HZ = 78.0, 225.0
FEMALE_FROM_HZ = 150.0


@dataclass(frozen=True)
class Voice:
    """One speaker; the same person with either of espeak-ng's two excitation models."""

    name: str
    pitch_hz: int
    pitch_range_hz: int
    formant_scale: float
    formant_tilt: float
    flutter: int
    roughness: int
    breath: int
    words_per_minute: int

    @property
    def gender(self) -> str:
        return "female" if self.pitch_hz >= FEMALE_FROM_HZ else "male"

    def variant(self, base: str) -> str:
        """Lines of an espeak-ng voice variant file. `base`: "formant" (espeak-ng's own synthesizer) or "klatt" (its Klatt model 4)."""
        lines = [f"pitch {self.pitch_hz} {self.pitch_hz + self.pitch_range_hz}", f"flutter {self.flutter}", f"roughness {self.roughness}"]
        for number in range(6):
            percent = round(100 * self.formant_scale * (1 + self.formant_tilt * (number - 2)))
            lines.append(f"formant {number} {percent} 100 100")
        if base == "klatt":
            lines.append("klatt 4")
        elif self.breath:
            lines.append("breath 0 " + " ".join(str(round(self.breath * weight)) for weight in (0.5, 1, 1, 1, 1, 1, 0.5)))
        return "\n".join(lines)


def make_voices(language: str, count: int, seed: int, group: str = "speaker") -> list[Voice]:
    """`count` distinct speakers of a language, pitches spread over male and female; `group` gives an independent set of people."""
    draw = rng("voices", seed, group, language)
    heights = draw.permutation(count)
    return [
        _make_voice(f"{language}_{group}{number + 1:02d}", (heights[number] + draw.uniform(0.1, 0.9)) / count, draw)
        for number in range(count)
    ]


def _make_voice(name: str, height: float, draw: np.random.Generator) -> Voice:
    """`height` 0 ... 1: from a low voice with a long vocal tract to a high one with a short tract."""
    pitch_hz = LOWEST_PITCH_HZ * (HIGHEST_PITCH_HZ / LOWEST_PITCH_HZ) ** height
    return Voice(
        name=name,
        pitch_hz=round(pitch_hz),
        pitch_range_hz=round(pitch_hz * draw.uniform(0.3, 0.7)),
        formant_scale=0.92 + 0.2 * height + draw.uniform(-0.04, 0.04),
        formant_tilt=draw.uniform(-0.012, 0.012),
        flutter=int(draw.integers(1, 8)),
        roughness=int(draw.integers(0, 4)),
        breath=int(draw.integers(0, 6)),
        words_per_minute=int(draw.integers(150, 176)),
    )
