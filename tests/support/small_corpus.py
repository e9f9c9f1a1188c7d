"""A small corpus of noise in the layout of MLAAD."""

from __future__ import annotations

import csv
from pathlib import Path

from sourcetracing.corpora.mlaad import META_COLUMNS
from tests.support.audio_files import write_wav

LANGUAGES, SOURCES = ("en", "de"), ("espeak_formant", "griffin_lim")


def write_small_corpus(root: Path, per_group: int = 10) -> None:
    """Seeded noise in MLAAD's layout; the second source is louder in every other sample, so that there is something to learn."""
    for language in LANGUAGES:
        for source in SOURCES:
            rows = []
            for number in range(per_group):
                path = f"fake/{language}/{source}/{number}.wav"
                write_wav(root / path, 0.6, hash_of(language, source, number), level=0.02 if source == "griffin_lim" else 0.2)
                rows.append([f"./{path}", f"{language}/x/{number}.wav", language, "True", "0.6", "none", source, "none", f"text {number}"])
            with open(root / "fake" / language / source / "meta.csv", "w", encoding="utf-8", newline="") as file:
                csv.writer(file, delimiter="|", lineterminator="\n").writerows([META_COLUMNS, *rows])


def hash_of(language: str, source: str, number: int) -> int:
    return 1000 * LANGUAGES.index(language) + 100 * SOURCES.index(source) + number
