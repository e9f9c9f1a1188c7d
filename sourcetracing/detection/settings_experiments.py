"""Settings of the experiments on layer features: classifier, selection part, mixtures, pruning (scripts/detection/02 to 07)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sourcetracing.setting import setting


@dataclass
class Logreg:
    """The linear classifier, and which features it gets."""

    c: float = setting(1e6, "inverse strength of the L2 penalty on the weights (not on the intercept)", at_least=1e-9)
    solver: str = setting(
        "newton",
        "newton: the optimum itself; published: scikit-learn's lbfgs on unscaled features, which stops short of it and copies the features",
        choices=("newton", "published"),
    )
    max_iterations: int = setting(
        50000, "after so many steps of the solver it is an error (published: 50000; 10000 in pruning)", at_least=1
    )
    tolerance: float = setting(1e-9, "newton stops when a step would lower the loss by less than this fraction of it", at_least=0)
    standardize: bool = setting(False, "penalise weights of standardised features; published: of features as they are (D62)")
    eer_from: str = setting(
        "decision",
        "decision: EERs from w.x + b; probability: from its sigmoid, whose ties at 0 and 1 blur them, as published (D62)",
        choices=("decision", "probability"),
    )
    layer: Any = setting("sweep", "features of scripts 03 to 06; sweep: the layer that script 02 chose; or its number (published: 9)")
    sweep_train: list[str] = setting(["ASV19"], "training corpora of the layer sweep and of the augmented baseline, added up")


@dataclass
class Selection:
    """Which part of each real-life set may choose a layer, a mixture or a pruning level; the other part reports (D70)."""

    fraction: float = setting(
        0.5, "of the groups (speakers, recordings) of each set that go to the selection part", at_least=0.05, at_most=0.95
    )
    seed: int = setting(688, "which groups", at_least=0)


@dataclass
class Mixing:
    """All mixtures of training corpora."""

    train_sets: list[str] = setting(
        [], "corpora that are mixed, in this order; empty = every training corpus; n of them give 2^n - 1 mixtures"
    )
    table_rows: int = setting(20, "best mixtures shown in the terminal; the files hold all", at_least=1)


@dataclass
class Pruning:
    """Which training files are kept."""
