"""Settings of pseudo-speakers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sourcetracing.settings.declaring import setting


@dataclass
class Speakers:
    """Pseudo-speakers (script 03): clusters of speaker embeddings, and which of them count as seen in training (D10, D11)."""

    embedder: str = setting(
        "resemblyzer", "resemblyzer: comes with pip, weights and all; ecapa2: as published, from the Hub", choices=("resemblyzer", "ecapa2")
    )
    ecapa2_id: str = setting("Jenthe/ECAPA2", "id on the Hugging Face Hub of a repository with ecapa2.pt; or the path of such a file")
    ecapa2_revision: str = setting("main", "its commit, tag or branch")
    ecapa2_checksum: str = setting(
        "", "sha256:<hex> of ecapa2.pt; the file can run code, so it is not loaded while this is empty or differs"
    )
    k: int = setting(0, "number of pseudo-speakers; 0 = the elbow of the objective; published: 18", at_least=0, at_most=10000)
    k_max: int = setting(100, "the elbow is sought among 1 ... k_max", at_least=3, at_most=10000)
    k_restarts: int = setting(10, "random restarts for each of them", at_least=1, at_most=10000)
    restarts: int = setting(100, "random restarts at the chosen number; the best is kept", at_least=1, at_most=100_000)
    thresholds: Any = setting(
        "search",
        "share of training data above which a speaker counts as seen; search: what balances seen and unseen; published: Table 2; "
        "or one for each held-out language, {en: 0.085, ...}",
    )
    test_set: str = setting(
        "seen_languages",
        "what seen and unseen speakers are tested on: the eval sets of the training languages, as the counts of Table 2 show, or that of "
        "the held-out language, as its text says (D10)",
        choices=("seen_languages", "unseen_language"),
    )
