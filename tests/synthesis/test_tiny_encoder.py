"""The encoder that comes with the demo corpus: the same bytes for a seed, wav2vec2's frame rate, readable as any checkpoint."""

from __future__ import annotations

import torch

from sourcetracing.models.frontends.ssl import SslEncoder
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.synthesis.tiny_encoder import is_complete, write_tiny_encoder


def test_the_seed_decides_the_bytes(tmp_path):
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        write_tiny_encoder(tmp_path / name, seed)
    digests = {folder.name: digest_of_file(folder / "model.safetensors") for folder in tmp_path.iterdir()}
    assert digests["one"] == digests["again"] != digests["other"]


def test_an_interrupted_one_is_not_complete_and_a_whole_one_makes_frames(tmp_path):
    write_tiny_encoder(tmp_path, 1)
    assert is_complete(tmp_path)
    encoder = SslEncoder(tmp_path)
    assert encoder(torch.randn(2, 64_000)).shape == (2, 64, 199)
    assert len(encoder.blocks) == 4
    (tmp_path / "model.safetensors").unlink()
    assert not is_complete(tmp_path)
