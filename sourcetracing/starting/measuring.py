"""What can be heard of a corpus before anything is decided: durations, rates, files that cannot be used; how fast this machine is."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sourcetracing.audio.bad_audio import BadAudio
from sourcetracing.audio.checking import check_file
from sourcetracing.audio.reading import crop, load_utterance
from sourcetracing.corpora.found_files import FoundFiles
from sourcetracing.errors import UserError
from sourcetracing.models.frontends.lfcc import LfccFrontEnd
from sourcetracing.runtime.compute import prepare_cpu
from sourcetracing.runtime.parallel import resolve_workers
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.schema import Settings
from sourcetracing.training.networks import build_model

MOST_CHECKED = 400  # files that are decoded; more than that are a sample, evenly spread over languages and sources
_NUM_TIMED = 10  # files
_STEPS_TIMED = 3
_REASONS_NAMED = 3


@dataclass(frozen=True)
class Heard:
    """durations_s (N,) and rates_hz (N,) of the files that were decoded and can be used; whether those were all files of the corpus."""

    durations_s: np.ndarray
    rates_hz: np.ndarray
    is_all: bool

    @property
    def median_s(self) -> float:
        """Of the durations."""
        return float(np.median(self.durations_s))


@dataclass(frozen=True)
class Speed:
    """Seconds on this machine, one thread: of a row (decoding, resampling, LFCC), of an optimizer step of the network."""

    row_s: float
    step_s: float


def listen(found: FoundFiles) -> Heard:
    """Decodes all files, or a sample of a large corpus. Bad ones are left out, of a sample only noted. Raises `UserError`: all are bad."""
    rows = found.rows.sort_values(["language", "source", "path"], kind="stable")
    places = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_CHECKED)).round().astype(int))
    paths, rules = rows["path"].iloc[places], Settings().audio
    with ThreadPoolExecutor(resolve_workers(0)) as pool:
        results = pool.map(lambda path: check_file(found.root / path, rules), paths)
        checked = list(bar(results, total=len(paths), desc="listen", unit="file"))
    reasons = [one.reason for one in checked]
    why = _reasons_in_words([reason for reason in reasons if reason])
    good = [one for one in checked if not one.reason]
    if not good:
        raise UserError(f"{found.root}: none of {len(checked)} files can be used ({why}), such as {paths.iloc[0]}")
    is_all = len(paths) == len(rows)
    bad = paths[[bool(reason) for reason in reasons]]
    if len(bad) and is_all:
        mask = found.rows["path"].isin(bad)
        # audio.on_bad_audio=skip leaves them out
        found.drop(mask, f"which cannot be used ({why}); script 02 lists them in bad_audio.csv", needs_table=False)
    elif len(bad):
        found.notes.append(
            f"{len(bad)} of {len(paths)} files that were decoded cannot be used ({why}), such as {bad.iloc[0]}; script 02 leaves them out"
        )
    return Heard(np.array([one.duration_s for one in good]), np.array([one.sample_rate for one in good]), is_all)


def _reasons_in_words(reasons: Sequence[str]) -> str:
    """`3 x is empty (0 bytes); 2 x is silent`: the most frequent kinds, of which one differs in numbers at most."""
    kinds: dict[str, list[str]] = {}
    for reason in reasons:
        kinds.setdefault(re.sub(r"\d+(\.\d+)?", "0", reason), []).append(reason)
    if len(kinds) == 1:
        return reasons[0]
    ranked = sorted(kinds.values(), key=len, reverse=True)
    rest = sum(map(len, ranked[_REASONS_NAMED:]))
    return "; ".join([*(f"{len(kind)} x {kind[0]}" for kind in ranked[:_REASONS_NAMED]), *([f"{rest} x others"] if rest else [])])


def time_this_machine(paths: Sequence[Path], settings: Settings, num_rows: int) -> Speed:
    """Speed at the settings' crop, width and batch size; num_rows: of a batch, mixup included. paths: files that can be used."""
    prepare_cpu(1)
    front_end = LfccFrontEnd(sample_rate=settings.audio.sample_rate, **vars(settings.lfcc)).eval()
    samples = round(settings.audio.crop_seconds * settings.audio.sample_rate)
    features = [_features(path, front_end, samples, settings) for path in paths[:1]]  # the first one loads libraries
    started = time.perf_counter()
    features += [_features(path, front_end, samples, settings) for path in paths[:_NUM_TIMED]]
    row_s = (time.perf_counter() - started) / max(1, len(paths[:_NUM_TIMED]))
    shape = next(tuple(one.shape) for one in features if one is not None)
    return Speed(row_s, _time_steps(settings, shape, num_rows))


@torch.inference_mode()
def _features(path: Path, front_end: torch.nn.Module, samples: int, settings: Settings) -> torch.Tensor | None:
    try:
        waveform = crop(load_utterance(path, settings.audio), samples, "head")
    except BadAudio:
        return None
    return front_end(torch.from_numpy(np.ascontiguousarray(waveform))[None])[0]


def _time_steps(settings: Settings, shape: tuple[int, ...], num_rows: int) -> float:
    """Median of a few steps on random numbers, the first one aside."""
    model = build_model(settings, shape)
    optimizer = torch.optim.Adam(model.parameters())
    generator = torch.Generator().manual_seed(settings.seed)
    rows, labels = torch.randn(num_rows, *shape, generator=generator), torch.zeros(num_rows, dtype=torch.long)
    seconds = []
    for _ in range(1 + _STEPS_TIMED):
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(rows)[1], labels).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds[1:]))
