"""MCL-MLAAD at its real size, or a tenth of it: each stage of Table 4 from files to tables, in seconds, memory and bytes, at two sizes.

Made up: the files, a tenth by default, 4 to 12 s of noise with a voice's rises and falls at 22.05 kHz under the real protocol's names, and
short stand-ins for MUSAN and RIRS_NOISES; what the real ones take is counted from their published hours and files. What runs is the
scripts' own code, each stage in a process of its own: 02, the noise bank, 04 (LFCC, five variants), some steps of each paper-size system on
one language with the dev rows of an epoch, 06 (eval of all languages, clean rows alone), 13. Twice, at a quarter of the size and in full,
so that growth shows. Memory: of all processes of a stage together, looked at twenty times a second.

`budget=` shortens nothing here: all stages are walked. The end extrapolates Table 4's LFCC part (18 cells of 50 epochs) from these rates,
measured for this machine's cores and no others.

Run     python benchmarks/real_scale.py [utterances=1170] [steps=4] [folder=DIR]     (three minutes on two cores, 1.5 GB below DIR)
        python benchmarks/real_scale.py utterances=11700                            (the whole corpus: 15 minutes, 12 GB)
        python benchmarks/real_scale.py miniature                                   (tiny networks and few files, which shows that it runs)
Prints  each stage as it ends, then ratios, then Table 4
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import psutil
import soundfile
import torch
from _bench_audio import write_noises
from _rounds import Bench

from sourcetracing.corpora.mcl_mlaad import PUBLISHED_COUNTS
from sourcetracing.corpora.mlaad import META_COLUMNS, model_dir_of
from sourcetracing.features.noise_bank import prepare_banks
from sourcetracing.features.rows import open_store
from sourcetracing.runtime.compute import prepare_cpu
from sourcetracing.runtime.parallel import available_cores
from sourcetracing.settings.frontends import VARIANTS
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.training import SPLITS
from sourcetracing.training import loop
from sourcetracing.training.runs import run_of

ROOT = Path(__file__).resolve().parents[1]
SYSTEMS = ("lfcc_aasist", "lfcc_resnet18", "lfcc_ecapa_tdnn")
REAL_UTTERANCES, REAL_EPOCHS = 11_700, 50
MUSAN_HOURS, NUM_RESPONSES, NUM_STAND_INS = (
    109,
    60_000,
    200,
)  # musan: 60 h of speech, 42 h of music, 6 h of noise; RIRS_NOISES: its simulated rooms
NOISE_SECONDS, FILES_PER_CATEGORY = {"speech": 20.0, "music": 20.0, "noise": 20.0}, 8
FILE_RATE, SHORTEST, LONGEST = 22_050, 4.0, 12.0
LOOKS_PER_SECOND = 20
FASTER = 1.25  # times the growth of the corpus: beyond, a stage grew faster than linearly
NARROW = ("aasist.channels=[4,4]", "aasist.gat_dims=[4,4]", "resnet18.width=2", "ecapa_tdnn.channels=8", "evaluation.bootstrap_samples=50")


@dataclass(frozen=True)
class Sizes:
    """How much of everything. words: settings that all stages get."""

    utterances: int
    steps: int
    languages: tuple[str, ...]
    systems: tuple[str, ...] = SYSTEMS
    words: tuple[str, ...] = ()

    @property
    def settings_words(self) -> list[str]:
        """Of the experiment: Table 4 with one training language."""
        first = self.languages[0]
        words = [f"corpus.languages=[{','.join(self.languages)}]", f"experiment.train_sets=[{first}]", "mcl_mlaad.published_counts=false"]
        words += [f"experiment.systems=[{','.join(self.systems)}]", "experiment.floor=[]"]
        return [
            *words,
            "evaluation.variants=[original]",
            "train.epochs=1",
            f"train.rows_per_epoch={16 * self.steps}",
            "compute.device=cpu",
            *self.words,
        ]


@dataclass
class Outcome:
    """Of a stage: name, utterances, seconds, peak bytes of its processes together, bytes that it left on the disk, and what it says."""

    name: str
    utterances: int
    seconds: float
    peak_bytes: int
    disk_bytes: int
    said: dict


# ---------------------------------------------------------------------------------------------------------------- the corpus


def write_corpus(root: Path, sizes: Sizes) -> int:
    """Files, their meta.csv and the protocol lists; returns how many there are (each language and source has five at least)."""
    generator = np.random.default_rng(0)
    voice = _voice_like(generator)
    lists: dict[str, list[tuple[str, str]]] = {split: [] for split in SPLITS}
    for language in sizes.languages:
        for source, published in PUBLISHED_COUNTS[language].items():
            names = _write_cell(root, language, source, max(5, round(published * sizes.utterances / REAL_UTTERANCES)), voice, generator)
            for number, name in enumerate(names):
                lists[SPLITS[number % len(SPLITS)]].append((name, source))
    (root / "lists").mkdir()
    for split, rows in lists.items():
        pd.DataFrame(rows, columns=["path", "model_name"]).to_csv(root / "lists" / f"{split}.csv", index=False)
    return sum(map(len, lists.values()))


def _write_cell(root: Path, language: str, source: str, count: int, voice: np.ndarray, generator: np.random.Generator) -> list[str]:
    folder = f"fake/{language}/{model_dir_of(source)}"
    (root / "corpus" / folder).mkdir(parents=True)
    names = [f"./{folder}/{language}_{number:05d}.wav" for number in range(count)]
    for name in names:
        length = int(generator.uniform(SHORTEST, LONGEST) * FILE_RATE)
        start = int(generator.integers(0, len(voice) - length))
        samples = voice[start : start + length] * np.float32(generator.uniform(0.3, 1.0))
        soundfile.write(root / "corpus" / name, samples, FILE_RATE, subtype="PCM_16")
    rows = pd.DataFrame(dict.fromkeys(META_COLUMNS, ""), index=range(count))
    rows = rows.assign(path=names, language=language, model_name=source, original_file=[Path(name).name for name in names])
    rows["transcript"] = [f"sentence {number} of {language}" for number in range(count)]
    rows.to_csv(root / "corpus" / folder / "meta.csv", sep="|", index=False)
    return names


def _voice_like(generator: np.random.Generator, seconds: int = 60) -> np.ndarray:
    """(samples,) float32: low-passed noise that rises and falls four times a second, with pauses."""
    num = seconds * FILE_RATE
    noise = np.convolve(generator.standard_normal(num, np.float32), np.ones(6, np.float32) / 6, "same")
    syllables = np.abs(np.sin(2 * np.pi * 2 * np.arange(num) / FILE_RATE)).astype(np.float32)
    return (noise * syllables / np.abs(noise).max() * 0.9).astype(np.float32)


# ------------------------------------------------------------------------------------------------ stages in their own processes


def stages(root: Path, sizes: Sizes) -> Iterator[tuple[str, list[str]]]:
    """(name, command) in the order of use."""
    words = ["configs/mcl_mlaad.yaml", *_paths(root), *sizes.settings_words]
    yield "02 protocol", ["scripts/02_build_protocols.py", *words]
    yield "noise bank", [__file__, "stage=banks", *words]
    yield "04 LFCC x 5", ["scripts/04_preprocess_dataset.py", *words, "system=lfcc_aasist"]
    for system in sizes.systems:
        yield f"train {system}", [__file__, f"stage={system}", *words]
    yield "06 scores, clean", ["scripts/06_get_classification_metrics.py", *words]
    yield "13 tables", ["scripts/13_make_tables.py", *words]


def _paths(root: Path) -> list[str]:
    places = {"corpus": "corpus", "protocols": "lists", "musan": "musan", "rirs": "RIRS_NOISES", "exp": "exp"}
    return [f"paths.{name}={root / place}" for name, place in places.items()]


def run_stage(name: str, command: list[str], root: Path, num_utterances: int) -> Outcome:
    """Runs a command to its end; what it says of itself is the last line that is a JSON object. Raises SystemExit where it fails."""
    before, started, peak = _bytes_below(root / "exp"), time.perf_counter(), 0
    with open(root / "said.txt", "w+", encoding="utf-8") as said:
        process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=said, stderr=subprocess.STDOUT)
        while process.poll() is None:
            peak = max(peak, _resident_bytes(process.pid))
            time.sleep(1 / LOOKS_PER_SECOND)
        seconds = time.perf_counter() - started
        said.seek(0)
        lines = said.read().splitlines()
    if process.returncode:
        raise SystemExit(f"{name} failed:\n" + "\n".join(lines[-20:]))
    facts = next((json.loads(line) for line in reversed(lines) if line.startswith("{")), {})
    return Outcome(name, num_utterances, seconds, peak, _bytes_below(root / "exp") - before, facts)


def _resident_bytes(pid: int) -> int:
    total = 0
    try:
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            total += process.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def _bytes_below(folder: Path) -> int:
    return sum(512 * path.stat().st_blocks for path in folder.rglob("*") if path.is_file())


def bank_stage(words: list[str]) -> dict[str, float]:
    """Decodes rooms, then noises; seconds of each alone, without imports."""
    seconds = {}
    for what, variants in (("rooms", "original,reverb"), ("noises", "original,noise,music,speech")):
        settings = load_settings([*words, "system=lfcc_aasist", f"augment.variants=[{variants}]"])
        started = time.perf_counter()
        prepare_banks(settings)
        seconds[what] = time.perf_counter() - started
    return seconds


def training_stage(system: str, words: list[str]) -> dict:
    """Trains some steps and an epoch's dev rows on all cores; medians of a step and of a dev row, without the first quarter of them."""
    settings = load_settings([*words, f"system={system}", f"train.languages=[{_first_language(words)}]", "train.seed=688"])
    prepare_cpu(available_cores())
    steps: list[float] = []
    dev: list[tuple[float, int]] = []
    train_step, evaluate = loop.train_step, loop.evaluate

    def timed_step(*arguments):
        started = time.perf_counter()
        sums = train_step(*arguments)
        steps.append(time.perf_counter() - started)
        return sums

    def timed_evaluate(model, rows, *arguments):
        started = time.perf_counter()
        figures = evaluate(model, rows, *arguments)
        dev.append((time.perf_counter() - started, len(rows)))
        return figures

    store = open_store(settings)
    with patch.object(loop, "train_step", timed_step), patch.object(loop, "evaluate", timed_evaluate):
        loop.train_run(run_of(settings, store.folder.name), store, torch.device("cpu"))
    return {"step": statistics.median(steps[len(steps) // 4 :]), "dev_row": dev[-1][0] / dev[-1][1], "steps": len(steps)}


def _first_language(words: list[str]) -> str:
    return next(word.split("[")[1].rstrip("]") for word in words if word.startswith("experiment.train_sets="))


# ---------------------------------------------------------------------------------------------------------------- what is printed


def walk(root: Path, sizes: Sizes, say: Callable[[str], None] = print) -> list[Outcome]:
    """All stages at one size, printed as they end."""
    started = time.perf_counter()
    num_utterances = write_corpus(root, sizes)
    write_noises(root, NOISE_SECONDS, FILES_PER_CATEGORY, num_responses=NUM_STAND_INS)
    say(f"  {num_utterances:,} utterances (made in {time.perf_counter() - started:.0f} s)")
    say(f"    {'stage':22}{'seconds':>9}{'an utterance':>15}{'peak memory':>14}{'disk':>12}")
    outcomes = []
    for name, command in stages(root, sizes):
        outcomes.append(one := run_stage(name, command, root, num_utterances))
        per = f"{1000 * one.seconds / num_utterances:.1f} ms"
        more = f"   a step {one.said['step']:.3f} s, a dev row {1000 * one.said['dev_row']:.1f} ms" if "step" in one.said else ""
        say(f"    {name:22}{one.seconds:9.1f}{per:>15}{one.peak_bytes / 1e6:11.0f} MB{one.disk_bytes / 1e6:9.1f} MB{more}")
    return outcomes


def growth_lines(small: list[Outcome], large: list[Outcome]) -> Iterator[str]:
    """For each stage how seconds and memory grew with the corpus; a network's step has nothing to grow with, so it is held against 1."""
    times = large[0].utterances / small[0].utterances
    yield f"growth: {times:.2f} times the utterances"
    for few, many in zip(small, large, strict=True):
        is_step = "step" in many.said
        took = many.said["step"] / few.said["step"] if is_step else many.seconds / few.seconds
        held = many.peak_bytes / few.peak_bytes
        limit = math.sqrt(times) if is_step else FASTER * times  # of a few steps the median varies; growing with the corpus it were x 4
        grew = ["time"] * (took > limit) + ["memory"] * (held > FASTER * times)
        mark = f"FASTER THAN LINEAR in {' and '.join(grew)}" if grew else "not faster than linear"
        what = "a step x" if is_step else "seconds x"
        yield f"  {many.name:22}{what} {took:5.2f}   memory x {held:5.2f}   {mark}"


def at_real_size(few: Outcome, many: Outcome, times: int = 1) -> float:
    """Seconds of a stage for so many times the whole corpus: a straight line through both sizes, so that its start is counted once."""
    slope = max(0.0, (many.seconds - few.seconds) / (many.utterances - few.utterances))
    return many.seconds + slope * (times * REAL_UTTERANCES - many.utterances)


def table_lines(small: list[Outcome], large: list[Outcome], cores: int) -> Iterator[str]:
    """Table 4's LFCC part from the rates of both sizes."""
    few, many = ({one.name: one for one in outcomes} for outcomes in (small, large))
    trained = [name.removeprefix("train ") for name in many if name.startswith("train ")]
    seconds = {name: at_real_size(few[name], many[name]) for name in ("02 protocol", "04 LFCC x 5")}
    seconds["noise bank"] = bank_seconds(many["noise bank"])
    steps = math.ceil(round(0.6 * REAL_UTTERANCES / 6) * len(VARIANTS) / 16)
    dev_rows = round(0.2 * REAL_UTTERANCES / 6) * len(VARIANTS)
    for system in trained:
        said = many[f"train {system}"].said
        seconds[f"{system}, 6 cells"] = 6 * REAL_EPOCHS * (steps * said["step"] + dev_rows * said["dev_row"])
    scoring = "06 scores, clean"
    seconds["06 scores of all cells"] = at_real_size(few[scoring], many[scoring], 6 * len(VARIANTS))  # one cell and one variant were
    yield f"Table 4's LFCC part, computed: {6 * len(trained)} cells x {REAL_EPOCHS} epochs of {steps} steps and {dev_rows:,} dev rows"
    for name, value in seconds.items():
        yield f"  {name:26}{value / 3600:9.2f} h on {cores} cores"
    total = sum(seconds.values()) / 3600
    yield f"  {'all':26}{total:9.2f} h on {cores} cores, from rates measured here"
    yield f"  16 cores: {total * cores / 16:.2f} h if each does what one of these does (cells are independent); not measured"
    yield "  one GPU: not measured (make benchmark-gpu)"
    features = many["04 LFCC x 5"].disk_bytes / many["04 LFCC x 5"].utterances * REAL_UTTERANCES
    yield f"  disk: features {features / 1e9:.1f} GB; noise bank {MUSAN_HOURS * 3600 * 16_000 * 2 / 1e9:.1f} GB of MUSAN's, and the rooms"


def bank_seconds(bank: Outcome) -> float:
    """What decoding the real MUSAN and RIRS_NOISES takes, in proportion to hours of noise and number of responses."""
    hours = FILES_PER_CATEGORY * sum(NOISE_SECONDS.values()) / 3600
    return bank.said["noises"] * MUSAN_HOURS / hours + bank.said["rooms"] * NUM_RESPONSES / NUM_STAND_INS


def main(words: list[str]) -> None:
    """Both sizes, the small one first, each in a folder that is removed."""
    with Bench(__file__, words, {"utterances": REAL_UTTERANCES // 10, "steps": 4, "folder": ""}, {"utterances": 200, "steps": 2}) as bench:
        tiny = (("en", "de"), SYSTEMS[2:], NARROW) if bench.is_miniature else (tuple(PUBLISHED_COUNTS),)
        outcomes = []
        for num, steps in ((bench["utterances"] // 4, max(2, bench["steps"] // 2)), (bench["utterances"], bench["steps"])):
            with tempfile.TemporaryDirectory(prefix="real-scale-", dir=bench["folder"] or None) as folder:
                outcomes.append(walk(Path(folder), Sizes(num, steps, *tiny), bench.say))
        for line in (*growth_lines(*outcomes), *table_lines(*outcomes, available_cores())):
            bench.say(f"  {line}")


def serve(words: list[str]) -> None:
    """A stage in a process of its own; its last line is what it says."""
    name, rest = words[0].partition("=")[2], words[1:]
    print(json.dumps(bank_stage(rest) if name == "banks" else training_stage(name, rest)))


if __name__ == "__main__":
    serve(sys.argv[1:]) if sys.argv[1:2] and sys.argv[1].startswith("stage=") else main(sys.argv[1:])
