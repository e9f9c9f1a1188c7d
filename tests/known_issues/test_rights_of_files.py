"""safetensors writes its files for their owner alone; those of a run have the rights that the umask gives, as all others."""

from __future__ import annotations

import os
import stat

import pytest
import torch

from sourcetracing.runtime.files import write_json
from sourcetracing.training.checkpoints import save_checkpoint


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_weights_have_the_rights_of_other_files(tmp_path, umask):
    before = os.umask(umask)
    try:
        save_checkpoint(tmp_path / "model.safetensors", {"weight": torch.zeros(3)}, {})
        write_json(tmp_path / "model.json", {})
    finally:
        os.umask(before)
    rights = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert rights == {"model.safetensors": 0o666 & ~umask, "model.json": 0o666 & ~umask}
