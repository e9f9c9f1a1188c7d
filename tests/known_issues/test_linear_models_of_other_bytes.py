"""Two runs of detection/04_dataset_mixing.py: the same coefficients, but other bytes (safetensors orders its texts anew each time)."""

from __future__ import annotations

import numpy as np

from sourcetracing.detection.classifier.logistic import LinearModel, save_model


def test_a_model_is_the_same_bytes_each_time(tmp_path):
    model, notes = LinearModel(np.arange(3.0), 0.5), {"mixture": "a+b", "layer": "9", "list": "x"}
    for number in range(20):
        save_model(tmp_path / f"{number}.safetensors", model, notes)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
