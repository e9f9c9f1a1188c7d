"""A published XLSR-AASIST checkpoint with a tiny encoder: the published parameter names and shapes, and what fairseq makes of them.

The back-end's names are those of tests/golden/aasist_ssl.names.json. The encoder's are those of fairseq's Wav2Vec2Model with layer norms
in its convolutions and before its blocks (fairseq/models/wav2vec/wav2vec2.py at 0.12), written out here; `fairseq_forward` computes with
them, without any of this project's code. B batch, T frames, W width.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import Wav2Vec2Config, Wav2Vec2Model

from tests.support.golden_weights import fill, read_names
from tests.support.places import GOLDEN

WIDTH, HIDDEN, CHANNELS, BLOCKS, HEADS = 1024, 8, 6, 2, 4
KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
POSITIONS, GROUPS = 4, 64


def save_stand_in(folder: Path) -> Path:
    """The folder of an ssl.model as large as the checkpoint's encoder, with other weights."""
    torch.manual_seed(7)
    config = Wav2Vec2Config(
        hidden_size=WIDTH,
        num_hidden_layers=BLOCKS,
        num_attention_heads=HEADS,
        intermediate_size=HIDDEN,
        conv_dim=(CHANNELS,) * 7,
        num_conv_pos_embeddings=POSITIONS,
        num_conv_pos_embedding_groups=GROUPS,
        do_stable_layer_norm=True,
        feat_extract_norm="layer",
        conv_bias=True,
    )
    Wav2Vec2Model(config).save_pretrained(folder)
    return folder


def fairseq_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"mask_emb": (WIDTH,)}
    for number, kernel in enumerate(KERNELS):
        layer = f"feature_extractor.conv_layers.{number}"
        shapes |= {f"{layer}.0.weight": (CHANNELS, CHANNELS if number else 1, kernel), f"{layer}.0.bias": (CHANNELS,)}
        shapes |= {f"{layer}.2.1.{leaf}": (CHANNELS,) for leaf in ("weight", "bias")}
    shapes |= {"post_extract_proj.weight": (WIDTH, CHANNELS), "post_extract_proj.bias": (WIDTH,)}
    shapes |= {"layer_norm.weight": (CHANNELS,), "layer_norm.bias": (CHANNELS,)}
    shapes |= {"encoder.pos_conv.0.bias": (WIDTH,), "encoder.pos_conv.0.weight_g": (1, 1, POSITIONS)}
    shapes["encoder.pos_conv.0.weight_v"] = (WIDTH, WIDTH // GROUPS, POSITIONS)
    for number in range(BLOCKS):
        block = f"encoder.layers.{number}"
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            shapes |= {f"{block}.self_attn.{name}.weight": (WIDTH, WIDTH), f"{block}.self_attn.{name}.bias": (WIDTH,)}
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            shapes |= {f"{block}.{name}.{leaf}": (WIDTH,) for leaf in ("weight", "bias")}
        shapes |= {f"{block}.fc1.weight": (HIDDEN, WIDTH), f"{block}.fc1.bias": (HIDDEN,)}
        shapes |= {f"{block}.fc2.weight": (WIDTH, HIDDEN), f"{block}.fc2.bias": (WIDTH,)}
    shapes |= {"encoder.layer_norm.weight": (WIDTH,), "encoder.layer_norm.bias": (WIDTH,)}
    # Pre-training's own, which XLS-R's file holds as well.
    return shapes | {"quantizer.vars": (1, 4, 2), "project_q.weight": (3, 4), "final_proj.bias": (3,)}


def fairseq_encoder() -> dict[str, Tensor]:
    """Formula weights under fairseq's names; matrices small enough to keep sounds apart."""
    draws = torch.Generator().manual_seed(11)
    made = {}
    for name, shape in fairseq_shapes().items():
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        noise = torch.randn(shape, generator=draws)
        is_gain = "norm.weight" in name or ".2.1.weight" in name or name.endswith("weight_g")
        made[name] = 1 + 0.1 * noise if is_gain else noise * (fan_in**-0.5 if len(shape) > 1 else 0.1)
    return made


def published_backend(num_classes: int) -> dict[str, Tensor]:
    """The published SSL AASIST back-end by its own names and shapes, but for the number of classes."""
    names = read_names(GOLDEN / "aasist_ssl.names.json")
    names["entries"] = [
        [name, [num_classes, *shape[1:]] if name.startswith("out_layer") else shape, rule] for name, shape, rule in names["entries"]
    ]
    return {name: torch.from_numpy(np.array(value)) for name, value in fill(names).items()}


def through_fairseq(num_classes: int) -> dict[str, Tensor]:
    """The state dict of SSL_AASIST."""
    return {f"ssl_model.model.{name}": value for name, value in fairseq_encoder().items()} | published_backend(num_classes)


def fairseq_forward(weights: dict[str, Tensor], waveforms: Tensor) -> Tensor:
    """Waveforms (B, samples) -> (B, T, W): Wav2Vec2Model.forward(waveforms, mask=False, features_only=True)["x"] in evaluation."""

    def norm(x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])

    def linear(x: Tensor, name: str) -> Tensor:
        return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    x = waveforms[:, None]
    for number, stride in enumerate(STRIDES):
        layer = f"feature_extractor.conv_layers.{number}"
        x = functional.conv1d(x, weights[f"{layer}.0.weight"], weights[f"{layer}.0.bias"], stride=stride)
        x = functional.gelu(norm(x.transpose(1, 2), f"{layer}.2.1").transpose(1, 2))
    x = linear(norm(x.transpose(1, 2), "layer_norm"), "post_extract_proj")
    gain, direction = weights["encoder.pos_conv.0.weight_g"], weights["encoder.pos_conv.0.weight_v"]
    kernel = gain * direction / direction.pow(2).sum(dim=(0, 1), keepdim=True).sqrt()
    position = functional.conv1d(x.transpose(1, 2), kernel, weights["encoder.pos_conv.0.bias"], padding=POSITIONS // 2, groups=GROUPS)
    x = x + functional.gelu(position[..., : x.shape[1]]).transpose(1, 2)
    for number in range(BLOCKS):
        block = f"encoder.layers.{number}"
        entering = norm(x, f"{block}.self_attn_layer_norm")
        query, key, value = (
            linear(entering, f"{block}.self_attn.{name}").unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        attention = (query @ key.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5).softmax(dim=-1)
        x = x + linear((attention @ value).transpose(1, 2).flatten(2), f"{block}.self_attn.out_proj")
        x = x + linear(functional.gelu(linear(norm(x, f"{block}.final_layer_norm"), f"{block}.fc1")), f"{block}.fc2")
    return norm(x, "encoder.layer_norm")
