"""What a feature store holds the output of: LFCCs, waveforms or a frozen SSL encoder, and how many waveforms an encoder gets at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from sourcetracing.errors import UserError
from sourcetracing.features.engines import converted, is_torch, refuse_what_cannot
from sourcetracing.runtime.compute import HALF_TYPES, autocast, empty_cache, encoder_precision, is_out_of_memory, resolved_precision
from sourcetracing.runtime.progress import Stopwatch, say
from sourcetracing.settings.frontends import FRONTENDS, stored_front_end
from sourcetracing.settings.schema import Settings

GPU_BATCH = 64


def build_front_end(settings: Settings) -> FrontEnd:
    """The front-end that the settings name, on their device. Raises `UserError`."""
    kind = stored_front_end(settings)
    entry = FRONTENDS[kind]
    if not entry.is_encoder:
        options = vars(getattr(settings, kind)) if entry.options else {}
        return FrontEnd(entry.load()(sample_rate=settings.audio.sample_rate, **options).eval(), settings)
    encoder = entry.load()(settings)
    device = next(encoder.parameters()).device
    refuse_what_cannot(settings, device)
    convert_once(encoder.network, resolved_precision(device, encoder_precision(settings.compute)))
    if settings.compute.compile:
        _compile(encoder.network, device)
    front_end = FrontEnd(encoder, settings)
    if not is_torch(settings):
        encoder.engine = _by_engine(encoder, front_end.size, settings)
    return front_end


def convert_once(network: nn.Module, precision: str) -> None:
    """Turns weights that autocast would convert in every pass into bf16 or fp16. The results stay the same, bit by bit.

    Raises `UserError` for what would never end: torch 2.11 hangs in an fp16 depthwise convolution (w2v-BERT's) of 4 s of sound on a CPU.
    """
    if precision not in HALF_TYPES:
        return
    if precision == "fp16" and any(map(_is_depthwise_on_cpu, network.modules())):
        raise UserError("compute.encoder_precision=fp16: a CPU cannot compute this encoder in it. Use compute.encoder_precision=float32")
    for module in list(network.modules()):
        if is_parametrized(module):  # the weight norm of the positional convolution
            remove_parametrizations(module, "weight")
        if isinstance(module, (nn.Linear, nn.Conv1d)):
            module.to(HALF_TYPES[precision])


def _is_depthwise_on_cpu(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv1d) and module.groups == module.in_channels > 1 and module.weight.device.type == "cpu"


def _compile(network: nn.Module, device: torch.device) -> None:
    """Takes effect at the first pass. On a CPU the weights are packed for its kernels beforehand; nothing is gained without that.

    On CUDA all kernels of a pass are recorded as a graph and started by one call (every pass has the same shape).
    """
    import torch._inductor.config as inductor  # takes a second

    inductor.freezing = device.type == "cpu"
    network.compile(dynamic=False, mode="reduce-overhead" if device.type == "cuda" else None)


def _by_engine(encoder: nn.Module, num_waveforms: int, settings: Settings) -> Callable[[Tensor], Tensor]:
    num_samples = round(settings.audio.crop_seconds * settings.audio.sample_rate)
    noise = torch.randn(num_waveforms, num_samples, generator=torch.Generator().manual_seed(0))
    return converted(encoder.hidden, [(encoder.entering(noise),)], settings)


class FrontEnd:
    """Maps waveforms (B, samples) float32 on the CPU to what is stored of them, (B, ...) float32, on the front-end's device.

    An SSL encoder gets `size` waveforms in each pass. A pass that is not full is filled up, so that all have one shape: nothing compiles
    twice, and a row does not depend on how many came with it. `watch` adds up what is done around it.
    """

    def __init__(self, module: nn.Module, settings: Settings):
        self.module, self.settings = module, settings
        self.is_encoder = FRONTENDS[stored_front_end(settings)].is_encoder
        self.device = next(module.parameters()).device if self.is_encoder else torch.device("cpu")
        on_cpu, num_variants = self.device.type == "cpu", len(settings.augment.variants)
        # On a CPU one at a time is a tenth faster than five together: what lies between the layers stays in the processor's cache.
        batch = settings.compute.encoder_batch or (1 if on_cpu else GPU_BATCH)
        self.is_batched = self.is_encoder and (batch > 1 or not on_cpu)
        self.utterances_per_batch = max(1, batch // num_variants) if self.is_batched else 1
        self.size = batch // num_variants * num_variants or batch
        self.commit: str = getattr(module, "commit", "")
        self.watch = Stopwatch()

    @torch.inference_mode()
    def __call__(self, waveforms: Tensor) -> Tensor:
        """Halves `size` when memory runs out. Raises `UserError` when one waveform is too many, or torch.compile cannot work."""
        if not self.is_encoder:
            return self.module(waveforms)
        while True:
            try:
                passes = [self._encode(rows) for rows in waveforms.split(self.size)]
                return passes[0] if len(passes) == 1 else torch.cat(passes)
            except RuntimeError as error:
                self._refuse(error)
            self._halve()  # here, where the error and the tensors that its traceback holds are gone

    def output_shape(self, num_samples: int) -> tuple[int, ...]:
        """The shape of a stored row. The first pass: compiling happens here."""
        if self.is_encoder and self.settings.compute.compile:
            say("compiling the encoder (compute.compile=true): a minute or more")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"torch\._(dynamo|inductor)")  # its remarks on transformers' code
            return tuple(self(torch.zeros(1, num_samples)).shape[1:])

    def _encode(self, rows: Tensor) -> Tensor:
        num_rows = len(rows)
        if num_rows < self.size:
            rows = torch.cat([rows, rows[-1:].expand(self.size - num_rows, -1)])
        with autocast(self.device, encoder_precision(self.settings.compute)):
            made = self.module(rows.to(self.device, non_blocking=True))[:num_rows]
        return made.to(torch.float32, copy=self.settings.compute.compile)  # the next pass of a CUDA graph writes where this one did

    def _refuse(self, error: RuntimeError) -> None:
        """Raises unless fewer waveforms may help."""
        if is_out_of_memory(error):
            if self.size == 1:
                raise UserError(
                    f"not enough memory on {self.device.type} for one waveform of {self.settings.audio.crop_seconds:g} s. "
                    "Use compute.device=cpu, a smaller ssl.model or a shorter audio.crop_seconds"
                ) from None
        elif self.settings.compute.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise UserError(f"compute.compile=true needs a working C++ compiler (g++ or clang++): {reason}. Or leave it out") from None
        else:
            raise error

    def _halve(self) -> None:
        too_many, self.size = self.size, self.size // 2
        empty_cache(self.device)
        say(f"compute.encoder_batch: {too_many} waveforms at a time do not fit the memory of {self.device.type}; going on with {self.size}")


@torch.inference_mode()
def row_peaks(features: Tensor) -> Tensor:
    """The largest magnitude in each row, (rows,), on the features' device; NaN where a row holds one."""
    low, high = features.flatten(1).aminmax(dim=1)
    return torch.maximum(-low, high)
