"""Audio in: decode, mono, resample, crop; and the check pass that names every bad file before anything is computed."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import soxr

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.runtime.files import digest_of_bytes, write_csv
from sourcetracing.runtime.parallel import resolve_workers
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.frontends import Audio
from sourcetracing.settings.schema import Settings

CHECK_COMMAND = "python scripts/02_build_protocols.py CONFIG.yaml"
NUM_NAMED = 3  # bad files that the one-line message names; the CSV has them all


class BadAudio(UserError):
    """An audio file that cannot be used, and why."""

    def __init__(self, path: str | Path, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason

    def __reduce__(self):  # an exception is pickled with its message alone, which would not do for two arguments
        return BadAudio, (self.path, self.reason)


def load_utterance(
    path: str | Path, sample_rate: int, expected_digest: str | None = None, check_command: str = CHECK_COMMAND
) -> np.ndarray:
    """One audio file as (samples,) float32: channels averaged, resampled to `sample_rate` Hz (soxr HQ). Raises `BadAudio`.

    expected_digest: refuse the file if its bytes are no longer those that `check_command` checked.
    """
    content = _read_bytes(path)
    if expected_digest is not None and digest_of_bytes(content) != expected_digest:
        raise BadAudio(path, f"has changed since it was checked. Run: {check_command}")
    waveform, rate = decode(content, path)
    return resample(waveform, rate, sample_rate)


def decode(content: bytes, path: str | Path, *, first_channel: bool = False) -> tuple[np.ndarray, int]:
    """The bytes of an audio file as ((samples,) float32, Hz); channels are averaged, or only the first is kept. Raises `BadAudio`."""
    try:
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError) as error:
        raise BadAudio(path, f"cannot be read as audio ({getattr(error, 'error_string', error)})") from None
    if not len(samples):
        raise BadAudio(path, "holds no samples")
    if samples.ndim == 2:
        samples = np.ascontiguousarray(samples[:, 0]) if first_channel else samples.mean(axis=1)
    return samples, rate


def _read_bytes(path: str | Path) -> bytes:
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise BadAudio(path, "is missing") from None
    except OSError as error:
        raise BadAudio(path, f"cannot be opened ({error.strerror})") from None
    if not content:
        raise BadAudio(path, "is empty (0 bytes)")
    return content


def resample(waveform: np.ndarray, rate: int, sample_rate: int) -> np.ndarray:
    """(samples,) float32 at `rate` Hz to `sample_rate` Hz, by soxr's high quality (about 16 bits)."""
    return waveform if rate == sample_rate else soxr.resample(waveform, rate, sample_rate, quality="HQ")


def resample_blocks(blocks: Iterable[np.ndarray], rate: int, sample_rate: int) -> Iterator[np.ndarray]:
    """`resample` of a waveform that comes in blocks (samples,) and never lies in memory as a whole."""
    if rate == sample_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    yield from (stream.resample_chunk(block) for block in blocks)
    yield stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def crop(waveform: np.ndarray, num_samples: int, mode: str, generator: np.random.Generator | None = None) -> np.ndarray:
    """Exactly `num_samples` of a waveform: a part of a longer one, a shorter one repeated from its beginning (as np.pad's "wrap").

    mode: head, center, or random (needs a generator).
    """
    surplus = len(waveform) - num_samples
    if surplus < 0:
        return np.resize(waveform, num_samples)
    if mode == "random":
        assert generator is not None, "a random crop needs its generator"
        start = int(generator.integers(surplus + 1))
    else:
        start = {"head": 0, "center": surplus // 2}[mode]
    return waveform[start : start + num_samples]


def find_problem(waveform: np.ndarray, rate: int, rules: Audio) -> str | None:
    """What is wrong with a decoded waveform (samples,) at `rate` Hz, or None."""
    low, high = float(waveform.min()), float(waveform.max())
    if not (np.isfinite(low) and np.isfinite(high)):  # min and max hand on NaN
        bad = int((~np.isfinite(waveform)).sum())
        return f"{bad} of its samples are NaN or infinite"
    if (seconds := len(waveform) / rate) < rules.min_seconds:
        return f"too short ({seconds:.3f} s, audio.min_seconds={rules.min_seconds:g})"
    if max(-low, high) < 10 ** (rules.silence_peak_dbfs / 20):
        return f"silent (its peak is below {rules.silence_peak_dbfs:g} dBFS, audio.silence_peak_dbfs)"
    return None


def check_file(path: Path, rules: Audio) -> tuple[float, int, str, str | None]:
    """(duration in s, Hz, digest, problem or None) of one file; decodes it at its own rate."""
    try:
        content = _read_bytes(path)
        waveform, rate = decode(content, path)
    except BadAudio as error:
        return 0.0, 0, "", error.reason
    return len(waveform) / rate, rate, digest_of_bytes(content), find_problem(waveform, rate, rules)


def _check_files(paths: list[Path], settings: Settings) -> Iterator[tuple[float, int, str, str | None]]:
    # Decoding and hashing release the interpreter lock, so threads are enough and start at once.
    with ThreadPoolExecutor(resolve_workers(settings.compute.workers)) as pool:
        try:
            results = pool.map(lambda path: check_file(path, settings.audio), paths)
            yield from bar(results, total=len(paths), desc="check audio", unit="file")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def check_corpus(utterances: pd.DataFrame, root: str | Path, settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Decodes every file once; returns the good rows (with duration_s, sample_rate, digest) and a table of problems.

    utterances: columns utt_id, path (relative to `root`). problems: columns utt_id, path, reason; also written to
    exp/<name>/bad_audio.csv when there are any. With audio.on_bad_audio=fail one problem raises `UserError`; with skip the row is left out.
    """
    paths = [Path(root) / path for path in utterances["path"]]
    facts = pd.DataFrame(_check_files(paths, settings), columns=["duration_s", "sample_rate", "digest", "reason"], index=utterances.index)
    bad = facts["reason"].notna()
    problems = pd.DataFrame({"utt_id": utterances["utt_id"], "path": utterances["path"], "reason": facts["reason"]})[bad]
    name_problems(problems, len(utterances), Layout.of(settings).bad_audio, settings.audio)
    checked = utterances.assign(**{name: facts[name] for name in ("duration_s", "sample_rate", "digest")})[~bad]
    return checked.reset_index(drop=True), problems.reset_index(drop=True)


def name_problems(problems: pd.DataFrame, total: int, listing: Path, rules: Audio) -> None:
    """Writes the bad ones (columns path, reason and more) of so many files to `listing`, if any. Raises `UserError` unless skipped."""
    if problems.empty:
        listing.unlink(missing_ok=True)  # an earlier check's list would mislead
        return
    write_csv(problems, listing)
    if rules.on_bad_audio == "fail":
        raise UserError(_describe_problems(problems, total, listing))


def _describe_problems(problems: pd.DataFrame, total: int, listing: Path) -> str:
    named = "; ".join(f"{row.path}: {row.reason}" for row in problems.head(NUM_NAMED).itertuples())
    more = f"; and {len(problems) - NUM_NAMED} more" if len(problems) > NUM_NAMED else ""
    count = f"{len(problems)} of {total} audio files cannot be used"
    return f"{count}: {named}{more}. Full list: {listing}. Mend them, or leave them out with audio.on_bad_audio=skip"
