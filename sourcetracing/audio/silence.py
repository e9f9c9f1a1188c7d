"""Where the sound of a waveform begins and ends: the energy of its frames, taken from blocks, so that its length costs next to nothing."""

from __future__ import annotations

import numpy as np

FRAME_SECONDS = 0.02


class Frames:
    """Mean squares of a waveform's frames of 20 ms, which comes in blocks; 4 bytes a frame (0.7 MB an hour) are kept."""

    def __init__(self, rate: int):
        """rate: Hz."""
        self.size, self.num_samples = max(1, round(FRAME_SECONDS * rate)), 0
        self._rest = np.zeros(0, np.float32)  # samples that do not fill a frame yet
        self._energies: list[np.ndarray] = []

    def add(self, block: np.ndarray) -> None:
        """The next samples (samples,) float32."""
        self.num_samples += len(block)
        joined = np.concatenate([self._rest, block]) if len(self._rest) else block
        whole = len(joined) // self.size * self.size
        self._energies.append(_mean_squares(joined[:whole].reshape(-1, self.size)))
        self._rest = joined[whole:].copy()

    def energies(self) -> np.ndarray:
        """(frames,) float32; the last frame may be shorter."""
        last = [_mean_squares(self._rest[None])] if len(self._rest) else []
        return np.concatenate([*self._energies, *last]) if self._energies or last else np.zeros(0, np.float32)

    def loud_part(self, below_db: float) -> tuple[int, int]:
        """(start, stop) in samples: the waveform without the frames at both ends that stay `below_db` below the loudest one.

        The loudest frame always stays; of silence, everything does.
        """
        energies = self.energies()
        loud = np.flatnonzero(energies > energies.max(initial=0) * 10 ** (-below_db / 10))
        if not len(loud):
            return 0, self.num_samples
        return int(loud[0]) * self.size, min((int(loud[-1]) + 1) * self.size, self.num_samples)

    def quiet(self, below_db: float) -> float:
        """The amplitude up to which a sample counts as silent: `below_db` below the root mean square of the loudest frame."""
        return float(np.sqrt(self.energies().max(initial=0))) * 10 ** (-below_db / 20)


def first_loud(samples: np.ndarray, quiet: float) -> int:
    """Where the first sample beyond +-`quiet` is; 0 without one."""
    return int((np.abs(samples) > quiet).argmax()) if len(samples) else 0


def last_loud(samples: np.ndarray, quiet: float) -> int:
    """Where the last sample beyond +-`quiet` is; the last one of all without one."""
    return len(samples) - 1 - first_loud(samples[::-1], quiet)


def _mean_squares(frames: np.ndarray) -> np.ndarray:
    """(frames, samples) -> (frames,), without a squared copy of the sound."""
    return np.einsum("ij,ij->i", frames, frames) / np.float32(frames.shape[1])
