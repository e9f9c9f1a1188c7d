"""The SSL encoder in a published checkpoint: its parameter names, fairseq's or those of transformers, mapped to ours.

Published AASIST checkpoints hold the fine-tuned encoder below `ssl_model.`: SSL_AASIST as fairseq names it (`ssl_model.model.encoder...`),
the `hug_*_AASIST` classes as transformers does (`ssl_model.encoder...`), whose names are ours but for the weight norm of the positional
convolution, which older versions of torch call weight_g and weight_v. fairseq's names are those of its `Wav2Vec2Model`
(fairseq/models/wav2vec/wav2vec2.py); what each is to transformers, its convert_wav2vec2_original_pytorch_checkpoint_to_pytorch.py says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

PREFIX = "ssl_model."
FAIRSEQ_PREFIX = "model."
# Of pre-training and of speech recognition: no part of an encoder's output.
_HEADS = re.compile(r"(quantizer|project_q|project_hid|final_proj|target_glu|lm_head)\..*")
_WEIGHT_NORM = "encoder.pos_conv_embed.conv.parametrizations.weight.original"
_FAIRSEQ = (
    (r"mask_emb", "masked_spec_embed"),
    (r"post_extract_proj\.", "feature_projection.projection."),
    (r"layer_norm\.", "feature_projection.layer_norm."),
    (r"feature_extractor\.conv_layers\.(\d+)\.0\.", r"feature_extractor.conv_layers.\1.conv."),
    (r"feature_extractor\.conv_layers\.(\d+)\.2\.(1\.)?", r"feature_extractor.conv_layers.\1.layer_norm."),
    (r"encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
    (r"encoder\.layers\.(\d+)\.self_attn\.", r"encoder.layers.\1.attention."),
    (r"encoder\.layers\.(\d+)\.self_attn_layer_norm\.", r"encoder.layers.\1.layer_norm."),
    (r"encoder\.layers\.(\d+)\.fc1\.", r"encoder.layers.\1.feed_forward.intermediate_dense."),
    (r"encoder\.layers\.(\d+)\.fc2\.", r"encoder.layers.\1.feed_forward.output_dense."),
    (r"encoder\.layers\.(\d+)\.final_layer_norm\.", r"encoder.layers.\1.final_layer_norm."),
    (r"encoder\.layer_norm\.", "encoder.layer_norm."),
)
_OLD_WEIGHT_NORM = {f"encoder.pos_conv_embed.conv.weight_{old}": f"{_WEIGHT_NORM}{new}" for old, new in (("g", 0), ("v", 1))}


def encoder_weights(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a published checkpoint says of its encoder, under the names of transformers; {} where it holds none.

    Raises ValueError for a name of fairseq's that stands in no table.
    """
    found = {name.removeprefix(PREFIX): value for name, value in state_dict.items() if name.startswith(PREFIX)}
    is_fairseq = any(name.startswith(FAIRSEQ_PREFIX) for name in found)
    renamed = {_from_fairseq(name) if is_fairseq else name: value for name, value in found.items()}
    return {_OLD_WEIGHT_NORM.get(name, name): value for name, value in renamed.items() if not _HEADS.fullmatch(name)}


def load_encoder(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copies them into an encoder (`SslEncoder.network`). Raises ValueError for what is missing, unexpected, of another shape, or frozen.

    masked_spec_embed may be missing or left over: it fills what SpecAugment masks, and evaluation masks nothing. Frozen weights are not
    kept with a run but come from the SSL checkpoint, so others may not be put in their place.
    """
    own = network.state_dict()
    optional = {"masked_spec_embed"}
    problems = [f"missing {PREFIX}{name}" for name in own if name not in weights and name not in optional]
    problems += [f"unexpected {PREFIX}{name}" for name in weights if name not in own and name not in optional]
    fitting = {name: value for name, value in weights.items() if name in own}
    shapes = [(name, tuple(value.shape), tuple(own[name].shape)) for name, value in fitting.items()]
    problems += [f"{PREFIX}{name} is {theirs}, not {ours}" for name, theirs, ours in shapes if theirs != ours]
    if problems:
        raise ValueError(f"its SSL encoder is not the one of ssl.model up to ssl.layer=last: {', '.join(problems[:5])}")
    frozen = {name for name, weight in network.named_parameters() if not weight.requires_grad} - optional
    changed = sorted(name for name in frozen if not torch.equal(own[name].cpu(), fitting[name].to(own[name].dtype)))
    if changed:
        raise ValueError(f"its encoder was trained as a whole ({changed[0]} differs from ssl.model's): use finetune.freeze_cnn=false")
    network.load_state_dict(fitting, strict=False)  # their names were compared above


def _from_fairseq(name: str) -> str:
    bare = name.removeprefix(FAIRSEQ_PREFIX)
    if _HEADS.fullmatch(bare):
        return bare
    for theirs, ours in _FAIRSEQ:
        renamed, count = re.subn(rf"^{theirs}", ours, bare)
        if count:
            return renamed
    raise ValueError(f"unexpected parameter of the SSL encoder in a published checkpoint: {PREFIX}{name}")
