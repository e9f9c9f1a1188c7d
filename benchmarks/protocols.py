"""Load, split and audit a protocol of a million utterances: seconds and peak memory of ours, beside the straightforward way on a slice.

The corpus is made up: 40 languages x 80 sources, MLAAD's paths, sentences of about 55 characters that four sources speak on average,
recordings, speakers, digests. Each way runs in a process of its own; memory is the peak resident set of that process, libraries included.
The straightforward way assigns splits label by label within each group of a pandas groupby, shuffles transcripts without looking at
languages and sources, and compares Python sets of values in every language, source and cell. It gets a small corpus of the same kind;
beside its seconds stands what that corpus costs us, and nothing is extrapolated. Both audits count the same, which is checked.

Run     python benchmarks/protocols.py [rounds=3] [rows=1000000] [slice=50000] [languages=40] [sources=80]
        (two minutes, 400 MB of temporary files; fewer rows where the machine is slow)
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import psutil
from _rounds import Bench, ratios, spread

from sourcetracing.corpora.mlaad_source_tracing import read_protocols
from sourcetracing.protocols.leakage import COLUMN_OF, PAIRS, audit
from sourcetracing.protocols.table import read_table, split_balance, split_utterances
from sourcetracing.runtime.files import read_csv
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.corpora import Split
from sourcetracing.settings.training import SPLITS

SPEAKERS_PER_LANGUAGE, SHARED_BY, SEED = 50, 4, 688
TARGET_SECONDS, TARGET_GB = 30, 2.0
WORDS = ("the", "voice", "of", "a", "stranger", "speaks", "as", "if", "it", "had", "always", "lived", "here", "and", "nobody", "asked")


def write_corpus(path: Path, num_rows: int, num_languages: int, num_sources: int) -> None:
    """A table of utterances as script 02 writes it, language after language."""
    for number in range(num_languages):
        part = _one_language(number, num_rows // num_languages, num_sources)
        part.to_csv(path, index=False, mode="a" if number else "w", header=number == 0)


def write_lists(path: Path) -> None:
    """The same utterances as MLAAD's three protocol lists, in the folder <path>.lists."""
    table = read_csv(path, usecols=["path", "source"])
    lists = ("./" + table["path"]).to_frame().assign(model_name=table["source"])
    folder = path.with_suffix(".lists")
    folder.mkdir()
    for number, split in enumerate(SPLITS):
        lists[number :: len(SPLITS)].to_csv(folder / f"{split}.csv", index=False)


def _one_language(number: int, num_rows: int, num_sources: int) -> pd.DataFrame:
    generator, language = np.random.default_rng(number), f"l{number:02d}"
    texts = generator.integers(0, num_rows // SHARED_BY, num_rows)
    sentences = [f"{' '.join(generator.choice(WORDS, 9))} {text:06d} {language}" for text in range(num_rows // SHARED_BY)]
    sources = [f"tts_models/multilingual/model_{row % num_sources:02d}" for row in range(num_rows)]
    ids = [
        f"{language}/{source.replace('/', '_')}/chapter{row // num_sources:04d}_f{text:06d}"
        for row, (source, text) in enumerate(zip(sources, texts, strict=True))
    ]
    columns = {
        "utt_id": ids,
        "path": [f"fake/{utt_id}.wav" for utt_id in ids],
        "language": language,
        "source": sources,
        "speaker": [f"{language}-{text % SPEAKERS_PER_LANGUAGE}" for text in texts],
        "transcript": [sentences[text] for text in texts],
        "recording": [f"{language}/by_book/wavs/f{text:06d}.wav" for text in texts],
        "duration_s": generator.uniform(2, 9, num_rows).round(3),
        "sample_rate": 22050,
        "digest": [value.hex() for value in generator.integers(0, 2**63, (num_rows, 2)).astype(">i8")[:, :].view("V16").ravel().tolist()],
    }
    return pd.DataFrame(columns)


def our_steps(path: Path) -> dict[str, Callable[[dict], object]]:
    """What is timed, in order; each step may use the results of those before it."""
    return {
        "read MLAAD's three lists": lambda done: len(read_protocols(path.with_suffix(".lists"))),
        "load": lambda done: read_table(path, ["utt_id"], ""),
        "split, seeded": lambda done: split_utterances(done["load"], Split(), SEED),
        "split, group_by=transcript": lambda done: split_utterances(done["load"], Split(group_by="transcript"), SEED),
        "audit": lambda done: audit(done["load"], done["split, seeded"]),
    }


def straightforward_steps(path: Path) -> dict[str, Callable[[dict], object]]:
    """The same by groupby and sets."""
    return {
        "read MLAAD's three lists": lambda done: len(read_lists_row_by_row(path.with_suffix(".lists"))),
        "load": lambda done: pd.read_csv(path, dtype={"utt_id": str}, keep_default_na=False),
        "split, seeded": lambda done: split_by_groupby(done["load"]),
        "split, group_by=transcript": lambda done: split_groups_by_shuffling(done["load"]),
        "audit": lambda done: audit_by_sets(done["load"], done["split, seeded"]),
    }


def read_lists_row_by_row(folder: Path) -> pd.DataFrame:
    """Language, folder and stem from each path by pathlib."""
    rows = []
    for split in SPLITS:
        with open(folder / f"{split}.csv", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                path = PurePosixPath(row["path"])
                rows.append({"path": str(path), "language": path.parts[1], "source": row["model_name"], "stem": path.stem, "split": split})
    return pd.DataFrame(rows)


def split_by_groupby(utterances: pd.DataFrame) -> pd.Series:
    """60/20/20 within language x source."""
    assigned = pd.Series("", index=utterances["utt_id"])
    for group, members in utterances.groupby(["language", "source"]):
        ids = sorted(members["utt_id"])
        shuffled = [ids[position] for position in rng(SEED, "split", *group).permutation(len(ids))]
        ends = round(len(ids) * 0.6), round(len(ids) * 0.6) + round(len(ids) * 0.2)
        for split, part in zip(SPLITS, (shuffled[: ends[0]], shuffled[ends[0] : ends[1]], shuffled[ends[1] :]), strict=True):
            assigned[part] = split
    return assigned


def split_groups_by_shuffling(utterances: pd.DataFrame) -> pd.Series:
    """60/20/20 of the transcripts, whatever comes out in each language x source."""
    texts = sorted(utterances["transcript"].unique())
    shuffled = [texts[position] for position in rng(SEED).permutation(len(texts))]
    ends = round(len(texts) * 0.6), round(len(texts) * 0.8)
    split_of = {text: SPLITS[(position >= ends[0]) + (position >= ends[1])] for position, text in enumerate(shuffled)}
    return utterances["transcript"].map(split_of)


def audit_by_sets(utterances: pd.DataFrame, assigned: pd.Series) -> list[tuple]:
    """Shared values and affected utterances of each kind, in all and by language, source and cell."""
    table, rows = utterances.assign(split=assigned.to_numpy()), []
    for keys in ([], ["language"], ["source"], ["language", "source"]):
        for name, part in table.groupby(keys) if keys else [("all", table)]:
            for kind, column in COLUMN_OF.items():
                values = {split: set(part[column][part["split"] == split]) for split in SPLITS}
                for first, second in PAIRS:
                    shared = values[first] & values[second]
                    affected = sum(value in shared for value in part[column][part["split"] == second])
                    rows.append((kind, name, first, second, len(shared), affected))
    return rows


WAYS = {"ours": our_steps, "straightforward": straightforward_steps}


def measure(way: str, path: Path) -> None:
    """Runs in a fresh process: prints the seconds of each step, and how far the groups are from 60/20/20, as a line of JSON."""
    done, seconds = {}, {}
    for name, step in WAYS[way](path).items():
        started = time.perf_counter()
        done[name] = step(done)
        seconds[name] = time.perf_counter() - started
    by_groups = pd.DataFrame({"utt_id": done["load"]["utt_id"], "split": list(_splits_of(done["split, group_by=transcript"]))})
    deviation = split_balance(done["load"], by_groups, Split())["deviation_points"].mean()
    print(json.dumps({"seconds": seconds, "deviation_points": deviation, "shared": shared_values(done["audit"])}))


def shared_values(found: pd.DataFrame | list[tuple]) -> dict[str, int]:
    """What an audit of either way counts over the whole corpus, by kind and pair of splits."""
    if isinstance(found, list):
        return {f"{kind} {first} {second}": int(shared) for kind, name, first, second, shared, _ in found if name == "all"}
    overall = found[found["scope"] == "overall"]
    return {f"{row.kind} {row.first} {row.second}": int(row.shared) for row in overall.itertuples()}


def _splits_of(assigned: pd.DataFrame | pd.Series) -> pd.Series:
    return assigned["split"] if isinstance(assigned, pd.DataFrame) else assigned


def in_fresh_process(way: str, path: Path) -> dict:
    """What `measure` prints and the process's peak memory in GB, watched from outside every 5 ms."""
    process = subprocess.Popen([sys.executable, __file__, way, str(path)], stdout=subprocess.PIPE, text=True)
    peak, watched, stop = [0], psutil.Process(process.pid), threading.Event()

    def watch() -> None:
        while not stop.wait(0.005):
            try:
                peak[0] = max(peak[0], watched.memory_info().rss)
            except psutil.NoSuchProcess:
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    output = process.communicate()[0]
    stop.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(process.returncode)
    return json.loads(output) | {"peak_gb": peak[0] / 1e9}


def main(words: list[str]) -> None:
    """Both ways in turns on a slice, then ours on all of it."""
    options = {"rows": 1_000_000, "slice": 50_000, "languages": 40, "sources": 80}
    small = {"rows": 800, "slice": 400, "languages": 2, "sources": 4}
    with Bench(__file__, words, options, small) as bench, tempfile.TemporaryDirectory() as folder:
        whole, part = Path(folder) / "utterances.csv", Path(folder) / "slice.csv"
        write = partial(write_both, num_languages=bench["languages"], num_sources=bench["sources"])
        write(part, bench["slice"])
        runs = compare(bench, part)
        assert runs["ours"][0]["shared"] == runs["straightforward"][0]["shared"], "the audits differ"
        least = bench["slice"]

        def probe() -> None:
            write(Path(folder) / "again.csv", least)
            in_fresh_process("ours", part)

        num_rows = bench.fitted("rows", bench["rows"], least, probe, least=least, rounds=1)
        write(whole, num_rows)
        at_scale(bench, whole, num_rows)


def write_both(path: Path, num_rows: int, num_languages: int, num_sources: int) -> None:
    """The table and MLAAD's lists."""
    write_corpus(path, num_rows, num_languages, num_sources)
    write_lists(path)


def compare(bench: Bench, part: Path) -> dict[str, list[dict]]:
    """Rows of the table for each step; returns what the processes told."""
    runs: dict[str, list[dict]] = {way: [] for way in ("straightforward", "ours")}

    def once(way: str) -> float:
        runs[way].append(in_fresh_process(way, part))
        return float(sum(runs[way][-1]["seconds"].values()))

    what = f"a protocol of {bench['slice']:,} rows"
    bench.compare(f"{what}, all steps", {way: partial(once, way) for way in runs}, parts=2)
    num = min(map(len, runs.values()))
    for step in runs["ours"][0]["seconds"]:
        theirs, mine = ([run["seconds"][step] for run in runs[way][:num]] for way in runs)
        bench.say(f"    {step:38} {spread(mine)} s   {spread(ratios(mine, theirs))}x")
        bench.row(f"{what}: {step}", mine, theirs, unit="s")
    for way, told in runs.items():
        bench.say(
            f"    {way}: {spread([run['peak_gb'] for run in told])} GB; groups off by {told[0]['deviation_points']:.1f} points (mean)"
        )
    return runs


def at_scale(bench: Bench, whole: Path, num_rows: int) -> None:
    """Ours on everything, once."""
    told = in_fresh_process("ours", whole)
    total, size_mb = sum(told["seconds"].values()), whole.stat().st_size / 1e6
    for step, seconds in told["seconds"].items():
        bench.say(f"    {step:38} {seconds:.2f} s")
    verdict = "holds" if total < TARGET_SECONDS and told["peak_gb"] < TARGET_GB else "is missed"
    bench.say(f"  {num_rows:,} rows, {size_mb:,.0f} MB of CSV: {total:.1f} s, {told['peak_gb']:.2f} GB")
    bench.say(f"  the target of {TARGET_SECONDS} s and {TARGET_GB} GB for a million rows {verdict}")
    bench.row(f"a protocol of {num_rows:,} rows, all steps", [total], unit="s")
    bench.row(f"a protocol of {num_rows:,} rows, memory at most", [told["peak_gb"]], unit="GB")


if __name__ == "__main__":
    measure(sys.argv[1], Path(sys.argv[2])) if sys.argv[1:2] and sys.argv[1] in WAYS else main(sys.argv[1:])
