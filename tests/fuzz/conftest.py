"""Nothing random may ask the Hub."""

from __future__ import annotations

import pytest
from huggingface_hub import constants


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """As HF_HUB_OFFLINE=1, which is read when the package is imported."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
