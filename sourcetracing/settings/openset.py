"""Settings of open-set detection."""

from __future__ import annotations

from dataclasses import dataclass

from sourcetracing.settings.declaring import SOME, setting
from sourcetracing.settings.parts import Entry, Registry


@dataclass(frozen=True)
class DetectorEntry(Entry):
    """target: a class with `fit` and `score` (`sourcetracing.openset.detectors.Detector`).

    takes: argument of the class -> the setting of group openset that it gets.
    """

    takes: tuple[tuple[str, str], ...] = ()


BEST_ON_DEV = "best_on_dev"  # of trace.detector
_MODULE = "sourcetracing.openset.detectors"
DETECTORS: Registry[DetectorEntry] = Registry(
    "detector",
    {
        "nsd": DetectorEntry(f"{_MODULE}:Nsd", takes=(("inverted", "inverted_nsd"),)),
        "max_softmax": DetectorEntry(f"{_MODULE}:MaxSoftmax"),
        "energy": DetectorEntry(f"{_MODULE}:Energy"),
        "logit_margin": DetectorEntry(f"{_MODULE}:LogitMargin"),
        "mahalanobis": DetectorEntry(f"{_MODULE}:Mahalanobis"),
        "nearest_neighbours": DetectorEntry(f"{_MODULE}:NearestNeighbours", takes=(("neighbours", "neighbours"),)),
        "vim": DetectorEntry(f"{_MODULE}:Vim", takes=(("dimensions", "vim_dimensions"),)),
        "softmax_energy": DetectorEntry(f"{_MODULE}:SoftmaxEnergy"),
        "plain_neighbours": DetectorEntry(f"{_MODULE}:PlainNeighbours", takes=(("neighbours", "plain_neighbours"),)),
    },
)


@dataclass
class Openset:
    """Known or unknown source (script 07)."""

    detectors: list[str] = setting(list(DETECTORS), "which detectors are fitted and compared", choices=DETECTORS, items=SOME)
    neighbours: int = setting(10, "k of the k-nearest-neighbours detector", at_least=1, at_most=100_000)
    plain_neighbours: int = setting(
        1, "k of the detector plain_neighbours: the mean distance to so many training rows", at_least=1, at_most=100_000
    )
    vim_dimensions: int = setting(0, "dimensions of ViM's principal subspace; 0 = half of the embedding's", at_least=0, at_most=100_000)
    inverted_nsd: bool = setting(False, "NSD the wrong way round: high for known sources, yet read as unknown, as published (D33)")
    padded_batch: int = setting(
        0,
        "fill each split up with zero rows, taken for known ones, to whole batches of this size; published 128 (D34); 0 = no",
        at_least=0,
        at_most=65536,
    )
    eer_point: str = setting(
        "crossing",
        "the dev threshold and EER: where the curve crosses equal error (ties are one step); nearest: its nearest corner, as published",
        choices=("crossing", "nearest"),
    )
