"""Every network against the published implementation it stands for: logits, intermediates, gradients (fixtures: tests/golden)."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from sourcetracing.training.networks import build_backend
from sourcetracing.training.published_names import load_published, rename_published
from tests.support.golden_weights import checksum, fill, formula_input, read_names, structured_input
from tests.support.places import GOLDEN

MAX_GRADIENT_ERROR = 1e-3  # relative L2
# A max-pool or ReLU near a tie sends the input's gradient another way when rounding differs, as between processors (the
# waveform fixture has an exact tie in float32). It then errs in a few places only: most elements must still agree.
MAX_REROUTED_ERROR = 1e-2
SHARE_AGREEING, MAX_AGREEING_ERROR = 0.8, 1e-4  # the latter relative to the gradient's root mean square


class Golden:
    """One fixture: its numbers, and a network of ours that holds its weights."""

    def __init__(self, fixture: str, backend: str, num_classes: int, num_features: int = 80, num_frames: int = 399, **options):
        self.arrays = np.load(GOLDEN / f"{fixture}.npz")
        self.meta = json.loads((GOLDEN / f"{fixture}.json").read_text())
        names = read_names(GOLDEN / f"{fixture}.names.json")
        if fixture == "aasist_ssl" and num_classes == 2:
            names["entries"] = [
                [name, [2, *shape[1:]] if name.startswith("out_layer") else shape, rule] for name, shape, rule in names["entries"]
            ]
        self.backend = backend
        self.published = {name: torch.from_numpy(np.array(value)) for name, value in fill(names).items()}
        self.model = build_backend(backend, num_features=num_features, num_frames=num_frames, num_classes=num_classes, **options).eval()
        load_published(backend, self.model, self.published)

    def input(self, case: int) -> torch.Tensor:
        """The input in the published network's layout."""
        meta = self.meta["cases"][case]
        if "input_seed" in meta:
            x = structured_input(meta["input_seed"], meta["input_shape"], meta["time_axis"], meta["input_scale"])
        else:
            x = self.arrays[f"case{case}/input"]
        np.testing.assert_allclose(checksum(x), meta["input_checksum"], rtol=1e-9, atol=1e-9)
        return torch.from_numpy(x).requires_grad_()

    def our_name(self, published: str) -> str:
        return next(iter(rename_published(self.backend, {published: torch.zeros(0)})))

    def check_values(self, key: str, ours: torch.Tensor) -> None:
        np.testing.assert_allclose(ours.detach().numpy(), self.arrays[key], atol=1e-4, rtol=1e-4, err_msg=key)

    def check_gradients(self, prefix: str, x: torch.Tensor, logits: torch.Tensor) -> None:
        """Gradients of sum(logits * fixed) by the input and by the parameters stored under `<prefix>/grad`."""
        fixed_key = f"{prefix}/fixed" if f"{prefix}/fixed" in self.arrays else f"{prefix.split('/')[0]}/pos_zero/fixed"
        (logits * torch.from_numpy(self.arrays[fixed_key])).sum().backward()
        if f"{prefix}/grad_input" in self.arrays:
            self.check_gradient(f"{prefix}/grad_input", x.grad)
        stored = [key for key in self.arrays if key.startswith(f"{prefix}/grad/")]
        assert stored
        for key in stored:
            self.check_gradient(key, self.model.get_parameter(self.our_name(key.removeprefix(f"{prefix}/grad/"))).grad)

    def check_gradient(self, key: str, ours: torch.Tensor) -> None:
        expected = self.arrays[key]
        difference = np.abs(ours.numpy() - expected) / np.sqrt(np.square(expected).mean())
        error = np.sqrt(np.square(difference).mean())
        if key.endswith("grad_input") and error > MAX_GRADIENT_ERROR:
            assert np.quantile(difference, SHARE_AGREEING) <= MAX_AGREEING_ERROR, key
            assert error <= MAX_REROUTED_ERROR, key
        else:
            assert error <= MAX_GRADIENT_ERROR, key


def record(model: torch.nn.Module, inputs: dict[str, str] | None = None, outputs: dict[str, str] | None = None) -> dict[str, torch.Tensor]:
    """Fills the returned dictionary at the next forward: first input or output of the named modules, by key."""
    seen: dict[str, torch.Tensor] = {}
    for key, module in (inputs or {}).items():
        model.get_submodule(module).register_forward_pre_hook(lambda _, args, key=key: seen.__setitem__(key, args[0]))
    for key, module in (outputs or {}).items():
        model.get_submodule(module).register_forward_hook(lambda _, __, result, key=key: seen.__setitem__(key, result))
    return seen


def check_graph(golden: Golden, prefix: str, x: torch.Tensor) -> None:
    """Forward of an AASIST, all stored intermediates, gradients."""
    seen = record(
        golden.model,
        inputs={"e_S": "graph.spectral_attention", "e_T": "graph.temporal_attention", "after_maxpool": "input_norm"},
        outputs={
            "gat_S": "graph.spectral_attention",
            "gat_T": "graph.temporal_attention",
            "out_S": "graph.spectral_pool",
            "out_T": "graph.temporal_pool",
        },
    )
    embedding, logits = golden.model(to_features(golden, x))
    for name, value in seen.items():
        if f"{prefix}/{name}" in golden.arrays:
            # e_S is stored with its position embedding: what enters the layer.
            golden.check_values(f"{prefix}/{name}", value)
    golden.check_values(f"{prefix}/last_hidden", embedding)
    golden.check_values(f"{prefix}/logits", logits)
    golden.check_gradients(prefix, x, logits)


def to_features(golden: Golden, x: torch.Tensor) -> torch.Tensor:
    """From the published layout to (B, features, frames), or the waveform as it is."""
    if x.ndim == 2:
        return x
    shape = golden.meta["cases"][0]["input_shape"]
    x = x.squeeze(1) if x.ndim == 4 else x
    return x if shape[-1] == 199 else x.transpose(1, 2)


@pytest.mark.parametrize("case", [0, 1])
def test_aasist_on_1024_features(case):
    golden = Golden("aasist_ssl", "aasist", 4, num_features=1024, num_frames=199)
    check_graph(golden, f"case{case}", golden.input(case))


@pytest.mark.parametrize("case", [0, 1])
def test_aasist_with_two_classes(case):
    golden = Golden("aasist_ssl", "aasist", 2, num_features=1024, num_frames=199)
    golden.check_values(f"case{case}/logits2_takhemlata", golden.model(golden.input(case).transpose(1, 2))[1])


def test_aasist_on_768_features():
    golden = Golden("aasist_w2v768", "aasist", 24, num_features=768, num_frames=199)
    check_graph(golden, "case0", golden.input(0))


def test_aasist_on_lfcc_loads_zeros_for_the_embedding_that_is_not_published():
    golden = Golden("aasist_lfcc", "aasist", 4)
    check_graph(golden, "case0/pos_zero", golden.input(0))


def test_aasist_on_lfcc_with_a_position_embedding():
    golden = Golden("aasist_lfcc", "aasist", 4)
    position = torch.from_numpy(golden.arrays["pos_S_fixed"])
    np.testing.assert_array_equal(position, formula_input(golden.meta["pos_S_fixed_seed"], (1, 26, 64)))
    golden.model.pos_s.data = position.clone()
    check_graph(golden, "case0/pos_fixed", golden.input(0))


def test_aasist_on_waveform():
    golden = Golden("aasist_raw", "aasist_raw", 2)
    np.testing.assert_allclose(golden.model.filters.squeeze(1), golden.arrays["sinc_filters"], atol=1e-8)
    check_graph(golden, "case0", golden.input(0))


def test_resnet18():
    golden = Golden("resnet18", "resnet18", 4)
    seen = record(golden.model, outputs={"stem": "stem", "layer4": "layer4"})
    x = golden.input(0)
    seen["embedding"], seen["logits"] = golden.model(to_features(golden, x))
    for name, value in seen.items():
        golden.check_values(f"case0/{name}", value)
    golden.check_gradients("case0", x, seen["logits"])


def test_ecapa_tdnn():
    golden = Golden("ecapa_c192", "ecapa_tdnn", 4, logit_bn=True)
    seen = record(golden.model, outputs={"x1": "body.blocks.0", "x3": "body.blocks.2"})
    x = golden.input(0)
    seen["embedding"], seen["logits"] = golden.model(to_features(golden, x))
    for name, value in seen.items():
        golden.check_values(f"case0/{name}", value)
    golden.check_gradients("case0", x, seen["logits"])


def test_ecapa_on_waveform():
    golden = Golden("ecapa_c1024", "ecapa_raw", 4)
    seen = record(golden.model, outputs={"log_mel": "frontend", "stats": "body"})
    x = golden.input(0)
    embedding, _ = golden.model(x)
    golden.check_values("case0/log_mel", seen["log_mel"])
    golden.check_values("case0/stats", seen["stats"])
    golden.check_values("case0/logits", embedding)  # this fixture's "logits" are the 192-d embedding
    golden.check_gradients("case0", x, embedding)
