"""A tiny wav2vec2 with random weights: lets everything that needs an SSL encoder run without a download. It has learned nothing."""

from __future__ import annotations

from pathlib import Path

from sourcetracing.runtime.files import atomic_path, write_json

FOLDER_NAME = "tiny_wav2vec2"
CONFIG = {  # frames as those of wav2vec2: one for 320 samples, 64,000 samples give 199
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "conv_dim": (32,) * 7,
    "num_conv_pos_embeddings": 32,
    "num_conv_pos_embedding_groups": 4,
    "layerdrop": 0.0,
}
PREPROCESSOR = {
    "feature_extractor_type": "Wav2Vec2FeatureExtractor",
    "feature_size": 1,
    "sampling_rate": 16000,
    "do_normalize": True,
    "padding_value": 0.0,
    "padding_side": "right",
    "return_attention_mask": False,
}


def is_complete(folder: Path) -> bool:
    """Whether the encoder lies there; its weights are written last."""
    return (folder / "model.safetensors").is_file()


def write_tiny_encoder(folder: Path, seed: int) -> None:
    """Writes config.json, preprocessor_config.json and model.safetensors (0.8 MB); the same bytes for the same seed."""
    import torch  # these take seconds, and the demo corpus needs them for this alone
    from safetensors.torch import save_file
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    config = Wav2Vec2Config(**CONFIG, architectures=["Wav2Vec2Model"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Wav2Vec2Model(config)
    write_json(folder / "config.json", config.to_dict())
    write_json(folder / "preprocessor_config.json", PREPROCESSOR)
    with atomic_path(folder / "model.safetensors") as partial:
        save_file(network.state_dict(), partial, metadata={"format": "pt"})
