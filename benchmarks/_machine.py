"""The machine that a benchmark runs on: its name, and how busy it is with other things. Imports nothing heavy."""

from __future__ import annotations

import json
import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

PACKAGES = ("torch", "transformers", "numpy", "soundfile", "soxr")
BUSY = ("user", "nice", "system", "irq", "softirq", "steal")  # what a core does; steal: it was kept from this virtual machine
BUSY_CORES, BUSY_LOAD = 0.1, 0.5  # above it others took part in what was measured


def cpu_name() -> str:
    """What the processor calls itself; a virtual one often says no more than its maker, so its model number is there too."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    name = facts.get("model name") or platform.processor() or platform.machine()
    return f"{name}, family {facts['cpu family']} model {facts['model']}" if "cpu family" in facts and "model" in facts else name


def device_name(device: torch.device) -> str:
    """What the hardware calls itself."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return cpu_name() if device.type == "cpu" else f"{platform.processor() or platform.machine()} ({device.type})"


def num_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def today() -> str:
    """2026-11-27."""
    return time.strftime("%Y-%m-%d")


def versions() -> dict[str, str]:
    """Of Python and the packages that take the time."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def others_at_work(seconds: float = 1.0, *, with_load: bool = True) -> str:
    """Who else computes here, as a text; empty where the machine is idle. Looks for `seconds`, in which this process sleeps.

    Two signs: the load average of the last minute, and the share of the cores that were busy, or kept from this virtual machine, just now.
    """
    load = psutil.getloadavg()[0] if with_load else 0.0
    processes = {process.pid: process for process in psutil.process_iter() if process.pid != os.getpid()}
    before, times = _cpu_seconds(processes), psutil.cpu_times()
    time.sleep(seconds)
    spent = psutil.cpu_times()
    busy = (
        sum(getattr(spent, name, 0) - getattr(times, name, 0) for name in ("user", "nice", "system", "irq", "softirq", "steal")) / seconds
    )
    after = _cpu_seconds(processes)
    names = sorted(((after[pid] - before[pid]) / seconds, pid) for pid in after if pid in before)[::-1][:3]
    told = [f"{_name(processes[pid])} {share:.0%}" for share, pid in names if share >= 0.05]
    signs = [f"others used {busy:.1f} of {num_cores()} cores" + (f" ({', '.join(told)})" if told else "")] if busy >= BUSY_CORES else []
    signs += [f"the load of the minute before was {load:.1f}"] if load >= BUSY_LOAD else []
    return "; ".join(signs)


def _cpu_seconds(processes: dict[int, psutil.Process]) -> dict[int, float]:
    spent = {}
    for pid, process in processes.items():
        try:
            spent[pid] = sum(process.cpu_times()[:2])
        except psutil.Error:
            continue
    return spent


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return "one that has ended"


def write_record(path: Path, heading: str, device: str, command: str, lines: list[str]) -> None:
    """What was printed, as Markdown, with all that is needed to do it again."""
    text = [
        f"# {heading}",
        "",
        f"* date: {today()}",
        f"* device: {device}, {num_cores()} cores",
        f"* versions: {json.dumps(versions())}",
        f"* command: `{command}`",
        "",
        *(f"    {line}" for line in lines),
        "",
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(text), encoding="utf-8")
