"""Another engine than torch for a frozen SSL encoder on a CPU (compute.engine): OpenVINO or ONNX Runtime.

The network goes through an ONNX file in a temporary folder, once for each encoder that a process loads, and is compared with torch on noise
before anything is made with it. Each thread that asks gets one core, so that the bytes do not depend on the number of workers.
"""

from __future__ import annotations

import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from sourcetracing.errors import UserError
from sourcetracing.runtime.compute import encoder_precision, resolved_precision
from sourcetracing.runtime.extras import needs, version_of
from sourcetracing.runtime.parallel import resolve_workers
from sourcetracing.settings.schema import Settings

TOLERANCE = 1e-3  # of the root mean square of the features; seen: 1e-6 for tiny encoders, 1e-5 for large ones
_OPSET = 17


def is_torch(settings: Settings) -> bool:
    """Whether the encoder is computed by torch itself."""
    return settings.compute.engine == "torch"


def engine_facts(settings: Settings) -> dict[str, str]:
    """What store.json tells of an engine that is not torch: its name and version."""
    engine = settings.compute.engine
    return {} if is_torch(settings) else {"engine": engine, "engine_version": version_of(engine)}


def refuse_what_cannot(settings: Settings, device: torch.device) -> None:
    """Raises `UserError` for a device, a number type or a compiler that only torch has, and for an engine that is not installed."""
    if is_torch(settings):
        return
    compute, asked = settings.compute, f"compute.engine={settings.compute.engine}"
    if device.type != "cpu":
        raise UserError(f"{asked} computes on a CPU, and the device is {device.type}. Use compute.device=cpu, or compute.engine=torch")
    if (precision := resolved_precision(device, encoder_precision(compute))) != "float32":
        raise UserError(f"{asked} computes in float32, not {precision}. Use compute.encoder_precision=float32, or compute.engine=torch")
    if compute.encoder_batch > 1:
        raise UserError(f"{asked} takes one waveform at a time on each core. Use compute.encoder_batch=0, or compute.engine=torch")
    if compute.compile:
        raise UserError(f"{asked} takes the place of torch's compiler. Use compute.compile=false, or compute.engine=torch")
    with needs("engine", asked):
        __import__(compute.engine)
        import onnx  # noqa: F401 (torch looks for it)


def converted(method: Callable[..., Tensor], examples: Sequence[tuple[Tensor, ...]], settings: Settings) -> Callable[..., Tensor]:
    """A method of a frozen module (tensors in, one tensor out) by the engine of the settings; threads may share it.

    examples: its inputs for one or more sounds. Axes that differ among these, and the first (batch), may have any length later.
    Raises `UserError` where the engine cannot compute the module, or computes something else.
    """
    module = _Forward(method.__self__, method.__name__).eval()
    try:
        with tempfile.TemporaryDirectory(prefix="encoder-") as folder:
            path = Path(folder) / "encoder.onnx"
            _write_onnx(module, examples, path)
            run = _ENGINES[settings.compute.engine](path, resolve_workers(settings.compute.workers))
        worst = max(_difference(module, run, inputs) for inputs in examples)
    except Exception as error:  # exporter and engines raise a dozen kinds, most of them not public
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(f"{_cannot(settings)} compute it ({reason}). Use compute.engine=torch") from None
    if not worst <= TOLERANCE:
        raise UserError(f"{_cannot(settings)} be trusted with it: its features are off by {worst:.1g}. Use compute.engine=torch")
    return run


def _cannot(settings: Settings) -> str:
    return f"ssl.model={settings.ssl.model}: compute.engine={settings.compute.engine} cannot"


@torch.no_grad()
def _write_onnx(module: nn.Module, examples: Sequence[tuple[Tensor, ...]], path: Path) -> None:
    first, *others = examples
    names = [f"input_{number}" for number in range(len(first))]
    axes = {
        name: {axis: f"{name}_{axis}" for axis in range(tensor.ndim) if axis == 0 or len({one[number].shape[axis] for one in examples}) > 1}
        for number, (name, tensor) in enumerate(zip(names, first, strict=True))
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing remarks on transformers' code; what is wrong in the end `_difference` shows
        # By tracing: a second, and every family passes. torch.export takes a minute, and fixes the batch size.
        torch.onnx.export(module, first, str(path), input_names=names, dynamic_axes=axes, opset_version=_OPSET, dynamo=False)


@torch.no_grad()
def _difference(module: nn.Module, run: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> float:
    expected, made = module(*inputs), run(*inputs)
    return float((made - expected).abs().max() / expected.square().mean().sqrt()) if made.shape == expected.shape else float("inf")


class _Forward(nn.Module):
    """A method of a module, as exporters want it."""

    def __init__(self, module: nn.Module, name: str):
        super().__init__()
        self.module, self.name = module, name

    def forward(self, *inputs: Tensor) -> Tensor:
        return getattr(self.module, self.name)(*inputs)


class _OpenVino:
    """One stream of one thread for each worker; the weights are shared."""

    def __init__(self, path: Path, num_workers: int):
        import openvino

        core = openvino.Core()
        options = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": num_workers, "INFERENCE_NUM_THREADS": num_workers}
        # Pinned, two processes would share the first core and leave the second.
        self.compiled = core.compile_model(core.read_model(str(path)), "CPU", {**options, "ENABLE_CPU_PINNING": False})
        self.own = threading.local()

    def __call__(self, *inputs: Tensor) -> Tensor:
        if not hasattr(self.own, "request"):
            self.own.request = self.compiled.create_infer_request()
        made = self.own.request.infer([tensor.contiguous().numpy() for tensor in inputs])
        return torch.from_numpy(made[0].copy())  # the next pass writes to the same place


class _OnnxRuntime:
    """One session whose passes run in the thread that asks."""

    def __init__(self, path: Path, num_workers: int):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.names = [node.name for node in self.session.get_inputs()]

    def __call__(self, *inputs: Tensor) -> Tensor:
        arrays = [tensor.contiguous().numpy() for tensor in inputs]
        return torch.from_numpy(self.session.run(None, dict(zip(self.names, arrays, strict=True)))[0])


_ENGINES: dict[str, Callable[[Path, int], Callable[..., Tensor]]] = {"openvino": _OpenVino, "onnxruntime": _OnnxRuntime}
