"""An SSL encoder that is trained along with its back-end: wholly, without its convolutions, or through LoRA matrices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from sourcetracing.models.frontends.ssl import LAST, SslEncoder

# The projections of an attention layer by family. WavLM hands the weights of its own to a function of torch, past any matrix beside
# them; its feed-forward layers are adapted instead.
_ATTENTION = r".*\.layers\.\d+\.(attention|self_attn)\.(q_proj|k_proj|v_proj|out_proj)"
LORA_TARGETS = {
    "wavlm": r".*\.layers\.\d+\.feed_forward\.(intermediate_dense|output_dense)",
    "wav2vec2-bert": r".*\.layers\.\d+\.self_attn\.(linear_q|linear_k|linear_v|linear_out)",
    "whisper": r"layers\.\d+\.self_attn\.(q_proj|k_proj|v_proj|out_proj)",
}
REGULARIZATIONS = ("explicit", "checkpoint")


class TrainableSslEncoder(SslEncoder):
    """`SslEncoder` that follows train() and eval() and whose weights learn.

    freeze_cnn: not the convolutions before the first block (w2v-BERT has none). gradient_checkpointing: activations are computed twice
    instead of kept. lora_rank: if not 0, only low-rank matrices beside the attention's learn, scaled by lora_alpha / lora_rank (Hu et al.
    2021, arXiv:2106.09685). regularization: "explicit" takes dropout, layerdrop, mask_time_prob and mask_feature_prob (SpecAugment) from
    here, "checkpoint" from the checkpoint's config.json. SpecAugment draws from numpy's global generator, the rest from torch's.
    Raises what `SslEncoder` raises, and ValueError for SpecAugment on Whisper, whose encoder has none.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        layer: int | str = LAST,
        normalize: bool = True,
        revision: str | None = None,
        freeze_cnn: bool = True,
        gradient_checkpointing: bool = False,
        lora_rank: int = 0,
        lora_alpha: float = 16.0,
        regularization: str = "explicit",
        dropout: float = 0.1,
        layerdrop: float = 0.0,
        mask_time_prob: float = 0.0,
        mask_feature_prob: float = 0.0,
    ):
        if regularization not in REGULARIZATIONS:
            raise ValueError(f"regularization {regularization!r} is none of {', '.join(REGULARIZATIONS)}")
        changes = _entries(dropout, layerdrop, mask_time_prob, mask_feature_prob) if regularization == "explicit" else {}
        super().__init__(model, layer=layer, normalize=normalize, revision=revision, changes=changes)
        if self.model_type == "whisper" and changes and max(mask_time_prob, mask_feature_prob) > 0:
            raise ValueError("mask_time_prob and mask_feature_prob: the encoder of Whisper has no SpecAugment")
        config = self.network.config
        config.mask_feature_min_masks = getattr(config, "mask_feature_min_masks", 0)  # WavLM's lacks it, and its masking asks for it
        self.requires_grad_(True)
        if freeze_cnn:
            self._freeze_cnn()
        if getattr(self.network, "masked_spec_embed", None) is not None:
            self.network.masked_spec_embed.requires_grad_(self.network.config.mask_time_prob > 0)
        if lora_rank:
            self._add_lora(lora_rank, lora_alpha)
        if gradient_checkpointing:
            self.network.activation_checkpointing_enable()
        self.train()

    def train(self, mode: bool = True) -> TrainableSslEncoder:
        """Unlike the frozen encoder's, as any module's."""
        return nn.Module.train(self, mode)

    def _freeze_cnn(self) -> None:
        if self.model_type == "whisper":
            convolutions: list[nn.Module] = [self.network.conv1, self.network.conv2]
        else:
            convolutions = [self.network.feature_extractor] if hasattr(self.network, "feature_extractor") else []
        for module in convolutions:
            module.requires_grad_(False)
            module._requires_grad = False  # transformers: else it asks for gradients of the waveform

    def _add_lora(self, rank: int, alpha: float) -> None:
        from peft import LoraConfig, inject_adapter_in_model  # the one thing that needs it

        targets = LORA_TARGETS.get(self.model_type, _ATTENTION)
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets), self.network)


def _entries(dropout: float, layerdrop: float, mask_time_prob: float, mask_feature_prob: float) -> dict[str, Any]:
    """Their names in the configurations of all families; each has some of them."""
    names = ("dropout", "hidden_dropout", "attention_dropout", "feat_proj_dropout", "conformer_conv_dropout")
    masks = {"mask_time_prob": mask_time_prob, "mask_feature_prob": mask_feature_prob, "apply_spec_augment": True}
    return {**dict.fromkeys(names, dropout), "activation_dropout": 0.0, "layerdrop": layerdrop, "encoder_layerdrop": layerdrop, **masks}
