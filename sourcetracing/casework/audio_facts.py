"""What a file of a case is, before anybody asks where it comes from: its digest, how it is coded, and what its sound is like."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path

from sourcetracing.audio.facts import SILENCE_DB, SoundFacts, facts_of
from sourcetracing.audio.plausibility import Heard
from sourcetracing.audio.source import Source, open_file, open_source
from sourcetracing.settings.frontends import Audio


@dataclass(frozen=True)
class AudioFacts:
    """sha256: of the bytes. coding: container and codec. rate: Hz, the file's own. clipped: share of samples at full scale or beyond.

    silence_s: of all frames of 20 ms that lie 40 dB or more below the loudest. sound: level, silence at both ends, bandwidth.
    nan: not known.
    """

    path: str
    num_bytes: int
    sha256: str
    coding: str
    is_lossy: bool
    rate: int
    num_channels: int
    duration_s: float
    peak_dbfs: float
    clipped: float
    silence_s: float
    sound: SoundFacts
    notes: tuple[str, ...]


def audio_facts(path: str | Path, rules: Audio) -> AudioFacts:
    """Reads a file once, at its own rate, in flat memory. Raises `BadAudio`."""
    with open_file(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        num_bytes = file.seek(0, os.SEEK_END)
        with open_source(path, file, rules, listen=True) as source:
            for _ in source.blocks:
                pass
    return _facts(str(path), num_bytes, digest, source)


def sha256_of(path: str | Path) -> str:
    """Raises `BadAudio` when the file cannot be read."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _facts(path: str, num_bytes: int, digest: str, source: Source) -> AudioFacts:
    heard = source.heard
    num_values = heard.num_samples * len(heard.channel_peaks)
    peak = float(heard.channel_peaks.max(initial=0))
    return AudioFacts(
        path=path,
        num_bytes=num_bytes,
        sha256=digest,
        coding=source.coding,
        is_lossy=source.is_lossy,
        rate=source.rate,
        num_channels=len(heard.channel_peaks),
        duration_s=heard.num_samples / source.rate,
        peak_dbfs=20 * math.log10(peak) if peak > 0 else math.nan,
        clipped=heard.num_clipped / num_values if num_values else math.nan,
        silence_s=_silence_s(heard),
        sound=facts_of(heard),
        notes=tuple(source.notes()),
    )


def _silence_s(heard: Heard) -> float:
    """Seconds, wherever in the file; nan of a file without any sound."""
    assert heard.frames is not None, "only of a file that was listened to"
    energies = heard.frames.energies()
    if not energies.any():
        return math.nan
    num_silent = int((energies <= energies.max() * 10 ** (-SILENCE_DB / 10)).sum())
    return min(num_silent * heard.frames.size, heard.num_samples) / heard.rate
