"""Large .npy files, written and read in pieces by plain file operations.

Not by memory maps: pages of a map count as memory of the process that touched them, and faulting them in is slower than reading.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np


def create_array(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> int:
    """An empty .npy file of this shape (the system fills it as it is written); returns the bytes before its first element."""
    with open(path, "wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        header_bytes = file.tell()
        file.truncate(header_bytes + int(np.prod(shape)) * np.dtype(dtype).itemsize)
    return header_bytes


def write_at(path: Path, offset_bytes: int, arrays: Iterable[np.ndarray], *, durable: bool = False) -> int:
    """Writes arrays one after the other into an existing file from an offset on; returns the CRC-32 of their bytes."""
    crc = 0
    # For writing alone: of a file that is open for reading too, NFS writes whole pages, over what other machines put beside our bytes.
    with open(os.open(path, os.O_WRONLY), "wb", buffering=0) as file:
        file.seek(offset_bytes)
        for array in arrays:
            view = memoryview(np.ascontiguousarray(array)).cast("B")
            crc = zlib.crc32(view, crc)
            while len(view):
                view = view[file.write(view) :]
        if durable:
            os.fsync(file.fileno())
    return crc


def read_from(file: io.RawIOBase, offset_bytes: int, array: np.ndarray) -> None:
    """Fills a C-contiguous array from a file that is open and unbuffered. Raises EOFError when the file ends early."""
    file.seek(offset_bytes)
    view = memoryview(array).cast("B")
    while len(view):
        num_read = file.readinto(view)  # at most 2 GiB at a time on Linux
        if not num_read:
            raise EOFError(f"{len(view)} bytes are missing")
        view = view[num_read:]
