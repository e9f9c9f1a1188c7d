"""Settings of verification: are these two from one source?"""

from __future__ import annotations

from dataclasses import dataclass

from sourcetracing.settings.declaring import SOME, setting

SCORINGS = ("cosine", "whitened_cosine", "lda_cosine")  # `sourcetracing.verification.scoring.SPACES`


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
    trials: str = setting(
        "", "a list of trials over eval utterances, or a folder of lists, instead of generated ones; dev's are generated, for calibration"
    )
    scoring: list[str] = setting(
        list(SCORINGS),
        "what is compared: embeddings as they are, centred and whitened on train, or in the discriminants of train's sources",
        choices=SCORINGS,
        items=SOME,
    )
    score_norm: str = setting(
        "none",
        "scores as deviations from those against a cohort of train: s_norm: of cohort_size utterances; as_norm: each side's nearest ones",
        choices=("none", "s_norm", "as_norm"),
    )
    cohort_size: int = setting(300, "training utterances that normalise a score; all where there are fewer", at_least=2, at_most=1_000_000)
    priors: list[float] = setting(
        [0.5, 0.01],
        "shares of same-source trials where minDCF and actDCF are read; a miss and a false alarm cost the same",
        at_least=1e-6,
        at_most=0.999999,
        items=SOME,
    )
