"""Noises and room responses, decoded once into memory-mapped arrays that every utterance then reads from.

MUSAN's files last minutes; decoding one for each variant of each utterance is what made the published preprocessing slow.

Files   <paths.exp>/noise_bank/<kind>-<hash8>.npy (all clips end to end) and .json (where each begins, written last).
        The hash covers the names, sizes and times of the audio files: change one and a new bank is made.
Kinds   music, noise, speech: int16 with one scale per file, which is exact for 16-bit files at the bank's rate (all of MUSAN);
        rir: float32, since the tail of a response matters down to its end.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from filelock import FileLock

from sourcetracing.audio.reading import BadAudio, decode, resample
from sourcetracing.errors import UserError
from sourcetracing.layout import noise_bank
from sourcetracing.runtime.files import atomic_path, digest_of_file, digest_of_json, write_json
from sourcetracing.runtime.npy import create_array, write_at
from sourcetracing.runtime.parallel import resolve_workers
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.frontends import Augment
from sourcetracing.settings.names import refuse_undecodable
from sourcetracing.settings.schema import Settings

NOISE_KINDS = ("music", "noise", "speech")
RIR = "rir"
BANK_FORMAT = 1  # raise it when the content of a bank changes for the same audio files
INT16_STEPS = 32768
_DOWNLOAD = "Run: python scripts/01_download_resources.py CONFIG.yaml"


@dataclass(frozen=True)
class ClipBank:
    """Many clips end to end in one array; reading a part of one touches only that part of the file."""

    samples: np.ndarray  # (total samples,) int16 or float32, usually memory-mapped
    starts: list[int]
    lengths: list[int]
    scales: list[float]  # clip = samples * scale
    digest: str

    def __len__(self) -> int:
        return len(self.starts)

    @classmethod
    def open(cls, manifest: Path) -> ClipBank:
        """A finished bank from its .json."""
        facts = json.loads(manifest.read_text(encoding="utf-8"))
        samples = np.load(manifest.with_suffix(".npy"), mmap_mode="r")
        return cls(samples, facts["starts"], facts["lengths"], facts["scales"], facts["digest"])

    def read(self, clip: int, start: int = 0, num_samples: int | None = None) -> np.ndarray:
        """(num_samples,) float32 of a clip from `start` on, going round when it ends; without num_samples the clip once."""
        length = self.lengths[clip]
        num_samples = length if num_samples is None else num_samples
        whole = self.samples[self.starts[clip] : self.starts[clip] + length]
        part = whole[start : start + num_samples]
        if len(part) < num_samples:
            part = np.resize(np.concatenate([whole[start:], whole[:start]]), num_samples)
        return part.astype(np.float32) * np.float32(self.scales[clip])


def needed_kinds(augment: Augment) -> list[str]:
    """The banks that the chosen variants draw from."""
    kinds = {RIR if variant == "reverb" else variant for variant in augment.variants if variant != "original"}
    if augment.force_speech and kinds & set(NOISE_KINDS):
        kinds = kinds - set(NOISE_KINDS) | {"speech"}
    return sorted(kinds)


def find_clips(settings: Settings) -> dict[str, list[Path]]:
    """The audio files of each kind that the chosen variants need, sorted by path. Raises `UserError`."""
    kinds = needed_kinds(settings.augment)
    found = {RIR: find_responses(Path(settings.paths.rirs), settings.augment.real_rirs)} if RIR in kinds else {}
    if set(kinds) & set(NOISE_KINDS):
        noises = find_noises(Path(settings.paths.musan))
        found |= {kind: noises[kind] for kind in kinds if kind != RIR}
    for kind, files in found.items():
        if not files:
            root, name = (settings.paths.rirs, "paths.rirs") if kind == RIR else (settings.paths.musan, "paths.musan")
            raise UserError(f"{root} ({name}) holds no {kind} files. {_DOWNLOAD}")
    return found


def find_noises(root: Path) -> dict[str, list[Path]]:
    """MUSAN's files by category: {music,noise,speech}/<subset>/<file>.wav. Raises `UserError` for any other category (D5)."""
    files = _wav_files(root, "paths.musan")
    found: dict[str, list[Path]] = {kind: [] for kind in NOISE_KINDS}
    for file in files:
        folders = file.relative_to(root).parts[:-1]
        category = folders[-2] if len(folders) >= 2 else "(none)"
        if category not in found:
            raise UserError(f"{file}: unknown category {category!r}; below {root} files lie in {{music,noise,speech}}/<subset>/")
        found[category].append(file)
    return found


def find_responses(root: Path, real: bool) -> list[Path]:
    """RIRS_NOISES' simulated responses; `real` adds the measured ones (D8), but not the noise recordings in their folder."""
    files = _wav_files(root / "simulated_rirs", "paths.rirs")
    if real:
        files += [file for file in _wav_files(root / "real_rirs_isotropic_noises", "paths.rirs") if "noise" not in file.stem]
    return sorted(files)


def _wav_files(root: Path, setting_name: str) -> list[Path]:
    if not root.is_dir():
        raise UserError(f"{root} ({setting_name}) does not exist. {_DOWNLOAD}")
    files = sorted(Path(folder) / name for folder, _, names in os.walk(root) for name in names if name.lower().endswith(".wav"))
    refuse_undecodable(map(str, files))
    return files


def bank_manifests(settings: Settings) -> dict[str, Path]:
    """The .json of each bank that the variants need, whether it has been made or not. Raises `UserError` when audio is missing."""
    return {kind: _manifest(kind, files, settings) for kind, files in find_clips(settings).items()}


def prepare_banks(settings: Settings) -> dict[str, Path]:
    """Makes the banks that the variants need, where they are not there yet; returns the .json of each kind."""
    manifests = {}
    for kind, files in find_clips(settings).items():
        manifests[kind] = manifest = _manifest(kind, files, settings)
        if not manifest.exists():
            manifest.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(manifest.with_suffix(".lock")):
                if not manifest.exists():
                    _build_bank(kind, files, manifest, settings)
    return manifests


def open_banks(manifests: dict[str, Path]) -> dict[str, ClipBank]:
    """The banks that `prepare_banks` made."""
    return {kind: ClipBank.open(manifest) for kind, manifest in manifests.items()}


def _manifest(kind: str, files: list[Path], settings: Settings) -> Path:
    facts = [(str(file), stat.st_size, stat.st_mtime_ns) for file in files for stat in [file.stat()]]
    key = digest_of_json([BANK_FORMAT, settings.audio.sample_rate, facts])[:8]
    return noise_bank(settings, kind, key)


def _build_bank(kind: str, files: list[Path], manifest: Path, settings: Settings) -> None:
    rate = settings.audio.sample_rate
    dtype = np.dtype(np.float32 if kind == RIR else np.int16)
    rooms = [_room_for(file, rate) for file in files]
    starts = np.concatenate([[0], np.cumsum(rooms)[:-1]]).astype(int).tolist()
    with atomic_path(manifest.with_suffix(".npy")) as partial:
        header_bytes = create_array(partial, (sum(rooms),), dtype)

        def store(index: int) -> tuple[int, float]:
            stored, scale = _encode(files[index], kind, rate)
            assert len(stored) <= rooms[index]
            write_at(partial, header_bytes + starts[index] * dtype.itemsize, [stored])
            return len(stored), scale

        results = list(bar(_in_threads(store, len(files), settings), total=len(files), desc=f"decode {kind} files", unit="file"))
        digest = digest_of_file(partial)
    lengths, scales = [length for length, _ in results], [scale for _, scale in results]
    facts = {"kind": kind, "sample_rate": rate, "num_files": len(files), "seconds": round(sum(lengths) / rate, 3), "digest": digest}
    write_json(manifest, {**facts, "files": [str(file) for file in files], "starts": starts, "lengths": lengths, "scales": scales})


def _in_threads(function, count: int, settings: Settings) -> Iterator:
    # Decoding and resampling release the interpreter lock. A few files in flight at most: they last minutes.
    with ThreadPoolExecutor(resolve_workers(settings.compute.workers)) as pool:
        try:
            yield from pool.map(function, range(count))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _room_for(file: Path, rate: int) -> int:
    """Samples to set aside for a file, from its header: never too few, a few too many when it gets resampled."""
    try:
        info = soundfile.info(str(file))
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise BadAudio(file, f"cannot be read as audio ({error})") from None
    return info.frames if info.samplerate == rate else -(-info.frames * rate // info.samplerate) + 2


def _encode(file: Path, kind: str, rate: int) -> tuple[np.ndarray, float]:
    """A file as what the bank stores, and the scale that turns it back into samples. Raises `BadAudio`."""
    # Of a multi-channel response only the first channel: the mean of several microphones would be a response of no place at all.
    waveform, file_rate = decode(file.read_bytes(), file, first_channel=kind == RIR)
    waveform = resample(waveform, file_rate, rate)
    if not np.isfinite(waveform).all():
        raise BadAudio(file, "some of its samples are NaN or infinite")
    if kind == RIR:
        last = np.flatnonzero(waveform)[-1:]
        if not len(last):
            raise BadAudio(file, "a room response without any sound")
        return waveform[: last[0] + 1], 1.0  # zeros at the end change nothing but cost time
    scaled = waveform * np.float32(INT16_STEPS)
    if np.array_equal(scaled, np.rint(scaled)) and scaled.max() < INT16_STEPS:
        return scaled.astype(np.int16), 1 / INT16_STEPS
    peak = float(np.abs(waveform).max())
    return np.rint(waveform * np.float32((INT16_STEPS - 1) / peak)).astype(np.int16), peak / (INT16_STEPS - 1)
