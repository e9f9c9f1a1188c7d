"""How a run is trained, what an experiment consists of, how its runs are scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sourcetracing.settings.declaring import LARGEST_SEED, SOME, setting
from sourcetracing.settings.frontends import VARIANTS

SPLITS = ("train", "dev", "eval")


@dataclass
class Train:
    languages: list[str] = setting(
        [], "training languages of a single run (train_refd.py); empty = the only one of experiment.train_sets, or all of the corpus"
    )
    seed: int = setting(688, "seed of initial weights, batches, mixup and dropout", at_least=0, at_most=LARGEST_SEED)
    epochs: int = setting(50, "passes over the training rows", at_least=0, at_most=1_000_000)
    batch_size: int = setting(16, "rows per step, before mixup doubles them", at_least=2, at_most=65536)
    rows_per_epoch: int = setting(
        0, "0 = all training rows in each epoch; else so many of them, drawn afresh for each epoch", at_least=0, at_most=1_000_000_000
    )
    micro_batch_size: int = setting(0, "rows computed at a time, their gradients added up; 0 = the whole batch", at_least=0, at_most=65536)
    mixup: str = setting("regmix", "regmix: originals + mixed (published); mixed_only; none", choices=("regmix", "mixed_only", "none"))
    mixup_alpha: float = setting(0.5, "lambda ~ Beta(alpha, alpha), one per batch", at_least=1e-6, at_most=1_000_000)
    lr: float = setting(5e-4, "learning rate of Adam", at_least=0, at_most=1e30)
    lr_decay: float = setting(0.5, "factor applied every lr_interval epochs", at_least=0, at_most=1)
    lr_interval: int = setting(10, "epochs between two decays", at_least=1, at_most=1_000_000)
    beta_1: float = setting(0.9, "Adam", at_least=0, at_most=0.999999)
    beta_2: float = setting(0.999, "Adam", at_least=0, at_most=0.999999)
    eps: float = setting(1e-8, "Adam", at_least=0, at_most=1)
    weight_decay: float = setting(5e-4, "L2 term inside Adam", at_least=0, at_most=1000)
    select: str = setting("dev_macro_f1", "which dev figure picks the epoch (F1: ties by loss)", choices=("dev_macro_f1", "dev_loss"))
    variants: list[str] = setting([], "acoustic variants to train and develop on; empty = all stored", choices=VARIANTS)
    dev_variants: list[str] = setting([], "acoustic variants that dev chooses the epoch on; empty = train.variants", choices=VARIANTS)
    dev_languages: list[str] = setting(
        [], "languages whose dev rows choose the epoch (all: every one of the corpus); empty = the training languages"
    )
    initial_weights: str = setting("", "checkpoint (ours or a published .pth/.pt) to start from; with epochs=0 it is only evaluated")


@dataclass
class Experiment:
    """What scripts 05 to 13 make: the tables, and for each system and seed the training runs that these need, each once."""

    tables: list[str] = setting(["table4"], "names of files in configs/experiments: what is trained, tested and shown together", items=SOME)
    systems: list[str] = setting(["lfcc_ecapa_tdnn"], "names of files in configs/systems", items=SOME)
    floor: list[str] = setting(
        ["stats_logreg"], "systems that every table shows beside the experiment's own, which have to beat them (docs/tables.md); [] = none"
    )
    families: dict[str, list[str]] = setting({}, "language families of tables, such as {Nordic: [da, sv]}; empty = configs/families.yaml")
    train_sets: list[str] = setting([], "of tables by language: each one or several joined by +, such as en or en+de; empty = each alone")
    test_sets: list[str] = setting([], "likewise; empty = each language alone")
    seeds: list[int] = setting([688], "one training run for each", at_least=0, at_most=LARGEST_SEED, items=SOME)


def all_systems(experiment: Experiment) -> list[str]:
    """The experiment's own systems, then those of its floor that it does not name itself."""
    return list(dict.fromkeys([*experiment.systems, *experiment.floor]))


def shown_system(system: str, floor: Sequence[str]) -> str:
    """A system's name as people read it: one of the floor is marked."""
    return f"{system} (floor)" if system in floor else system


@dataclass
class Evaluation:
    splits: list[str] = setting(["eval"], "splits that get scored", choices=SPLITS, items=SOME)
    variants: list[str] = setting([], "acoustic variants that dev and eval are scored on; empty = all stored", choices=VARIANTS)
    batch_size: int = setting(64, "rows per forward pass", at_least=1, at_most=65536)
    zero_division: float = setting(
        0.0,
        "precision of a class that was never predicted, and in macro_f1_declared F1 of an absent one; published 1.0 (D49)",
        choices=(0.0, 1.0),
    )
    bootstrap_samples: int = setting(
        1000, "resamples of utterances (from three seeds on of seeds too) behind each 95 % confidence interval", at_least=0, at_most=100_000
    )
    bootstrap_by: str = setting(
        "utterance",
        "what is drawn together, with all its variants: an utterance, or all utterances of a source that say the same",
        choices=("utterance", "transcript"),
    )
    embeddings: bool = setting(True, "store the embedding of each row beside its logits")
