"""Device, number type and determinism: what a GPU gets is tested with a stand-in, for there may be none here."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from sourcetracing.errors import UserError
from sourcetracing.runtime.compute import autocast, cpu_has_bf16, has_bf16, pick_device, prepare_device, set_deterministic
from sourcetracing.runtime.parallel import map_unordered
from sourcetracing.settings.paths import Compute
from sourcetracing.settings.places import config_files
from sourcetracing.settings.reading import load_settings
from tests.support.places import ROOT

GPU = torch.device("cuda")


@pytest.fixture(autouse=True)
def _as_before():
    yield
    set_deterministic(True)


@pytest.fixture
def gpu(monkeypatch):
    """Makes torch see a GPU of some compute capability, which emulates bf16 where it is old, as CUDA's compiler does."""

    def see(major: int, minor: int) -> None:
        properties = SimpleNamespace(major=major, minor=minor)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device=None: properties)
        monkeypatch.setattr(torch.cuda, "_check_bf16_tensor_supported", lambda device: True)

    return see


def flags() -> dict[str, bool]:
    """What torch is told at present."""
    return {
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warns_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "tf32_convolutions": torch.backends.cudnn.allow_tf32,
        "tf32_products": torch.backends.cuda.matmul.allow_tf32,
    }


def flags_in_a_worker(compute: Compute) -> tuple[dict[str, bool], str]:
    prepare_device(compute)
    return flags(), os.environ.get("CUBLAS_WORKSPACE_CONFIG", "")


DETERMINISTIC = {
    "deterministic": True,
    "warns_only": True,
    "cudnn_deterministic": True,
    "cudnn_benchmark": False,
    "tf32_convolutions": False,
    "tf32_products": False,
}


def test_deterministic_is_the_default_and_reaches_worker_processes(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    ((_, found),) = map_unordered(flags_in_a_worker, [Compute(device="cpu")], num_workers=1)
    assert found == (DETERMINISTIC, ":4096:8")
    assert prepare_device(Compute(device="cpu")) == torch.device("cpu") and flags() == DETERMINISTIC


def test_without_it_torch_does_what_a_fresh_torch_does(monkeypatch):
    fresh = subprocess.run(
        [sys.executable, "-c", "import torch; b = torch.backends; print(torch.are_deterministic_algorithms_enabled(), "
         "b.cudnn.deterministic, b.cudnn.benchmark, b.cudnn.allow_tf32, b.cuda.matmul.allow_tf32)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    prepare_device(Compute(device="cpu"))
    prepare_device(Compute(device="cpu", deterministic=False))
    found = flags()
    del found["warns_only"]
    assert " ".join(map(str, found.values())) == fresh.stdout.strip() == "False False False True False"


def test_a_choice_of_ones_own_for_cublas_stays(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    set_deterministic(True)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


@pytest.mark.filterwarnings("error")
def test_an_operation_without_a_deterministic_form_warns_and_goes_on():
    set_deterministic(True)
    with pytest.warns(UserWarning, match="put_"):
        filled = torch.zeros(3).put_(torch.tensor([1]), torch.ones(1), accumulate=False)
    assert filled.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("name", "capability", "there"), [("V100", (7, 0), False), ("T4", (7, 5), False), ("A100", (8, 0), True), ("H100", (9, 0), True)]
)
def test_auto_is_float32_on_a_gpu_that_only_emulates_bf16(gpu, name, capability, there):
    gpu(*capability)
    assert torch.cuda.is_bf16_supported()  # counts the emulation: not to be asked like this
    assert has_bf16(GPU) == there
    assert isinstance(autocast(GPU, "auto"), torch.autocast) == there
    assert isinstance(autocast(GPU, "bf16"), torch.autocast)
    assert not isinstance(autocast(GPU, "float32"), torch.autocast)


def test_auto_is_float32_on_a_cpu(gpu):
    gpu(8, 0)
    assert not has_bf16(torch.device("cpu")) and not isinstance(autocast(torch.device("cpu"), "auto"), torch.autocast)


def test_devices_are_taken_in_turn_and_an_absent_one_is_refused(monkeypatch):
    there = {"cuda": True, "mps": True}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there["cuda"])
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: there["mps"])
    assert pick_device("auto").type == "cuda"
    there["cuda"] = False
    assert pick_device("auto").type == "mps" and pick_device("cpu").type == "cpu"
    there["mps"] = False
    assert pick_device("auto").type == "cpu"
    with pytest.raises(UserError, match="compute.device=cuda, but this machine has no cuda device"):
        pick_device("cuda")


def test_nothing_chooses_a_device_to_compute_on_around_the_setting():
    """`pick_device` only looks; it is allowed where nothing is computed: counting workers, a plan, refusing an engine early."""
    lookers = {f"sourcetracing/{name}.py" for name in ("runtime/compute", "training/plan", "features/ray_cluster", "features/extracting")}
    files = [*(ROOT / "sourcetracing").rglob("*.py"), *(ROOT / "scripts").rglob("*.py"), *ROOT.glob("train_*.py")]
    found = {str(path.relative_to(ROOT)) for path in files if "pick_device(" in path.read_text(encoding="utf-8")}
    assert found - {"sourcetracing/features/resolved.py"} == lookers  # which looks for the name of a folder


@pytest.mark.parametrize("config", ["mlaad5_source_tracing", "ai4t"])
def test_features_that_are_float32_in_the_papers_are_so_on_any_gpu(config, gpu):
    gpu(9, 0)
    settings = load_settings([str(config_files(".")[config])])
    assert not isinstance(autocast(GPU, settings.compute.precision), torch.autocast)
    others = load_settings([str(config_files(".")["demo"])])
    assert isinstance(autocast(GPU, others.compute.precision), torch.autocast)


def weights_after_a_few_steps(deterministic: bool) -> str:
    """Digest of a small convolutional and recurrent network, trained by one thread."""
    set_deterministic(deterministic)
    torch.manual_seed(5)
    net = torch.nn.Sequential(
        torch.nn.Conv1d(3, 8, 5), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool1d(4), torch.nn.Flatten()
    )
    net.append(torch.nn.Linear(32, 4))
    optimizer = torch.optim.Adam(net.parameters())
    for _ in range(4):
        loss = torch.nn.functional.cross_entropy(net(torch.randn(6, 3, 50)), torch.randint(0, 4, (6,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return hashlib.sha256(b"".join(value.numpy().tobytes() for value in net.state_dict().values())).hexdigest()


def test_on_a_cpu_the_setting_changes_no_byte():
    assert weights_after_a_few_steps(True) == weights_after_a_few_steps(False)


@pytest.mark.parametrize(
    ("instructions", "used", "there"),
    [
        ({"avx512_f": True, "avx512_bf16": True}, True, True),
        ({"amx_bf16": True}, True, True),
        ({"neon": True, "bf16": True}, True, True),
        ({"avx2": True, "avx512_bf16": False}, False, False),
        ({"avx512_f": True, "avx512_bf16": False}, True, False),  # Skylake: oneDNN says yes, and is three times slower than float32
        ({"avx512_bf16": True}, False, False),  # ONEDNN_MAX_CPU_ISA=AVX2
    ],
)
def test_a_cpu_has_bf16_if_it_has_the_instructions_and_they_are_used(monkeypatch, instructions, used, there):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: used)
    assert cpu_has_bf16() == there


def test_a_cpu_that_may_not_use_its_instructions_has_no_bf16():
    code = "from sourcetracing.runtime.compute import cpu_has_bf16; print(cpu_has_bf16())"
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout == "False\n"
