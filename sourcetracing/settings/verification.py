"""Settings of verification: are these two from one source?"""

from __future__ import annotations

from dataclasses import dataclass

from sourcetracing.settings.declaring import setting


@dataclass
class Verification:
    """Trials that ask whether two sets of utterances have one source (script 10)."""

    trials_per_condition: int = setting(
        1000,
        "same-source trials of each condition, and as many of other sources; fewer where there are not so many",
        at_least=1,
        at_most=1_000_000,
    )
    enrol_utterances: int = setting(1, "utterances of one source that an enrolment model is made of", at_least=1, at_most=10_000)
    same_transcript: str = setting(
        "none",
        "whether a test utterance may say what one of its model says. none: no such trial, where transcripts are known; any: it may",
        choices=("none", "any"),
    )
