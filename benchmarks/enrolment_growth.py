"""Do false alarms stay at the set level as a library grows from 0 to 100 enrolled sources? Simulated worlds, each drawn anew.

A source is a direction, a file a point around it; how far its files lie apart differs between sources. Dev has some sources, none of which
are enrolled or tested; 100 others are enrolled from K files each, and files of 50 more, which nobody enrolled, are judged: a false alarm is
one that is given a source. `rising` is the threshold of sourcetracing/enrolment/acceptance.py for as many sources as are enrolled;
`fixed` the one for a single source. `worst`: of one world in twenty, false alarms are higher still.

Run     python benchmarks/enrolment_growth.py [worlds=100] [files=5]      (K; four minutes)
Prints  the table of docs/verification.md
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sourcetracing.enrolment.acceptance import acceptance_threshold, dev_scores
from sourcetracing.verification.representations import Embedded
from sourcetracing.verification.verifier import Verifier

SIZES = (0, 1, 2, 5, 10, 20, 50, 100)
LEVEL = 0.05
WIDTH, SPREAD = 24, (0.5, 1.0)  # of a file around its source, whose own directions have length about sqrt(WIDTH)
TRAIN_SOURCES, STRANGERS, FILES_PER_SOURCE = 8, 50, 20


@dataclass(frozen=True)
class Counted:
    """Of one world and one size of the library: shares of false alarms, and the regime of the rising threshold."""

    rising: float
    fixed: float
    regime: str


def files_of(random: np.random.Generator, prefix: str, num_sources: int, per_source: int) -> Embedded:
    """Files of sources that nobody has seen."""
    names = np.repeat([f"{prefix}{number}" for number in range(num_sources)], per_source)
    centres, spreads = random.normal(size=(num_sources, WIDTH)), random.uniform(*SPREAD, num_sources)
    rows = np.repeat(centres, per_source, axis=0)
    rows += np.repeat(spreads, per_source)[:, None] * random.normal(size=rows.shape)
    ids = np.array([f"{name}/{number}" for number, name in enumerate(names)])
    return Embedded(ids, names, rows.astype(np.float32))


def world(seed: int, dev_sources: int, enrol_files: int, *, sizes: tuple[int, ...] = SIZES, level: float = LEVEL) -> dict[int, Counted]:
    """Number of enrolled sources -> what happened. The strangers are the same whatever is enrolled."""
    random = np.random.default_rng([seed, dev_sources, enrol_files])
    train = files_of(random, "train", TRAIN_SOURCES, FILES_PER_SOURCE)
    dev = files_of(random, "dev", dev_sources, FILES_PER_SOURCE)
    verifier = Verifier.fitted(train, dev, sorted(set(train.sources)), compare_by="cosine", num_trials=500, seed=seed)
    enrolled = files_of(random, "new", max(sizes), enrol_files)
    models = verifier.models(np.split(enrolled.embeddings, max(sizes)))
    strangers = files_of(random, "stranger", STRANGERS, FILES_PER_SOURCE)
    scores, known = verifier.scores(models, verifier.space.unit(strangers.embeddings)), dev_scores(verifier, enrol_files)
    single = acceptance_threshold(known, 1, level)
    found = {}
    for size in sizes:
        threshold = acceptance_threshold(known, size, level)
        best = scores[:size].max(axis=0, initial=-np.inf)
        found[size] = Counted(float(threshold.accepts(best).mean()), float(single.accepts(best).mean()), threshold.regime)
    return found


def main() -> None:
    """The table of docs/verification.md."""
    from _rounds import options_or_exit  # beside this file; the tests import it as a part of the folder

    options = options_or_exit(__file__, sys.argv[1:], {"worlds": 100, "files": 5})
    print(f"False alarms in %, set to {100 * LEVEL:g}; {options['worlds']} worlds, {options['files']} files enrol a source\n")
    print("| sources of dev | enrolled | rising | worst | fixed | regime |\n|---:|---:|---:|---:|---:|---|")
    for dev_sources in (5, 10, 30, 120):
        worlds = [world(seed, dev_sources, options["files"]) for seed in range(options["worlds"])]
        for size in SIZES:
            rising, fixed = (100 * np.array([getattr(one[size], name) for one in worlds]) for name in ("rising", "fixed"))
            regimes = ", ".join(sorted({one[size].regime for one in worlds}))
            worst = np.percentile(rising, 95)
            print(f"| {dev_sources} | {size} | {rising.mean():.1f} | {worst:.1f} | {fixed.mean():.1f} | {regimes} |", flush=True)


if __name__ == "__main__":
    main()
