"""Which eval utterances are post-processed, and what networks hear of them then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.audio.conditioning import trimmed
from sourcetracing.audio.reading import crop, load_utterance
from sourcetracing.errors import UserError
from sourcetracing.features.blocks import crop_samples
from sourcetracing.features.extracting import list_items
from sourcetracing.features.noise_bank import ClipBank, open_banks, prepare_banks
from sourcetracing.postprocessing.operations import apply
from sourcetracing.protocols.table import load_protocol
from sourcetracing.runtime.seeding import rng, seed_of
from sourcetracing.settings.operations import steps_of
from sourcetracing.settings.schema import Settings

CLEAN = "clean"  # the name of what no operation was applied to
SPLIT = "eval"


def eval_items(settings: Settings) -> pd.DataFrame:
    """The eval utterances of all languages, known and unknown sources: utt_id, path, language, source, digest, transcript."""
    utterances, protocol = load_protocol(settings, unknown=True)
    utterances = utterances.drop(columns="split", errors="ignore")
    items = list_items(utterances, protocol[protocol["split"] == SPLIT])
    return items.merge(utterances[["utt_id", "transcript"]], on="utt_id", validate="one_to_one")


def drawn(items: pd.DataFrame, languages: Sequence[str], count: int, seed: int) -> pd.DataFrame:
    """`count` of the utterances in some languages (0: all), as many of each language and source as there are, in the order of `items`.

    Which ones hangs on seed and utt_id alone, and fewer are a part of more.
    """
    own = items[items["language"].isin(list(languages))]
    if not count or len(own) <= count:
        return own.reset_index(drop=True)
    keys = pd.Series([seed_of(seed, "robustness", utt_id) for utt_id in own["utt_id"]], index=own.index)
    turns = keys.groupby([own["language"], own["source"]]).rank(method="first")
    chosen = pd.DataFrame({"turn": turns, "key": keys}).sort_values(["turn", "key"]).index[:count]
    return own.loc[chosen.sort_values()].reset_index(drop=True)


def clips_for(operations: Sequence[str], settings: Settings) -> dict[str, ClipBank]:
    """The noise banks that operations mix in; none of a kind where this machine has no such noises."""
    found = {}
    for kind in sorted({step.clips for name in operations for step in steps_of(name)} - {""}):
        wanted = replace(settings, augment=replace(settings.augment, variants=[kind], force_speech=False))
        try:
            found |= open_banks(prepare_banks(wanted))
        except UserError:  # no noises here: the operation is named and left out
            continue
    return found


@dataclass(frozen=True)
class Hearing:
    """What networks of some audio settings hear of utterances after operations."""

    settings: Settings
    clips: Mapping[str, ClipBank]

    def __call__(self, item, operations: Sequence[str]) -> np.ndarray:
        """(operations, crop_samples) float32 of an utterance (a row of `eval_items`), decoded once. Raises `UserError`.

        Post-processing comes before this project's own reading: the silence at the ends is cut, and the crop taken, of what came out.
        """
        settings, rate = self.settings, self.settings.audio.sample_rate
        path, num_samples = Path(settings.paths.corpus) / item.path, crop_samples(settings)
        whole = load_utterance(path, replace(settings.audio, trim_silence_db=0.0), item.digest)
        made = np.empty((len(operations), num_samples), np.float32)
        for row, name in zip(made, operations, strict=True):
            heard = whole if name == CLEAN else apply(name, whole, rate, settings.seed, item.utt_id, clips=self.clips)
            generator = rng(settings.seed, item.utt_id, "crop")
            row[:] = crop(trimmed(heard, settings.audio, rate), num_samples, settings.audio.crop_eval, generator)
        return made
