"""What runs answer to post-processed utterances: computed a few utterances at a time, and kept, so that nothing is computed twice.

Below exp/<name>/robustness/<system>/<run>/answers-<digest>/ lie Parquet files, a row for each operation and utterance: operation, utt_id,
made_of, embedding, logits. Each file is whole or not there; further operations and utterances are further files. The digest is of the
weights and of how they compute; made_of of the utterance's bytes, what the operation does, its noises and the ffmpeg.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sourcetracing.audio.codecs import ffmpeg_version
from sourcetracing.errors import UserError
from sourcetracing.features.noise_bank import ClipBank
from sourcetracing.layout import Layout
from sourcetracing.robustness.utterances import CLEAN, Hearing
from sourcetracing.runtime.files import atomic_path, digest_of_file, digest_of_json
from sourcetracing.runtime.parallel import in_threads, resolve_workers
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.operations import OperationEntry, steps_of
from sourcetracing.tracing.system import TracingSystem
from sourcetracing.training.runs import TrainingRun, front_end_key

METHOD_VERSION = 1  # goes up when the same files and weights give other answers
AT_ONCE = 8  # utterances between two saves
COLUMNS = ["operation", "utt_id", "made_of", "embedding", "logits"]


@dataclass(frozen=True)
class Wanted:
    """A run, and the eval utterances (rows of `eval_items`) that it is asked for."""

    run: TrainingRun
    items: pd.DataFrame

    @property
    def folder(self) -> Path:
        """Where its answers are kept."""
        run, settings = self.run, self.run.settings
        how = [METHOD_VERSION, digest_of_file(run.files.weights), settings.seed, settings.compute.precision]
        how += [settings.compute.encoder_precision, settings.audio.crop_eval, settings.audio.channel]
        return Layout.of(settings).robustness_of(run.system, run.folder.name).answers(digest_of_json(how)[:8])


def made_of(item, operation: str, clips: Mapping[str, ClipBank]) -> str:
    """What the sound of an operation on an utterance hangs on besides their names."""
    steps = [] if operation == CLEAN else steps_of(operation)
    needs_ffmpeg = any(step.encoder or step.filter for step in steps)
    noises = [clips[step.clips].digest for step in steps if step.clips]
    return digest_of_json([item.digest, ffmpeg_version() if needs_ffmpeg else "", noises, [_what_it_does(step) for step in steps]])[:16]


def _what_it_does(step: OperationEntry) -> list:
    return [step.target, _code_of(step.load()), {name: str(value) for name, value in step.parameters.items()}]


@cache
def _code_of(function: Callable) -> str:
    """A function's text, so that answers of another version of it are not taken for its own; "" where nobody has it."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return ""


def read_answers(wanted: Wanted) -> pd.DataFrame:
    """COLUMNS of all that is kept; a damaged file is taken for one that is not there."""
    parts = []
    for path in sorted(wanted.folder.glob("*.parquet")):
        try:
            parts.append(pd.read_parquet(path, columns=COLUMNS))
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None):  # a disk that does not answer now: what it holds is whole
                raise
            path.unlink()
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def answers_of(wanted: Wanted, operations: Sequence[str], clips: Mapping[str, ClipBank]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """operation -> (embeddings (N, E), logits (N, C)) of its utterances in their order; all must have been made."""
    table = read_answers(wanted).drop_duplicates(["operation", "utt_id", "made_of"]).set_index(["operation", "utt_id", "made_of"])
    found = {}
    for name in operations:
        rows = table.loc[[(name, item.utt_id, made_of(item, name, clips)) for item in wanted.items.itertuples()]]
        found[name] = (np.stack(rows["embedding"].to_list()), np.stack(rows["logits"].to_list()))
    return found


def make_answers(all_wanted: Sequence[Wanted], operations: Sequence[str], clips: Mapping[str, ClipBank], device: torch.device) -> None:
    """Computes and keeps what is missing. Each utterance is decoded and post-processed once for all runs that hear alike.

    Operations run in threads (ffmpeg is a process of its own), the networks meanwhile in this one. Raises `UserError`.
    """
    missing = {wanted.folder: _missing(wanted, operations, clips) for wanted in all_wanted}
    total = sum(len(names) for own in missing.values() for names in own.values())
    with bar(total=total, desc="post-processing", unit="answer", disable=not total) as progress:
        for group in _alike(all_wanted):
            for number in _answer(group, missing, clips, device):
                progress.update(number)


def _missing(wanted: Wanted, operations: Sequence[str], clips: Mapping[str, ClipBank]) -> dict[str, list[str]]:
    """utt_id -> operations without an answer."""
    there = set(read_answers(wanted)[COLUMNS[:3]].itertuples(index=False, name=None))
    lacks = {
        item.utt_id: [name for name in operations if (name, item.utt_id, made_of(item, name, clips)) not in there]
        for item in wanted.items.itertuples()
    }
    return {utt_id: names for utt_id, names in lacks.items() if names}


def _alike(all_wanted: Sequence[Wanted]) -> list[list[Wanted]]:
    """Runs whose networks get the same waveforms."""
    groups: dict[str, list[Wanted]] = {}
    for wanted in all_wanted:
        groups.setdefault(repr(wanted.run.settings.audio), []).append(wanted)
    return list(groups.values())


def _answer(
    group: Sequence[Wanted], missing: Mapping[Path, dict[str, list[str]]], clips: Mapping[str, ClipBank], device: torch.device
) -> Iterator[int]:
    """Yields how many answers were kept, a few utterances at a time."""
    to_do = [wanted for wanted in group if missing[wanted.folder]]
    if not to_do:
        return
    hearing, systems = Hearing(to_do[0].run.settings, clips), _systems([wanted.run for wanted in to_do], device)
    every = pd.concat([wanted.items for wanted in to_do]).drop_duplicates("utt_id")
    needed = {utt_id: names for utt_id in every["utt_id"] if (names := _union(utt_id, to_do, missing))}
    items = [item for item in every.itertuples() if item.utt_id in needed]

    def heard(item) -> np.ndarray:
        return hearing(item, needed[item.utt_id])

    for batch in _batches(in_threads(heard, items, num_workers=resolve_workers(hearing.settings.compute.workers)), AT_ONCE):
        waveforms = {(name, item.utt_id): row for item, rows in batch for name, row in zip(needed[item.utt_id], rows, strict=True)}
        digests = {(name, item.utt_id): made_of(item, name, clips) for item, _ in batch for name in needed[item.utt_id]}
        features: dict[tuple, Tensor] = {}
        for wanted in to_do:
            keys = [(name, item.utt_id) for item, _ in batch for name in missing[wanted.folder].get(item.utt_id, ())]
            if keys:
                _keep(wanted, keys, systems[wanted.run.folder], waveforms, digests, features)
                yield len(keys)


def _batches(things: Iterable, size: int) -> Iterator[tuple]:
    things = iter(things)
    while batch := tuple(islice(things, size)):
        yield batch


def _union(utt_id: str, to_do: Sequence[Wanted], missing: Mapping[Path, dict[str, list[str]]]) -> list[str]:
    return list(dict.fromkeys(name for wanted in to_do for name in missing[wanted.folder].get(utt_id, ())))


def _systems(runs: Sequence[TrainingRun], device: torch.device) -> dict[Path, TracingSystem]:
    """The network of each run; runs of one front-end share it."""
    front_ends, found = {}, {}
    for run in runs:
        key = front_end_key(run.settings)
        found[run.folder] = TracingSystem(run, device, front_ends.get(key))
        front_ends[key] = found[run.folder].front_end
    return found


def _keep(
    wanted: Wanted,
    keys: Sequence[tuple[str, str]],
    system: TracingSystem,
    waveforms: Mapping[tuple[str, str], np.ndarray],
    digests: Mapping[tuple[str, str], str],
    features: dict[tuple, Tensor],
) -> None:
    """features: those of this batch, by front-end and keys, which the next run of the same front-end finds."""
    embeddings, logits = [], []
    for some in _batches(keys, system.settings.evaluation.batch_size):
        place = (front_end_key(system.settings), some)
        if place not in features:
            features[place] = system.features(np.stack([waveforms[key] for key in some]))
        own_embeddings, own_logits = system.judge(features[place])
        _refuse_overflow(some, own_embeddings, own_logits, wanted.run)
        embeddings += list(own_embeddings)
        logits += list(own_logits)
    table = pd.DataFrame(keys, columns=COLUMNS[:2])
    table["made_of"], table["embedding"], table["logits"] = [digests[key] for key in keys], embeddings, logits
    with atomic_path(wanted.folder / f"{digest_of_json([list(key) for key in keys])[:12]}.parquet", sync=False) as partial:
        table.to_parquet(partial, index=False)


def _refuse_overflow(keys: Sequence[tuple[str, str]], embeddings: np.ndarray, logits: np.ndarray, run: TrainingRun) -> None:
    finite = np.isfinite(embeddings).all(axis=1) & np.isfinite(logits).all(axis=1)
    if not finite.all():
        operation, utt_id = keys[int(finite.argmin())]
        raise UserError(
            f"{run.system} on {run.train_set}: {utt_id} after {operation} gives no finite answer; its features may not fit "
            f"store.dtype={run.settings.store.dtype}. Leave {operation} out of robustness.operations, or train with store.dtype=float32"
        )
