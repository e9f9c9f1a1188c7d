"""The ffmpeg program, through pipes: formats that libsndfile does not read, and codecs."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sourcetracing.audio.reading import BadAudio, resample_blocks
from sourcetracing.errors import UserError
from sourcetracing.runtime.extras import needs

_QUIET = ("-hide_banner", "-nostdin", "-loglevel", "error")
_AU_HEADER = struct.Struct(">4s5I")  # ".snd", where the samples begin, their bytes, encoding, Hz, channels
_AU_FLOAT32 = 6
_BLOCK_SECONDS = 10


class FfmpegError(UserError):
    """ffmpeg refused its input or its arguments; the message is the line it printed."""


@cache
def ffmpeg_program() -> str:
    """The ffmpeg of the PATH, else the one that the package imageio-ffmpeg carries. Raises `UserError` when there is neither."""
    program = shutil.which("ffmpeg")
    if program:
        return program
    with needs("ffmpeg", "without an ffmpeg program on the PATH this"):
        import imageio_ffmpeg
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        raise UserError("there is no ffmpeg program on the PATH, and the package imageio-ffmpeg has none for this machine") from None


def run_pipe(arguments: Sequence[str], content: bytes = b"") -> bytes:
    """What `ffmpeg <arguments>` writes to its output when it gets `content` as input ("pipe:0" and "pipe:1" name the two).

    Raises `FfmpegError` with ffmpeg's own words when it fails.
    """
    done = subprocess.run([ffmpeg_program(), *_QUIET, *arguments], input=content, capture_output=True)
    if done.returncode:
        raise FfmpegError(f"ffmpeg: {_first_line(done.stderr)}")
    return done.stdout


def decode_with_ffmpeg(path: str | Path, sample_rate: int) -> Iterator[np.ndarray]:
    """The first sound track of any file that ffmpeg reads, as blocks (samples,) float32 at `sample_rate` Hz, some seconds each.

    Channels are averaged, then resampled by soxr, as for files that soundfile reads; memory does not grow with the file.
    Raises `BadAudio` for a file without sound or that breaks off.
    """
    with _open_au(path) as (rate, num_channels, stream):
        yield from resample_blocks(_mono_blocks(stream, rate, num_channels), rate, sample_rate)


def _mono_blocks(stream: BinaryIO, rate: int, num_channels: int) -> Iterator[np.ndarray]:
    frame_bytes = 4 * num_channels
    while content := stream.read(_BLOCK_SECONDS * rate * frame_bytes):
        whole = len(content) // frame_bytes * frame_bytes
        yield np.frombuffer(content[:whole], dtype=">f4").astype(np.float32).reshape(-1, num_channels).mean(axis=1)


@contextmanager
def _open_au(path: str | Path) -> Iterator[tuple[int, int, BinaryIO]]:
    """(Hz, channels, stream of big-endian float32 frames) of a file's first sound track, at its own rate.

    AU is the container because its header tells the rate and needs no seeking. Only local files are
    opened: a playlist cannot reach a network.
    """
    source = ["-protocol_whitelist", "file,pipe", "-i", f"file:{path}", "-map", "0:a:0"]
    command = [ffmpeg_program(), *_QUIET, *source, "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints) as process,
    ):
        try:
            yield (*_read_au_header(process.stdout), process.stdout)
            status = process.wait()
        except EOFError:
            status = process.wait() or 1
        finally:
            process.kill()  # nothing, if it has ended
        if status:
            complaints.seek(0)
            raise BadAudio(path, f"cannot be read as audio (ffmpeg: {_first_line(complaints.read())})")


def _read_au_header(stream: BinaryIO) -> tuple[int, int]:
    header = stream.read(_AU_HEADER.size)
    if len(header) < _AU_HEADER.size:
        raise EOFError
    _, begin, _, encoding, rate, num_channels = _AU_HEADER.unpack(header)
    assert encoding == _AU_FLOAT32, encoding
    stream.read(begin - _AU_HEADER.size)
    return rate, num_channels


def _first_line(complaints: bytes) -> str:
    """The cause: what follows it is what came of it. The name of the part of ffmpeg that speaks is left out."""
    lines = (re.sub(r"^\[[^]]* @ 0x[0-9a-f]+\] *", "", line.strip()) for line in complaints.decode(errors="replace").splitlines())
    return next(filter(None, lines), "it gave no reason")
