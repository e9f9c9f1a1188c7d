"""Miniature MLAADs: as v5 is, and as a later version might be, with what went into them."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

from sourcetracing.corpora.mlaad_meta import META_COLUMNS
from tests.support.audio_files import write_wav

READERS = ("anna", "bert", "cleo", "dora", "emil", "fritz")
LANGUAGES = ("de", "en", "fr")


@dataclass(frozen=True)
class Model:
    """form: how its meta.csv is written."""

    name: str
    architecture: str
    languages: tuple[str, ...] = LANGUAGES
    form: str = "v5"
    folder: str = ""

    @property
    def model_dir(self) -> str:
        return self.folder or self.name.replace("/", "_")


MODELS = (
    Model("suno/bark", "bark"),
    Model("suno/bark-small", "bark-small", form="commas"),
    Model("tts_models/de/thorsten/vits", "vits", ("de",)),
    Model("tts_models/en/ljspeech/vits--neon", "vits--neon", ("en",), form="other order"),
    Model("facebook/mms-tts-deu", "facebook/mms-tts-deu", ("de",)),
    Model("facebook/mms-tts-fra", "facebook/mms-tts-fra", ("fr",), form="quoted bars"),
    Model("xtts_v2", "xtts_v2", form="no transcript"),
    Model("xtts_v1.1", "xtts_v1.1", form="extra"),
    Model("griffin_lim", "griffin_lim", form="crlf"),
    Model("Llasa-8B", "Llasa-8B", ("en", "fr"), form="no path"),
    Model("Llasa-1B", "Llasa-1B", ("en",), form="names only"),
    Model("Kokoro 82M", "kokoro", form="no model_name", folder="kokoro"),
    Model("Parler/mini", "parler_tts_mini_v1", ("en",), form="v5", folder="parler-mini"),
)


@dataclass
class Tree:
    """rows: (language, model, file stem, reader, text) of every file that was written."""

    root: Path
    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)


def write_tree(root: Path, models: tuple[Model, ...] = MODELS, per_reader: int = 4, seconds: float = 0.0) -> Tree:
    """Each model reads the same sentences of each of six readers of a language. seconds: of audio; 0 = empty files."""
    tree = Tree(root)
    for model in models:
        for language in model.languages:
            folder, rows = root / "fake" / language / model.model_dir, []
            folder.mkdir(parents=True)
            for reader in READERS:
                for number in range(per_reader):
                    stem, words = f"{reader}_{number}", f'{language} "{reader}" says; {number}, or not'
                    if seconds:
                        write_wav(folder / f"{stem}.wav", seconds, len(tree.rows))
                    else:
                        (folder / f"{stem}.wav").touch()
                    original = f"{language}_XX/by_book/female/{language}_{reader}/book/wavs/{stem}.wav"
                    path = f"./fake/{language}/{model.model_dir}/{stem}.wav"
                    rows.append([path, original, language, "True", "0.6", "cv", model.name, model.architecture, words])
                    source = model.folder if model.form == "no model_name" else model.name
                    tree.rows.append((language, source, stem, f"{language}_XX/{language}_{reader}", words))
            (folder / "meta.csv").write_bytes(_table(model.form, rows))
    return tree


def _table(form: str, rows: list[list[str]]) -> bytes:
    columns, text = list(META_COLUMNS), io.StringIO()
    dropped = {"no transcript": "transcript", "no path": "path", "no model_name": "model_name"}.get(form)
    if form == "names only":
        rows = [[row[0].rpartition("/")[2], *row[1:]] for row in rows]
    if form == "extra":
        columns, rows = [*columns, "cer", "Split"], [[*row, "0.01", "train"] for row in rows]
    order = [number for number, name in enumerate(columns) if name != dropped]
    if form in ("other order", "commas"):
        order.reverse()
    table = [[cells[number] for number in order] for cells in (columns, *rows)]
    if form == "commas":
        csv.writer(text, delimiter=",").writerows(table)
    elif form == "quoted bars":
        csv.writer(text, delimiter="|", quoting=csv.QUOTE_ALL).writerows(table)
    else:
        text.write("".join("|".join(row) + "\n" for row in table))
    content = text.getvalue()
    return ("\ufeff" + content.replace("\n", "\r\n")).encode() if form == "crlf" else content.encode()
