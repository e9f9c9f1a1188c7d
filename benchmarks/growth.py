"""Does any stage grow faster than the corpus, or hold it in memory? Tables of rows up to a million, at a quarter of the size and in full.

Nothing is decoded or trained: the utterances are made up (38 languages, 24 known and 58 unknown sources), a feature is two numbers,
and the network a fixed matrix. What runs is the scripts' own code around them: 02 split and audit, 04 index and journal of a store, 05
choice of rows, 06 scores, 07 detectors and their figures, 13 tables. Each size has a process of its own. A ratio of 4 is linear; a stage
is marked where its seconds, or the memory that it adds, grow by more than 4 x 1.3. Where time is short the large size is smaller than that.

Run     python benchmarks/growth.py [rows=1000000]     (rows of a store: utterances x 5 variants; two minutes)
        python benchmarks/growth.py miniature          (seconds)
Prints  for each stage: seconds and peak memory at both sizes, and their ratio
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from _rounds import Bench

from sourcetracing.features.extracting import list_items, list_rows, store_recipe
from sourcetracing.features.rows import known_rows
from sourcetracing.features.store import FeatureStore, StoreWriter, write_block
from sourcetracing.openset.evaluation import evaluate
from sourcetracing.openset.experiment import detector_scores
from sourcetracing.openset.trials import load_trials
from sourcetracing.protocols.coverage import count_cells
from sourcetracing.protocols.leakage import audit
from sourcetracing.protocols.table import count_utterances, read_table, split_utterances
from sourcetracing.runtime.files import write_csv
from sourcetracing.scoring import scores
from sourcetracing.settings.corpora import Split
from sourcetracing.settings.frontends import VARIANTS
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import SPLITS
from sourcetracing.tables.making import make_tables
from sourcetracing.tables.scored_runs import ScoredRun
from sourcetracing.training.runs import TrainingRun

LANGUAGES = [f"l{number:02d}" for number in range(38)]
SOURCES = [f"tts_models/multilingual/model_{number:02d}" for number in range(82)]
KNOWN, WIDTH, TOLERANCE = 24, 160, 1.3
LEAST_GROWTH = 1.5  # times as many rows; below, a ratio says little
BLOCK_ROWS = 1000


@dataclass
class Scene:
    """What the stages of one size share: a folder, the settings, and what earlier stages left."""

    root: Path
    num_rows: int
    settings: Settings
    made: dict = field(default_factory=dict)


def utterances_of(num: int) -> pd.DataFrame:
    """Made-up utterances, language after language, four of one text."""
    number = np.arange(num)
    language = number * len(LANGUAGES) // num
    source = (2 * language + number % 4) % len(SOURCES)  # four of each language, two of them also of the next
    ids = [f"{LANGUAGES[a]}/{SOURCES[b].replace('/', '_')}/f{n:07d}" for n, a, b in zip(number, language, source, strict=True)]
    columns = {"utt_id": ids, "path": [f"fake/{one}.wav" for one in ids], "language": [LANGUAGES[a] for a in language]}
    columns |= {"source": [SOURCES[b] for b in source], "speaker": [f"s{n % 977}" for n in number]}
    columns |= {"transcript": [f"what was said in sentence {n // 4:07d}" for n in number], "recording": [f"r{n // 4:07d}" for n in number]}
    columns |= {"duration_s": 4.0 + number % 8, "sample_rate": 22050, "digest": [f"{n:032x}" for n in number]}
    return pd.DataFrame(columns)


def protocol(scene: Scene) -> None:
    """02: split, audit, counts, and the tables on disk."""
    utterances = utterances_of(scene.num_rows // len(VARIANTS))
    assigned = split_utterances(utterances, Split(), 688, SOURCES[KNOWN:])
    audit(utterances, assigned)
    count_cells(utterances, assigned)
    count_utterances(utterances, assigned, SOURCES[:KNOWN], LANGUAGES)
    write_csv(utterances, scene.root / "utterances.csv")
    write_csv(assigned, scene.root / "protocol.csv")


def grouped_split(scene: Scene) -> None:
    """02 with split.group_by=transcript."""
    split_utterances(read_table(scene.root / "utterances.csv", [], ""), Split(group_by="transcript"), 688, SOURCES[KNOWN:])


def store(scene: Scene) -> None:
    """04 without audio: recipe, journal, index, checksum; killed at half and resumed."""
    utterances, assigned = (read_table(scene.root / name, ["utt_id"], "") for name in ("utterances.csv", "protocol.csv"))
    items = list_items(utterances, assigned)
    facts, folder = {"recipe": store_recipe(scene.settings, items)}, scene.root / "features"
    folder.mkdir()
    shape = (len(items) * len(VARIANTS), 2)
    for share in (2, 1):
        writer = StoreWriter(folder, shape, np.dtype("float16"), BLOCK_ROWS)
        for block in writer.remaining()[: -(-writer.num_blocks // share)]:
            rows = writer.block_rows(block)
            content = np.random.default_rng(block).normal(size=(len(rows), 2)).astype(np.float16)
            writer.commit(block, write_block(writer.path, writer.header_bytes, rows.start, content))
    writer.finish(list_rows(items, list(VARIANTS)), facts)


def select(scene: Scene) -> None:
    """05: the store opened, the rows of a run chosen, on one language and on all."""
    scene.made["store"] = FeatureStore.open(scene.root / "features")
    for languages in (LANGUAGES[:1], LANGUAGES):
        known_rows(scene.made["store"], scene.settings, "train", languages)


class _Fixed(torch.nn.Module):
    """Two numbers -> an embedding and logits."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.first, self.second = torch.randn(2, WIDTH, generator=generator), torch.randn(WIDTH, KNOWN, generator=generator)

    def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embeddings = torch.tanh(rows @ self.first)
        return embeddings, embeddings @ self.second


def score(scene: Scene) -> None:
    """06: scores and embeddings of train, dev and eval."""
    folder = scene.root / "run"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"fixed")
    scene.made["run"] = run = TrainingRun("lfcc_aasist", "+".join(LANGUAGES), 688, scene.settings, folder)
    with patch.object(scores, "load_model", lambda run, store: _Fixed()):
        scores.score_run(run, scene.made["store"], torch.device("cpu"))


def table(scene: Scene) -> None:
    """13: a table of one system trained on all languages."""
    read = scores.read_scores(scene.made["run"], "eval")
    run = ScoredRun("lfcc_aasist", scene.made["run"].train_set, 688, scene.root, read)
    make_tables([run], scene.settings, [("lfcc_aasist", run.train_set, 688)])


def detect(scene: Scene) -> None:
    """07: every detector but the exact neighbour search, fitted and scored."""
    train, *judged = (load_trials(scene.made["run"], split) for split in SPLITS)
    trials = dict(zip(("dev", "eval"), judged, strict=True))
    scene.made["trials"], scene.made["scores"] = trials, detector_scores(train, trials, scene.made["run"])


def judge(scene: Scene) -> None:
    """07: figures of eval with 1,000 resamples, of one detector."""
    trials, values = scene.made["trials"]["eval"], scene.made["scores"]["eval"]
    name = next(iter(values))
    rows = trials.table.assign(unit=trials.table["utt_id"])
    evaluate(rows, {name: values[name]}, {name: float(np.median(values[name]))}, KNOWN, 1000, 1)


STAGES: tuple[Callable[[Scene], None], ...] = (protocol, grouped_split, store, select, score, table, detect, judge)


def settings_for(root: Path) -> Settings:
    """All languages, known sources as classes, all splits scored with embeddings."""
    words = [f"corpus.languages=[{','.join(LANGUAGES)}]", f"corpus.sources=[{','.join(SOURCES[:KNOWN])}]"]
    words += ["evaluation.splits=[train,dev,eval]", "evaluation.embeddings=true", "evaluation.batch_size=4096", f"paths.exp={root / 'exp'}"]
    words += ["experiment.train_sets=[" + "+".join(LANGUAGES) + "]", "experiment.test_sets=[" + "+".join(LANGUAGES) + "]"]
    words += [
        "openset.detectors=[nsd,max_softmax,energy,logit_margin,mahalanobis,vim,softmax_energy]",
        "experiment.systems=[lfcc_aasist]",
        "system=lfcc_aasist",
    ]
    return load_settings(words)


def measure(num_rows: int) -> Iterator[dict]:
    """One line for each stage: name, seconds, peak memory of the process so far (MB)."""
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(Path(folder), num_rows, settings_for(Path(folder)))
        yield {"stage": "start", "seconds": 0.0, "peak_mb": _peak_mb()}
        for stage in STAGES:
            started = time.perf_counter()
            stage(scene)
            yield {"stage": stage.__name__, "seconds": time.perf_counter() - started, "peak_mb": _peak_mb()}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_fresh_process(num_rows: int) -> Iterator[dict]:
    """What `measure` yields, as it comes."""
    with subprocess.Popen([sys.executable, __file__, f"measure={num_rows}"], stdout=subprocess.PIPE, text=True) as process:
        yield from map(json.loads, process.stdout)
    if process.returncode:
        raise SystemExit(process.returncode)


def verdict(small: dict, large: dict, start_mb: float, times: float) -> str:
    """`linear`, or what grew faster; below a tenth of a second or 50 MB nothing is said."""
    limit = times * TOLERANCE
    slow = large["seconds"] > 0.1 and large["seconds"] > limit * small["seconds"]
    more = large["peak_mb"] - start_mb
    big = more > 50 and more > limit * max(small["peak_mb"] - start_mb, 1.0)
    grew = ["time"] * slow + ["memory"] * big
    return f"FASTER THAN LINEAR in {' and '.join(grew)}" if grew else "linear"


def main(words: list[str]) -> None:
    """Both sizes, the small one first; the large one as large as the time that is left allows."""
    with Bench(__file__, words, {"rows": 1_000_000}, {"rows": 16_000}) as bench:
        quarter = bench["rows"] // 4
        bench.say(f"  {quarter:,} rows; memory is the peak of the process so far")
        small = []
        for line in in_fresh_process(quarter):
            small.append(line)
            bench.say(f"    {line['stage']:16}{line['seconds']:8.2f} s{line['peak_mb']:9.0f} MB")
        seconds = sum(line["seconds"] for line in small)
        times = 4.0 if bench.is_miniature else min(4.0, 0.8 * bench.seconds_left() / seconds)
        if times < LEAST_GROWTH:
            bench.say("  more rows are left out: the time is up")
            return
        bench.say(f"  {int(times * quarter):,} rows, {times:.2f} times as many")
        for few, many in zip(small, in_fresh_process(int(times * quarter)), strict=True):
            ratio = many["seconds"] / max(few["seconds"], 1e-9)
            text = f"{many['seconds']:8.2f} s{many['peak_mb']:9.0f} MB   time x {ratio:5.2f}"
            bench.say(f"    {many['stage']:16}{text}   {verdict(few, many, small[0]['peak_mb'], times)}")


def serve(num_rows: int) -> None:
    """One size in this process, a line of JSON for each stage."""
    for line in measure(num_rows):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    serve(int(sys.argv[1].partition("=")[2])) if sys.argv[1:2] and sys.argv[1].startswith("measure=") else main(sys.argv[1:])
