"""Settings of explanations by occlusion."""

from __future__ import annotations

from dataclasses import dataclass

from sourcetracing.settings.declaring import setting

BEST, EVERY = "best_on_dev", "all"


@dataclass
class Explain:
    """What an answer rests on (trace_audio.py --explain, explain_runs.py), with any trained run."""

    windows: int = setting(3, "windows of a file that are explained; of more that do not overlap, a seeded draw", at_least=1, at_most=1000)
    stretch_s: float = setting(
        0.5,
        "length of the stretches of time that are taken away, each half over the one before; a fourth of a shorter file",
        at_least=0.05,
        at_most=60,
    )
    lowest_hz: float = setting(50.0, "the lowest third octave has its middle here", at_least=20, at_most=1000)
    runs: str = setting(BEST, "of explain_runs.py: the run that dev prefers, or every finished one", choices=(BEST, EVERY))
    utterances: int = setting(
        8, "of explain_runs.py: eval utterances of each source and language, a seeded draw", at_least=2, at_most=100_000
    )
