"""Settings of groups of files by source."""

from __future__ import annotations

from dataclasses import dataclass

from sourcetracing.settings.declaring import setting

METHODS = ("agglomerative", "hdbscan")


@dataclass
class Grouping:
    """How many generators made these files (group_audio.py), with any trained run."""

    method: str = setting(
        "agglomerative",
        "agglomerative: average linkage, cut where LLRs say one source; hdbscan: by density, cut there too, where files may have no group",
        choices=METHODS,
    )
    prior: float = setting(
        0.5,
        "share of pairs of files expected to have one source: groups are joined from a mean LLR of -logit(prior) on",
        at_least=1e-6,
        at_most=0.999999,
    )
    least_files: int = setting(3, "of hdbscan: files that make a group", at_least=2, at_most=10_000)
    draws: int = setting(
        100, "groupings with dev's sources drawn anew, which say how sure number and groups are", at_least=20, at_most=10_000
    )
    share: float = setting(0.8, "share of the files, drawn for each of them, that stability is read from", at_least=0.5, at_most=1.0)
    most_files: int = setting(
        5000,
        "files that are compared at most; memory grows with the square: 0.5 GB for 5,000, hdbscan twice that",
        at_least=2,
        at_most=100_000,
    )
