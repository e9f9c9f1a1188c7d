"""Audio is written with libsndfile's own bytes, and a full disk is noticed."""

from __future__ import annotations

import resource

import numpy as np
import pytest
import soundfile

from sourcetracing.audio.writing import write_audio

SAMPLES = np.random.default_rng(1).normal(0, 0.1, (16000, 2)).astype(np.float32)


@pytest.mark.parametrize(("suffix", "subtype"), [(".wav", "PCM_16"), (".wav", "PCM_24"), (".flac", "PCM_16"), (".mp3", "MPEG_LAYER_III")])
def test_the_bytes_are_libsndfiles(tmp_path, suffix, subtype):
    write_audio(tmp_path / f"ours{suffix}", SAMPLES, 16000, subtype)
    soundfile.write(tmp_path / f"its{suffix}", SAMPLES, 16000, subtype=subtype)
    assert (tmp_path / f"ours{suffix}").read_bytes() == (tmp_path / f"its{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_half_a_file_does_not_pass_as_written(tmp_path, suffix):
    """detection/00_build_manifest.py on a full disk left half a FLAC; with space again it was taken for whole and could not be read."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_audio(tmp_path / f"x{suffix}", SAMPLES, 16000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())
