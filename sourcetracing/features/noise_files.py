"""The audio files of noises and rooms on this machine: found with their sizes and times in one walk, and their content digested.

RIRS_NOISES has 60,000 files, and every script that opens a feature store looks at them. One walk asks the system for each of them once;
whether a file is still what was digested is told by its size and both its times, so a file that was changed in place is noticed.

Files   <paths.exp>/noise_bank/clip_digests.json: absolute path -> size, times of change, digest. Spares reading files again that have not
        changed since.
"""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from sourcetracing.audio.formats import is_audio_name
from sourcetracing.errors import UserError
from sourcetracing.layout import noise_bank
from sourcetracing.runtime.files import digest_of_file, write_text
from sourcetracing.runtime.parallel import resolve_workers
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.frontends import Augment
from sourcetracing.settings.names import is_utf_8, refuse_undecodable
from sourcetracing.settings.schema import Settings

NOISE_KINDS = ("music", "noise", "speech")
RIR = "rir"
DIGESTS_NAME = "clip_digests.json"
SETTLED_NS, QUICK_BYTES = 2_000_000_000, 1_000_000_000
_DOWNLOAD = "Run: python scripts/01_download_resources.py CONFIG.yaml"


@dataclass(frozen=True)
class Clips:
    """The audio files of one kind: their names below `root`, and what one walk saw of each: bytes, modified and changed at (ns)."""

    root: Path
    names: list[str]
    stamps: list[tuple[int, int, int]]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def files(self) -> list[Path]:
        """Their paths."""
        return [self.root / name for name in self.names]

    @property
    def are_settled(self) -> bool:
        """Whether none was written a moment ago: it may change once more and keep its times, which are no finer than some milliseconds."""
        return not self.stamps or max(max(stamp[1:]) for stamp in self.stamps) < time.time_ns() - SETTLED_NS

    def where(self, is_wanted: Callable[[str], bool]) -> Clips:
        """Those whose names are wanted."""
        kept = [(name, stamp) for name, stamp in zip(self.names, self.stamps, strict=True) if is_wanted(name)]
        return Clips(self.root, [name for name, _ in kept], [stamp for _, stamp in kept])


def needed_kinds(augment: Augment) -> list[str]:
    """The banks that the chosen variants draw from."""
    kinds = {RIR if variant == "reverb" else variant for variant in augment.variants if variant in ("reverb", *NOISE_KINDS)}
    if augment.force_speech and kinds & set(NOISE_KINDS):
        kinds = kinds - set(NOISE_KINDS) | {"speech"}
    return sorted(kinds)


def find_clips(settings: Settings) -> dict[str, Clips]:
    """The audio files of each kind that the chosen variants need, sorted by path. Raises `UserError`."""
    kinds = needed_kinds(settings.augment)
    found = {RIR: find_responses(Path(settings.paths.rirs), settings.augment.real_rirs)} if RIR in kinds else {}
    if set(kinds) & set(NOISE_KINDS):
        noises = find_noises(Path(settings.paths.musan))
        found |= {kind: noises[kind] for kind in kinds if kind != RIR}
    for kind, clips in found.items():
        if not len(clips):
            root, name = (settings.paths.rirs, "paths.rirs") if kind == RIR else (settings.paths.musan, "paths.musan")
            raise UserError(f"{root} ({name}) holds no {kind} files. {_DOWNLOAD}")
    return found


def find_noises(root: Path) -> dict[str, Clips]:
    """MUSAN's files by category: {music,noise,speech}/<subset>/<file>.wav. Raises `UserError` for any other category (D5)."""
    clips = _clips_below(root, [""], "paths.musan")
    categories = {name: _category(name) for name in clips.names}
    if strange := next((name for name, category in categories.items() if category not in NOISE_KINDS), None):
        raise UserError(
            f"{root / strange}: unknown category {categories[strange]!r}; below {root} files lie in {{music,noise,speech}}/<subset>/"
        )
    return {kind: clips.where(lambda name, kind=kind: categories[name] == kind) for kind in NOISE_KINDS}


def _category(name: str) -> str:
    folders = name.split("/")[:-1]
    return folders[-2] if len(folders) >= 2 else "(none)"


def find_responses(root: Path, real: bool) -> Clips:
    """RIRS_NOISES' simulated responses; `real` adds the measured ones (D8), but not the noise recordings in their folder."""
    if not real:
        return _clips_below(root, ["simulated_rirs"], "paths.rirs")
    measured = "real_rirs_isotropic_noises"
    clips = _clips_below(root, [measured, "simulated_rirs"], "paths.rirs")
    return clips.where(lambda name: not (name.startswith(f"{measured}/") and "noise" in Path(name).stem))


def _clips_below(root: Path, folders: list[str], setting_name: str) -> Clips:
    """All audio files below some folders of `root` (in the order of their names), sorted by the parts of their paths."""
    clips = Clips(root, [], [])
    for folder in folders:
        if not (root / folder).is_dir():
            raise UserError(f"{root / folder} ({setting_name}) does not exist. {_DOWNLOAD}")
        _walk(str(root / folder), f"{folder}/" if folder else "", clips)
    if not is_utf_8("".join(clips.names)):
        refuse_undecodable(f"{root}/{name}" for name in clips.names)
    return clips


def _walk(folder: str, prefix: str, clips: Clips) -> None:
    """Adds each audio file below a folder, name by name, as prefix + its name there. Raises `UserError` for a link that leads nowhere.

    As by os.walk, links to folders are not followed, and folders that may not be read, such as a disk's lost+found, are passed over.
    """
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=attrgetter("name"))
    except PermissionError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            _walk(entry.path, f"{prefix}{entry.name}/", clips)
        elif is_audio_name(entry.name):
            try:
                status = entry.stat()
            except OSError as error:
                raise UserError(f"{entry.path} cannot be read ({error.strerror}). Remove it, or put the file there") from None
            if not stat.S_ISDIR(status.st_mode):
                clips.names.append(prefix + entry.name)
                clips.stamps.append((status.st_size, status.st_mtime_ns, status.st_ctime_ns))


def content_digests(clips: Clips, settings: Settings) -> list[str]:
    """Of the content of each file. One is read when its size or one of its times is not what it was when it was read last."""
    path = noise_bank(settings, "", "").with_name(DIGESTS_NAME)
    known, root = remembered(path, _is_entry), os.path.abspath(clips.root)
    stamps = {f"{root}/{name}": list(stamp) for name, stamp in zip(clips.names, clips.stamps, strict=True)}
    missing = [name for name, stamp in stamps.items() if known.get(name, [None])[:-1] != stamp]
    if missing:
        is_quick = sum(stamps[name][0] for name in missing) < QUICK_BYTES
        made = in_threads(lambda place: digest_of_file(missing[place]), len(missing), settings)
        made = bar(made, total=len(missing), desc="read noises", unit="file", disable=is_quick)
        known |= {name: [*stamps[name], digest] for name, digest in zip(missing, made, strict=True)}
        newest = time.time_ns() - SETTLED_NS
        remember(path, {name: entry for name, entry in known.items() if max(entry[1:-1]) < newest}, _is_entry)
    return [known[name][-1] for name in stamps]


def remembered(path: Path, is_sound: Callable[[Any], bool]) -> dict[str, Any]:
    """What `remember` left, but for what is not sound: a file that only spares work must not be able to do harm."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: fact for name, fact in facts.items() if is_sound(fact)} if isinstance(facts, dict) else {}


def remember(path: Path, facts: dict[str, Any], is_sound: Callable[[Any], bool]) -> None:
    """Adds facts to a JSON file that spares work next time; whoever may only read it does the work each time."""
    with suppress(OSError):
        write_text(path, json.dumps(remembered(path, is_sound) | facts) + "\n")


def is_digest(fact: Any) -> bool:
    """Whether it is one or several groups of eight hex digits."""
    return isinstance(fact, str) and re.fullmatch(r"([0-9a-f]{8})+", fact) is not None


def _is_entry(fact: Any) -> bool:
    return isinstance(fact, list) and len(fact) == 4 and all(type(number) is int for number in fact[:3]) and is_digest(fact[3])


def in_threads(function: Callable[[int], Any], count: int, settings: Settings) -> Iterator[Any]:
    """function(0), function(1) ... in order, by one thread for each worker."""
    # Decoding and resampling release the interpreter lock. A few files in flight at most: they last minutes.
    with ThreadPoolExecutor(resolve_workers(settings.compute.workers)) as pool:
        try:
            yield from pool.map(function, range(count))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
