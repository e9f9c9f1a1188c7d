"""Settings of the library of enrolled sources."""

from __future__ import annotations

from dataclasses import dataclass

from sourcetracing.settings.declaring import setting


@dataclass
class Enrolment:
    """Sources that a trained run is shown a few files of (enroll_source.py), when trace_audio.py looks for them."""

    false_alarms: float = setting(
        0.01,
        "share of files of none of the enrolled sources that are given one: over the whole library, so the bar rises with their number",
        at_least=1e-6,
        at_most=0.5,
    )
    min_seconds: float = setting(
        0.5, "shorter files are not enrolled: repeated to fill a window, they say little of a source", at_least=0, at_most=3600
    )
