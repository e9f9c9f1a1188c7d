"""Settings of the experiments on layer features: classifier, selection part, mixtures, pruning (scripts/detection/02 to 07)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sourcetracing.settings.declaring import setting

STRATEGIES = ("random", "cluster-closest", "cluster-furthest", "margin-noisy", "margin-both")


@dataclass
class Logreg:
    """The linear classifier, and which features it gets."""

    c: float = setting(1e6, "inverse strength of the L2 penalty on the weights (not on the intercept)", at_least=1e-9)
    solver: str = setting(
        "newton",
        "newton: the optimum itself; published: scikit-learn's lbfgs on unscaled features, which stops short of it and copies the features",
        choices=("newton", "published"),
    )
    max_iterations: int = setting(50000, "of the solver; more are an error (published: 50000; 10000 in pruning)", at_least=1)
    tolerance: float = setting(1e-9, "newton stops when a step would lower the loss by less than this fraction of it", at_least=0)
    standardize: bool = setting(False, "penalise weights of standardised features; published: of features as they are (D62)")
    eer_from: str = setting(
        "decision",
        "decision: EERs from w.x + b; probability: from its sigmoid, whose ties at 0 and 1 blur them, as published (D62)",
        choices=("decision", "probability"),
    )
    layer: Any = setting("sweep", "features of scripts 03 to 06; sweep: the layer that script 02 chose; or its number (published: 9)")


@dataclass
class Selection:
    """Which part of each real-life set may choose a layer, a mixture or a pruning level; the other part reports (D70)."""

    fraction: float = setting(0.5, "of each set's groups (speakers, recordings) in the selection part", at_least=0.05, at_most=0.95)
    seed: int = setting(688, "which groups", at_least=0)


@dataclass
class Mixing:
    """All mixtures of training corpora."""

    train_sets: list[str] = setting([], "corpora mixed, in this order; empty = all; n of them give 2^n - 1 mixtures")
    table_rows: int = setting(20, "best mixtures shown in the terminal; the files hold all", at_least=1)


@dataclass
class Pruning:
    """Which training files are kept (script 05), and how these are augmented (script 06)."""

    train: list[str] = setting(
        [],
        "sets of detection.sets, or single subsets, that are pruned, each a group of its own to the cluster strategies; "
        "empty = detection.train; published: nine of them, among them the evaluation part of ASVspoof 2019 (D54, D63)",
    )
    strategies: list[str] = setting(list(STRATEGIES), "ways to choose what is kept", choices=STRATEGIES)
    fractions: list[float] = setting(
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], "shares of the files that are kept", at_least=0.001, at_most=0.999
    )
    seeds: list[int] = setting([42, 123, 987], "draws of the random strategy", at_least=0)
    add_centroid: bool = setting(False, "cluster: each class mean joins the kept files as one more sample, as published (D63)")
    int_percent: bool = setting(False, "margin: ten steps of percentages cut to integers instead of `fractions`, as published (D65)")
    refit_margins: bool = setting(False, "margin: from a model fitted on what the step before left, instead of one fitted on everything")
    augment_list: str = setting(
        "chosen", "list of kept files that script 06 augments: chosen on the selection part, or a name such as margin-both_kept30"
    )
    augment_shares: list[float] = setting(
        [3.0, 2.0, 2.0], "parts of that list that become codec copies, RawBoost copies, stay clean", at_least=0
    )
    with_replacement: bool = setting(
        False, "augmented and clean files are drawn with replacement, half + a third + a third of the list, as published (D66)"
    )
