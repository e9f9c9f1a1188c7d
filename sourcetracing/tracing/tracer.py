"""One file to one answer: windows, calibrated probabilities of each, known or unknown, and what makes the answer doubtful.

Shapes: W windows, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from scipy.special import logsumexp

from sourcetracing.audio.bad_audio import BadAudio
from sourcetracing.audio.plausibility import is_constant
from sourcetracing.audio.source import Source
from sourcetracing.audio.streaming import Windows, open_trimmed
from sourcetracing.metrics.calibration import Calibration
from sourcetracing.metrics.ranking import is_above
from sourcetracing.runtime.compute import prepare_device
from sourcetracing.settings.frontends import Audio
from sourcetracing.tracing.calibration import calibrate
from sourcetracing.tracing.corpus_files import corpus_files, corpus_note
from sourcetracing.tracing.levels import LevelAnswer, Levels, fit_levels
from sourcetracing.tracing.system import TracingSystem, run_in_folder
from sourcetracing.tracing.unknown import UnknownRule, fit_rule

DISAGREE = "windows disagree"  # how the note begins that is about known sources, not about the file
# Settings of the files that are traced: what the system was trained on stays what it was.
_OF_TRACED_FILES = ("audio.channel=", "audio.on_truncated=")


@dataclass(frozen=True)
class FileTrace:
    """What was found in one file. duration_s, starts_s: of the whole file, whatever silence is left out."""

    path: str
    duration_s: float
    num_silent: int  # windows left out
    starts_s: np.ndarray  # (W,)
    window_probabilities: np.ndarray  # (W, C)
    window_scores: np.ndarray | None  # (W,) unknown scores; None without a rule
    probabilities: np.ndarray  # (C,)
    unknown_score: float | None  # mean of the windows'
    is_unknown: bool | None
    notes: list[str]
    embedding: np.ndarray  # (E,) mean of the windows', as long as it comes out: what follows on it may be linear


class Tracer:
    """A system with its calibration, its rule for unknown sources and its levels; called with a path it gives a `FileTrace`."""

    def __init__(
        self,
        system: TracingSystem,
        calibration: Calibration,
        rule: UnknownRule | None,
        audio: Audio | None = None,
        levels: Levels | None = None,
    ):
        """audio: how files are read; None: as those that the system was trained on. levels: None where no source has labels."""
        self.system, self.calibration, self.rule, self.levels = system, calibration, rule, levels
        self.trace, self.audio = system.settings.trace, audio or system.settings.audio
        self.corpus = corpus_files(system.settings)
        self.hop_samples = max(1, round((1 - self.trace.overlap) * system.window_samples))

    @classmethod
    def load(cls, run_folder: str | Path, changes: list[str]) -> Tracer:
        """The tracer of a run folder; fits what is not there yet. changes: key=value words. Raises `UserError`."""
        audio = run_in_folder(run_folder, changes).settings.audio
        run = run_in_folder(run_folder, [word for word in changes if not word.startswith(_OF_TRACED_FILES)])
        device = prepare_device(run.settings.compute)
        calibration, rule = calibrate(run, device), fit_rule(run, device)
        return cls(TracingSystem(run, device), calibration, rule, audio, fit_levels(run, calibration, rule))

    def levels_of(self, result: FileTrace) -> list[LevelAnswer]:
        """How far down the tree of labels the answer for a file is sure; [] without labels."""
        return self.levels(result.probabilities, result.is_unknown) if self.levels else []

    def __call__(self, path: str | Path) -> FileTrace:
        """Raises `BadAudio` for a file that cannot be read, is too short or silent throughout."""
        rate = self.audio.sample_rate
        with open_trimmed(path, self.audio) as (source, blocks):
            windows = Windows(blocks, self.system.window_samples, self.hop_samples)
            loud = LoudWindows(windows, self.trace.silence_peak_dbfs)
            parts = [self._evaluate(path, group) for group in _groups(loud, self.trace.batch_windows)]
        heard_s = windows.num_samples / rate
        self._refuse_useless(path, source, parts)
        *windowed, sums = zip(*parts, strict=True)
        starts, log_p, scores = (np.concatenate(part) for part in windowed)
        combined = combine(log_p, self.trace.combine)
        score = float(scores.mean()) if self.rule else None
        return FileTrace(
            path=str(path),
            duration_s=source.heard.num_samples / source.rate if self.audio.trim_silence_db else heard_s,
            num_silent=loud.num_silent,
            starts_s=(blocks.start + starts) / rate,
            window_probabilities=np.exp(log_p),
            window_scores=scores if self.rule else None,
            probabilities=combined,
            unknown_score=score,
            is_unknown=bool(is_above(score, self.rule.threshold)) if self.rule else None,
            notes=self._notes(path, source, heard_s, log_p),
            embedding=(np.sum(sums, axis=0) / len(starts)).astype(np.float32),
        )

    def _evaluate(self, path: str | Path, group: list[tuple[int, np.ndarray]]) -> tuple[np.ndarray, ...]:
        """Of some windows: starts in samples (W,), log-probabilities (W, C), unknown scores (W,), and the sum (E,) of their embeddings."""
        starts, waveforms = zip(*group, strict=True)
        embeddings, logits = self.system(torch.from_numpy(np.stack(waveforms)))
        if not np.isfinite(logits).all():
            raise BadAudio(path, f"its features do not fit {self.system.settings.store.dtype}, which this system was trained with")
        scores = self.rule.score(embeddings, logits) if self.rule else np.zeros(len(logits))
        return np.array(starts), self.calibration.log_probabilities(logits), scores, embeddings.sum(axis=0, dtype=np.float64)

    def _refuse_useless(self, path: str | Path, source: Source, parts: list) -> None:
        if problem := source.heard.problem(self.audio):
            raise BadAudio(path, problem)
        if not parts:
            raise BadAudio(path, f"silent throughout (its peak is below {self.trace.silence_peak_dbfs:g} dBFS, trace.silence_peak_dbfs)")

    def _notes(self, path: str | Path, source: Source, heard_s: float, log_p_WC: np.ndarray) -> list[str]:
        notes, rate = source.notes(), source.rate
        if of_corpus := corpus_note(path, self.corpus):
            notes.insert(0, of_corpus)
        if heard_s < self.audio.crop_seconds:
            notes.append(f"shorter than a window of {self.audio.crop_seconds:g} s: repeated to fill it, less sure than it looks")
        if source.is_lossy:
            notes.append("lossy codec: the system was not trained on coded audio; what the codec removed may be what tells sources apart")
        if rate < self.audio.sample_rate:
            notes.append(
                f"recorded at {rate} Hz: nothing above {rate // 2} Hz, where the system may listen (it hears {self.audio.sample_rate} Hz)"
            )
        first = np.bincount(log_p_WC.argmax(axis=1), minlength=log_p_WC.shape[1])
        if first.max() < 0.8 * first.sum():
            names = [f"{self.system.classes[number]} in {first[number]}" for number in np.argsort(-first)[:2]]
            notes.append(f"{DISAGREE} ({', '.join(names)} of {first.sum()}): mixed sources, or a doubtful answer; look at the timeline")
        return notes


def _groups(windows: Iterable[tuple[int, np.ndarray]], size: int) -> Iterator[list[tuple[int, np.ndarray]]]:
    windows = iter(windows)
    while group := list(islice(windows, size)):
        yield group


class LoudWindows:
    """The windows that are not silent; counts the others."""

    def __init__(self, windows: Windows, peak_dbfs: float):
        self.windows, self.threshold, self.num_silent = windows, 10 ** (peak_dbfs / 20), 0

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        for start, waveform in self.windows:
            low, high = float(waveform.min()), float(waveform.max())
            if max(-low, high) < self.threshold or is_constant(low, high, self.threshold):
                self.num_silent += 1
            else:
                yield start, waveform


def combine(log_p_WC: np.ndarray, how: str) -> np.ndarray:
    """One distribution (C,) from those of the windows.

    probability: their mean, the share of the file that speaks for each source. log_probability: their geometric mean, scaled to sum 1.
    """
    if how == "probability":
        return np.exp(log_p_WC).mean(axis=0)
    mean = log_p_WC.mean(axis=0)
    return np.exp(mean - logsumexp(mean))
