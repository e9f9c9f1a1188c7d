"""A linear classifier on disk: safetensors with coef (D,) and intercept (), float64, and texts beside them; no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sourcetracing.detection.classifier.logistic import LinearModel
from sourcetracing.errors import UserError
from sourcetracing.runtime.files import atomic_path


def save_model(path: str | Path, model: LinearModel, notes: Mapping[str, str] | None = None) -> None:
    """Writes a model, complete or not at all."""
    with atomic_path(path) as partial:
        save_file({"coef": model.coef, "intercept": np.array(model.intercept)}, partial, metadata=dict(notes or {}))


def load_model(path: str | Path) -> LinearModel:
    """Reads a model. Raises `UserError` for a file that is no such model."""
    try:
        with safe_open(path, framework="numpy") as file:
            return LinearModel(file.get_tensor("coef"), float(file.get_tensor("intercept")))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is no linear model: {error}") from None
