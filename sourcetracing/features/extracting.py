"""Turns the utterances of a protocol into a feature store: decode, crop, augment, front-end, disk, in one pass.

What a store depends on (its recipe), whether it is there, and the frame around making it; `extraction` computes its blocks.
"""

from __future__ import annotations

import json
import time
from contextlib import closing, nullcontext
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.corpora.labels import with_true_sources
from sourcetracing.errors import UserError
from sourcetracing.features import ray_cluster as cluster
from sourcetracing.features.blocks import StoreJob, crop_samples
from sourcetracing.features.channels import coder_version, refuse_channels
from sourcetracing.features.engines import engine_facts, refuse_what_cannot
from sourcetracing.features.front_end import FrontEnd, build_front_end
from sourcetracing.features.making import make_blocks, opened
from sourcetracing.features.noise_bank import noises_at_hand, open_banks, prepare_banks
from sourcetracing.features.noise_files import find_clips
from sourcetracing.features.resolved import (
    checkpoint_facts,
    engine_in_recipes,
    how_computed,
    in_todays_terms,
    otherwise,
    resolved,
    revision_of,
)
from sourcetracing.features.ssl_front_end import checkpoint_digest
from sourcetracing.features.store import (
    INDEX_COLUMNS,
    STORE_FORMAT,
    FeatureStore,
    StoreWriter,
    is_finished,
    library_versions,
    only_writer,
)
from sourcetracing.layout import Layout, StoreLayout
from sourcetracing.runtime.compute import one_thread_each, pick_device
from sourcetracing.runtime.files import digest_of_json
from sourcetracing.runtime.parallel import resolve_workers
from sourcetracing.runtime.progress import advance_audio, bar
from sourcetracing.settings.frontends import FRONTENDS, stored_front_end
from sourcetracing.settings.recorded import augment_recipe, sound_recipe
from sourcetracing.settings.schema import Settings


def list_items(utterances: pd.DataFrame, protocol: pd.DataFrame) -> pd.DataFrame:
    """The utterances of a protocol in its order: columns utt_id, split, path, language, source, digest."""
    columns = ["utt_id", "path", "language", "source", "digest"]
    return protocol[["utt_id", "split"]].merge(utterances[columns], on="utt_id", validate="one_to_one")


def list_rows(items: pd.DataFrame, variants: list[str]) -> pd.DataFrame:
    """The index of a store: one row per utterance and variant, utterance by utterance."""
    rows = items.loc[items.index.repeat(len(variants))].reset_index(drop=True)
    return rows.assign(row=range(len(rows)), variant=variants * len(items))[INDEX_COLUMNS]


def store_recipe(settings: Settings, items: pd.DataFrame) -> dict:
    """All that the content of a store depends on, but for the noises themselves."""
    audio = {key: getattr(settings.audio, key) for key in ("sample_rate", "crop_seconds", "crop_train", "crop_eval")}
    audio |= sound_recipe(settings.audio)
    rows = items[["utt_id", "split", "language", "source", "digest"]]
    kind = stored_front_end(settings)
    options = asdict(getattr(settings, kind)) if FRONTENDS[kind].options else {}
    if FRONTENDS[kind].is_encoder:
        options.pop("mode", None)
        options |= how_computed(settings, of_encoder=True) | engine_in_recipes(settings)
        options["checkpoint"] = checkpoint_digest(getattr(settings, kind).model)
        if kind == "ssl":
            options["revision"] = revision_of(settings)
        if settings.compute.compile:
            options["compiled"] = True
    return {
        "format": STORE_FORMAT,
        "frontend": {kind: options},
        "audio": audio,
        "augment": augment_recipe(settings),
        "dtype": settings.store.dtype,
        "seed": settings.seed,
        "num_utterances": len(items),
        "utterances": digest_of_json(rows.to_numpy().tolist()),
    }


def extract_features(settings: Settings, utterances: pd.DataFrame, protocol: pd.DataFrame) -> Path:
    """Makes the feature store of an experiment, or goes on with it, or finds it done; returns its folder. Raises `UserError`.

    utterances: columns utt_id, path, language, source, digest; protocol: columns utt_id, split, whose order the rows follow.
    """
    items = list_items(with_true_sources(utterances, settings), protocol)
    if items.empty:
        raise UserError(
            "the protocol names no utterance of these languages and sources. Run: python scripts/02_build_protocols.py CONFIG.yaml"
        )
    asked, settings = settings, resolved(settings, ask_hub=stored_front_end(settings) == "ssl")
    recipe = store_recipe(settings, items)
    try:
        clips = find_clips(settings)
    except UserError:
        if made := _made_before(asked, recipe, {}):  # the noises are gone, but all that was to be made of them is there
            return made.folder
        raise
    manifests = prepare_banks(settings, clips)
    banks = open_banks(manifests)
    noises = {kind: bank.digest for kind, bank in banks.items()}
    folder = Layout.of(settings).store(stored_front_end(settings), digest_of_json([recipe, noises])[:8]).root
    if is_finished(folder):
        FeatureStore.open(folder)
        return folder
    if made := _made_before(asked, recipe, noises):
        return made.folder
    if FRONTENDS[stored_front_end(settings)].is_encoder:
        refuse_what_cannot(settings, pick_device(settings.compute.device))  # before there is a folder
    refuse_channels(settings.augment, items["source"].unique())
    with only_writer(folder):
        if not is_finished(folder):
            num_noises = {kind: len(bank) for kind, bank in banks.items()}
            facts = {"recipe": recipe, "noises": noises, "num_noises": num_noises}
            if stored_front_end(settings) == "ssl":
                facts |= checkpoint_facts(asked)
            _fill_store(settings, items, manifests, folder, facts)
    return folder


def find_store(settings: Settings, utterances: pd.DataFrame, protocol: pd.DataFrame) -> FeatureStore:
    """The finished store of these settings and utterances. Raises `UserError` when there is none.

    Where the noises and their bank are at hand they must be the store's too; a machine that only trains need not have them.
    """
    items, noises = list_items(with_true_sources(utterances, settings), protocol), noises_at_hand(settings)
    if store := _made_before(settings, store_recipe(settings, items), noises):
        return store
    hint = _made_otherwise(settings, items, noises) if FRONTENDS[stored_front_end(settings)].is_encoder else ""
    raise UserError(
        f"{Layout.of(settings).features} holds no features for these settings{hint}. "
        "Run: python scripts/04_preprocess_dataset.py CONFIG.yaml"
    )


def _made_otherwise(settings: Settings, items: pd.DataFrame, noises: dict[str, str]) -> str:
    """`; with compute.precision=bf16 there is FOLDER`, for what a GPU made is looked for on a computer without one; "" for none."""
    for words, other in otherwise(settings).items():
        if store := _made_before(other, store_recipe(other, items), noises):
            return f"; with {words} there is {store.folder}"
    return ""


def _made_before(settings: Settings, recipe: dict, noises: dict[str, str]) -> FeatureStore | None:
    """The newest finished store of a recipe, whatever its folder is called. settings: as the user wrote them.

    noises: digests of their banks, by kind; of a kind that is not named any will do.
    """
    folder = Layout.of(settings).features
    records = [StoreLayout(path).record for path in folder.glob(f"{stored_front_end(settings)}-*") if is_finished(path)]
    for record in sorted(records, key=lambda path: path.stat().st_mtime, reverse=True):
        facts = json.loads(record.read_text(encoding="utf-8"))
        if _has_recipe(facts, recipe, settings.ssl.revision) and noises.items() <= facts.get("noises", {}).items():
            return FeatureStore.open(record.parent)
    return None


def _has_recipe(facts: dict, recipe: dict, asked: str) -> bool:
    made, (kind, ours) = facts.get("recipe", {}), next(iter(recipe["frontend"].items()))
    theirs = made.get("frontend", {}).get(kind)
    if theirs is None or "precision" not in ours:
        return made == recipe
    return {**made, "frontend": {kind: in_todays_terms(theirs, facts, ours, asked)}} == recipe


def _fill_store(settings: Settings, items: pd.DataFrame, manifests: dict[str, Path], folder: Path, facts: dict) -> None:
    variants = settings.augment.variants
    front_end = build_front_end(settings)
    feature_shape = _row_shape(front_end, settings)
    utterances_per_block = _utterances_per_block(settings, front_end, len(items))
    shape = (len(items) * len(variants), *feature_shape)
    writer = StoreWriter(folder, shape, np.dtype(settings.store.dtype), utterances_per_block * len(variants))
    job, on_cluster = StoreJob(settings, items, manifests, writer.file), settings.executor.kind == "ray"
    missing = len(items) - _count(writer, writer.finished, variants)
    hours_per_utterance = len(variants) * settings.audio.crop_seconds / 3600
    started = time.perf_counter()
    to_make = writer.remaining()
    blocks = cluster.make_blocks(job, opened, to_make, on_gpu=front_end.is_encoder) if on_cluster else make_blocks(job, front_end, to_make)
    with closing(blocks), bar(total=len(items), initial=len(items) - missing, desc="features", unit="utt") as progress:
        for block, crc in blocks:
            writer.commit(block, crc)
            advance_audio(progress, _count(writer, [block], variants), hours_per_utterance)
    extraction = _how_it_went(settings, front_end, missing * hours_per_utterance, time.perf_counter() - started)
    checkpoint = {"checkpoint_commit": front_end.commit} if front_end.commit else {}
    facts |= {**checkpoint, "variants": variants, "versions": library_versions() | coder_version(variants), "extraction": extraction}
    writer.finish(list_rows(items, variants), facts)


def _row_shape(front_end: FrontEnd, settings: Settings) -> tuple[int, ...]:
    with nullcontext() if front_end.is_batched else one_thread_each():
        return front_end.output_shape(crop_samples(settings))


def _utterances_per_block(settings: Settings, front_end: FrontEnd, num_items: int) -> int:
    """At least two blocks for each worker; whole batches where the encoder takes batches, so that those are cut at the same places."""
    wanted = settings.store.block_rows // len(settings.augment.variants)
    if front_end.is_batched:
        batch = front_end.utterances_per_batch
        return max(1, wanted // batch) * batch
    share = -(-num_items // (2 * _num_workers(settings, front_end)))
    return max(1, min(wanted, share))


def _num_workers(settings: Settings, front_end: FrontEnd) -> int:
    if settings.executor.kind == "ray":
        return cluster.num_workers(settings, on_gpu=front_end.is_encoder)
    return resolve_workers(settings.compute.workers)


def _device_type(settings: Settings, front_end: FrontEnd) -> str:
    return cluster.device_type(settings, on_gpu=front_end.is_encoder) if settings.executor.kind == "ray" else front_end.device.type


def _how_it_went(settings: Settings, front_end: FrontEnd, hours: float, seconds: float) -> dict:
    """What the run that finished a store tells of its speed: its hours of sound, and seconds of each part summed over threads."""
    return {
        "device": _device_type(settings, front_end),
        **(engine_facts(settings) if front_end.is_encoder else {}),
        "workers": _num_workers(settings, front_end),
        "encoder_batch": front_end.size,
        "hours_of_sound": hours,
        "seconds": {"all": seconds, **front_end.watch.seconds},
    }


def _count(writer: StoreWriter, blocks, variants: list[str]) -> int:
    return sum(len(writer.block_rows(block)) for block in blocks) // len(variants)
