"""Tiny random encoders of every family, saved as checkpoints: no download."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    Data2VecAudioConfig,
    Data2VecAudioModel,
    HubertConfig,
    HubertModel,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2BertModel,
    Wav2Vec2Config,
    Wav2Vec2ForCTC,
    Wav2Vec2ForPreTraining,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

WIDTH, NUM_BLOCKS = 16, 3
_BODY = {"hidden_size": WIDTH, "num_hidden_layers": NUM_BLOCKS, "num_attention_heads": 2, "intermediate_size": 24}
_CONV = {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
_STABLE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
_WHISPER = {
    "d_model": WIDTH,
    "encoder_layers": NUM_BLOCKS,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "num_mel_bins": 80,
    "vocab_size": 51,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
FAMILIES = {
    "wav2vec2": lambda: Wav2Vec2Model(Wav2Vec2Config(**_BODY, **_CONV)),
    "xls-r": lambda: Wav2Vec2Model(Wav2Vec2Config(**_BODY, **_CONV, **_STABLE)),
    "ctc": lambda: Wav2Vec2ForCTC(Wav2Vec2Config(**_BODY, **_CONV, **_STABLE, vocab_size=12)),
    "pretraining": lambda: Wav2Vec2ForPreTraining(Wav2Vec2Config(**_BODY, **_CONV, **_STABLE, codevector_dim=8, proj_codevector_dim=8)),
    "hubert": lambda: HubertModel(HubertConfig(**_BODY, **_CONV)),
    "wavlm": lambda: WavLMModel(WavLMConfig(**_BODY, **_CONV)),
    "wavlm-large": lambda: WavLMModel(WavLMConfig(**_BODY, **_CONV, **_STABLE)),
    "data2vec": lambda: Data2VecAudioModel(Data2VecAudioConfig(**_BODY, conv_dim=(8,) * 7, num_conv_pos_embedding_groups=2)),
    "w2v-bert": lambda: Wav2Vec2BertModel(Wav2Vec2BertConfig(**_BODY, vocab_size=None)),
    "whisper": lambda: WhisperModel(WhisperConfig(**_WHISPER)),
}


def save_tiny(family: str, folder: Path, seed: int = 1) -> Path:
    """Writes the checkpoint of a tiny random encoder; returns its folder."""
    torch.manual_seed(seed)
    network = FAMILIES[family]()
    for parameter in network.parameters():  # biases and norms start at 0 and 1, which would hide a forgotten one
        torch.nn.init.normal_(parameter, 0.0 if parameter.ndim > 1 else 0.1, 0.3)
    network.save_pretrained(folder)
    if family == "whisper":
        WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    if family == "w2v-bert":
        SeamlessM4TFeatureExtractor(feature_size=80, num_mel_bins=80, stride=2).save_pretrained(folder)
    return folder
