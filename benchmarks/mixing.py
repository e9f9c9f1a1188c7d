"""All 127 mixtures of seven corpora: shared Hessians and warm starts against fits from scratch, on made-up layer means.

The features are correlated and heavy-tailed, of different scale and mean in each dimension, with classes that overlap. From scratch is
scikit-learn's lbfgs on unscaled features, as published; so many fits take hours, so a sample is timed and its seconds per row are
scaled up to the rows of all mixtures. `exact` are fits from scratch to the optimum with the project's own solver.

Run     python benchmarks/mixing.py [rows=50000] [width=960] [sample=4] [threads=ALL] [distance=2.5] [folder=/tmp]
        (two minutes and a half and 0.3 GB of disk; fewer rows where the machine is slow; width=1920 budget=3600: over half an hour)
Prints  seconds of both ways, the EERs of sampled mixtures both ways, the peak of memory
"""

from __future__ import annotations

import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from _rounds import Bench, ratios, spread
from threadpoolctl import threadpool_limits

from sourcetracing.detection.classifier.logistic import LinearModel, eer_of_scores, fit
from sourcetracing.detection.classifier.mixing_solver import Corpus, MixingSolver
from sourcetracing.detection.experiments.mixing import mixtures_of, start_of
from sourcetracing.runtime.parallel import available_cores
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.detection import Logreg

CORPORA = {"ASV19": 0.19, "ODSS": 0.07, "FoR": 0.12, "TIMIT": 0.05, "MLAAD": 0.16, "ASV5": 0.22, "ASV21": 0.19}  # shares of the rows
TESTS, TEST_ROWS, RANK = ("ITW", "AI4T"), 4000, 256
MOST_APART = {"exact": 0.1, "published": 3.0}  # points of EER: lbfgs stops before the optimum


def make_corpus(name: str, num_rows: int, width: int, folder: Path, distance: float = 2.5) -> Corpus:
    """A memory-mapped array (num_rows, width) and its labels; every corpus has its own place, shift and share of bona fide files.

    distance: between the classes; mixtures that become linearly separable have no common Hessian, and little is saved (docs).
    """
    common, own = np.random.default_rng(0), np.random.default_rng([ord(letter) for letter in name])
    mixing = common.normal(size=(RANK, width)) * np.arange(1, RANK + 1)[:, None] ** -0.5
    mean, scale = common.normal(size=width) * np.exp(common.normal(size=width)), 0.1 * np.exp(0.7 * common.normal(size=width))
    side = common.normal(size=RANK) + 0.8 * own.normal(size=RANK)
    place, share = 0.6 * own.normal(size=RANK), own.uniform(0.1, 0.5)
    labels = (own.random(num_rows) < share).astype(np.int8)
    latent = own.standard_t(4, size=(num_rows, RANK)) + place + np.where(labels == 1, 1, -1)[:, None] * side * distance / np.sqrt(RANK)
    path = folder / f"{name}.npy"
    stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(num_rows, width))
    for start in range(0, num_rows, 2048):
        part = latent[start : start + 2048]
        stored[start : start + 2048] = (part @ mixing / 4 + 0.5 * own.standard_t(6, size=(len(part), width))) * scale + mean
    stored.flush()
    return Corpus([np.load(path, mmap_mode="r")], [labels])


def memory(what: str) -> int:
    """Bytes of this process: VmHWM (peak), VmRSS, RssAnon (without mapped files)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:"))


def fit_all(corpora: dict[str, Corpus], folder: Path) -> tuple[dict[tuple, LinearModel], dict[str, float]]:
    """Every mixture, the way script 04 fits them; what it took: wall and CPU seconds, bytes above the start."""
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again
    before, started, cpu = memory("VmRSS"), time.perf_counter(), time.process_time()
    names, rows = list(corpora), {name: sum(map(len, corpus.blocks)) for name, corpus in corpora.items()}
    solver, models = MixingSolver(corpora, Logreg(), folder), {}
    for mixture in bar(mixtures_of(names)[::-1], desc="mixtures", unit="fit"):
        models[mixture] = solver.fit(mixture, models[start_of(mixture, names, rows)] if models else None)
        solver.share(models[tuple(names)])
    took = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    return models, {**took, "peak": memory("VmHWM") - before}


def timed(corpora: dict[str, Corpus], mixture: tuple, settings: Logreg) -> tuple[LinearModel, float, float]:
    """A model from scratch, wall and CPU seconds."""
    started, cpu = time.perf_counter(), time.process_time()
    blocks, labels = [corpora[name].blocks[0] for name in mixture], [corpora[name].labels[0] for name in mixture]
    model = fit(blocks, labels, settings)
    return model, time.perf_counter() - started, time.process_time() - cpu


def eers(model: LinearModel, tests: dict[str, Corpus]) -> list[float]:
    """EER in percent on each test set."""
    return [100 * eer_of_scores(corpus.labels[0], model.scores(corpus.blocks[0]), Logreg())[0] for corpus in tests.values()]


def main(words: list[str]) -> None:
    """Ours, then the sample both ways, each mixture's line as it is known."""
    options = {"rows": 50_000, "width": 960, "sample": 4, "threads": available_cores(), "distance": 2.5, "folder": ""}
    small = {"rows": 1_400, "width": 16, "sample": 1}
    with (
        Bench(__file__, words, options, small) as bench,
        tempfile.TemporaryDirectory(dir=bench["folder"] or None) as folder,
        threadpool_limits(bench["threads"]),
    ):
        root = Path(folder)
        probe = partial(probed, root, bench)
        rows = bench.fitted("rows", bench["rows"], max(1_400, bench["rows"] // 40), probe, least=1_400)
        run(bench, root, rows)


def probed(root: Path, bench: Bench) -> None:
    """Ours and one fit from scratch on a fortieth of the rows."""
    rows = max(1_400, bench["rows"] // 40)
    corpora = {name: make_corpus(name, int(share * rows), bench["width"], root, bench["distance"]) for name, share in CORPORA.items()}
    fit_all(corpora, root)
    timed(corpora, tuple(corpora), Logreg(solver="published"))


def run(bench: Bench, root: Path, rows: int) -> None:
    """All of it."""
    width, distance = bench["width"], bench["distance"]
    corpora = {name: make_corpus(name, int(share * rows), width, root, distance) for name, share in CORPORA.items()}
    tests = {name: make_corpus(name, TEST_ROWS, width, root, distance) for name in TESTS}
    models, took = fit_all(corpora, root)
    num_rows = {mixture: sum(len(block) for name in mixture for block in corpora[name].blocks) for mixture in models}
    size = num_rows[tuple(corpora)] * width * 4
    bench.say(f"  {len(models)} mixtures of {num_rows[tuple(corpora)]} x {width} features ({size / 1e6:.0f} MB)")
    bench.say(f"  ours: {took['seconds']:.1f} s (CPU {took['cpu']:.1f} s), steps {sum(model.steps for model in models.values())}")
    bench.say(f"  memory: peak {took['peak'] / 1e6:.0f} MB above the start, {took['peak'] / size:.2f} x the features, mapped ones among it")
    all_eers = np.array([eers(model, tests) for model in models.values()])
    bench.say(f"  EERs of ours in %: {all_eers.min():.2f} to {all_eers.max():.2f}, median {np.median(all_eers):.2f}")
    compare(bench, corpora, tests, models, num_rows, took)


def compare(bench: Bench, corpora: dict, tests: dict, models: dict, num_rows: dict, took: dict) -> None:
    """Fits a sample from scratch, evenly spread over the number of rows, the smallest first, as long as there is time.

    The seconds of all mixtures are those of the sample in proportion to their rows; each mixture of the sample gives one such estimate.
    """
    order, sample = sorted(models, key=lambda mixture: num_rows[mixture]), bench["sample"]
    seconds: dict[str, list[tuple[float, int]]] = {"published": [], "exact": []}
    longest = 0.0
    for mixture in (order[int((place + 0.5) * len(order) / sample)] for place in range(sample)):
        if seconds["exact"] and bench.seconds_left() < 2 * longest:
            bench.say(f"  {len(seconds['exact'])} of {sample} fits from scratch: the time is up")
            break
        ours, before = eers(models[mixture], tests), bench.clock()
        bench.say(f"  {'+'.join(mixture)} ({num_rows[mixture]} rows): EERs of ours {' '.join(f'{value:.2f}' for value in ours)} %")
        for way, settings in (("exact", Logreg()), ("published", Logreg(solver="published"))):
            model, wall, _ = timed(corpora, mixture, settings)
            seconds[way].append((wall, num_rows[mixture]))
            apart = np.abs(np.subtract(eers(model, tests), ours)).max()
            assert apart < MOST_APART[way], f"EERs {apart:.2f} points apart"
            bench.say(f"    {way:10}{wall:7.1f} s, {model.steps} steps; EERs differ by {apart:.4f} points at most")
        longest = max(longest, bench.clock() - before)
    whole = {way: [wall / rows * sum(num_rows.values()) for wall, rows in pairs] for way, pairs in seconds.items()}
    for way, estimates in whole.items():
        told = ratios([took["seconds"]] * len(estimates), estimates)
        bench.say(f"  all from scratch, {way}, by {len(estimates)} fits: {spread(estimates)} s   {spread(told)}x")
    what = f"127 mixtures of corpora, {sum(map(len, (corpus.blocks[0] for corpus in corpora.values()))):,} x {bench['width']}"
    ours = [took["seconds"]] * len(whole["published"])
    bench.row(f"{what}, against lbfgs from scratch (extrapolated from {len(ours)} fits)", ours, whole["published"], unit="s")
    bench.row(f"{what}, against our solver from scratch (extrapolated)", ours, whole["exact"], unit="s")


if __name__ == "__main__":
    main(sys.argv[1:])
