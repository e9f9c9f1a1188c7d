"""The layer that scripts 03 to 06 work on: a number, or what the layer sweep chose on the selection part."""

from __future__ import annotations

import json
from pathlib import Path

from sourcetracing.detection.data.manifest import detection_folder
from sourcetracing.errors import UserError
from sourcetracing.settings.schema import Settings

SWEEP, SWEEP_COMMAND = "sweep", "python scripts/detection/02_layer_sweep.py CONFIG.yaml"


def choice_path(settings: Settings) -> Path:
    """Where the sweep writes what it chose: JSON with `layer`, `chosen_by` and what it reached."""
    return detection_folder(settings) / "results" / "layer_choice.json"


def working_layer(settings: Settings) -> int:
    """logreg.layer as a number. Raises `UserError` for logreg.layer=sweep before the sweep was made."""
    wanted = settings.logreg.layer
    if wanted != SWEEP:
        if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 0:
            raise UserError(f"logreg.layer={wanted!r}: a layer's number is expected, or sweep")
        return wanted
    path = choice_path(settings)
    if not path.is_file():
        raise UserError(f"logreg.layer=sweep, but no layer is chosen yet ({path} is missing). Run: {SWEEP_COMMAND}, or set logreg.layer=9")
    return int(json.loads(path.read_text(encoding="utf-8"))["layer"])
