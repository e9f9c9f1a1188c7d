"""What a run was made with by its own record, never by the command line that reads it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.protocols.records import protocol_facts
from sourcetracing.settings.as_published import overlays_of
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings
from sourcetracing.training.runs import TrainingRun


def protocol_of_run(run: TrainingRun) -> dict[str, Any]:
    """{"digest", "settings"} of the protocol that a run was trained on; settings: None where nobody noted them.

    Runs from before protocols were recorded are found by a feature store of the protocol at hand, utterance by utterance: it is theirs.
    """
    if run.files.protocol.is_file():
        return json.loads(run.files.protocol.read_text(encoding="utf-8"))
    return protocol_facts(run.settings) or {"digest": "", "settings": None}


def overlays_of_run(run: TrainingRun) -> str:
    """The overlays of published behaviour that a run was made with: `overlays_of` what is recorded of it.

    How scores are read (groups `evaluation`, `openset`) is up to the command line and taken from there: it decides the figures. Speakers'
    settings count where labels were made with them. "not known" where config.yaml has settings that there are no more.
    """
    if not run.files.config.is_file():
        return overlays_of(run.settings)
    try:
        own = load_settings([str(run.files.config)])
    except UserError:
        return "not known"
    own = replace(own, evaluation=run.settings.evaluation, openset=run.settings.openset, speakers=run.settings.speakers)
    _apply(protocol_of_run(run)["settings"] or {}, own)
    has_labels = Layout.of(run.settings).pseudo_speakers.is_file()
    return overlays_of(own, unused=() if has_labels else ("speakers",))


def _apply(recipe: dict[str, Any], settings: Settings) -> None:
    """Sets the splits that a protocol was made with, which an older config.yaml had from the command line."""
    for name, value in recipe.items():
        group, _, key = name.partition(".")
        if group == "split":
            setattr(settings.split, key, value)
