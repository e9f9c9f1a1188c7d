"""Where an experiment reads and writes, and on what it computes."""

from __future__ import annotations

from dataclasses import dataclass

from sourcetracing.settings.declaring import setting


@dataclass
class Paths:
    corpus: str = setting("data/demo", "root of the corpus: holds fake/<language>/<model_dir>/*.wav and meta.csv (MLAAD's layout)")
    protocols: str = setting(
        "data/MLAADv5_for_sourcetracing/mlaad4sourcetracing.zip",
        "MLAAD's source-tracing protocols: the zip, or a folder with its three CSVs",
    )
    musan: str = setting("data/demo/musan", "root of the noises: holds {music,noise,speech}/<subset>/*.wav (MUSAN's layout)")
    rirs: str = setting("data/demo/RIRS_NOISES", "root of the room responses (RIRS_NOISES' layout)")
    exp: str = setting("exp", "where everything that is computed goes, in a folder named after `name`")


ENGINES = ("torch", "openvino", "onnxruntime")


@dataclass
class Compute:
    device: str = setting("auto", "auto: cuda, else mps, else cpu", choices=("auto", "cpu", "cuda", "mps"))
    workers: int = setting(0, "processes for synthesis, features and training runs; 0 = one per core, at most 8", at_least=0, at_most=1024)
    encoder_batch: int = setting(
        0, "waveforms per pass of a frozen SSL encoder; 0 = 1 on a CPU, 64 on a GPU; halved for lack of memory", at_least=0, at_most=65536
    )
    compile: bool = setting(False, "torch.compile the frozen SSL encoder, on a GPU as CUDA graphs: minutes at the start, faster after")
    engine: str = setting(
        "torch",
        "what computes a frozen SSL encoder on a CPU: torch, or OpenVINO or ONNX Runtime (the extra `engine`); its features are kept apart",
        choices=ENGINES,
    )
    precision: str = setting(
        "auto",
        "auto: bf16 autocast on GPUs that have it (Ampere and later), float32 elsewhere; recorded as what it was",
        choices=("auto", "float32", "bf16"),
    )
    encoder_precision: str = setting(
        "auto",
        "number type of a frozen SSL encoder; auto: as compute.precision; fp16 is for GPUs. Recorded with the features, not with runs",
        choices=("auto", "float32", "bf16", "fp16"),
    )
    runs_per_gpu: int = setting(
        1,
        "training runs that share a GPU, each a process with its part of the memory (with executor=ray blocks of encoded features too)",
        at_least=1,
        at_most=64,
    )
    deterministic: bool = setting(True, "on a GPU: the same bytes each time, without TF32; false: what torch does on its own")


@dataclass
class Executor:
    """Where blocks of features (scripts 04, detection/01, 06) and training runs (05) are computed. `executor=ray`: `executor.kind=ray`."""

    kind: str = setting("local", "local: this machine; ray: the machines of a Ray cluster (docs/scaling.md)", choices=("local", "ray"))
    address: str = setting("auto", "of the Ray cluster; auto: the one that this machine belongs to")
