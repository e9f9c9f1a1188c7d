"""The check pass: decodes every file once, and names the bad ones before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from sourcetracing.audio.bad_audio import BadAudio, Truncated
from sourcetracing.audio.facts import facts_of
from sourcetracing.audio.source import open_file, open_source
from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.runtime.files import digest_of_open_file, write_csv
from sourcetracing.runtime.parallel import resolve_workers
from sourcetracing.runtime.progress import bar, say
from sourcetracing.settings.frontends import Audio
from sourcetracing.settings.schema import Settings

CHECK_FORMAT = 2  # raise it when a check finds other things in the same files: what it found before is then not believed
FACTS_OF_GOOD = ("duration_s", "sample_rate", "digest", "coding", "rms_dbfs", "leading_silence_s", "trailing_silence_s", "bandwidth_hz")
NUM_NAMED = 3  # bad files that the one-line message names; the CSV has them all
TRUNCATED_HINT = "audio.on_truncated=skip leaves out what is cut off, keep uses what is there of it"


@dataclass(frozen=True)
class Checked:
    """What a file is. reason: why it cannot be used, "" = it can; is_truncated: because it is cut off; notes: what is odd about it."""

    duration_s: float = 0.0
    sample_rate: int = 0  # Hz, its own
    digest: str = ""
    reason: str = ""
    is_truncated: bool = False
    notes: tuple[str, ...] = ()
    coding: str = ""  # container and codec, such as WAV PCM_16
    rms_dbfs: float = math.nan  # this and what follows: `SoundFacts`
    leading_silence_s: float = math.nan
    trailing_silence_s: float = math.nan
    bandwidth_hz: float = math.nan


def check_file(path: Path, rules: Audio) -> Checked:
    """Decodes a file at its own rate, in flat memory."""
    try:
        with open_file(path) as file:
            digest = digest_of_open_file(file)
            with open_source(path, file, rules, listen=True) as source:
                for _ in source.blocks:
                    pass
    except BadAudio as error:
        return Checked(reason=error.reason, is_truncated=isinstance(error, Truncated))
    heard, sound = source.heard, asdict(facts_of(source.heard))
    duration_s, reason, notes = heard.num_samples / source.rate, heard.problem(rules) or "", tuple(source.notes())
    return Checked(duration_s, source.rate, digest, reason, False, notes, source.coding, **sound)


def stops(is_truncated: bool, rules: Audio) -> bool:
    """Whether a file that cannot be used stops the work; else it is left out, counted and listed."""
    return rules.on_bad_audio == "fail" and not (is_truncated and rules.on_truncated == "skip")


def _check_files(paths: list[Path], settings: Settings) -> Iterator[Checked]:
    # Decoding and hashing release the interpreter lock, so threads are enough and start at once.
    with ThreadPoolExecutor(resolve_workers(settings.compute.workers)) as pool:
        try:
            results = pool.map(lambda path: check_file(path, settings.audio), paths)
            yield from bar(results, total=len(paths), desc="check audio", unit="file")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def check_corpus(utterances: pd.DataFrame, root: str | Path, settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Decodes every file once; returns the good rows (with FACTS_OF_GOOD) and a table of problems.

    utterances: columns utt_id, path (relative to `root`). problems: columns utt_id, path, reason; also written to
    exp/<name>/bad_audio.csv when there are any. With audio.on_bad_audio=fail one problem raises `UserError`; with skip the row is left out.
    What is odd about good files is said, and written to audio_notes.csv.
    """
    paths = [Path(root) / path for path in utterances["path"]]
    facts = pd.DataFrame(list(_check_files(paths, settings)), index=utterances.index, columns=[field.name for field in fields(Checked)])
    bad = facts["reason"] != ""
    problems = utterances[["utt_id", "path"]].assign(reason=facts["reason"])[bad]
    layout = Layout.of(settings)
    name_problems(problems, facts["is_truncated"][bad], len(utterances), layout.bad_audio, settings.audio)
    for line in name_notes(utterances["path"][~bad], facts["notes"][~bad], layout.audio_notes):
        say(f"note: {line}")
    checked = utterances.assign(**{name: facts[name] for name in FACTS_OF_GOOD})[~bad]
    return checked.reset_index(drop=True), problems.reset_index(drop=True)


def name_problems(problems: pd.DataFrame, is_truncated: pd.Series, total: int, listing: Path, rules: Audio) -> None:
    """Writes the bad ones (columns path, reason and more) of so many files to `listing`, if any. Raises `UserError` unless skipped."""
    if problems.empty:
        listing.unlink(missing_ok=True)  # an earlier check's list would mislead
        return
    write_csv(problems, listing)
    fatal = problems[[stops(bool(is_cut), rules) for is_cut in is_truncated]]
    if len(fatal):
        hint = f"; {TRUNCATED_HINT}" if is_truncated.any() else ""
        raise UserError(f"{_describe_problems(fatal, total, listing)}{hint}")


def _describe_problems(problems: pd.DataFrame, total: int, listing: Path) -> str:
    named = "; ".join(f"{row.path}: {row.reason}" for row in problems.head(NUM_NAMED).itertuples())
    more = f"; and {len(problems) - NUM_NAMED} more" if len(problems) > NUM_NAMED else ""
    count = f"{len(problems)} of {total} audio files cannot be used"
    return f"{count}: {named}{more}. Full list: {listing}. Mend them, or leave them out with audio.on_bad_audio=skip"


def name_notes(paths: pd.Series, notes: pd.Series, listing: Path) -> list[str]:
    """A line for each kind of note (the words before its first comma or colon), with the number of files; all are written to `listing`."""
    rows = [(path, note) for path, some in zip(paths, notes, strict=True) for note in some]
    if not rows:
        listing.unlink(missing_ok=True)
        return []
    table = pd.DataFrame(rows, columns=["path", "note"])
    write_csv(table, listing)
    kinds = table["path"].groupby(table["note"].str.split("[,:]", regex=True).str[0], sort=False).agg(list)
    return [f"{len(some)} of {len(paths)} files: {kind} ({_some(some)}); all: {listing}" for kind, some in kinds.items()]


def _some(paths: list[str]) -> str:
    return ", ".join(paths[:NUM_NAMED]) + (", ..." if len(paths) > NUM_NAMED else "")
