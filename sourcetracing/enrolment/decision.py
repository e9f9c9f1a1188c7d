"""What a file's answer is: a class of the run, an enrolled source, or unknown."""

from __future__ import annotations

ENROLLED, KNOWN, UNKNOWN, OPEN = "enrolled", "known", "unknown", "not decided"


def decide(is_unknown: bool | None, is_accepted: bool) -> str:
    """ENROLLED for an accepted enrolled source, whatever the run says; else what the run says.

    Files of known classes are files of no enrolled source, too: the bar lets no more of them through than of others, while a run calls many
    a stranger known. is_unknown: None where the run does not decide.
    """
    if is_accepted:
        return ENROLLED
    return {True: UNKNOWN, False: KNOWN, None: OPEN}[is_unknown]
