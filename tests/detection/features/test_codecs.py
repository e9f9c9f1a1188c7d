"""Codecs: the length stays, the sound stays in step with the original, draws depend on the generator alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, correlate, sosfilt

from sourcetracing.audio import ffmpeg
from sourcetracing.detection.features import codecs
from sourcetracing.detection.features.codecs import codec_copy, draw_codec, through_codec
from sourcetracing.errors import UserError
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.detection import Codec
from sourcetracing.settings.reading import load_settings

RATE = 16000


def speechlike(num_samples: int, seed: int = 0) -> np.ndarray:
    """Noise below 3 kHz, what both codecs keep."""
    noise = np.random.default_rng(seed).normal(0, 0.1, num_samples)
    return sosfilt(butter(4, 3000, fs=RATE, output="sos"), noise).astype(np.float32)


def lag_of(late: np.ndarray, early: np.ndarray) -> int:
    return int(correlate(late, early).argmax()) - (len(early) - 1)


@pytest.mark.parametrize("num_samples", [400, 16000, 23457])
@pytest.mark.parametrize("encoder, kbps", [("aac", 24), ("aac", 64), ("aac", 320), ("libopus", 16), ("libopus", 32), ("opus", 128)])
def test_length_is_kept_and_delay_is_taken_off(encoder, kbps, num_samples):
    clean = speechlike(num_samples)
    coded = through_codec(clean, RATE, encoder, kbps)
    assert coded.shape == clean.shape and coded.dtype == np.float32 and np.isfinite(coded).all()
    assert not np.array_equal(coded, clean)
    if num_samples > 10_000:
        assert abs(lag_of(coded, clean)) <= 2
        assert np.corrcoef(coded, clean)[0, 1] > 0.6


def test_more_bits_are_nearer_to_the_original():
    clean = speechlike(32000)
    for encoder, few, many in (("aac", 24, 64), ("libopus", 12, 64)):
        near, far = (np.square(through_codec(clean, RATE, encoder, kbps) - clean).mean() for kbps in (many, few))
        assert near < 0.7 * far, encoder


def test_silence_stays_silent():
    assert np.abs(through_codec(np.zeros(8000, np.float32), RATE, "aac", 32)).max() < 1e-3


def test_what_is_drawn_depends_on_the_keys_alone():
    options = Codec()
    first = [draw_codec(options, rng(1, f"for/{number}", "codec")) for number in range(200)]
    assert first == [draw_codec(options, rng(1, f"for/{number}", "codec")) for number in range(200)]
    assert set(first) == {("aac", kbps) for kbps in options.aac_kbps} | {("opus", kbps) for kbps in options.opus_kbps}
    assert 60 < sum(kind == "aac" for kind, _ in first) < 140
    clean = speechlike(8000)
    once, again = (codec_copy(clean, RATE, options, rng(1, "for/7", "codec")) for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_the_overlay_has_the_published_codecs():
    published = load_settings(["configs/as_published/published_ai4t_features.yaml"]).codec
    assert {draw_codec(published, rng(number)) for number in range(20)} == {("aac", 320), ("opus", 128)}
    assert published.opus_encoder == "opus" and Codec().opus_encoder == "libopus"


def test_an_encoder_that_ffmpeg_lacks_is_named():
    with pytest.raises(UserError, match="no encoder libfdk_aac.*codec.kinds"):
        through_codec(speechlike(400), RATE, "libfdk_aac", 32)


def test_no_ffmpeg_at_all_is_explained(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    ffmpeg.ffmpeg_program.cache_clear()
    codecs.known_encoders.cache_clear()
    try:
        with pytest.raises(UserError, match="without an ffmpeg program .*imageio-ffmpeg"):
            codec_copy(speechlike(400), RATE, Codec(), rng(1))
    finally:
        ffmpeg.ffmpeg_program.cache_clear()
        codecs.known_encoders.cache_clear()


def test_no_codec_at_all_is_refused():
    with pytest.raises(UserError, match="codec.kinds"):
        draw_codec(Codec(kinds=[]), rng(1))
