"""Settings of enrolment: new sources known from a few files each."""

from __future__ import annotations

from dataclasses import dataclass

from sourcetracing.settings.declaring import SOME, setting


@dataclass
class Enrolment:
    """Sources never trained on, enrolled from a few files each (script 10, enroll_source.py, trace_audio.py --library)."""

    counts: list[int] = setting(
        [1, 2, 5, 10, 20], "K, how many files of a source enrol it, of each point of the curve", at_least=1, at_most=100_000, items=SOME
    )
    draws: int = setting(20, "how often enrolment files are drawn for each K", at_least=1, at_most=10_000)
    tests_per_source: int = setting(100, "files of a source that are judged in each draw, at most", at_least=1, at_most=100_000)
    false_alarms: float = setting(
        0.01,
        "share of files of no enrolled source that are given one, whatever the number of enrolled sources",
        at_least=1e-6,
        at_most=0.5,
    )
    min_seconds: float = setting(
        0.5, "shorter files are not enrolled: repeated to fill a window, they say little of a source", at_least=0, at_most=3600
    )
