"""What speakers' labels say of themselves: speakers.json beside them holds the settings that made them, and which groups were counted.

Labels without a record were made by hand: they are taken as they are, and their settings are not known.
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout, recipe_in
from sourcetracing.runtime.files import digest_of_json, is_half_written, read_csv, write_json
from sourcetracing.settings.recorded import differences, grouping_recipe, in_words, label_recipe
from sourcetracing.settings.schema import Settings

LABEL_COMMAND = "python scripts/03_label_speakers.py CONFIG.yaml"


def digest_of_labels(labels: pd.DataFrame) -> str:
    """32 hex digits of which utterance has which label. labels: columns utt_id, pseudo_speaker."""
    return digest_of_json(labels[["utt_id", "pseudo_speaker"]].astype(str).to_numpy().tolist())


def note_settings_of_older_record(settings: Settings, inputs: str) -> None:
    """Completes a speakers.json of the time before settings were noted in it, if these settings and files are what it was made from."""
    first = Layout(Layout.of(settings).root)
    if not first.speakers_record.is_file() or recipe_in(first.speakers_record) is not None or not first.pseudo_speakers.is_file():
        return
    record = json.loads(first.speakers_record.read_text(encoding="utf-8"))
    if record.get("inputs") == inputs:
        write_json(first.speakers_record, {**record, **label_facts(settings, _read(first))})


def label_facts(settings: Settings, labels: pd.DataFrame) -> dict[str, Any]:
    """What speakers.json says of the labels' origin, to begin with."""
    return {"settings": label_recipe(settings), "digest": digest_of_labels(labels), "groupings": []}


def note_grouping(settings: Settings) -> None:
    """Adds the rule for seen and unseen speakers to speakers.json, beside those that were counted before."""
    record_path, grouping = Layout.of(settings).speakers_record, grouping_recipe(settings)
    record = json.loads(record_path.read_text(encoding="utf-8"))
    if grouping not in record["groupings"]:
        write_json(record_path, {**record, "groupings": [*record["groupings"], grouping]})


def require_labels(settings: Settings) -> None:
    """Raises `UserError` unless whole labels of these settings are there, or some whose settings nobody noted, or none at all."""
    layout = Layout.of(settings)
    if is_half_written(layout.speakers_record):
        raise UserError(f"{layout.pseudo_speakers} was not written to its end, or is being written. Run: {LABEL_COMMAND}")
    if layout.labels_folder == layout.speakers or layout.speakers_record.is_file():
        return
    records = [layout.speakers / "speakers.json", *sorted(layout.speakers.glob("*/speakers.json"))]
    said, others = label_recipe(settings), {record: recipe_in(record) for record in records if record.is_file()}
    noted = {record: (made, differences(made, said)) for record, made in others.items() if made is not None}
    if not noted:
        raise UserError(
            f"{records[0]} does not say which settings it was made with (it is from before they were noted). Run: {LABEL_COMMAND} "
            "with the settings of this command; labels that fit them are kept"
        )
    record, (made, names) = min(noted.items(), key=lambda item: len(item[1][1]))
    raise UserError(_refusal(f"{record.with_name('pseudo_speakers.csv')} was", in_words(made, names), in_words(said, names), "labels"))


def require_grouping(settings: Settings) -> None:
    """Raises `UserError` when script 03 has not counted seen and unseen speakers by the rule of these settings."""
    require_labels(settings)
    path, said = Layout.of(settings).speakers_record, grouping_recipe(settings)
    if not path.is_file():
        return
    groupings = json.loads(path.read_text(encoding="utf-8")).get("groupings", [])
    if said in groupings or not groupings:
        return
    names = differences(groupings[-1], said)
    raise UserError(_refusal(f"the groups of speakers in {path} were", in_words(groupings[-1], names), in_words(said, names), "groups"))


def _refusal(what: str, made: str, said: str, both: str) -> str:
    return (
        f"{what} made with {made}, these settings say {said}. Name the settings of the {both}, or run: {LABEL_COMMAND} "
        f"with the settings of this command; both {both} stay"
    )


def labels_of(settings: Settings) -> str:
    """`<8 hex digits of the labels> <rule for theta> <what is tested>` of the labels that the settings mean; "" without any."""
    layout = Layout.of(settings)
    if not layout.pseudo_speakers.is_file():
        return ""
    record = json.loads(layout.speakers_record.read_text(encoding="utf-8")) if layout.speakers_record.is_file() else {}
    digest = record.get("digest") or digest_of_labels(_read(layout))
    rule, tested = grouping_recipe(settings).values()
    return f"{digest[:8]} theta={rule if isinstance(rule, str) else json.dumps(rule)} on {tested}"


def _read(layout: Layout) -> pd.DataFrame:
    return read_csv(layout.pseudo_speakers)
