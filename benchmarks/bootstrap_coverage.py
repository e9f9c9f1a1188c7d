"""Do the 95 % intervals hold the truth in 95 % of cases? On simulated test sets: disjoint, overlapping, groups of speakers.

Six languages, four sources, three variants of each utterance whose errors go together; one network for each training set. The truth is the
macro-F1 on so many simulated utterances that it is known. Each world is drawn anew.

disjoint    Table 4: six networks, each tested on each language; the mean over the 36 cells
overlapping Table 5: six networks, each tested on the five languages of its training together and on the sixth; the means of both. Five test
            sets of six hold a given utterance. And a world in which the sixth is as easy as the five: how often a difference is found.
grouped     Table 6: each network's five languages, split into two groups of speakers, which are others for each network and differ in
            nothing
few         Table 6 where a class has 1 to 3 of its 8 utterances in a group: resamples that hold none of them average over the other
            classes, or (the other column) take the class's own F1 there, or draw within the group, where none is lost
seeds       two ways of training, each with several seeds, which differ by about as much as the demo's cells did between processors; the
            truth is the mean over very many seeds

Ways to make the interval: `shared`, the one of the tables (one draw of all utterances, within language x source), `apart` (a draw for each
test set, within the source), both also with percentiles as they are (`plain`), and for seeds `shared` without drawing seeds.

Run     python benchmarks/bootstrap_coverage.py [repeats=200] [utterances=40]      (about a minute; utterances: of each language)
Prints  the table of docs/tables.md
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sourcetracing.metrics.bootstrap import Draws, over_seeds, percentile_interval
from sourcetracing.metrics.classification import f1_of_present, macro_f1, mean_over_present

CLASSES, LANGUAGES, VARIANTS, RESAMPLES, TRUTH_SIZE = 4, 6, 3, 300, 2_000
TRUE_SEEDS = 100
SPEAKERS = 8  # of each language
SEED_SD = 0.6  # of the ease of a source between seeds (log-odds): it moves a cell by about 6 points

Figures = dict[str, tuple[float, float, np.ndarray]]  # name -> (truth, figure of the sample, its resamples (num_samples,))


class World:
    """How easy each source is for each network in each language, and what utterances there are of each language."""

    def __init__(self, generator: np.random.Generator, utterances: int, *, home_bonus: float = 1.0, networks: int = LANGUAGES):
        self.generator, self.networks = generator, networks
        preference = generator.dirichlet(np.full(CLASSES, 0.7), (networks, CLASSES)) * (1 - np.eye(CLASSES))
        self.thresholds = (preference / preference.sum(axis=-1, keepdims=True)).cumsum(axis=-1)
        self.ease = generator.normal(1.3, 0.6, (networks, 1, CLASSES)) + np.zeros((networks, LANGUAGES, 1))
        self.ease += home_bonus * generator.normal(0, 0.5, self.ease.shape)
        self.sample = self.draw(utterances)
        self.truth = self.draw(TRUTH_SIZE)

    def draw(self, utterances: int) -> dict[str, np.ndarray]:
        """label, language, speaker (U,) and predictions (networks, U, V) of that many utterances of each language."""
        label = np.tile(np.repeat(np.arange(CLASSES), utterances // CLASSES), LANGUAGES)
        language = np.repeat(np.arange(LANGUAGES), utterances // CLASSES * CLASSES)
        speaker = self.generator.integers(0, SPEAKERS, len(label))
        shared = self.generator.normal(0, 0.8, len(label)) + self.generator.normal(0, 0.5, (self.networks, len(label)))
        predictions = self.predict(self.ease, label, language, shared)
        return {"label": label, "language": language, "speaker": speaker, "shared": shared, "predictions": predictions}

    def predict(self, ease: np.ndarray, label: np.ndarray, language: np.ndarray, shared: np.ndarray) -> np.ndarray:
        """(networks, U, V)."""
        odds = ease[:, language, label] + shared
        right = self.generator.random((*odds.shape, VARIANTS)) < 1 / (1 + np.exp(-odds))[..., None]
        drawn = self.generator.random(right.shape)[..., None]
        wrong = (drawn > self.thresholds[:, label, None, :]).sum(axis=-1).clip(max=CLASSES - 1)
        return np.where(right, label[:, None], wrong)


def figure_of(data: dict[str, np.ndarray], network: int, rows: np.ndarray) -> float:
    """Macro-F1 of a network on the utterances `rows`, counted from the definition."""
    cells = np.repeat(data["label"][rows], VARIANTS) * CLASSES + data["predictions"][network, rows].ravel()
    return float(macro_f1(np.bincount(cells, minlength=CLASSES**2).reshape(CLASSES, CLASSES)))


class Shared:
    """One draw of all utterances for all test sets, within language x source: what the tables do."""

    def __init__(self, data: dict[str, np.ndarray], generator: np.random.Generator):
        strata = data["language"] * CLASSES + data["label"]
        self.draws = Draws(strata, RESAMPLES, lambda stratum: generator)

    def samples(self, data: dict[str, np.ndarray], network: int, rows: np.ndarray) -> np.ndarray:
        """Resampled macro-F1 (num_samples,)."""
        units, truth = np.repeat(rows, VARIANTS), np.repeat(data["label"][rows], VARIANTS)
        return macro_f1(self.draws.confusions(units, truth, data["predictions"][network, rows].ravel(), CLASSES))


class Apart:
    """A draw for each test set, within the source: what the tables did."""

    def __init__(self, data: dict[str, np.ndarray], generator: np.random.Generator):
        self.generator, self.draws = generator, {}

    def samples(self, data: dict[str, np.ndarray], network: int, rows: np.ndarray) -> np.ndarray:
        """Resampled macro-F1 (num_samples,)."""
        key = rows.tobytes()
        if key not in self.draws:
            self.draws[key] = Draws(data["label"][rows], RESAMPLES, lambda stratum: self.generator)
        units, truth = np.repeat(np.arange(len(rows)), VARIANTS), np.repeat(data["label"][rows], VARIANTS)
        return macro_f1(self.draws[key].confusions(units, truth, data["predictions"][network, rows].ravel(), CLASSES))


def mean_of(world: World, method: Shared | Apart, cells: list[tuple[int, Callable]]) -> tuple[float, float, np.ndarray]:
    """Truth, figure and resamples of the mean over cells: (network, chooser of a test set's utterances)."""
    truth, value = (
        float(np.mean([figure_of(data, network, choose(data)) for network, choose in cells])) for data in (world.truth, world.sample)
    )
    return truth, value, np.mean([method.samples(world.sample, network, choose(world.sample)) for network, choose in cells], axis=0)


def difference(first: tuple[float, float, np.ndarray], second: tuple[float, float, np.ndarray]) -> tuple[float, float, np.ndarray]:
    """Of each of the three."""
    return first[0] - second[0], first[1] - second[1], first[2] - second[2]


def in_languages(*languages: int) -> Callable:
    """Chooses the utterances in some languages."""
    return lambda data: np.flatnonzero(np.isin(data["language"], languages))


def disjoint(world: World, method: Shared | Apart) -> Figures:
    """Table 4."""
    return {"mean of 36 cells": mean_of(world, method, [(n, in_languages(one)) for n in range(LANGUAGES) for one in range(LANGUAGES)])}


def overlapping(world: World, method: Shared | Apart) -> Figures:
    """Table 5. The two means are those of the same networks, as is their difference."""
    others = [[one for one in range(LANGUAGES) if one != held_out] for held_out in range(LANGUAGES)]
    seen = mean_of(world, method, [(n, in_languages(*others[n])) for n in range(LANGUAGES)])
    unseen = mean_of(world, method, [(n, in_languages(n)) for n in range(LANGUAGES)])
    return {"mean of the seen": seen, "mean of the unseen": unseen, "seen - unseen": difference(seen, unseen)}


def grouped(world: World, method: Shared | Apart) -> Figures:
    """Table 6."""

    def group(network: int, wanted: int) -> Callable:
        members = np.random.default_rng(network).permutation(SPEAKERS) % 2
        return lambda data: np.flatnonzero((data["language"] != network) & (members[data["speaker"]] == wanted))

    first, second = (mean_of(world, method, [(n, group(n, wanted)) for n in range(LANGUAGES)]) for wanted in (0, 1))
    return {"mean of a group": first, "group - group": difference(first, second)}


def held(make: Callable, repeats: int, utterances: int, *, seed: int = 0, home_bonus: float = 1.0) -> dict[tuple[str, str], float]:
    """(figure, method) -> how often its 95 % interval held the truth."""
    counts: dict[tuple[str, str], int] = {}
    for number in range(repeats):
        world = World(np.random.default_rng([seed, number]), utterances, home_bonus=home_bonus)
        for name, method in (("shared", Shared), ("apart", Apart)):
            chosen = method(world.sample, np.random.default_rng([seed, number, 1]))
            for figure, (truth, value, samples) in make(world, chosen).items():
                low, high = percentile_interval(samples, value)
                counts[figure, name] = counts.get((figure, name), 0) + int(low <= truth <= high)
                low, high = np.percentile(samples, [2.5, 97.5])
                counts[figure, f"{name}, plain"] = counts.get((figure, f"{name}, plain"), 0) + int(low <= truth <= high)
    return {key: count / repeats for key, count in counts.items()}


def held_over_seeds(num_seeds: int, repeats: int, utterances: int, *, seed: int = 1) -> dict[tuple[str, str], float]:
    """Two networks trained with several seeds, tested on one language: the mean of the first, and its difference to the second."""
    counts: dict[tuple[str, str], int] = {}
    rows = np.arange(utterances // CLASSES * CLASSES)
    for number in range(repeats):
        generator = np.random.default_rng([seed, num_seeds, number])
        world = World(generator, utterances, networks=2)
        truth = _mean_over_all_seeds(world, _first_language(world.truth))
        runs = [_of_seed(world, _first_language(world.sample)) for _ in range(num_seeds)]
        method = Shared(runs[0], generator)
        samples = [{one: method.samples(run, network, rows) for one, run in enumerate(runs)} for network in (0, 1)]
        values = [np.mean([figure_of(run, network, rows) for run in runs]) for network in (0, 1)]
        for name in ("with seeds", "utterances only"):
            first, second = ((truth[one], values[one], _combined(name, samples[one], [seed, number])) for one in (0, 1))
            for figure, (true, value, drawn) in (("mean", first), ("difference", difference(first, second))):
                low, high = percentile_interval(drawn, value)
                counts[figure, name] = counts.get((figure, name), 0) + int(low <= true <= high)
    return {key: count / repeats for key, count in counts.items()}


def held_with_few(few: int, ease: float, repeats: int, *, seed: int = 2) -> dict[str, float]:
    """Way of drawing -> how often the interval of a mean of six such cells held the truth. ease: recall of the class of few utterances."""
    sizes, recalls, counts = (
        np.array([5, 5, 5, few]),
        np.array([0.8, 0.7, 0.75, ease]),
        dict.fromkeys(("average over others", "own F1", "within"), 0),
    )
    generator = np.random.default_rng([seed, few, round(100 * ease)])
    label, inside = np.repeat(np.arange(CLASSES), 8), (np.arange(8) < sizes[:, None]).ravel()
    rows = np.flatnonzero(inside)

    def predict(label: np.ndarray) -> np.ndarray:
        wrong = (label + generator.integers(1, CLASSES, len(label))) % CLASSES
        return np.where(generator.random(len(label)) < recalls[label], label, wrong)

    def by_class(label: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        return f1_of_present(np.bincount(label * CLASSES + predicted, minlength=CLASSES**2).reshape(CLASSES, CLASSES))

    everyone = np.repeat(np.arange(CLASSES), sizes * TRUTH_SIZE)
    truth = by_class(everyone, predict(everyone)).mean()
    for _ in range(repeats):
        samples, value = dict.fromkeys(counts, np.zeros(RESAMPLES)), 0.0
        for _ in range(LANGUAGES):
            predicted = predict(label)
            drawn, within = (
                f1_of_present(Draws(strata, RESAMPLES, lambda stratum: generator).confusions(rows, label[rows], predicted[rows], CLASSES))
                for strata in (label, 2 * label + inside)
            )
            own = by_class(label[rows], predicted[rows])
            value, filled = value + own.mean() / LANGUAGES, np.where(np.isnan(drawn), own, drawn)
            for name, figures in zip(counts, (drawn, filled, within), strict=True):
                samples[name] = samples[name] + mean_over_present(figures) / LANGUAGES
        for name, values in samples.items():
            low, high = percentile_interval(values, value)
            counts[name] += int(low <= truth <= high)
    return {name: count / repeats for name, count in counts.items()}


def _combined(name: str, samples: dict[int, np.ndarray], seed: list[int]) -> np.ndarray:
    if name == "with seeds":
        return over_seeds(samples, lambda seeds: np.random.default_rng([*seed, len(seeds)]))
    return np.mean(list(samples.values()), axis=0)


def _of_seed(world: World, data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    ease = world.ease + world.generator.normal(0, SEED_SD, (world.networks, 1, CLASSES))
    return {**data, "predictions": world.predict(ease, data["label"], data["language"], data["shared"])}


def _first_language(data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: values[..., data["language"] == 0] for name, values in data.items() if name != "predictions"}


def _mean_over_all_seeds(world: World, data: dict[str, np.ndarray]) -> np.ndarray:
    """Macro-F1 of both networks, (2,)."""
    runs = [_of_seed(world, data) for _ in range(TRUE_SEEDS)]
    return np.array([np.mean([figure_of(run, network, np.arange(len(data["label"]))) for run in runs]) for network in (0, 1)])


def main() -> None:
    """The table of docs/tables.md."""
    from _rounds import options_or_exit  # beside this file; the tests import it as a part of the folder

    options = options_or_exit(__file__, sys.argv[1:], {"utterances": 40, "repeats": 200})
    utterances, repeats = options["utterances"], options["repeats"]
    print(f"{utterances} utterances of each language x {VARIANTS} variants, {repeats} repeats: % of 95 % intervals that held the truth\n")
    print("| test sets | figure | as in the tables | without the correction for bias | drawn for each test set anew |")
    print("| --- | --- | ---: | ---: | ---: |")
    for name, make, bonus in (
        ("disjoint (Table 4)", disjoint, 1.0),
        ("overlapping (Table 5)", overlapping, 1.0),
        ("overlapping, no effect", overlapping, 0.0),
        ("groups (Table 6)", grouped, 1.0),
    ):
        found = held(make, repeats, utterances, home_bonus=bonus)
        for figure in dict.fromkeys(figure for figure, _ in found):
            if bonus or "-" in figure:
                shares = [f"{100 * found[figure, method]:.1f}" for method in ("shared", "shared, plain", "apart")]
                print(f"| {name} | {figure} | {' | '.join(shares)} |", flush=True)
    print("\n| utterances of a class, recall | as in the tables: average over others | the class's own F1 | drawn within the group |")
    print("| --- | ---: | ---: | ---: |")
    for few in (1, 2, 3):
        for ease in (0.95, 0.3):
            found = held_with_few(few, ease, repeats)
            print(f"| {few}, {ease} | {' | '.join(f'{100 * value:.1f}' for value in found.values())} |", flush=True)
    print("\n| training seeds | figure | seeds drawn too, as in the tables | utterances only |\n| --- | --- | ---: | ---: |")
    for num_seeds in (1, 3, 5):
        found = held_over_seeds(num_seeds, repeats, utterances)
        for figure in ("mean", "difference"):
            print(
                f"| {num_seeds} | {figure} | {100 * found[figure, 'with seeds']:.1f} | {100 * found[figure, 'utterances only']:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
