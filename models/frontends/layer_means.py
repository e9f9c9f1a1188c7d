"""The mean over time of the layers of a speech encoder, for sounds of different lengths at once.

What is kept of a layer is its raw output (layer 0: what enters the first block), by hooks of our own: not `hidden_states` of the
transformers library, whose last entry did or did not pass the final LayerNorm, depending on the version (D60). Shapes: B batch, T frames.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from sourcetracing.models.frontends.lfcc_means import Sound
from sourcetracing.models.frontends.ssl import SAMPLE_RATE, WAVEFORM_TYPES, WHISPER_HOP, SslEncoder, cut_encoder, final_norm, normalized

# Of these, the models whose first convolution has a GroupNorm take its statistics over the padding too, and so do data2vec's stacked
# positional convolutions with their bias: such models get sounds of one length at a time.
_MASKED_TYPES = ("wav2vec2", "hubert", "wavlm")
_BERT_SHORTEST = 560  # samples: two windows, the fewest whose spectrum has a variance


class LayerMeans(nn.Module):
    """Sounds -> (B, layers, width) float32: each layer's mean over the true frames of each sound, in one pass.

    layers: numbers, empty = all; the encoder, which must be whole, gets cut behind the last of them. normed: those of them that pass the
    encoder's final LayerNorm (where there is one) before the mean. `pads` tells whether sounds of different lengths may go together;
    padding then changes nothing but the last digits. Raises ValueError for a layer that does not exist.
    """

    def __init__(self, encoder: SslEncoder, layers: Iterable[int] = (), *, normed: Iterable[int] = ()):
        super().__init__()
        norm = final_norm(encoder.network)
        self.layers = sorted(set(layers)) or list(range(len(encoder.blocks) + 1))
        cut_encoder(
            encoder.network, self.layers[-1] if self.layers[0] >= 0 else self.layers[0]
        )  # which raises, for one that does not exist
        self.encoder, self.norm, self.normed = encoder, nn.Identity() if norm is None else norm, frozenset(normed)
        config = encoder.network.config
        self.width = config.hidden_size
        self.pads = encoder.model_type in ("wav2vec2-bert", "whisper") or (
            encoder.model_type in _MASKED_TYPES and config.feat_extract_norm == "layer"
        )
        self.shortest, self.longest = _limits(encoder)
        self.engine: Callable[[Tensor, Tensor], Tensor] | None = None  # computes `means` of sounds of one length in place of torch
        self.seen = threading.local()  # threads may share an encoder
        for number in self.layers[:-1]:
            encoder.blocks[number].register_forward_pre_hook(lambda _, inputs, number=number: self._keep(number, inputs[0]))

    @property
    def device(self) -> torch.device:
        return next(self.encoder.parameters()).device

    def sound(self, waveform: Tensor) -> Sound:
        """One waveform (samples,) float32 at 16 kHz, normalised over its own samples, or as its spectrum."""
        encoder = self.encoder
        if encoder.spectra is None:
            return Sound(normalized(waveform[None])[0] if encoder.normalize else waveform, len(waveform))
        made = encoder.spectra(waveform.numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True)
        entering = made["input_features"][0]
        if encoder.model_type == "wav2vec2-bert":  # the last frame may be half padding
            entering = entering[: int(made["attention_mask"].sum())]
        return Sound(entering, len(waveform))

    def forward(self, sounds: Sequence[Sound]) -> Tensor:
        equal = len({sound.num_samples for sound in sounds}) == 1
        assert equal or self.pads, "these lengths cannot go together"
        entering, weights = self.inputs(sounds)
        if self.engine is None:
            return self.means(entering, weights, None if equal else sounds)
        return self.engine(entering, weights) if equal else torch.cat([self([sound]) for sound in sounds])

    def inputs(self, sounds: Sequence[Sound]) -> tuple[Tensor, Tensor]:
        """What `means` gets, on the network's device."""
        entering = pad_sequence([sound.entering for sound in sounds], batch_first=True).to(self.device, non_blocking=True)
        return entering, _mean_weights(self._num_frames(sounds), self.device)

    def means(self, entering: Tensor, weights: Tensor, sounds: Sequence[Sound] | None = None) -> Tensor:
        """What enters the network and the weight of each frame (B, 1, T) -> (B, layers, width). sounds: those of different lengths."""
        self.seen.means, self.seen.weights = {}, weights
        try:
            hidden = self._run(entering, sounds)
            self._keep(self.layers[-1], hidden)
            return torch.stack([self.seen.means[layer] for layer in self.layers], dim=1)
        finally:
            self.seen.means = self.seen.weights = None

    def _run(self, entering: Tensor, sounds: Sequence[Sound] | None) -> Tensor:
        if sounds is None or self.encoder.model_type == "whisper":  # Whisper hears 30 s of everything, silence included
            return self.encoder.network(entering).last_hidden_state
        lengths = torch.tensor([len(sound.entering) for sound in sounds], device=self.device)
        mask = torch.arange(entering.shape[1], device=self.device) < lengths[:, None]
        return self.encoder.network(entering, attention_mask=mask.long()).last_hidden_state

    def _num_frames(self, sounds: Sequence[Sound]) -> list[int]:
        if self.encoder.model_type == "wav2vec2-bert":
            return [len(sound.entering) for sound in sounds]
        if self.encoder.model_type == "whisper":
            return [-(-sound.num_samples // WHISPER_HOP) for sound in sounds]
        lengths = torch.tensor([sound.num_samples for sound in sounds])
        return self.encoder.network._get_feat_extract_output_lengths(lengths).tolist()

    def _keep(self, layer: int, hidden: Tensor) -> None:
        weights = self.seen.weights
        hidden = self.norm(hidden) if layer in self.normed else hidden
        with torch.autocast(hidden.device.type, enabled=False):
            self.seen.means[layer] = torch.bmm(weights, hidden[:, : weights.shape[2]].float()).squeeze(1)


def _mean_weights(frames: Sequence[int], device: torch.device) -> Tensor:
    """(B, 1, T): one over the number of its frames for each true frame of a sound, 0 behind them."""
    counts = torch.tensor(frames, dtype=torch.float32)
    weights = (torch.arange(max(frames)) < counts[:, None]) / counts[:, None]
    return weights.unsqueeze(1).to(device)


def _limits(encoder: SslEncoder) -> tuple[int, int | None]:
    """The fewest and (Whisper) the most samples of a sound."""
    if encoder.model_type in WAVEFORM_TYPES:
        config, shortest = encoder.network.config, 1
        for kernel, stride in reversed(list(zip(config.conv_kernel, config.conv_stride, strict=True))):
            shortest = (shortest - 1) * stride + kernel
        return shortest, None
    return (_BERT_SHORTEST, None) if encoder.model_type == "wav2vec2-bert" else (1, encoder.spectra.n_samples)
