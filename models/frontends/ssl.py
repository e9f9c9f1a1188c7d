"""Self-supervised speech encoders as front-ends: any wav2vec2, XLS-R, MMS, HuBERT, WavLM, data2vec, w2v-BERT 2.0 or Whisper checkpoint.

Only what is needed is computed: the encoder is cut behind the wanted block. A numbered layer is the raw output of that block (layer 0: what
enters the first one), never with the encoder's final LayerNorm, in which versions of the transformers library differ (D60); "last" is the
encoder's own output, with it; "weighted_sum" is all numbered layers, for a `sourcetracing.models.frontends.layer_mix.LayerMix` to weigh.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, PretrainedConfig

LAST, WEIGHTED_SUM = "last", "weighted_sum"
WAVEFORM_TYPES = ("wav2vec2", "hubert", "wavlm", "data2vec-audio")
SPECTRUM_TYPES = ("wav2vec2-bert", "whisper")
SAMPLE_RATE = 16_000
WHISPER_HOP = 320  # samples for each frame of its encoder
# Weights that a checkpoint may have beyond the encoder, or lack: heads of its pre-training or fine-tuning, and the embedding that
# SpecAugment masks with, which a frozen encoder never uses.
_HEADS = re.compile(
    r"(^|\.)(lm_head|quantizer|project_q|project_hid|proj_out|final_proj|label_embs_concat|mask_emb|masked_spec_embed|decoder)\b"
)


class WeightsError(ValueError):
    """A checkpoint whose weights are not those of its network."""


class SslEncoder(nn.Module):
    """Waveforms (B, samples) float32 at 16 kHz -> hidden states (B, width, frames) of one layer, or (B, blocks + 1, width, frames) of all.

    model: a Hub id or a folder; revision: commit, tag or branch of the former. layer: "last", a number from 0 to the number of blocks, or
    "weighted_sum" for all of those. normalize: zero mean, unit variance of each waveform first (families that take spectra have their own
    way). changes: entries of the checkpoint's configuration to be set otherwise, those it has. Frozen and always in evaluation mode: no
    dropout, LayerDrop or SpecAugment. Raises ValueError for a family or a layer that does not exist, `WeightsError` for weights that are
    missing or left over, OSError where the checkpoint cannot be found.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        layer: int | str = LAST,
        normalize: bool = True,
        revision: str | None = None,
        changes: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        config = AutoConfig.from_pretrained(model, revision=revision)
        for name, value in (changes or {}).items():
            if hasattr(config, name):
                setattr(config, name, value)
        self.model_type, self.normalize = config.model_type, normalize
        if self.model_type not in (*WAVEFORM_TYPES, *SPECTRUM_TYPES):
            known = ", ".join((*WAVEFORM_TYPES, *SPECTRUM_TYPES))
            raise ValueError(f"this is a {self.model_type} model; speech encoders of these families are known: {known}")
        self.commit = getattr(config, "_commit_hash", None) or ""
        self.spectra = None if self.model_type in WAVEFORM_TYPES else AutoFeatureExtractor.from_pretrained(model, revision=revision)
        self.network = cut_encoder(_load(model, revision, config), layer)
        self.seen = threading.local()  # threads may share an encoder
        self.all_layers = layer == WEIGHTED_SUM
        if self.all_layers:
            self._watch_layers()
        self.engine: Callable[[Tensor], Tensor] | None = None  # computes `hidden` in place of torch
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> SslEncoder:
        """Stays in evaluation mode, whatever the network around it does."""
        return super().train(False)

    def forward(self, waveform: Tensor) -> Tensor:
        hidden = (self.engine or self.hidden)(self.entering(waveform))
        if self.model_type == "whisper":  # it always hears 30 s; what lies behind the waveform is silence
            hidden = hidden[..., : -(-waveform.shape[1] // WHISPER_HOP), :]
        return hidden.transpose(-1, -2)

    def hidden(self, entering: Tensor) -> Tensor:
        """What enters the network -> (B, frames, width), or (B, blocks + 1, frames, width) of all layers."""
        return self._run_all(entering) if self.all_layers else self.network(entering).last_hidden_state

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks that are left after the cut."""
        return getattr(self.network, "encoder", self.network).layers

    def _watch_layers(self) -> None:
        def keep(number: int, hidden: Tensor | tuple) -> None:
            if getattr(self.seen, "layers", None) is not None:  # not while gradient checkpointing runs a block again
                self.seen.layers[number] = hidden if isinstance(hidden, Tensor) else hidden[0]

        for number, block in enumerate(self.blocks):
            block.register_forward_pre_hook(lambda _, inputs, number=number: keep(number, inputs))
            block.register_forward_hook(lambda _, __, output, number=number: keep(number + 1, output))

    def _run_all(self, entering: Tensor) -> Tensor:
        """(B, blocks + 1, frames, width); a block that LayerDrop skipped gives what entered it."""
        self.seen.layers = {}
        try:
            last = self.network(entering).last_hidden_state
            seen = self.seen.layers
        finally:
            self.seen.layers = None
        seen[len(self.blocks)] = last  # should LayerDrop skip every block
        layers = [seen[min(seen)]]
        for number in range(1, len(self.blocks) + 1):
            layers.append(seen.get(number, layers[-1]))
        return torch.stack(layers, dim=1)

    def entering(self, waveform: Tensor) -> Tensor:
        """What the network gets of waveforms (B, samples): themselves at zero mean and unit variance, or spectra (B, ...)."""
        if self.spectra is None:
            return normalized(waveform) if self.normalize else waveform
        if self.model_type == "whisper" and waveform.shape[1] > self.spectra.n_samples:
            raise ValueError(
                f"Whisper hears {self.spectra.n_samples / SAMPLE_RATE:g} s, the waveform has {waveform.shape[1] / SAMPLE_RATE:g} s"
            )
        with torch.autocast("cpu", enabled=False):  # spectra in half precision are not implemented, and would be poor
            made = self.spectra(list(waveform.float().cpu().numpy()), sampling_rate=SAMPLE_RATE, return_tensors="pt")
        return made["input_features"].to(waveform.device, waveform.dtype)


def normalized(waveform: Tensor) -> Tensor:
    """Each waveform (B, samples) at zero mean and unit variance, by the population variance + 1e-7 as wav2vec2 was trained with."""
    return F.layer_norm(waveform, waveform.shape[-1:], eps=1e-7)


def _load(model: str | Path, revision: str | None, config: PretrainedConfig) -> nn.Module:
    """The encoder with every weight from the checkpoint. Raises `WeightsError` (a silently random layer gives plausible features)."""
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # it would report heads that are left over on purpose
    transformers.logging.disable_progress_bar()
    try:
        network, report = AutoModel.from_pretrained(
            model, revision=revision, config=config, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True
        )
    finally:
        transformers.logging.set_verbosity(verbosity)
        transformers.logging.enable_progress_bar()
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        names = sorted(str(key) for key in report.get(kind) or () if not _HEADS.search(str(key)))
        if names:
            raise WeightsError(f"{len(names)} {kind.replace('_keys', '')} weights, the first is {names[0]}")
    return network.get_encoder() if network.config.model_type == "whisper" else network


def cut_encoder(network: nn.Module, layer: int | str) -> nn.Module:
    """Removes the blocks behind `layer` and, for a numbered layer, the final LayerNorm; changes and returns `network`.

    Raises ValueError for a layer that does not exist.
    """
    encoder = network if not hasattr(network, "encoder") else network.encoder
    num_blocks = len(encoder.layers)
    if layer == LAST:
        return network
    if layer == WEIGHTED_SUM:
        layer = num_blocks
    if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer <= num_blocks:
        raise ValueError(f"layer {layer!r}: must be {LAST!r}, {WEIGHTED_SUM!r} or a number from 0 to {num_blocks}")
    encoder.layers = encoder.layers[:layer]
    if _has_final_norm(network):
        encoder.layer_norm = nn.Identity()
    if getattr(network, "adapter", None) is not None:  # w2v-BERT: it shortens the output of the last block
        network.adapter = None
    if getattr(network, "intermediate_ffn", None) is not None:
        network.intermediate_ffn = None
    return network


def final_norm(network: nn.Module) -> nn.Module | None:
    """The LayerNorm behind the last block, of an encoder that has one and is not cut."""
    return getattr(network, "encoder", network).layer_norm if _has_final_norm(network) else None


def _has_final_norm(network: nn.Module) -> bool:
    """Whether `encoder.layer_norm` stands behind the blocks; in encoders of the first wav2vec2 kind it stands before them."""
    return network.config.model_type == "whisper" or bool(getattr(network.config, "do_stable_layer_norm", False))
