"""The open-set protocol that split.assignment=openset draws, and that script 02 --propose chooses sources for."""

from __future__ import annotations

from dataclasses import dataclass

from sourcetracing.settings.declaring import setting

ARCHITECTURE = "architecture"
APART = (ARCHITECTURE, "speaker", "transcript", "recording")  # what can be kept from being in two splits
PROPOSAL = ("unknown_dev", "unknown_eval", "num_heldout_languages")  # settings that only a proposal goes by


@dataclass
class OpenSplit:
    """Unknown sources of dev and of eval are different ones; the fractions are those of `split`."""

    disjoint: list[str] = setting(
        list(APART), "what no two splits share; architecture: of an unknown source, with near-identical names", choices=APART
    )
    dev_sources: list[str] = setting([], "unknown sources in dev, the others are in eval; [] = half of their architectures, drawn")
    heldout_languages: list[str] = setting([], "languages in eval only")
    least_per_source: int = setting(20, "training utterances that each known source must have", at_least=1, at_most=1_000_000)
    most_per_source: int = setting(0, "utterances used of each source, drawn; 0 = all", at_least=0, at_most=1_000_000_000)
    unknown_dev: float = setting(0.15, "proposal: fraction of the sources that are unknown in dev", at_least=0.001, at_most=0.9)
    unknown_eval: float = setting(0.15, "proposal: fraction of the sources that are unknown in eval", at_least=0.001, at_most=0.9)
    num_heldout_languages: int = setting(0, "proposal: how many languages are held out for eval", at_least=0, at_most=1000)
