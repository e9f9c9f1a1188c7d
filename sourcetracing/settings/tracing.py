"""Settings of tracing single files."""

from __future__ import annotations

from dataclasses import dataclass

from sourcetracing.settings.declaring import setting
from sourcetracing.settings.openset import BEST_ON_DEV, DETECTORS
from sourcetracing.settings.verification import SCORINGS


@dataclass
class Trace:
    """Tracing files (trace_audio.py), with any trained run."""

    overlap: float = setting(0.5, "share of a window (audio.crop_seconds long) that the next one hears again", at_least=0, at_most=0.95)
    batch_windows: int = setting(16, "windows computed at a time", at_least=1, at_most=65536)
    silence_peak_dbfs: float = setting(-60.0, "windows whose peak stays below are silent and skipped", at_most=0, at_least=-200)
    top_k: int = setting(3, "sources shown for each file", at_least=1, at_most=10000)
    combine: str = setting(
        "probability",
        "how windows make one answer: mean of their probabilities (one odd window cannot decide), or of the logarithms (sharper)",
        choices=("probability", "log_probability"),
    )
    level_confidence: float = setting(
        0.9,
        "calibrated probability from which on an architecture, acoustic model, vocoder or source is named as sure; docs/hierarchy.md",
        at_least=0.5,
        at_most=1,
    )
    detector: str = setting(
        BEST_ON_DEV,
        "what tells unknown sources from known ones. best_on_dev: of openset.detectors the one with the highest AUROC on dev in the run's "
        "languages, max_softmax where dev has no unknown sources to compare them on; none: no such decision",
        choices=lambda: (BEST_ON_DEV, *DETECTORS, "none"),
    )
    false_alarms: float = setting(
        0.05, "share of known dev rows called unknown, where dev has no unknown sources to set the threshold by", at_least=0, at_most=1
    )
    calibration_bins: int = setting(
        15, "bins of confidence behind the calibration error and the reliability diagram", at_least=2, at_most=10000
    )
    compare_by: str = setting(
        BEST_ON_DEV,
        "what files are compared by (compare_audio.py, --library), one of verification.scoring; best_on_dev: that of the lowest Cllr there",
        choices=(BEST_ON_DEV, *SCORINGS),
    )
