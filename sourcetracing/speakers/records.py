"""What speakers' labels say of themselves: speakers.json beside them holds the settings that made them, and which groups were counted.

Labels without a record were made by hand: they are taken as they are, and their settings are not known.
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout, recipe_in
from sourcetracing.runtime.files import digest_of_file, digest_of_json, read_csv, write_json
from sourcetracing.settings.recorded import differences, grouping_recipe, in_words, label_recipe, lacks_settings, what_lacks
from sourcetracing.settings.schema import Settings

LABEL_COMMAND = "python scripts/03_label_speakers.py CONFIG.yaml"


def digest_of_labels(labels: pd.DataFrame) -> str:
    """32 hex digits of which utterance has which label. labels: columns utt_id, pseudo_speaker."""
    return digest_of_json(labels[["utt_id", "pseudo_speaker"]].astype(str).to_numpy().tolist())


def note_settings_of_older_record(settings: Settings, inputs: str) -> None:
    """Completes a speakers.json of the time before all these settings were noted, if they and the files are what it was made from."""
    first = Layout(Layout.of(settings).root)
    if not first.speakers_record.is_file() or not first.pseudo_speakers.is_file():
        return
    if not lacks_settings(recipe_in(first.speakers_record), label_recipe(settings)):
        return
    record = json.loads(first.speakers_record.read_text(encoding="utf-8"))
    if record.get("inputs") == inputs:
        facts = label_facts(settings, _read(first))
        write_json(first.speakers_record, {**facts, **record, "settings": facts["settings"]})


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
    """Raises `UserError` unless labels of these settings are there, or some whose settings nobody noted, or none at all."""
    layout = Layout.of(settings)
    if layout.labels_folder == layout.speakers or layout.speakers_record.is_file():
        return
    records = [layout.speakers / "speakers.json", *sorted(layout.speakers.glob("*/speakers.json"))]
    said, others = label_recipe(settings), {record: recipe_in(record) or {} for record in records if record.is_file()}
    noted = {record: (made, differences(made, said)) for record, made in others.items()}
    if not noted:
        return  # unfinished labels, which reading them reports
    record, (made, names) = min(noted.items(), key=lambda item: len(item[1][1]) if item[1][0] else len(said))
    if not made.keys() & set(names):
        raise UserError(
            f"{record} does not say {what_lacks(made, names)} (it is from before they were noted). Run: {LABEL_COMMAND} "
            "with the settings of this command; labels that fit them are kept"
        )
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
    """What makes groups of speakers by the settings: `<8 hex digits of the labels> theta=<rule> on <what is tested>`; "" for nothing.

    Where script 02 imported lists of seen and unseen speakers: `<8 hex digits of them> imported lists`, and, where there are labels, which
    say the strict groups, `; strict groups: <8 hex digits of the labels> theta=<rule>`.
    """
    layout = Layout.of(settings)
    rule, tested = grouping_recipe(settings).values()
    by_labels = f"{_digest_of(layout)[:8]} theta={rule if isinstance(rule, str) else json.dumps(rule)}"
    if not layout.speaker_groups.is_file():
        return f"{by_labels} on {tested}" if layout.pseudo_speakers.is_file() else ""
    by_lists = f"{digest_of_file(layout.speaker_groups)[:8]} imported lists"
    return f"{by_lists}; strict groups: {by_labels}" if layout.pseudo_speakers.is_file() else by_lists


def _digest_of(layout: Layout) -> str:
    """Of the labels, from their record where it has one; "" without labels."""
    if not layout.pseudo_speakers.is_file():
        return ""
    record = json.loads(layout.speakers_record.read_text(encoding="utf-8")) if layout.speakers_record.is_file() else {}
    return record.get("digest") or digest_of_labels(_read(layout))


def _read(layout: Layout) -> pd.DataFrame:
    return read_csv(layout.pseudo_speakers)
