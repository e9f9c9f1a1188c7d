"""Numbers of bytes as people read them, and bars that count bytes."""

from __future__ import annotations

from tqdm import tqdm

from sourcetracing.runtime.progress import bar

_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def size_text(size_bytes: int | None) -> str:
    """For example "11.09 GB" (1 GB = 1e9 bytes), "512 bytes", "size unknown"."""
    if size_bytes is None:
        return "size unknown"
    for unit_bytes, unit in _UNITS:
        if size_bytes >= unit_bytes:
            return f"{size_bytes / unit_bytes:.2f} {unit}"
    return f"{size_bytes} bytes"


def byte_bar(desc: str, total_bytes: int | None, initial_bytes: int = 0) -> tqdm:
    """A progress bar in bytes, shown as kB, MB, GB."""
    return bar(total=total_bytes, desc=desc, unit="B", initial=initial_bytes, unit_scale=True)


def say(line: str) -> None:
    """Prints a line on stdout without tearing the bars."""
    with tqdm.external_write_mode():
        print(line, flush=True)
