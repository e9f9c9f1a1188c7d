"""How much of an answer goes when a piece of the sound goes: drops of its log-likelihood ratio, band by band and stretch by stretch.

Shapes: F fillings (`FILLINGS`), B bands, T stretches, N samples, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from sourcetracing.explanation.bands import Band, absent_bands
from sourcetracing.explanation.occlusion import FILLINGS, Bands, Stretches
from sourcetracing.metrics.calibration import Calibration, class_llrs
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.schema import Settings

LEAST_DROP = 0.5  # nats: fillings that differ by less do not contradict each other
System = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # waveforms (B, N) -> embeddings (B, E), logits (B, C)


@dataclass(frozen=True)
class Judge:
    """How strongly a system speaks for a class: log-likelihood ratios against all others, of its calibrated probabilities, nats."""

    system: System
    calibration: Calibration
    batch: int

    def __call__(self, waveforms: Iterable[np.ndarray], number: int, told: Callable[[int], object] = lambda rows: None) -> np.ndarray:
        """One for each waveform (N,). number: of the class. told: is called with how many have been heard."""
        found = list[np.ndarray]()
        for group in _groups(waveforms, self.batch):
            _, logits = self.system(np.stack(group))
            found.append(class_llrs(self.calibration.log_probabilities(logits))[:, number])
            told(len(group))
        return np.concatenate(found)


def _groups(things: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    things = iter(things)
    while group := list(islice(things, size)):
        yield group


@dataclass(frozen=True)
class Drops:
    """What a window's answer loses. llr: of the window as it is; band_drops (F, B), nan where absent; stretch_drops (F, T).

    stretch_starts_s (T,), stretch_s: in the window; heard_s: how much of the window is of the file, which repeats after it.
    """

    llr: float
    absent: np.ndarray
    band_drops: np.ndarray
    stretch_drops: np.ndarray
    stretch_starts_s: np.ndarray
    stretch_s: float
    heard_s: float


@dataclass(frozen=True)
class Occluded:
    """The bands of one window, and which of them it has nothing in."""

    bands: Bands
    absent: np.ndarray

    @classmethod
    def of(cls, window: np.ndarray, bands: list[Band], limit_hz: float, key: str, settings: Settings) -> Occluded:
        """limit_hz: nothing lies above. key: what the noise is drawn by, beside the seed."""
        cut = Bands(window, bands, settings.audio.sample_rate, rng(settings.seed, "explain", key, "bands"))
        return cls(cut, absent_bands(bands, cut.power, cut.bins, limit_hz))

    @property
    def present(self) -> np.ndarray:
        """Numbers of the bands that there are."""
        return np.flatnonzero(~self.absent)

    def waveforms(self) -> Iterator[np.ndarray]:
        """(N,) for each filling without each band that there is."""
        for filling in FILLINGS:
            yield from (self.bands.without([number], [filling]) for number in self.present)

    def drops(self, llr: float, llrs: np.ndarray) -> np.ndarray:
        """(F, B), nan where absent. llr: of the whole window; llrs: of `waveforms`."""
        found = np.full((len(FILLINGS), len(self.absent)), np.nan)
        found[:, self.present] = (llr - llrs).reshape(len(FILLINGS), -1)
        return found


def stretches_of(window: np.ndarray, heard: int, key: str, settings: Settings) -> Stretches:
    """heard: samples of the window that are of the file. key: as for bands."""
    generator = rng(settings.seed, "explain", key, "stretches")
    return Stretches(window, heard, settings.explain.stretch_s, settings.audio.sample_rate, generator)


def num_rows(pieces: Occluded, stretches: Stretches) -> int:
    """How many waveforms `drops_of` has heard."""
    return 1 + len(FILLINGS) * (len(pieces.present) + len(stretches.starts))


def drops_of(pieces: Occluded, stretches: Stretches, judge: Judge, number: int, told: Callable[[int], object] = lambda rows: None) -> Drops:
    """How far the LLR of a class falls without each piece of a window; all of them are heard in a few passes."""
    whole, places = pieces.bands.window.astype(np.float32), range(len(stretches.starts))
    without = (stretches.without(place, filling) for filling in FILLINGS for place in places)
    llrs = judge(chain([whole], pieces.waveforms(), without), number, told)
    of_bands, of_stretches = np.split(llrs[1:], [len(FILLINGS) * len(pieces.present)])
    return Drops(
        llr=float(llrs[0]),
        absent=pieces.absent,
        band_drops=pieces.drops(llrs[0], of_bands),
        stretch_drops=(llrs[0] - of_stretches).reshape(len(FILLINGS), len(places)),
        stretch_starts_s=stretches.starts / stretches.rate,
        stretch_s=stretches.size / stretches.rate,
        heard_s=stretches.heard / stretches.rate,
    )


def importance(drops_F: np.ndarray) -> np.ndarray:
    """Over the first axis, of fillings, the deepest fall: negative where the LLR rises with either; nan stays.

    Each filling hides what the other shows: taking a band away does nothing to a source that is known by lacking it, and noise in its place
    nothing to one that is known by having it. A rise is not counted against a fall: a hole that no source has moves a network anywhere.
    """
    return np.asarray(drops_F).max(axis=0)


def disagree(drops_F: np.ndarray) -> np.ndarray:
    """Whether the fillings differ by more than half of the larger change, and by LEAST_DROP at least: how it was filled decides then."""
    apart = np.abs(drops_F[0] - drops_F[1])
    return apart > np.maximum(LEAST_DROP, np.abs(drops_F).max(axis=0) / 2)


def fillings_that_matter(drops_F: np.ndarray) -> list[str]:
    """For each piece the filling whose fall is the deepest."""
    return [FILLINGS[number] for number in np.nan_to_num(drops_F, nan=-np.inf).argmax(axis=0)]
