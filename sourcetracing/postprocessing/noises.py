"""White noise, babble and music at exact SNRs: of the power of whole files. The sum is neither rescaled nor clipped."""

from __future__ import annotations

import numpy as np

from sourcetracing.postprocessing.operations import Clips, Sound

TALKERS = 5  # of babble, fewer where there are not so many clips


def with_white_noise(waveform: np.ndarray, sound: Sound, *, snr_db: float) -> np.ndarray:
    """Gaussian noise of all frequencies."""
    return mixed(waveform, sound.draw.standard_normal(len(waveform), np.float32), snr_db)


def with_babble(waveform: np.ndarray, sound: Sound, *, snr_db: float) -> np.ndarray:
    """Talkers of one level, each from a random place of a clip of its own."""
    clips = sound.clips["speech"]
    chosen = sound.draw.choice(len(clips.lengths), min(TALKERS, len(clips.lengths)), replace=False)
    parts = [_part(clips, int(clip), len(waveform), sound) for clip in chosen]
    return mixed(waveform, sum(part / max(_rms(part), 1e-9) for part in parts), snr_db)


def with_music(waveform: np.ndarray, sound: Sound, *, snr_db: float) -> np.ndarray:
    """A part of one clip."""
    clips = sound.clips["music"]
    return mixed(waveform, _part(clips, int(sound.draw.integers(len(clips.lengths))), len(waveform), sound), snr_db)


def mixed(waveform: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """waveform + noise (samples,), the noise's power `snr_db` below the waveform's; silence stays so, as does what meets no noise."""
    loudness = _rms(noise)
    return waveform if loudness == 0 else waveform + noise * (_rms(waveform) / loudness * 10 ** (-snr_db / 20))


def _part(clips: Clips, clip: int, num_samples: int, sound: Sound) -> np.ndarray:
    """From anywhere from which so many samples follow; a shorter clip is repeated."""
    surplus = clips.lengths[clip] - num_samples
    return clips.read(clip, int(sound.draw.integers(surplus + 1 if surplus >= 0 else clips.lengths[clip])), num_samples)


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.square(samples, dtype=np.float64).mean()))
