"""How long a first experiment takes on this machine, and what it fills: from a short measurement, to one digit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sourcetracing.runtime.parallel import resolve_workers
from sourcetracing.settings.schema import Settings
from sourcetracing.starting.measuring import Speed
from sourcetracing.starting.plans import ENCODER, NETWORK, FirstPlan

_FORWARD = 1 / 3  # of a step's time: a look at dev computes rows without their gradients
_FIT_S = 2.0  # of a system without gradients; of a run's start
_STORED_BYTES = 2  # float16
_RUN_BYTES = 2_000_000
_ENCODER_ROW_BYTES = 1024 * 49.75 * _STORED_BYTES  # of a second: XLS-R's width and frames


@dataclass(frozen=True)
class Estimate:
    """Seconds and bytes of a whole experiment; the encoder's time is not known without a GPU."""

    features_s: float
    training_s: float
    disk_bytes: float

    @property
    def text(self) -> str:
        """On one line."""
        return f"features {duration(self.features_s)}, training {duration(self.training_s)}, {size(self.disk_bytes)} of disk"


def estimate(plan: FirstPlan, speed: Speed) -> Estimate:
    """At `speed`, all cores of this machine at work."""
    num_utterances = int(plan.counts.to_numpy().sum())
    num_rows, num_runs = num_utterances * len(plan.variants), plan.num_sets * len(plan.seeds)
    at_once = min(resolve_workers(0), num_runs * len(plan.systems))
    schedule = plan.schedule
    dev_steps = schedule.looks * len(plan.seeds) * plan.num_dev_rows / schedule.batch_size * _FORWARD
    network_s = (num_runs * schedule.steps + dev_steps) * speed.step_s if NETWORK in plan.systems else 0.0
    training_s = (network_s + num_runs * len(plan.systems) * _FIT_S) / at_once
    lfcc, samples = Settings().lfcc, round(plan.crop_seconds * Settings().audio.sample_rate)
    row_bytes = lfcc.n_lfcc * (1 + (samples - lfcc.n_fft) // lfcc.hop_length) * _STORED_BYTES
    if ENCODER in plan.systems:
        row_bytes += plan.crop_seconds * _ENCODER_ROW_BYTES
    return Estimate(
        num_rows * speed.row_s / resolve_workers(0), training_s, num_rows * row_bytes + num_runs * len(plan.systems) * _RUN_BYTES
    )


def duration(seconds: float) -> str:
    """`about 30 s`, `about 4 min`, `about 2 h`: one digit."""
    for limit, unit_s, unit in ((90, 1, "s"), (90 * 60, 60, "min"), (math.inf, 3600, "h")):
        if seconds < limit:
            return f"about {_one_digit(seconds / unit_s)} {unit}"
    raise AssertionError("no duration is infinite")


def size(num_bytes: float) -> str:
    """`about 300 MB`: one digit."""
    unit_bytes, unit = (1e9, "GB") if num_bytes >= 1e9 else (1e6, "MB")
    return f"about {_one_digit(num_bytes / unit_bytes)} {unit}"


def _one_digit(value: float) -> int:
    """At least 1."""
    if value < 1:
        return 1
    digit = 10 ** math.floor(math.log10(value))
    return int(round(value / digit) * digit)
