"""What verification is asked: enrolment models, and which test utterance each of them is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

SAME, OTHER, NOT_KNOWN = 1, 0, -1  # labels of a trial: one source, two sources, not said
COLUMNS = ("enrol", "test", "label", "condition")


@dataclass(frozen=True)
class TrialList:
    """Trials: `models` (name -> utt_ids of its enrolment utterances) and `table`, one row per trial.

    table: columns enrol (name of a model), test (utt_id), label (SAME, OTHER or NOT_KNOWN) and condition ("" for none). An utterance that
    is compared as it is makes a model of its own name.
    """

    models: dict[str, tuple[str, ...]]
    table: pd.DataFrame

    def __len__(self) -> int:
        return len(self.table)

    @property
    def labels(self) -> np.ndarray:
        """(N,) int: SAME, OTHER or NOT_KNOWN."""
        return self.table["label"].to_numpy()

    @property
    def utt_ids(self) -> list[str]:
        """Every utterance that enrols or is tested, once, sorted."""
        return sorted({utt_id for members in self.models.values() for utt_id in members} | set(self.table["test"]))
