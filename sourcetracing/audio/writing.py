"""Audio files that are complete or absent. libsndfile's FLAC writer says nothing of a full disk: half a file would pass as written."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile

from sourcetracing.runtime.files import atomic_path


def write_audio(path: str | Path, samples: np.ndarray, rate: int, subtype: str = "PCM_16") -> None:
    """(samples,) or (samples, channels) as the format that the suffix names. Raises `OSError` for what the disk refuses."""
    encoded = io.BytesIO()  # so that libsndfile does not write to the disk
    soundfile.write(encoded, samples, rate, format=Path(path).suffix[1:].upper(), subtype=subtype)
    with atomic_path(path) as partial:
        partial.write_bytes(encoded.getvalue())
