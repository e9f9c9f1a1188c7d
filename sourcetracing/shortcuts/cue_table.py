"""The cues of every utterance of an experiment in every acoustic variant, of the audio as it is and as cures leave it.

Files   exp/<name>/shortcuts/cues.parquet        without cures
        exp/<name>/shortcuts/cues_cured.parquet  of what systems hear where a cure is on (`sourcetracing.audio.conditioning`)
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.audio.reading import load_utterance, read_audio
from sourcetracing.errors import UserError
from sourcetracing.features.augment import Augmenter
from sourcetracing.features.blocks import heard_variants
from sourcetracing.features.extracting import list_items
from sourcetracing.features.noise_bank import open_banks, prepare_banks
from sourcetracing.layout import Layout
from sourcetracing.protocols.table import load_protocol
from sourcetracing.runtime.files import digest_of_json
from sourcetracing.runtime.parallel import resolve_workers
from sourcetracing.runtime.progress import bar
from sourcetracing.settings.frontends import Audio
from sourcetracing.settings.recorded import augment_recipe, cures_of, sound_recipe
from sourcetracing.settings.schema import Settings
from sourcetracing.shortcuts.cues import crop_cues, file_cues
from sourcetracing.shortcuts.stamped_files import read_stamp, write_stamped

CUES_FORMAT = 1  # raise it when cues change for the same settings and audio
ITEM_COLUMNS = ["utt_id", "split", "language", "source"]


def cue_table(settings: Settings, *, cured: bool = True) -> pd.DataFrame:
    """Columns utt_id, split, language, source, variant and one for each cue; a row per utterance and variant, in protocol order.

    cured: of the audio as the settings have it; False: without their cures. Computed once: read from disk while settings, utterances and
    noises are the same. Raises `UserError` when protocol or audio is missing.
    """
    items, heard = _items(settings), settings if cured else without_cures(settings)
    if items.empty:
        raise UserError(f"{Layout.of(settings).protocol} names no utterance of corpus.languages and corpus.sources")
    banks = open_banks(prepare_banks(settings))
    path = cues_path(settings, cured=cured)
    made_from = {"recipe": _recipe(heard, items), "noises": {kind: bank.digest for kind, bank in banks.items()}}
    if read_stamp(path) != made_from:
        maker = CueMaker(heard, Augmenter.of(settings, banks))
        write_stamped(pd.DataFrame(_all_rows(maker, items, settings)), path, made_from)
    return pd.read_parquet(path)


def cues_path(settings: Settings, *, cured: bool = True) -> Path:
    """Where `cue_table` lies."""
    layout = Layout.of(settings)
    return layout.cured_cues if cured and cures_of(settings.audio) else layout.cues


def without_cures(settings: Settings) -> Settings:
    """The settings with all cures off; not for finding a protocol, which may be of the cures."""
    return replace(settings, audio=replace(settings.audio, **{name: getattr(Audio(), name) for name in cures_of(settings.audio)}))


class CueMaker:
    """Computes the rows of an utterance; threads may share one."""

    def __init__(self, settings: Settings, augmenter: Augmenter):
        self.settings, self.augmenter = settings, augmenter

    def __call__(self, item) -> list[dict]:
        """One row for each variant of an utterance (a row of `list_items`). Raises `BadAudio`."""
        audio, path = self.settings.audio, Path(self.settings.paths.corpus) / item.path
        waveforms = heard_variants(self.settings, self.augmenter, item)
        of_file = file_cues(*self._whole(path), audio.crop_seconds)
        named = {column: getattr(item, column) for column in ITEM_COLUMNS}
        heard = zip(self.settings.augment.variants, waveforms, strict=True)
        return [{**named, "variant": variant, **of_file, **crop_cues(crop, audio.sample_rate)} for variant, crop in heard]

    def _whole(self, path: Path) -> tuple[np.ndarray, int]:
        """The file as it is, (samples,) at its own rate; where a cure is on, as its crops are cut from it."""
        audio = self.settings.audio
        return (load_utterance(path, audio), audio.sample_rate) if cures_of(audio) else read_audio(path, audio)


def _all_rows(maker: CueMaker, items: pd.DataFrame, settings: Settings) -> Iterator[dict]:
    # Decoding, resampling and transforms release the interpreter lock, as for features.
    with ThreadPoolExecutor(resolve_workers(settings.compute.workers)) as pool:
        try:
            for rows in bar(pool.map(maker, items.itertuples()), total=len(items), desc="cues", unit="utt"):
                yield from rows
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _items(settings: Settings) -> pd.DataFrame:
    return list_items(*load_protocol(settings))


def _recipe(settings: Settings, items: pd.DataFrame) -> dict:
    """All that the cues depend on, but for the noises."""
    audio = {key: getattr(settings.audio, key) for key in ("sample_rate", "crop_seconds", "crop_train", "crop_eval")}
    audio |= sound_recipe(settings.audio)
    rows = items[[*ITEM_COLUMNS, "digest"]].to_numpy().tolist()
    shared = {"audio": audio, "augment": augment_recipe(settings), "seed": settings.seed}
    return {"format": CUES_FORMAT, **shared, "utterances": digest_of_json(rows)}
