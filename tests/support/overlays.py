"""Overlays of configs/as_published in tests."""

from __future__ import annotations

import pytest

FOLDER = "configs/as_published"
ALL = f"{FOLDER}/as_published.yaml"


def alone_and_in_all(name: str, *, in_all: bool = True):
    """Runs a test with one overlay as its argument `overlay`, and with the one that holds the others."""
    return pytest.mark.parametrize(
        "overlay", [f"{FOLDER}/{name}.yaml", *([ALL] if in_all else [])], ids=[name, *(["all"] if in_all else [])]
    )
