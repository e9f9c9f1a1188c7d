"""Without the packages of an extra everything imports and explains itself, and what needs them says so in one line."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sourcetracing.audio.ffmpeg import ffmpeg_program
from sourcetracing.embeddings.projections import project
from sourcetracing.errors import UserError
from sourcetracing.features.engines import refuse_what_cannot
from sourcetracing.features.ray_cluster import connect
from sourcetracing.features.ssl_front_end import load_trainable_ssl
from sourcetracing.runtime.extras import version_of
from sourcetracing.settings.reading import load_settings
from sourcetracing.speakers.embedders import load_embedder
from sourcetracing.synthesis.espeak import Espeak
from sourcetracing.tracing.onnx_export import export_onnx
from sourcetracing.training.metric_loss import build_loss
from tests.support.places import ROOT

MODULES = {
    "demo": ("espeakng_loader",),
    "speakers": ("resemblyzer", "librosa", "webrtcvad"),
    "cluster": ("ray",),
    "finetune": ("peft", "accelerate"),
    "losses": ("pytorch_metric_learning",),
    "pictures": ("umap",),
    "engine": ("openvino", "onnx", "onnxruntime"),
    "export": ("onnx", "onnxruntime", "onnxscript"),
    "ffmpeg": ("imageio_ffmpeg",),
}
IMPORT_AND_EXPLAIN_ALL = """
import runpy, sys
sys.modules.update(dict.fromkeys(sys.argv[1].split(","), None))
sys.path.insert(0, ".")
for module in sys.argv[2].split(","):
    __import__(module)
for script in sys.argv[3].split(","):
    sys.argv, sys.path[1:1] = [script, "--help"], [script.rpartition("/")[0]]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        assert not end.code, script
    sys.modules.pop("_project_root", None)
    sys.path.pop(1)
"""


def modules_below(folder: str, package: str) -> list[str]:
    """Dotted names of the modules in a folder of the checkout, as `package`."""
    files = (file.relative_to(ROOT / folder).with_suffix("") for file in sorted((ROOT / folder).rglob("*.py")))
    return [".".join([package, *(part for part in file.parts if part != "__init__")]) for file in files]


def test_every_extra_is_blocked_here():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(MODULES) == set(extras) - {"all", "dev"}


def test_without_any_extra_all_modules_import_and_all_scripts_explain_themselves():
    modules = [*modules_below("sourcetracing", "sourcetracing"), *modules_below("models", "sourcetracing.models")]
    scripts = [ROOT / "train_refd.py", ROOT / "train_ge2e.py", *sorted((ROOT / "scripts").rglob("[!_]*.py"))]
    words = [sum(MODULES.values(), ("pytest", "ruff")), modules, [script.relative_to(ROOT).as_posix() for script in scripts]]
    command = [sys.executable, "-c", IMPORT_AND_EXPLAIN_ALL, *map(",".join, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage:") == len(scripts)


def trainable_with_lora(folder: Path) -> None:
    load_trainable_ssl(load_settings(["frontend=ssl", "finetune.lora_rank=4", f"ssl.model={folder}"]))


def ffmpeg(folder: Path) -> None:
    ffmpeg_program.cache_clear()
    ffmpeg_program()


WORK = {
    "demo": Espeak,
    "speakers": lambda folder: load_embedder(load_settings(["speakers.embedder=resemblyzer"])),
    "cluster": lambda folder: connect(load_settings(["executor=ray"])),
    "finetune": trainable_with_lora,
    "losses": lambda folder: build_loss("supcon", temperature=0.1),
    "pictures": lambda folder: project("umap", np.eye(20, dtype=np.float32), np.ones(20, bool), load_settings([]).embedding_pictures, 1),
    "engine": lambda folder: refuse_what_cannot(load_settings(["compute.engine=openvino"]), torch.device("cpu")),
    "export": lambda folder: export_onnx(None, None, folder / "a.onnx"),
    "ffmpeg": ffmpeg,
}


@pytest.mark.parametrize(("extra", "work"), WORK.items())
def test_a_missing_package_is_one_line_that_names_the_extra(extra: str, work: Callable[[Path], None], tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    for module in MODULES[extra]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"needs the package [\w-]+; install it with: pip install '\.\[{extra}\]'") as raised:
        work(tmp_path)
    assert "\n" not in str(raised.value)
    ffmpeg_program.cache_clear()


def test_resemblyzer_is_installed_by_a_command_of_its_own(monkeypatch):
    monkeypatch.setitem(sys.modules, "resemblyzer", None)
    made_by = (ROOT / "Makefile").read_text(encoding="utf-8")
    with pytest.raises(UserError) as raised:
        load_embedder(load_settings([]))
    command = str(raised.value).partition(" && ")[2]
    assert re.fullmatch(r"pip install --no-deps resemblyzer==[\d.]+", command)
    assert command.removeprefix("pip install ") in made_by


def test_the_version_of_what_is_not_installed():
    assert version_of("no-such-package") == "absent"
