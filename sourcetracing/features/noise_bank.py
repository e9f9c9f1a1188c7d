"""Noises and room responses, decoded once into memory-mapped arrays that every utterance then reads from.

MUSAN's files last minutes; decoding one for each variant of each utterance is what made the published preprocessing slow.

Files   <paths.exp>/noise_bank/<kind>-<hash8>.npy (all clips end to end) and .json (where each begins, written last).
        The hash covers the names of the audio files below their folder and their content: copy or move the folder and the bank is found,
        change a file and a new one is made. clip_looks.json spares even comparing digests where no file has another size or time.
Kinds   music, noise, speech: int16 with one scale per file, which is exact for 16-bit files at the bank's rate (all of MUSAN);
        rir: float32, since the tail of a response matters down to its end.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sourcetracing.audio.bad_audio import BadAudio
from sourcetracing.audio.reading import read_audio, resample, samples_at_most
from sourcetracing.downloads.records import require_free_space
from sourcetracing.errors import UserError
from sourcetracing.features.noise_files import (
    RIR,
    Clips,
    content_digests,
    find_clips,
    in_threads,
    is_digest,
    needed_kinds,
    remember,
    remembered,
)
from sourcetracing.layout import noise_bank
from sourcetracing.runtime.files import atomic_path, digest_of_file, digest_of_json, write_json
from sourcetracing.runtime.locks import held
from sourcetracing.runtime.npy import create_array, write_at
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.frontends import Audio
from sourcetracing.settings.recorded import channel_recipe
from sourcetracing.settings.schema import Settings

BANK_FORMAT = 1  # raise it when the content of a bank changes for the same audio files
LOOKS_NAME = "clip_looks.json"  # digest of the names, sizes and times of all files of a kind -> the hash of their bank
INT16_STEPS = 32768


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


def noises_at_hand(settings: Settings) -> dict[str, str]:
    """Kind -> digest of the banks that the variants need and that have been made of the noises on this machine; no other noises' banks.

    Where there is no bank at all, no noise is looked at.
    """
    kinds = needed_kinds(settings.augment)
    if not any(noise_bank(settings, kind, "").parent.glob(f"{kind}-*.json") for kind in kinds):
        return {}
    try:
        found = find_clips(settings)
    except UserError:  # no noises on this machine
        return {}
    manifests = {kind: _manifest(kind, clips, settings) for kind, clips in found.items()}
    return {kind: ClipBank.open(path).digest for kind, path in manifests.items() if _is_made(path)}


def prepare_banks(settings: Settings, found: Mapping[str, Clips] | None = None) -> dict[str, Path]:
    """Makes the banks that the variants need, where they are not there yet; returns the .json of each kind. Raises `UserError`.

    found: what `find_clips` has found, where the caller has looked already. That the disk has room for all banks is looked at before the
    first file is decoded.
    """
    found = find_clips(settings) if found is None else found
    manifests = {kind: _manifest(kind, clips, settings) for kind, clips in found.items()}
    missing = [kind for kind, manifest in manifests.items() if not _is_made(manifest)]
    missing = [kind for kind in missing if not _taken_over(kind, found[kind], manifests[kind], settings)]
    rooms = {kind: [samples_at_most(file, _rules(kind, settings)) for file in found[kind].files] for kind in missing}
    if missing:
        needed_bytes = sum(sum(rooms[kind]) * _dtype(kind).itemsize for kind in missing)
        what = f"the noise bank ({', '.join(sorted(missing))}: a decoded copy)"
        require_free_space(noise_bank(settings, "", "").parent, needed_bytes, what)
    for kind in missing:
        with _sole_maker(kind, manifests[kind]):
            if not _is_made(manifests[kind]):
                _build_bank(kind, found[kind], rooms[kind], manifests[kind], settings)
    return manifests


def _sole_maker(kind: str, manifest: Path) -> AbstractContextManager[None]:
    return held(manifest.with_suffix(".lock"), f"another process is decoding {kind} files", wait=True)


def open_banks(manifests: dict[str, Path]) -> dict[str, ClipBank]:
    """The banks that `prepare_banks` made."""
    return {kind: ClipBank.open(manifest) for kind, manifest in manifests.items()}


def _is_made(manifest: Path) -> bool:
    return manifest.is_file() and manifest.with_suffix(".npy").is_file()


def _manifest(kind: str, clips: Clips, settings: Settings) -> Path:
    """The .json of the bank of these files, made or not. Files that look as they did the last time have the bank that they had then."""
    rules = [BANK_FORMAT, settings.audio.sample_rate, *_mixed(kind, settings)]
    look = digest_of_json([rules, os.path.abspath(clips.root), clips.names, clips.stamps])
    path = noise_bank(settings, "", "").with_name(LOOKS_NAME)
    if look not in (known := remembered(path, is_digest)):
        facts = list(zip(clips.names, content_digests(clips, settings), strict=True))
        known = {look: digest_of_json([BANK_FORMAT, settings.audio.sample_rate, facts, *_mixed(kind, settings)])[:8]}
        if clips.are_settled:
            remember(path, known, is_digest)
    return noise_bank(settings, kind, known[look])


def _mixed(kind: str, settings: Settings) -> list:
    """How channels become one, where that is not the default; a room response always has its first."""
    return [] if kind == RIR else list(channel_recipe(settings.audio).values())


def _taken_over(kind: str, clips: Clips, manifest: Path, settings: Settings) -> bool:
    """Renames a bank of these files that was called after paths and times, as all were before 2026-11-27; False where there is none."""
    facts = [(str(file), size, modified) for file, (size, modified, _) in zip(clips.files, clips.stamps, strict=True)]
    old = noise_bank(settings, kind, digest_of_json([BANK_FORMAT, settings.audio.sample_rate, facts, *_mixed(kind, settings)])[:8])
    with _sole_maker(kind, manifest):
        if not _is_made(old):
            return _is_made(manifest)
        for suffix in (".npy", ".json"):
            os.replace(old.with_suffix(suffix), manifest.with_suffix(suffix))
        return True


def _rules(kind: str, settings: Settings) -> Audio:
    """How a kind is read: of a multi-channel response only the first channel, for the mean of several microphones is of no place at all."""
    return replace(settings.audio, channel="left") if kind == RIR else settings.audio


def _dtype(kind: str) -> np.dtype:
    return np.dtype(np.float32 if kind == RIR else np.int16)


def _build_bank(kind: str, clips: Clips, rooms: list[int], manifest: Path, settings: Settings) -> None:
    """rooms: the most samples that each file may have."""
    rules, dtype, files = _rules(kind, settings), _dtype(kind), clips.files
    starts = np.concatenate([[0], np.cumsum(rooms)[:-1]]).astype(int).tolist()
    with atomic_path(manifest.with_suffix(".npy")) as partial:
        header_bytes = create_array(partial, (sum(rooms),), dtype)

        def store(index: int) -> tuple[int, float]:
            stored, scale = _encode(files[index], kind, rules)
            assert len(stored) <= rooms[index]
            write_at(partial, header_bytes + starts[index] * dtype.itemsize, [stored])
            return len(stored), scale

        results = list(bar(in_threads(store, len(files), settings), total=len(files), desc=f"decode {kind} files", unit="file"))
        digest = digest_of_file(partial)
    lengths, scales = [length for length, _ in results], [scale for _, scale in results]
    rate = rules.sample_rate
    facts = {"kind": kind, "sample_rate": rate, "num_files": len(files), "seconds": round(sum(lengths) / rate, 3), "digest": digest}
    write_json(manifest, {**facts, "files": clips.names, "starts": starts, "lengths": lengths, "scales": scales})


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
