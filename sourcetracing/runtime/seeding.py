"""Random state as an argument: a generator depends on the keys that name a thing, never on order or worker count."""

from __future__ import annotations

import hashlib

import numpy as np


def seed_of(*keys: str | int) -> int:
    """A 63-bit integer that depends on the keys (their text and order) alone, the same on every machine."""
    text = "\x1f".join(f"{type(key).__name__}:{key}" for key in keys)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def rng(*keys: str | int) -> np.random.Generator:
    """A fresh generator for what the keys name, e.g. `rng(seed, utt_id, variant)`."""
    return np.random.default_rng(seed_of(*keys))
