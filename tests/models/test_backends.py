"""What every back-end promises: shapes, determinism in evaluation, rows independent of each other, sizes as published."""

from __future__ import annotations

import pytest
import torch

from sourcetracing.models.backends.resnet18 import ResNet18
from sourcetracing.settings.backends import BACKENDS
from sourcetracing.training.networks import build_backend
from sourcetracing.training.published_names import load_published, rename_published

SMALL = {
    "aasist": {"channels": (4, 8), "gat_dims": (8, 4)},
    "aasist_raw": {"channels": (4, 8), "gat_dims": (8, 4)},
    "resnet18": {"width": 8},
    "ecapa_tdnn": {"channels": 16},
    "embedding_head": {"hidden": 16, "embedding": 8},
    "ecapa_raw": {"channels": 16},
    "delta_tdnn": {"channels": 8, "statistics": ["log_std"]},
    "statistics": {},
    "neighbours": {"k": 3},
    "plain_neighbours": {"k": 3, "metric": "cosine"},
    "fingerprints": {},
}


def small_backend(name: str, **options) -> torch.nn.Module:
    """A narrow network for (80, 99) features or 16,000 samples, 3 classes, weights from a fixed seed."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return build_backend(name, num_features=80, num_frames=99, num_classes=3, **SMALL[name], **options)


def batch(name: str, num_rows: int = 4) -> torch.Tensor:
    shape = (num_rows, 16000) if name.endswith("_raw") else (num_rows, 80, 99)
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


def calibrated(name: str, **options) -> torch.nn.Module:
    """In evaluation mode, its BatchNorm statistics those of one batch."""
    model = small_backend(name, **options).train()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(4)
        for _ in range(20):
            model(batch(name))
    return model.eval()


@pytest.mark.parametrize("name", BACKENDS)
@torch.no_grad()
def test_returns_embedding_and_logits(name):
    model = small_backend(name).eval()
    embedding, logits = model(batch(name))
    assert embedding.shape == (4, model.embedding_dim)
    assert logits.shape == (4, 3)
    assert model(batch(name, 1))[1].shape == (1, 3)


@pytest.mark.parametrize("name", BACKENDS)
@torch.no_grad()
def test_evaluation_is_deterministic_and_rows_are_independent(name):
    model = calibrated(name)
    x = batch(name)
    embedding, logits = model(x)
    assert torch.equal(model(x)[1], logits)
    for row in range(len(x)):
        alone = model(x[row : row + 1])
        torch.testing.assert_close(alone[0][0], embedding[row], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(alone[1][0], logits[row], atol=1e-4, rtol=1e-4)
    assert (logits[0] - logits[1]).abs().max() > 1e-3  # else the above would hold for a network that ignores its input


@pytest.mark.parametrize("name", [name for name, entry in BACKENDS.items() if not entry.fitted])
def test_every_parameter_learns(name):
    """No dead parameters, and a training step reaches everything."""
    model = small_backend(name).train()
    torch.manual_seed(0)
    torch.nn.functional.cross_entropy(model(batch(name))[1], torch.tensor([0, 1, 2, 0])).backward()
    without = [parameter_name for parameter_name, parameter in model.named_parameters() if parameter.grad is None]
    assert not without


@torch.no_grad()
def test_published_random_position_embedding_makes_evaluation_random():
    model = calibrated("aasist", random_pos_s=True)
    x = batch("aasist")
    assert "pos_s" not in model.state_dict()
    assert not torch.equal(model(x)[1], model(x)[1])


def test_options_change_the_size():
    def size(**options):
        model = build_backend("ecapa_tdnn", num_features=80, num_frames=399, num_classes=4, **options)
        return model.embedding_dim, sum(parameter.numel() for parameter in model.parameters())

    assert [size(channels=c)[0] for c in (64, 192, 256)] == [1024, 3072, 3072]
    assert size(logit_bn=True)[1] - size()[1] == 8  # weight and bias of a BatchNorm on four logits


# Figures of the published networks, dead parameters (the first BatchNorm of residual blocks 2..6) included.
DEAD_AASIST = 2 * (32 + 32 + 64 + 64 + 64)
PUBLISHED_SIZES = [
    ("aasist", {"num_features": 768, "num_classes": 24}, 418016 - DEAD_AASIST),
    ("aasist", {"num_features": 1024}, 447564 - DEAD_AASIST),
    ("aasist", {"random_pos_s": True}, 313676 - DEAD_AASIST),
    ("aasist", {}, 313676 - DEAD_AASIST + 26 * 64),  # the learned position embedding
    ("resnet18", {}, 11172292),
    ("ecapa_tdnn", {"logit_bn": True}, 2968116),
    ("ecapa_tdnn", {"logit_bn": True, "channels": 1024}, 14866444),
]


@pytest.mark.parametrize(("name", "options", "expected"), PUBLISHED_SIZES)
def test_number_of_parameters(name, options, expected):
    options = {"num_features": 80, "num_frames": 399, "num_classes": 4} | options
    with torch.device("meta"):
        model = build_backend(name, **options)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


@pytest.mark.parametrize("name", BACKENDS)
def test_refuses_another_rank(name):
    with pytest.raises(ValueError, match="expected"):
        small_backend(name)(torch.zeros(2, 1, 80, 99))


@pytest.mark.parametrize("name", ["aasist", "ecapa_tdnn"])
def test_refuses_another_number_of_features(name):
    with pytest.raises(ValueError, match="80"):
        small_backend(name)(torch.zeros(2, 60, 99))


def test_refuses_unknown_backend_and_option():
    sizes = {"num_features": 80, "num_frames": 399, "num_classes": 4}
    with pytest.raises(ValueError, match="resnet19.*resnet18"):
        build_backend("resnet19", **sizes)
    with pytest.raises(TypeError, match="depth"):
        build_backend("resnet18", depth=34, **sizes)


def published_resnet() -> dict[str, torch.Tensor]:
    """A state_dict such as the published small network would have."""
    to_published = {"stem.0": "conv1", "stem.1": "bn1", "classifier": "fc"}
    published = {}
    for name, value in small_backend("resnet18").state_dict().items():
        module, leaf = name.rsplit(".", 1)
        published[f"{to_published.get(module, module.replace('downsample', 'shortcut'))}.{leaf}"] = value
    return published


def test_published_checkpoint_is_loaded_whole():
    state = published_resnet()
    model = build_backend("resnet18", num_features=80, num_frames=99, num_classes=3, width=8)
    load_published("resnet18", model, {f"module.{name}": value for name, value in state.items()})
    for name, value in small_backend("resnet18").state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


def test_published_checkpoint_that_does_not_fit_is_refused():
    model, state = small_backend("resnet18"), published_resnet()
    with pytest.raises(ValueError, match="missing classifier.bias"):
        load_published("resnet18", model, {name: value for name, value in state.items() if name != "fc.bias"})
    with pytest.raises(ValueError, match="unexpected .*layer9.0.conv1.weight"):
        load_published("resnet18", model, state | {"layer9.0.conv1.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"classifier.bias is \(5,\), not \(3,\)"):
        load_published("resnet18", model, state | {"fc.bias": torch.zeros(5)})


def test_ssl_encoder_in_a_checkpoint_is_not_dropped_in_silence():
    state = {"out_layer.bias": torch.zeros(4), "ssl_model.model.mask_emb": torch.zeros(4)}
    with pytest.raises(ValueError, match="SSL encoder"):
        rename_published("aasist", state)
    assert set(rename_published("aasist", state, without_frontend=True)) == {"classifier.bias"}


def test_dead_parameters_are_left_out_by_name():
    assert rename_published("aasist", {"encoder.1.0.bn1.weight": torch.zeros(32)}) == {}
    with pytest.raises(ValueError, match="unexpected .*encoder.1.0.bn7.weight"):
        rename_published("aasist", {"encoder.1.0.bn7.weight": torch.zeros(32)})


@pytest.mark.parametrize(("width", "layout"), [(2, torch.contiguous_format), (12, torch.contiguous_format), (8, torch.channels_last)])
def test_a_narrow_resnet_keeps_out_of_the_layout_that_crashes(width, layout):
    """torch 2.11 on a processor with AVX2 alone: the shortcut's gradient in channels last wrote beyond its memory, and training crashed."""
    network = ResNet18(3, width=width)
    weights = [module.weight for module in network.layer2.modules() if isinstance(module, torch.nn.Conv2d) and module.weight.shape[-1] == 3]
    assert all(weight.is_contiguous(memory_format=layout) for weight in weights)
    for _ in range(3):
        network(torch.randn(4, 20, 40))[1].sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
