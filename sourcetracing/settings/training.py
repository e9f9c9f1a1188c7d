"""How a run is trained, what an experiment consists of, how its runs are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sourcetracing.errors import UserError
from sourcetracing.settings.backends import BACKENDS
from sourcetracing.settings.declaring import LARGEST_SEED, SOME, setting
from sourcetracing.settings.frontends import ALL_VARIANTS

SPLITS = ("train", "dev", "eval")


@dataclass
class Train:
    languages: list[str] = setting(
        [], "training languages of a single run (train_refd.py); empty = the only one of experiment.train_sets, or all of the corpus"
    )
    seed: int = setting(688, "seed of initial weights, batches, mixup and dropout", at_least=0, at_most=LARGEST_SEED)
    epochs: int = setting(50, "passes over the training rows; each is a round: it ends with a look at dev", at_least=0, at_most=1_000_000)
    steps: int = setting(
        0,
        "0 = train.epochs decides; else so many optimizer steps in all, whatever the size of the corpus, in rounds of steps_per_dev",
        at_least=0,
        at_most=1_000_000_000,
    )
    steps_per_dev: int = setting(
        0, "with train.steps: steps of a round, after which dev is looked at; 0 = a tenth of them", at_least=0, at_most=1_000_000_000
    )
    batch_size: int = setting(16, "rows per step, before mixup doubles them", at_least=2, at_most=65536)
    rows_per_epoch: int = setting(
        0, "0 = all training rows in each epoch; else so many of them, drawn afresh for each epoch", at_least=0, at_most=1_000_000_000
    )
    micro_batch_size: int = setting(0, "rows computed at a time, their gradients added up; 0 = the whole batch", at_least=0, at_most=65536)
    mixup: str = setting("regmix", "regmix: originals + mixed (published); mixed_only; none", choices=("regmix", "mixed_only", "none"))
    mixup_alpha: float = setting(0.5, "lambda ~ Beta(alpha, alpha), one per batch", at_least=1e-6, at_most=1_000_000)
    crop_share: float = setting(
        1.0, "share of a row's frames that a step sees, cut out afresh in every round; 1 = the whole row", at_least=0.01, at_most=1
    )
    time_masks: int = setting(
        0, "stretches of a training row, each up to a tenth of it, that become its mean; afresh in every round", at_least=0, at_most=100
    )
    band_masks: int = setting(
        0, "LFCC: likewise bands of the spectrum, each up to a fifth of it, that stay at their mean", at_least=0, at_most=100
    )
    channel_db: float = setting(
        0.0, "LFCC: level and smooth equalizer of each training row, deviation in dB; afresh in every round", at_least=0, at_most=100
    )
    lr: float = setting(5e-4, "learning rate of Adam", at_least=0, at_most=1e30)
    schedule: str = setting(
        "step", "of learning rates: step (lr_decay every lr_interval rounds) or cosine (to 0 at the last step)", choices=("step", "cosine")
    )
    warmup_steps: int = setting(0, "first steps, over which all learning rates rise from 0", at_least=0, at_most=1_000_000_000)
    lr_decay: float = setting(0.5, "factor applied every lr_interval rounds", at_least=0, at_most=1)
    lr_interval: int = setting(10, "rounds between two decays: epochs, unless train.steps decides", at_least=1, at_most=1_000_000)
    beta_1: float = setting(0.9, "Adam", at_least=0, at_most=0.999999)
    beta_2: float = setting(0.999, "Adam", at_least=0, at_most=0.999999)
    eps: float = setting(1e-8, "Adam", at_least=0, at_most=1)
    weight_decay: float = setting(5e-4, "L2 term inside Adam", at_least=0, at_most=1000)
    label_smoothing: float = setting(
        0.0, "share of each label that is spread evenly over all classes; dev loss stays without", at_least=0, at_most=0.99
    )
    ema_decay: float = setting(
        0.0,
        "0 = off; else dev and the kept weights are an exponential moving average: each step keeps so much of it, the first ones less",
        at_least=0,
        at_most=0.999999,
    )
    balance_classes: bool = setting(
        False, "draw the rows of a pass so that all classes are equally frequent, and within a class its languages"
    )
    early_stop_looks: int = setting(0, "0 = off; else stop after so many looks at dev without improvement", at_least=0, at_most=1_000_000)
    checkpoint_minutes: float = setting(
        10.0, "a kill costs at most so many; 0: a round is saved at its end only, as always under torchrun", at_least=0, at_most=1e6
    )
    select: str = setting("dev_macro_f1", "which dev figure picks the round (F1: ties by loss)", choices=("dev_macro_f1", "dev_loss"))
    variants: list[str] = setting([], "acoustic variants to train and develop on; empty = all stored", choices=ALL_VARIANTS)
    dev_variants: list[str] = setting([], "acoustic variants that dev chooses the round on; empty = train.variants", choices=ALL_VARIANTS)
    dev_languages: list[str] = setting(
        [], "languages whose dev rows choose the round (all: every one of the corpus); empty = the training languages"
    )
    labels: list[str] = setting(
        [],
        "[source, vocoder]: a head for each of these columns of utterances.csv on one embedding (docs/labels.md); empty = corpus.label",
    )
    label_weights: list[float] = setting(
        [], "of each of train.labels in the loss; empty = 1 for each", at_least=0, at_most=1e6, may_repeat=True
    )
    initial_weights: str = setting("", "checkpoint (ours or a published .pth/.pt) to start from; with epochs=0 it is only evaluated")


@dataclass
class Experiment:
    """What scripts 05 to 13 make: the tables, and for each system and seed the training runs that these need, each once."""

    tables: list[str] = setting(["table4"], "names of files in configs/experiments: what is trained, tested and shown together", items=SOME)
    systems: list[str] = setting(["lfcc_ecapa_tdnn"], "names of files in configs/systems, and of `systems` with a base", items=SOME)
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


def trained_variants(settings: Any) -> tuple[str, ...]:
    """The acoustic variants that a system hears in training."""
    return tuple(settings.train.variants or settings.augment.variants)


def line_of_variants(heard: Mapping[str, Sequence[str]]) -> str:
    """Which systems heard which variants in training, where that differs, else "". heard: system -> its variants."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for system, variants in heard.items():
        groups.setdefault(tuple(variants), []).append(system)
    said = "; ".join(f"{', '.join(systems)}: {', '.join(variants)}" for variants, systems in groups.items())
    return f"Trained on different acoustic variants. {said}." if len(groups) > 1 else ""


@dataclass
class Evaluation:
    splits: list[str] = setting(["eval"], "splits that get scored", choices=SPLITS, items=SOME)
    variants: list[str] = setting([], "acoustic variants that dev and eval are scored on; empty = all stored", choices=ALL_VARIANTS)
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


def further_labels(settings: Any) -> list[str]:
    """The labels that have heads of their own besides corpus.label, in the order of `train.labels`."""
    return [name for name in settings.train.labels if name != settings.corpus.label]


def weights_of_labels(settings: Any) -> dict[str, float]:
    """Label -> its weight in the loss; of corpus.label alone where `train.labels` is empty."""
    labels = settings.train.labels or [settings.corpus.label]
    return dict(zip(labels, settings.train.label_weights or [1.0] * len(labels), strict=True))


def check_labels(settings: Any) -> None:
    """Raises `UserError` for labels that a run cannot be trained towards together, whatever the corpus has."""
    rules, backend = settings.train, BACKENDS[settings.backend]
    if rules.labels and settings.corpus.label not in rules.labels:
        raise UserError(f"train.labels={rules.labels}: {settings.corpus.label} is what corpus.label traces; name it, too")
    if rules.label_weights and len(rules.label_weights) != len(rules.labels):
        raise UserError(
            f"train.label_weights has {len(rules.label_weights)} values for {len(rules.labels)} of train.labels: give one for each"
        )
    if rules.label_weights and not any(rules.label_weights):
        raise UserError("train.label_weights: all are 0, so nothing would be learned")
    if further_labels(settings) and (backend.fitted or backend.metric_loss):
        how = "fitted in one go" if backend.fitted else "trained by a loss on embeddings"
        raise UserError(f"train.labels={rules.labels}: backend={settings.backend} is {how} and has no further heads; leave it out")
    if further_labels(settings) and rules.initial_weights and not rules.initial_weights.endswith(".safetensors"):
        raise UserError("train.initial_weights: a published checkpoint has no further heads; leave train.labels out, or the checkpoint")


PERTURBATIONS = ("crop_share", "time_masks", "band_masks", "channel_db")  # settings of `train` that change rows in every round
OF_LFCC = ("band_masks", "channel_db")


def perturbations_in_use(train: Train) -> list[str]:
    """Those that are not at their default."""
    return [name for name in PERTURBATIONS if getattr(train, name) != getattr(Train(), name)]


def check_perturbations(settings: Any) -> None:
    """Raises `UserError` for one that does not fit the features or the back-end."""
    backend, in_use = BACKENDS[settings.backend], perturbations_in_use(settings.train)
    of_rows = settings.frontend == "lfcc" or (settings.frontend == "ssl" and settings.ssl.mode == "frozen")
    for name in in_use:
        if not of_rows or (settings.frontend == "ssl" and settings.ssl.layer == "weighted_sum"):
            raise UserError(f"train.{name} changes stored rows of features x frames: it goes with frontend=lfcc, or a frozen ssl layer")
        if name in OF_LFCC and settings.frontend != "lfcc":
            raise UserError(f"train.{name} changes spectra, and reads them from LFCC alone: leave it out with frontend={settings.frontend}")
        if backend.fitted:
            raise UserError(f"train.{name} changes rows in every round, and backend={settings.backend} has none: leave it out")
    if "crop_share" in in_use and "num_frames" in backend.takes:
        raise UserError(f"train.crop_share={settings.train.crop_share:g}: backend={settings.backend} takes rows of one length only; use 1")
