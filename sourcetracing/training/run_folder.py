"""What one trained system leaves behind, and in which order it is written.

.lock  held by the process that trains it
config.yaml, environment.json, classes.json, protocol.json (which protocol, made with which settings)  at the start
label_classes.json  likewise, where there are several heads: label -> class -> training rows, classes in the order of the logits
model.safetensors (best round), last.safetensors (to resume), history.csv, tensorboard/  after each round (`rounds`)
last.safetensors also within a round, and progress.json each second: both are gone at the end
model.json  last: a run with a model.json is finished
"""

from __future__ import annotations

import json
import math
import platform
import subprocess
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch.utils.tensorboard import SummaryWriter

from sourcetracing.layout import RunLayout
from sourcetracing.protocols.records import protocol_facts
from sourcetracing.runtime.extras import version_of
from sourcetracing.runtime.files import atomic_path, write_json, write_text
from sourcetracing.runtime.locks import held, is_held
from sourcetracing.settings.places import IS_CHECKOUT, PROJECT_ROOT
from sourcetracing.settings.reading import to_yaml
from sourcetracing.settings.schema import Settings

HISTORY_COLUMNS = ("epoch", "lr", "train_loss", "train_accuracy", "dev_loss", "dev_accuracy", "dev_macro_f1", "seconds")
PACKAGES = ("torch", "torchaudio", "torchvision", "numpy", "scikit-learn", "soundfile", "soxr", "safetensors")


class RunFolder(RunLayout):
    """The files of one run, and how they are written."""

    @property
    def is_finished(self) -> bool:
        """Whether the run is trained to its end."""
        return self.outcome.is_file() and self.weights.is_file()

    def num_epochs_done(self) -> int:
        """Rounds (epochs, unless train.steps decides) that are on disk, for progress bars."""
        try:
            return len(self.history.read_text(encoding="utf-8").splitlines()) - 1
        except FileNotFoundError:
            return 0

    def only_trainer(self, *, wait: bool) -> AbstractContextManager[None]:
        """Holds the run's lock, so that no two processes train it at once. wait: for another one; otherwise a `UserError` says so."""
        return held(self.lock, f"another process is training {self.root}", wait=wait)

    @property
    def is_being_trained(self) -> bool:
        """Whether some process holds the run's lock."""
        return is_held(self.lock)

    def open(self, settings: Settings, device: torch.device, label_counts: dict[str, dict[str, int]] | None = None) -> None:
        """Writes down what is about to run, and on what. A run whose weights were deleted is no finished one from its first epoch on.

        label_counts: of a run with several heads, label -> class -> training rows.
        """
        self.outcome.unlink(missing_ok=True)
        write_text(self.config, to_yaml(settings))
        write_json(self.classes, settings.corpus.sources)
        if label_counts:
            write_json(self.label_classes, label_counts)
        write_json(self.environment, environment(device))
        if protocol := protocol_facts(settings):
            write_json(self.protocol, protocol)

    def write_history(self, rows: list[dict[str, float]]) -> None:
        """Replaces history.csv."""
        with atomic_path(self.history) as partial:
            pd.DataFrame(rows, columns=list(HISTORY_COLUMNS)).to_csv(partial, index=False, float_format="%.6g")

    def finish(self, outcome: dict[str, Any]) -> None:
        """Marks the run as finished and drops what only an unfinished one needs."""
        write_json(self.outcome, outcome)
        self.last.unlink(missing_ok=True)
        self.progress.unlink(missing_ok=True)

    def read_outcome(self) -> dict[str, Any]:
        """model.json of a finished run."""
        return json.loads(self.outcome.read_text(encoding="utf-8"))


class TensorBoardLog:
    """The history as TensorBoard scalars; epochs that an interrupted run had logged beyond its last checkpoint are purged."""

    def __init__(self, folder: Path, next_epoch: int):
        self.writer = SummaryWriter(str(folder), purge_step=next_epoch + 1)

    def write(self, row: dict[str, float]) -> None:
        """Adds one epoch."""
        for name in HISTORY_COLUMNS[1:]:
            if math.isfinite(row[name]):
                self.writer.add_scalar(name, row[name], int(row["epoch"]))

    def close(self) -> None:
        """Flushes the log."""
        self.writer.close()


def environment(device: torch.device) -> dict[str, Any]:
    """Where a run was made: commit, versions, machine, device, threads."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": str(device),
        "device_name": name,
        "num_threads": torch.get_num_threads(),
        "packages": {package: version_of(package) for package in PACKAGES},
    }


@cache
def git_commit() -> str:
    """The commit of this checkout, with +changes when files differ from it; "unknown" outside a checkout."""
    if not IS_CHECKOUT:  # the folder of an installed package may lie within somebody else's repository
        return "unknown"
    command = ["git", "-C", str(PROJECT_ROOT), "describe", "--always", "--dirty=+changes", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
