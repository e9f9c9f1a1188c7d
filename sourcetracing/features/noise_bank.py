"""Noises and room responses, decoded once into memory-mapped arrays that every utterance then reads from.

MUSAN's files last minutes; decoding one for each variant of each utterance is what made the published preprocessing slow.

Files   <paths.exp>/noise_bank/<kind>-<hash8>.npy (all clips end to end) and .json (where each begins, written last).
        The hash covers the names of the audio files below their folder and their content: copy or move the folder and the bank is found,
        change a file and a new one is made. clip_digests.json spares reading files again that have not changed since.
Kinds   music, noise, speech: int16 with one scale per file, which is exact for 16-bit files at the bank's rate (all of MUSAN);
        rir: float32, since the tail of a response matters down to its end.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sourcetracing.audio.bad_audio import BadAudio
from sourcetracing.audio.formats import is_audio_name
from sourcetracing.audio.reading import read_audio, resample, samples_at_most
from sourcetracing.errors import UserError
from sourcetracing.layout import noise_bank
from sourcetracing.runtime.files import atomic_path, digest_of_file, digest_of_json, write_json, write_text
from sourcetracing.runtime.locks import held
from sourcetracing.runtime.npy import create_array, write_at
from sourcetracing.runtime.parallel import resolve_workers
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.frontends import Audio, Augment
from sourcetracing.settings.names import refuse_undecodable
from sourcetracing.settings.recorded import channel_recipe
from sourcetracing.settings.schema import Settings

NOISE_KINDS = ("music", "noise", "speech")
RIR = "rir"
BANK_FORMAT = 1  # raise it when the content of a bank changes for the same audio files
DIGESTS_NAME = "clip_digests.json"  # absolute path -> size, times of change, digest
SETTLED_NS, QUICK_BYTES = 2_000_000_000, 1_000_000_000
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
    files = _audio_files(root, "paths.musan")
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
    files = _audio_files(root / "simulated_rirs", "paths.rirs")
    if real:
        files += [file for file in _audio_files(root / "real_rirs_isotropic_noises", "paths.rirs") if "noise" not in file.stem]
    return sorted(files)


def _audio_files(root: Path, setting_name: str) -> list[Path]:
    if not root.is_dir():
        raise UserError(f"{root} ({setting_name}) does not exist. {_DOWNLOAD}")
    files = sorted(Path(folder) / name for folder, _, names in os.walk(root) for name in names if is_audio_name(name))
    refuse_undecodable(map(str, files))
    return files


def banks_at_hand(settings: Settings) -> dict[str, ClipBank]:
    """The banks that the variants need and that have been made of the noises on this machine; those of other noises are not among them.

    Where there is no bank at all, no noise is read.
    """
    kinds = needed_kinds(settings.augment)
    if not any(noise_bank(settings, kind, "").parent.glob(f"{kind}-*.json") for kind in kinds):
        return {}
    try:
        found = find_clips(settings)
    except UserError:  # no noises on this machine
        return {}
    manifests = {kind: _manifest(kind, files, settings) for kind, files in found.items()}
    return open_banks({kind: path for kind, path in manifests.items() if _is_made(path)})


def prepare_banks(settings: Settings) -> dict[str, Path]:
    """Makes the banks that the variants need, where they are not there yet; returns the .json of each kind."""
    manifests = {}
    for kind, files in find_clips(settings).items():
        manifests[kind] = manifest = _manifest(kind, files, settings)
        if not _is_made(manifest):
            with held(manifest.with_suffix(".lock"), f"another process is decoding {kind} files", wait=True):
                if not _is_made(manifest) and not _taken_over(kind, files, manifest, settings):
                    _build_bank(kind, files, manifest, settings)
    return manifests


def open_banks(manifests: dict[str, Path]) -> dict[str, ClipBank]:
    """The banks that `prepare_banks` made."""
    return {kind: ClipBank.open(manifest) for kind, manifest in manifests.items()}


def _is_made(manifest: Path) -> bool:
    return manifest.is_file() and manifest.with_suffix(".npy").is_file()


def _root_of(kind: str, settings: Settings) -> Path:
    return Path(settings.paths.rirs if kind == RIR else settings.paths.musan)


def _manifest(kind: str, files: list[Path], settings: Settings) -> Path:
    root, digests = _root_of(kind, settings), _digests(files, settings)
    facts = [(file.relative_to(root).as_posix(), digest) for file, digest in zip(files, digests, strict=True)]
    return noise_bank(settings, kind, digest_of_json([BANK_FORMAT, settings.audio.sample_rate, facts, *_mixed(kind, settings)])[:8])


def _mixed(kind: str, settings: Settings) -> list:
    """How channels become one, where that is not the default; a room response always has its first."""
    return [] if kind == RIR else list(channel_recipe(settings.audio).values())


def _digests(files: list[Path], settings: Settings) -> list[str]:
    """Of the content of each file. One is read when its size or one of its times is not what it was when it was read last."""
    path = noise_bank(settings, "", "").with_name(DIGESTS_NAME)
    known = _read_digests(path)
    stats = {os.path.abspath(file): file.stat() for file in files}
    stamps = {name: [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for name, stat in stats.items()}
    missing = [name for name, stamp in stamps.items() if known.get(name, [None])[:-1] != stamp]
    if missing:
        is_quick = sum(stamps[name][0] for name in missing) < QUICK_BYTES
        made = _in_threads(lambda place: digest_of_file(missing[place]), len(missing), settings)
        made = bar(made, total=len(missing), desc="read noises", unit="file", disable=is_quick)
        known |= {name: [*stamps[name], digest] for name, digest in zip(missing, made, strict=True)}
        # A file that is being written may change once more and keep its times, which are no finer than some milliseconds.
        settled = {name: entry for name, entry in known.items() if max(entry[1:-1]) < time.time_ns() - SETTLED_NS}
        with suppress(OSError):  # whoever may only read it, reads the noises each time
            write_text(path, json.dumps(_read_digests(path) | settled))
    return [known[name][-1] for name in stamps]


def _read_digests(path: Path) -> dict[str, list]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _taken_over(kind: str, files: list[Path], manifest: Path, settings: Settings) -> bool:
    """Renames a bank of these files that was called after paths and times, as all were before 2026-11-27; False where there is none."""
    facts = [(str(file), stat.st_size, stat.st_mtime_ns) for file in files for stat in [file.stat()]]
    old = noise_bank(settings, kind, digest_of_json([BANK_FORMAT, settings.audio.sample_rate, facts, *_mixed(kind, settings)])[:8])
    if not _is_made(old):
        return False
    for suffix in (".npy", ".json"):
        os.replace(old.with_suffix(suffix), manifest.with_suffix(suffix))
    return True


def _build_bank(kind: str, files: list[Path], manifest: Path, settings: Settings) -> None:
    rate = settings.audio.sample_rate
    dtype = np.dtype(np.float32 if kind == RIR else np.int16)
    # Of a multi-channel response only the first channel: the mean of several microphones would be a response of no place at all.
    rules = replace(settings.audio, channel="left") if kind == RIR else settings.audio
    rooms = [samples_at_most(file, rules) for file in files]
    starts = np.concatenate([[0], np.cumsum(rooms)[:-1]]).astype(int).tolist()
    with atomic_path(manifest.with_suffix(".npy")) as partial:
        header_bytes = create_array(partial, (sum(rooms),), dtype)

        def store(index: int) -> tuple[int, float]:
            stored, scale = _encode(files[index], kind, rules)
            assert len(stored) <= rooms[index]
            write_at(partial, header_bytes + starts[index] * dtype.itemsize, [stored])
            return len(stored), scale

        results = list(bar(_in_threads(store, len(files), settings), total=len(files), desc=f"decode {kind} files", unit="file"))
        digest = digest_of_file(partial)
    lengths, scales = [length for length, _ in results], [scale for _, scale in results]
    facts = {"kind": kind, "sample_rate": rate, "num_files": len(files), "seconds": round(sum(lengths) / rate, 3), "digest": digest}
    names = [file.relative_to(_root_of(kind, settings)).as_posix() for file in files]
    write_json(manifest, {**facts, "files": names, "starts": starts, "lengths": lengths, "scales": scales})


def _in_threads(function, count: int, settings: Settings) -> Iterator:
    # Decoding and resampling release the interpreter lock. A few files in flight at most: they last minutes.
    with ThreadPoolExecutor(resolve_workers(settings.compute.workers)) as pool:
        try:
            yield from pool.map(function, range(count))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _encode(file: Path, kind: str, rules: Audio) -> tuple[np.ndarray, float]:
    """A file as what the bank stores, and the scale that turns it back into samples. Raises `BadAudio`."""
    waveform = resample(*read_audio(file, rules), rules.sample_rate)
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
