"""The feature store: one contiguous array on disk per corpus and front-end, an index beside it, and what made it.

Folder  exp/<name>/features/<frontend>-<hash8>/, the hash covering all that the content depends on
Files   features.npy  (rows, ...feature shape), float16 or float32; row = utterance index * number of variants + variant index
        index.csv     row, utt_id, variant, split, language, source
        store.json    settings, versions, shape, checksum; written last, so a folder that has it is finished
        While it is being made: features.partial.npy, and progress.jsonl with one durable line per finished block.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from sourcetracing.downloads.records import require_free_space
from sourcetracing.errors import UserError
from sourcetracing.layout import StoreLayout
from sourcetracing.runtime.files import atomic_path, digest_of_file, read_csv, write_json
from sourcetracing.runtime.locks import held
from sourcetracing.runtime.npy import create_array, read_from, write_at

STORE_FORMAT = 1  # raise it when features change for the same settings and audio
INDEX_COLUMNS = ["row", "utt_id", "variant", "split", "language", "source"]
LIBRARIES = ("numpy", "scipy", "soundfile", "soxr", "torch", "torchaudio", "transformers")


class FeatureStore:
    """A finished store, open for reading. A subclass says what it is called, what makes it, and which columns of its index are text."""

    what, command = "feature store", "python scripts/04_preprocess_dataset.py CONFIG.yaml"
    text_columns: Sequence[str] = INDEX_COLUMNS[1:]

    def __init__(self, folder: Path, facts: dict, index: pd.DataFrame, header_bytes: int):
        self.folder, self.facts, self.index, self._header_bytes = folder, facts, index, header_bytes
        self.name = folder.name  # what runs on it are told apart by
        self.shape, self.dtype = tuple(facts["shape"]), np.dtype(facts["dtype"])

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Opens a store in milliseconds. Raises `UserError` when it is missing, unfinished or damaged."""
        folder, files = Path(folder), StoreLayout(Path(folder))
        if not is_finished(folder):
            raise UserError(f"the {cls.what} {folder} is {'not finished' if folder.is_dir() else 'missing'}. Run: {cls.command}")
        try:
            facts = json.loads(files.record.read_text(encoding="utf-8"))
            index = read_csv(files.index, texts=cls.text_columns)
            header_bytes = np.load(files.features, mmap_mode="r").offset  # also refuses a file that is too short for its shape
            expected_bytes = header_bytes + int(np.prod(facts["shape"])) * np.dtype(facts["dtype"]).itemsize
            store = cls(folder, facts, index, header_bytes)
            intact = files.features.stat().st_size == expected_bytes and len(index) == facts["shape"][0]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise cls._damaged(folder, str(error)) from None
        if not intact:
            raise cls._damaged(folder, f"its files do not have the {facts['shape'][0]} rows that {files.record.name} tells of")
        return store

    @classmethod
    def _damaged(cls, folder: Path, reason: str) -> UserError:
        return UserError(f"the {cls.what} {folder} is damaged ({reason}). Delete that folder, then run: {cls.command}")

    def load(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """(len(rows), ...feature shape) in memory, in the order of `rows`, in the store's number type; runs of rows are read at once."""
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and not (rows.min() >= 0 and rows.max() < self.shape[0]):
            raise IndexError(f"row {rows.max()} of a store of {self.shape[0]} rows")
        loaded = np.empty((len(rows), *self.shape[1:]), self.dtype)
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        with open(StoreLayout(self.folder).features, "rb", buffering=0) as file:
            for start, stop in zip([0, *breaks], [*breaks, len(rows)], strict=True):
                if start < stop:
                    read_from(file, self._header_bytes + int(rows[start]) * loaded[0].nbytes, loaded[start:stop])
        return loaded


def only_writer(folder: Path) -> AbstractContextManager[None]:
    """Holds a store's lock. Raises `UserError` when another process has it."""
    return held(StoreLayout(folder).lock, f"another process is writing {folder}")


def is_finished(folder: Path) -> bool:
    """Whether a store is complete (its last file is there)."""
    return StoreLayout(folder).record.is_file()


def library_versions() -> dict[str, str]:
    """Library -> version, of those that features depend on."""
    return {name: version(name) for name in LIBRARIES}


@dataclass(frozen=True)
class BlockFile:
    """The array of a store that is being made, for whoever writes its blocks; small, so that it can travel to another machine."""

    path: Path
    header_bytes: int
    row_bytes: int
    num_rows: int
    rows_per_block: int

    def rows(self, block: int) -> range:
        """The rows of a block; the last one may be shorter."""
        return range(block * self.rows_per_block, min((block + 1) * self.rows_per_block, self.num_rows))

    def offset_bytes(self, block: int) -> int:
        """Where a block begins."""
        return self.header_bytes + block * self.rows_per_block * self.row_bytes

    def holds(self, block: int, crc: int) -> bool:
        """Whether what is on disk of a block has this CRC-32."""
        content = np.empty(len(self.rows(block)) * self.row_bytes, np.uint8)
        with open(self.path, "rb", buffering=0) as file:
            read_from(file, self.offset_bytes(block), content)
        return zlib.crc32(content) == crc


class StoreWriter:
    """Fills a store block by block; blocks that an earlier, killed run finished are kept."""

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: np.dtype, rows_per_block: int):
        """Starts or resumes. shape: (rows, ...feature shape). A resumed store keeps the block size that it began with."""
        self.folder, self.shape, self.dtype = folder, shape, np.dtype(dtype)
        self.files = StoreLayout(folder)
        self.path = self.files.partial
        self.rows_per_block = rows_per_block
        self.header_bytes = 0  # of an array that is not begun
        self.finished: dict[int, int] = {}
        is_resumed = self._resume()
        self._require_space(is_resumed)
        if not is_resumed:
            self._start()

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.shape[1:])) * self.dtype.itemsize

    @property
    def num_blocks(self) -> int:
        return -(-self.shape[0] // self.rows_per_block)

    @property
    def file(self) -> BlockFile:
        """What the makers of blocks get."""
        return BlockFile(self.path, self.header_bytes, self.row_bytes, self.shape[0], self.rows_per_block)

    def block_rows(self, block: int) -> range:
        """The rows of a block."""
        return self.file.rows(block)

    def remaining(self) -> list[int]:
        """The blocks still to be made."""
        return [block for block in range(self.num_blocks) if block not in self.finished]

    def commit(self, block: int, crc: int) -> None:
        """Notes durably that a block is on disk (`write_block` has synced it)."""
        self._append({"block": block, "crc32": crc})
        self.finished[block] = crc

    def finish(self, index: pd.DataFrame, facts: dict, columns: Sequence[str] = INDEX_COLUMNS) -> None:
        """Turns the finished array into a store. facts: what store.json shall hold beside shape, dtype, checksum and bytes."""
        assert not self.remaining() and len(index) == self.shape[0]
        with atomic_path(self.files.index) as partial:
            index[list(columns)].to_csv(partial, index=False)
        checksum, num_bytes = digest_of_file(self.path), self.path.stat().st_size
        os.replace(self.path, self.files.features)
        shape = {"shape": list(self.shape), "dtype": self.dtype.name, "bytes": num_bytes, "checksum": checksum}
        write_json(self.files.record, {"format": STORE_FORMAT, **shape, **facts})
        self.files.progress.unlink()

    def _require_space(self, is_resumed: bool) -> None:
        """Raises `UserError` where the disk has no room for the blocks that are still to be made."""
        needed = sum(len(self.block_rows(block)) for block in self.remaining()) * self.row_bytes
        if self.path.exists():  # what an earlier run wrote, whole or not, is taken already, or given back when the file begins anew
            needed = min(needed, max(0, self.shape[0] * self.row_bytes - 512 * self.path.stat().st_blocks))
        require_free_space(self.folder, needed, "the rest of the feature store" if is_resumed else "the feature store")

    def _start(self) -> None:
        self.files.progress.unlink(missing_ok=True)
        self.header_bytes = create_array(self.path, self.shape, self.dtype)
        self._append({"rows_per_block": self.rows_per_block, "header_bytes": self.header_bytes})

    def _append(self, line: dict) -> None:
        with open(self.files.progress, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _resume(self) -> bool:
        """Takes over what an earlier run left, if it fits; each block is compared with its CRC-32."""
        if self.files.features.exists() and not self.path.exists():  # killed between the last two steps of `finish`
            os.replace(self.files.features, self.path)
        lines = _read_lines(self.files.progress)
        if not lines or "rows_per_block" not in lines[0] or not self.path.exists():
            return False
        self.rows_per_block, self.header_bytes = lines[0]["rows_per_block"], lines[0]["header_bytes"]
        if self.path.stat().st_size != self.header_bytes + self.shape[0] * self.row_bytes:
            return False
        file = self.file
        self.finished = {line["block"]: line["crc32"] for line in lines[1:] if file.holds(line["block"], line["crc32"])}
        # A line that the kill cut short would spoil the next one: write the good ones anew.
        with atomic_path(self.files.progress) as partial:
            kept = [lines[0], *({"block": block, "crc32": crc} for block, crc in self.finished.items())]
            partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        return True


def write_block(path: Path, header_bytes: int, first_row: int, block: np.ndarray) -> int:
    """Writes rows (rows, ...feature shape) of a partial store to their place, synced to disk; returns their CRC-32."""
    return write_at(path, header_bytes + first_row * block[0].nbytes, [block], durable=True)


def _read_lines(path: Path) -> list[dict]:
    """The lines of a progress record up to the first that is not whole."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines
