"""What a protocol says of itself: protocol.json beside it holds the settings that made it and a digest of what is in it.

A protocol without a record was made by hand: it is taken as it is, and its settings are not known.
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from sourcetracing.audio.checking import CHECK_FORMAT
from sourcetracing.errors import UserError
from sourcetracing.layout import Layout, recipe_in
from sourcetracing.runtime.files import digest_of_json, is_half_written, read_csv, write_json
from sourcetracing.settings.recorded import differences, in_words, lacks_settings, protocol_recipe, what_lacks
from sourcetracing.settings.schema import Settings

PROTOCOL_COMMAND = "python scripts/02_build_protocols.py CONFIG.yaml"


def digest_of_protocol(protocol: pd.DataFrame) -> str:
    """32 hex digits of which utterance is in which split, whatever settings led to it. protocol: columns utt_id, split."""
    return digest_of_json(protocol[["utt_id", "split"]].astype(str).to_numpy().tolist())


def write_record(settings: Settings, inputs: str, protocol: pd.DataFrame, num_left_out: int) -> None:
    """protocol.json, which makes a protocol a finished one. inputs: digest of the utterances, their files and the settings."""
    made = {"settings": protocol_recipe(settings), "digest": digest_of_protocol(protocol)}
    write_json(Layout.of(settings).protocol_record, {"inputs": inputs, "check": CHECK_FORMAT, "num_left_out": num_left_out, **made})


def note_settings_of_older_record(settings: Settings, inputs: str) -> None:
    """Completes a protocol.json of the time before all these settings were noted, if they and the files are what it was made from."""
    first = Layout(Layout.of(settings).root)
    if not first.protocol_record.is_file() or not first.protocol.is_file():
        return
    if not lacks_settings(recipe_in(first.protocol_record), protocol_recipe(settings)):
        return
    record = json.loads(first.protocol_record.read_text(encoding="utf-8"))
    if record.get("inputs") == inputs:
        made = {"settings": protocol_recipe(settings), "digest": digest_of_protocol(_read(first))}
        write_json(first.protocol_record, {**record, **made})


def require_protocol(settings: Settings) -> None:
    """Raises `UserError` unless a protocol of these settings is there, or one whose settings nobody noted, or none at all.

    One that script 02 was interrupted at is refused: its files need not belong together.
    """
    layout = Layout.of(settings)
    if is_half_written(layout.protocol_record):
        raise UserError(f"{layout.protocol} was not written to its end, or is being written. Run: {PROTOCOL_COMMAND}")
    if layout.protocol_folder == layout.root or layout.protocol_record.is_file():
        return
    said, others = protocol_recipe(settings), _others(layout)
    made_at = {path: (made or {}, differences(made or {}, said)) for path, made in others.items()}
    path, (made, names) = min(made_at.items(), key=lambda item: len(item[1][1]) if item[1][0] else len(said))
    if not made.keys() & set(names):
        raise UserError(
            f"{path} does not say {what_lacks(made, names)} (it is from before they were noted). Run: {PROTOCOL_COMMAND}; "
            "a protocol that fits these settings is kept"
        )
    raise UserError(
        f"{path} was made with {in_words(made, names)}, these settings say {in_words(said, names)}. Name the settings of the protocol, or "
        f"run: {PROTOCOL_COMMAND}; both protocols stay"
    )


def _others(layout: Layout) -> dict[str, dict[str, Any] | None]:
    """protocol.csv -> recipe, of every finished protocol of the experiment, the first one first."""
    records = [layout.root / "protocol.json", *sorted(layout.protocols.glob("*/protocol.json"))]
    return {str(record.with_suffix(".csv")): recipe_in(record) for record in records if record.is_file()}


def protocol_facts(settings: Settings) -> dict[str, Any] | None:
    """{"digest", "settings"} of the protocol that the settings mean (settings: None where nobody noted them); None without one."""
    layout = Layout.of(settings)
    if layout.protocol_record.is_file():
        record = json.loads(layout.protocol_record.read_text(encoding="utf-8"))
        if "digest" in record:
            return {"digest": record["digest"], "settings": record["settings"]}
    return {"digest": digest_of_protocol(_read(layout)), "settings": None} if layout.protocol.is_file() else None


def _read(layout: Layout) -> pd.DataFrame:
    return read_csv(layout.protocol)
