"""What the parts of `gpu.py` share: how much of everything, and how much time is left. Imports nothing heavy."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sizes:
    """How much of everything; the paper's Table 4 has 6 languages of about 1,950 utterances in five variants, rows of (80, 399)."""

    is_miniature: bool
    batches: tuple[int, ...]  # of the encoder, in waveforms
    seconds_each: float  # of timing one way to run the encoder
    seconds_to_disk: float  # of the run from files to disk
    seconds_to_compile: float  # that must be left for torch.compile to be tried
    files: int  # of audio
    languages: tuple[str, ...]
    utterances_per_language: int
    num_frames: int
    steps: int
    samples: int
    runs_at_once: tuple[int, ...]
    words: tuple[str, ...]  # settings of every system


NARROW = ("aasist.channels=[4,4]", "aasist.gat_dims=[4,4]", "resnet18.width=2", "ecapa_tdnn.channels=8")
FULL = Sizes(False, (64, 256, 512), 1.5, 6.0, 50.0, 64, ("en", "de", "fr", "it", "pl", "ru"), 1950, 399, 20, 64_000, (1, 4, 8), ())
MINIATURE = Sizes(True, (5, 10), 0.02, 0.1, 0.0, 4, ("en", "de"), 15, 24, 2, 8_000, (1, 2), NARROW)


@dataclass
class Time:
    """What a part may take, counted from when it was begun."""

    budget: float
    started: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds."""
        return self.budget - (time.monotonic() - self.started)
