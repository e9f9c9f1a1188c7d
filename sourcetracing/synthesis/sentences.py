"""Sentences to read: templates written for this project, filled with numbers, dates and places (sentences.yaml)."""

from __future__ import annotations

import string
from functools import cache
from importlib.resources import files

import numpy as np
import yaml

from sourcetracing.runtime.seeding import rng

NUMBERS = {
    "hour": (5, 23),
    "minute": (10, 59),
    "day": (2, 28),
    "year": (1931, 2024),
    "few": (5, 20),
    "many": (120, 990),
    "percent": (12, 96),
}


def make_sentences(language: str, count: int, seed: int) -> list[str]:
    """`count` distinct sentences of a language, about five seconds each when read; a longer list begins with the shorter one."""
    parts, draw = _read_parts()[language], rng("sentences", seed, language)
    sentences: dict[str, None] = {}  # a set that keeps the order
    for _ in range(50 * count + 1000):
        if len(sentences) == count:
            break
        sentences.setdefault(_fill(parts, draw))
    assert len(sentences) == count, f"{language}: the templates give fewer than {count} sentences"
    return list(sentences)


@cache
def _read_parts() -> dict[str, dict[str, list[str]]]:
    """language -> templates, place, month ... -> the texts of that kind."""
    return yaml.safe_load((files("sourcetracing.synthesis") / "sentences.yaml").read_text(encoding="utf-8"))


def _fill(parts: dict[str, list[str]], draw: np.random.Generator) -> str:
    template = parts["templates"][draw.integers(len(parts["templates"]))]
    values: dict[str, str] = {}
    for _, slot, _, _ in string.Formatter().parse(template):
        if slot is None or slot in values:
            continue
        kind = slot.rstrip("12")  # {place1} and {place2} are two different places
        if kind in NUMBERS:
            values[slot] = str(draw.integers(*NUMBERS[kind], endpoint=True))
        else:
            choices = [choice for choice in parts[kind] if choice not in values.values()]
            values[slot] = choices[draw.integers(len(choices))]
    return template.format(**values)
