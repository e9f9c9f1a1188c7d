"""Through a lossy codec and back, in memory: AAC and Opus by ffmpeg (D57).

The published code always asks for 320 kb/s AAC and 128 kb/s of ffmpeg's experimental Opus encoder, which hardly change a thing, and leaves
the encoder's delay in: configs/as_published/published_ai4t_features.yaml has those bitrates.
"""

from __future__ import annotations

import numpy as np

from sourcetracing.audio.codecs import fitted, known_encoders, there_and_back
from sourcetracing.errors import UserError
from sourcetracing.settings.detection import Codec

# Samples at any rate: the half window before its first frame, of which a raw AAC stream cannot tell. Ogg tells the delay of Opus, and the
# decoder takes it off.
AAC_DELAY = 1024


def codec_copy(waveform: np.ndarray, rate: int, options: Codec, generator: np.random.Generator) -> np.ndarray:
    """(samples,) float32 at `rate` Hz, through a codec and at a bitrate that are drawn; as long as before, and in step with it.

    Raises `UserError` where ffmpeg or its encoder is missing.
    """
    kind, kbps = draw_codec(options, generator)
    return through_codec(waveform, rate, options.opus_encoder if kind == "opus" else kind, kbps)


def draw_codec(options: Codec, generator: np.random.Generator) -> tuple[str, int]:
    """(aac or opus, kb/s), each as likely. Raises `UserError` where the settings name none."""
    if not options.kinds or not options.aac_kbps or not options.opus_kbps:
        raise UserError("codec.kinds, codec.aac_kbps and codec.opus_kbps must each name at least one")
    kind = options.kinds[generator.integers(len(options.kinds))]
    bitrates = getattr(options, f"{kind}_kbps")
    return kind, bitrates[generator.integers(len(bitrates))]


def through_codec(waveform: np.ndarray, rate: int, encoder: str, kbps: int) -> np.ndarray:
    """(samples,) float32 encoded and decoded by ffmpeg. encoder: aac, libopus or opus (ffmpeg's own). Raises `UserError`."""
    if encoder not in known_encoders():
        raise UserError(f"this ffmpeg has no encoder {encoder}. Install one that has (pip install imageio-ffmpeg), or set codec.kinds")
    stream, delay = ("adts", AAC_DELAY) if encoder == "aac" else ("ogg", 0)  # both need no seeking
    coding = ["-c:a", encoder, "-b:a", f"{kbps}k", "-strict", "experimental"]
    decoded = there_and_back(waveform, rate, coding, stream, source="aac" if encoder == "aac" else "")
    return fitted(decoded[delay:], len(waveform))
