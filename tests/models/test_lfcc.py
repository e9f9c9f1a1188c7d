"""LFCC front-end against stored outputs of torchaudio's transform (tests/golden/lfcc.*), and its independence of batch neighbours."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from sourcetracing.models.frontends.lfcc import LfccFrontEnd
from tests.support.places import GOLDEN

CONFIGS = json.loads((GOLDEN / "lfcc.json").read_text())["configs"]
FRAME_COUNTS = json.loads((GOLDEN / "lfcc.json").read_text())["frame_counts"]


@pytest.fixture(scope="module")
def arrays():
    with np.load(GOLDEN / "lfcc.npz") as stored:
        return dict(stored)


def build(config: dict) -> LfccFrontEnd:
    """The front-end of one stored configuration."""
    rest = {name: value for name, value in config.items() if name != "speckwargs"}
    return LfccFrontEnd(**rest, **config["speckwargs"])


def assert_close(ours: torch.Tensor, expected: np.ndarray) -> None:
    difference = ours.numpy().astype(np.float64) - expected
    assert np.linalg.norm(difference) <= 1e-5 * np.linalg.norm(expected)
    assert np.abs(difference).max() <= 1e-2


@pytest.mark.parametrize("name", CONFIGS)
def test_equals_torchaudio(arrays, name):
    frontend = build(CONFIGS[name])
    stored = [key for key in arrays if key.startswith(f"lfcc/{name}/") and "batch" not in key]
    assert stored
    for key in stored:
        wave = torch.from_numpy(arrays[f"wave/{key.split('/')[-1]}"])
        assert_close(frontend(wave[None])[0], arrays[key])


@pytest.mark.parametrize("name", ["A_nfft320_filt128", "B_nfft320_filt80"])
def test_floor_is_each_utterance_own(arrays, name):
    """Torchaudio on a (B, samples) batch lets a loud row lift the floor of the others; with a channel axis it does not."""
    batch = build(CONFIGS[name])(torch.from_numpy(arrays["wave/batch"]))
    assert_close(batch, arrays[f"lfcc/{name}/batch_with_channel_axis"][:, 0])
    assert np.abs(batch.numpy() - arrays[f"lfcc/{name}/batch"]).max() > 1


def test_rows_do_not_depend_on_their_neighbours():
    quiet = torch.randn(3, 4000, generator=torch.Generator().manual_seed(0)) * 1e-5
    frontend = LfccFrontEnd()
    among_loud = frontend(torch.cat([quiet, torch.ones(2, 4000)]))[:3]
    torch.testing.assert_close(among_loud, frontend(quiet), atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(among_loud[1:2], frontend(quiet[1:2]), atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("settings", FRAME_COUNTS, ids=lambda s: "-".join(str(v) for v in s.values()))
def test_number_of_frames(settings):
    settings = dict(settings)
    expected = settings.pop("frames_for_64000")
    assert LfccFrontEnd(**settings)(torch.zeros(1, 64000)).shape == (1, 80, expected)


@pytest.mark.parametrize("num_rows", [1, 8, 19])
def test_default_is_80_by_399(num_rows):
    assert LfccFrontEnd()(torch.zeros(num_rows, 64000)).shape == (num_rows, 80, 399)


@pytest.mark.parametrize("shape", [(64000,), (2, 1, 64000), (2, 319)])
def test_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match="samples"):
        LfccFrontEnd()(torch.zeros(shape))


def test_refuses_more_coefficients_than_filters():
    with pytest.raises(ValueError, match="n_filter"):
        LfccFrontEnd(n_lfcc=80, n_filter=40)
