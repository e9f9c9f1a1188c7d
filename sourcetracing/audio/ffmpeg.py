"""The ffmpeg program, through pipes: formats that libsndfile does not read, and codecs."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sourcetracing.audio.bad_audio import BadAudio, Truncated
from sourcetracing.errors import UserError
from sourcetracing.runtime.extras import needs

_QUIET = ("-hide_banner", "-nostdin", "-loglevel", "error")
_AU_HEADER = struct.Struct(">4s5I")  # ".snd", where the samples begin, their bytes, encoding, Hz, channels
_AU_FLOAT32 = 6
_MOST_COMPLAINTS = 65536  # bytes: one line is shown


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


class FfmpegSound:
    """The first sound track of any file that ffmpeg reads, at its own rate: `rate` in Hz, `num_channels`, and `blocks`, once.

    AU is the container because its header tells the rate and needs no seeking. Only local files are opened: a playlist cannot reach a
    network. Raises `BadAudio` for a file without sound. To be closed, which ends ffmpeg.
    """

    def __init__(self, path: str | Path):
        self.path, self._complaints = path, tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as ffmpeg
        source = ["-protocol_whitelist", "file,pipe", "-i", f"file:{path}", "-map", "0:a:0"]
        command = [ffmpeg_program(), *_QUIET, *source, "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._complaints)
        try:
            self.rate, self.num_channels = _read_au_header(self._process.stdout)
        except EOFError:
            self._process.wait()
            said = self._said()
            self.close()
            raise BadAudio(path, f"cannot be read as audio (ffmpeg: {_first_line(said)})") from None

    def blocks(self, num_frames: int) -> Iterator[np.ndarray]:
        """(frames, channels) float32, so many frames at a time. Raises `Truncated` at the end where ffmpeg complained, but went on."""
        frame_bytes = 4 * self.num_channels
        while content := self._process.stdout.read(num_frames * frame_bytes):
            whole = len(content) // frame_bytes * frame_bytes
            yield np.frombuffer(content[:whole], dtype=">f4").astype(np.float32).reshape(-1, self.num_channels)
        if self._process.wait() or _lines(self._said()):
            raise Truncated(self.path, f"cut off or damaged (ffmpeg: {_first_line(self._said())})")

    def close(self) -> None:
        self._process.kill()  # nothing, if it has ended
        self._process.wait()
        self._process.stdout.close()
        self._complaints.close()

    def _said(self) -> bytes:
        self._complaints.seek(0)
        return self._complaints.read(_MOST_COMPLAINTS)


def _read_au_header(stream: BinaryIO) -> tuple[int, int]:
    header = stream.read(_AU_HEADER.size)
    if len(header) < _AU_HEADER.size:
        raise EOFError
    _, begin, _, encoding, rate, num_channels = _AU_HEADER.unpack(header)
    assert encoding == _AU_FLOAT32, encoding
    stream.read(begin - _AU_HEADER.size)
    return rate, num_channels


def _first_line(complaints: bytes) -> str:
    """The cause: what follows it is what came of it. Who reads a file and who decodes it are threads, and either may speak first."""
    lines = _lines(complaints)
    return next((line for line in lines if "partial file" in line), lines[0] if lines else "it gave no reason")


def _lines(complaints: bytes) -> list[str]:
    """Without the names of the parts of ffmpeg that speak, and without complaints of times, which samples alone do not have."""
    lines = (re.sub(r"^(?:\[[^]]* @ 0x[0-9a-f]+\] *)+", "", line.strip()) for line in complaints.decode(errors="replace").splitlines())
    return [line for line in lines if line and "increasing dts" not in line]
