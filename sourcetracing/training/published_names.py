"""Loads checkpoints of the published projects: their parameter names mapped to ours.

| back-end    | project and class                                                                                          |
|-------------|------------------------------------------------------------------------------------------------------------|
| aasist      | xuanxixi/Multilingual-Source-Tracing SSL_AASIST and AASIST_Model (LFCC); TakHemlata/SSL_Anti-spoofing Model; |
|             | piotrkawa/audio-deepfake-source-tracing W2VAASIST                                                          |
| aasist_raw  | clovaai/aasist Model                                                                                       |
| resnet18    | xuanxixi ResNet18                                                                                          |
| ecapa_tdnn  | xuanxixi ECAPA_TDNN (build ours with logit_bn=True)                                                        |
| ecapa_raw   | TaoRuijie/ECAPA-TDNN ECAPA_TDNN                                                                            |

A name is <module>.<layer>.<leaf>: module and layer are looked up in the tables below, the leaf (weight, bias, running_mean ...) stays.
The published LFCC AASIST has no `pos_S`: it draws the embedding at every forward. It loads as it is into Aasist(random_pos_s=True);
into an Aasist with a learned embedding it loads with zeros there, the mean of what it draws, which makes it deterministic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sourcetracing.training.published_encoder import PREFIX as ENCODER_PREFIX
from sourcetracing.training.published_encoder import encoder_weights, load_encoder

# Parts of the published networks that have no effect on their output, or none in ours.
DEAD = {
    "aasist": r"encoder\.[1-5]\.0\.bn1\..*",  # computed, then overwritten
    "aasist_raw": r"encoder\.[1-5]\.0\.bn1\..*",
    "resnet18": r"(?!)",
    "ecapa_tdnn": r"(?!)",
    "ecapa_raw": r"torchfbank\..*|speaker_loss\.weight",  # constants of the log-mel front-end; the head over training speakers
}
# Prefixes that training scripts wrap around a network.
WRAPPERS = ("module.", "speaker_encoder.")
# Ours without a published counterpart keep their values: the log-mel constants and the head.
OURS_ALONE = {"ecapa_raw": ("frontend.", "classifier.")}

BRANCHES = {"ST11": "branch1.first", "ST12": "branch1.second", "ST21": "branch2.first", "ST22": "branch2.second"}
GRAPH_MODULES = {
    "GAT_layer_S": "graph.spectral_attention",
    "GAT_layer_T": "graph.temporal_attention",
    "pool_S": "graph.spectral_pool",
    "pool_T": "graph.temporal_pool",
    **{f"HtrgGAT_layer_{published}": f"graph.{ours}" for published, ours in BRANCHES.items()},
    **{f"pool_h{kind}{i}": f"graph.branch{i}.{name}_pool" for i in (1, 2) for kind, name in (("S", "spectral"), ("T", "temporal"))},
    "master1": "graph.branch1.master",
    "master2": "graph.branch2.master",
    "pos_S": "pos_s",
    "first_bn": "input_norm",
    "first_bn1": "encoder_norm",
    "out_layer": "classifier",
    "LL": "projection",
    **{f"attention.{i}": f"node_attention.{i}" for i in (0, 2, 3)},
}
GRAPH_LAYERS = {
    "att_proj": "pair_projection",
    "att_weight": "pair_vector",
    "att_weight11": "vector_tt",
    "att_weight22": "vector_ss",
    "att_weight12": "vector_ts",
    "att_weightM": "master_vector",
    "att_projM": "master_pair_projection",
    "proj_type1": "temporal_projection",
    "proj_type2": "spectral_projection",
    "proj_with_att": "neighbour_projection",
    "proj_without_att": "self_projection",
    "proj_with_attM": "master_neighbour_projection",
    "proj_without_attM": "master_self_projection",
    "proj": "score",
    "bn": "norm",
    "bn2": "norm",
    "conv1": "conv1",
    "conv2": "conv2",
    "conv_downsample": "shortcut",
}
RESNET_MODULES = {
    "conv1": "stem.0",
    "bn1": "stem.1",
    "fc": "classifier",
    **{f"layer{i}.{j}": f"layer{i}.{j}" for i in (1, 2, 3, 4) for j in (0, 1)},
}
RESNET_LAYERS = {
    **{name: name for name in ("conv1", "bn1", "conv2", "bn2")},
    "shortcut.0": "downsample.0",
    "shortcut.1": "downsample.1",
}
ECAPA_MODULES = {
    "conv1": "body.stem.conv",
    "bn1": "body.stem.norm",
    "layer1": "body.blocks.0",
    "layer2": "body.blocks.1",
    "layer3": "body.blocks.2",
    "layer4": "body.aggregate",
    "attention.0": "body.pool.context",
    "attention.2": "body.pool.norm",
    "attention.4": "body.pool.score",
}
ECAPA_LAYERS = {
    "conv1": "widen.conv",
    "bn1": "widen.norm",
    "conv3": "merge.conv",
    "bn3": "merge.norm",
    "se.se.1": "gate.squeeze",
    "se.se.3": "gate.excite",
    **{f"convs.{i}": f"groups.{i}.conv" for i in range(7)},
    **{f"bns.{i}": f"groups.{i}.norm" for i in range(7)},
}
LEAVES = ("", "weight", "bias", "running_mean", "running_var", "num_batches_tracked")
# For each back-end: modules, layers.
TABLES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "aasist": (GRAPH_MODULES | {f"encoder.{i}.0": f"encoder.{i}" for i in range(6)}, GRAPH_LAYERS),
    "aasist_raw": (GRAPH_MODULES | {f"encoder.{i}.0": f"encoder.{i}.0" for i in range(6)}, GRAPH_LAYERS),
    "resnet18": (RESNET_MODULES, RESNET_LAYERS),
    "ecapa_tdnn": (ECAPA_MODULES | {"bn5": "embedding_norm", "fc6": "classifier", "bn6": "logit_norm"}, ECAPA_LAYERS),
    "ecapa_raw": (ECAPA_MODULES | {"bn5": "statistics_norm", "fc6": "embedding", "bn6": "embedding_norm"}, ECAPA_LAYERS),
}


def rename_published(backend: str, state_dict: Mapping[str, Tensor], *, without_frontend: bool = False) -> dict[str, Tensor]:
    """A published project's state_dict under our names, dead parameters left out.

    Names may carry a wrapper's prefix (`module.`, `speaker_encoder.`). Raises ValueError for a back-end without published
    checkpoints, for a name that no table knows, and for the weights of an SSL encoder, unless `without_frontend=True` leaves
    those out: a back-end was trained together with them. What is missing only `load_published` can tell.
    """
    if backend not in TABLES:
        raise ValueError(f"no published checkpoints are known for back-end {backend!r}; there are: {', '.join(TABLES)}")
    renamed = {}
    for name, value in state_dict.items():
        bare = strip_wrappers(name)
        if bare.startswith(ENCODER_PREFIX):
            if not without_frontend:
                raise ValueError(f"it holds an SSL encoder ({name}), trained together with the back-end; ssl.mode=finetune has both")
        elif not re.fullmatch(DEAD[backend], bare):
            renamed[rename(bare, *TABLES[backend])] = value
    return renamed


def load_published(backend: str, model: nn.Module, state_dict: Mapping[str, Tensor], *, without_frontend: bool = False) -> None:
    """Copies a published checkpoint into our model; raises ValueError naming what is missing, unexpected or of another shape."""
    renamed = rename_published(backend, state_dict, without_frontend=without_frontend)
    own = model.state_dict()
    kept = {name: value for name, value in own.items() if name.startswith(OURS_ALONE.get(backend, ()))}
    if backend == "aasist" and "pos_s" in own and "projection.weight" not in own:
        kept["pos_s"] = torch.zeros_like(own["pos_s"])
    renamed = kept | renamed
    problems = [f"missing {name}" for name in own if name not in renamed]
    problems += [f"unexpected {name}" for name in renamed if name not in own]
    shapes = [(name, tuple(value.shape), tuple(own[name].shape)) for name, value in renamed.items() if name in own]
    problems += [f"{name} is {published}, not {ours}" for name, published, ours in shapes if published != ours]
    if problems:
        raise ValueError(f"this is no {backend} checkpoint for this model: {', '.join(problems[:5])}")
    model.load_state_dict(renamed)


def load_published_system(backend: str, model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Copies a published checkpoint into a network of `networks.build_model`: the back-end, and the encoder where that is fine-tuned.

    Raises ValueError as `load_published` and `load_encoder` do, and where one of the two has an encoder and the other has none.
    """
    encoder = getattr(model, "encoder", None) if isinstance(model, nn.Sequential) else None
    weights = encoder_weights({strip_wrappers(name): value for name, value in state_dict.items()})
    if weights and encoder is None:
        raise ValueError(
            "it holds an SSL encoder that was trained with the back-end: use system=xlsr_aasist, or ssl.mode=finetune store.dtype=float32"
        )
    if encoder is None:
        load_published(backend, model, state_dict)
        return
    if not weights:
        raise ValueError("it holds no SSL encoder, only a back-end: use ssl.mode=frozen")
    if hasattr(model, "mix"):
        raise ValueError("its back-end was trained on the encoder's output: use ssl.layer=last, not weighted_sum")
    if any("lora_" in name for name, _ in encoder.named_parameters()):
        raise ValueError("its encoder was trained as a whole: use finetune.lora_rank=0")
    load_encoder(encoder.network, weights)
    load_published(backend, model.backend, state_dict, without_frontend=True)


def strip_wrappers(name: str) -> str:
    """The name without the prefixes that training scripts add."""
    for wrapper in WRAPPERS:
        name = name.removeprefix(wrapper)
    return name


def rename(name: str, modules: dict[str, str], layers: dict[str, str]) -> str:
    """One name, translated; raises ValueError if a part of it is in no table."""
    module, rest = look_up_beginning(name, modules)
    layer, leaf = look_up_beginning(rest, layers)
    if not module or leaf not in LEAVES:
        raise ValueError(f"unexpected parameter in a published checkpoint: {name}")
    return ".".join(part for part in (module, layer, leaf) if part)


def look_up_beginning(name: str, table: dict[str, str]) -> tuple[str, str]:
    """(translation of the longest beginning of the dotted name that the table knows, or ""; the rest of the name)."""
    pieces = name.split(".")
    for count in range(len(pieces), 0, -1):
        beginning = ".".join(pieces[:count])
        if beginning in table:
            return table[beginning], ".".join(pieces[count:])
    return "", name
