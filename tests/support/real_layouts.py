"""Miniature trees with the real names and layouts: MLAAD v5 by its official lists, and every corpus of configs/ai4t.yaml."""

from __future__ import annotations

import csv
import io
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile

from tests.support.places import GOLDEN

MCL_LANGUAGES = ("en", "de", "fr", "it", "pl", "ru")
MCL_SOURCES = ("griffin_lim", *(f"tts_models/multilingual/multi-dataset/{name}" for name in ("bark", "xtts_v1.1", "xtts_v2")))
META = "path|original_file|language|is_original_language|duration|training_data|model_name|architecture|transcript"
SECONDS = 0.4


def write_sound(path: Path, seed: int, seconds: float = SECONDS, rate: int = 16000, tone_hz: float = 300.0) -> None:
    """A tone in noise; WAV, FLAC or OGG by the name."""
    times, generator = np.arange(round(seconds * rate)) / rate, np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, (0.2 * np.sin(2 * np.pi * tone_hz * times) + generator.normal(0, 0.05, len(times))).clip(-1, 1), rate)


def write_text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


# --- MLAAD v5


def write_mlaad(root: Path, lists: Path) -> dict[str, list[tuple[str, str, str]]]:
    """A few files of every (split, language, model) of the official lists, their meta.csv, and the shortened lists as a zip.

    Four of each in train, two in dev, one in eval; five of what MCL-MLAAD takes. Returns split -> (path, language, model).
    """
    chosen, members = {}, {}
    with zipfile.ZipFile(GOLDEN / "mlaad4sourcetracing.zip") as archive:
        for split in ("train", "dev", "eval"):
            rows = [(row["path"], row["model_name"]) for row in csv.DictReader(io.StringIO(archive.read(f"{split}.csv").decode()))]
            chosen[split], lines, taken = [], [], Counter()
            for spelled, model in rows:
                language = spelled.removeprefix("./").split("/")[1]
                taken[language, model] += 1
                if taken[language, model] <= _share(split, language, model):
                    chosen[split].append((spelled.removeprefix("./"), language, model))
                    lines.append(f"{spelled},{model}")
            members[f"{split}.csv"] = "\n".join(["path,model_name", *lines]) + "\n"
    lists.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(lists, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    _write_audio(root, [row for rows in chosen.values() for row in rows])
    return chosen


def _share(split: str, language: str, model: str) -> int:
    return 5 if language in MCL_LANGUAGES and model in MCL_SOURCES else {"train": 4, "dev": 2, "eval": 1}[split]


def _write_audio(root: Path, rows: list[tuple[str, str, str]]) -> None:
    models = sorted({model for _, _, model in rows})
    tables: dict[Path, list[str]] = {}
    for number, (path, language, model) in enumerate(rows):
        write_sound(root / path, number, rate=(16000, 22050, 24000)[number % 3], tone_hz=100 + 40 * models.index(model))
        original = f"{language}_XX/by_book/mix/book/wavs/{Path(path).stem}.wav"
        line = f"./{path}|{original}|{language}|True|{SECONDS}|data|{model}|arch|sentence {Path(path).stem}"
        tables.setdefault((root / path).parent, [META]).append(line)
    for folder, lines in tables.items():
        write_text(folder / "meta.csv", *lines)


# --- configs/ai4t.yaml

ATTACKS = ("A07", "A10")
LABELS = ("bonafide", "spoof")


def write_detection(root: Path) -> dict[str, list[tuple[str, str, str]]]:
    """Every corpus of configs/ai4t.yaml as it unpacks; returns subset -> (path below the corpus, label, group), in the published order."""
    found = {}
    for part, suffix in (("train", "trn"), ("dev", "trl"), ("eval", "trl")):
        found[f"asv19_{part}"] = _asv19(root / "asv19", part, suffix)
    found["asv21"] = _asv21(root / "asv21")
    for part, name, folder in (("train", "train.tsv", "flac_T"), ("dev", "dev.track_1.tsv", "flac_D")):
        found[f"asv5_{part}"] = _asv5(root / "asv5", name, folder)
    found["for"] = [
        (f"for-norm/for-norm/{part}/{folder}/{name}.wav", label, "")
        for part in ("training", "validation", "testing")
        for folder, label in (("real", "bonafide"), ("fake", "spoof"))
        for name in ("file1", "file2")
    ]
    found["itw"] = _in_the_wild(root / "itw")
    found["mailabs"], found["mlaad"] = _mlaad(root)
    found["odss"] = [
        (f"{kind}/vctk/p{speaker}/{number}.wav", "bonafide" if kind == "natural" else "spoof", f"vctk/p{speaker}")
        for kind in ("natural", "fastpitch-hifigan", "vits")
        for speaker in (225, 226)
        for number in (1, 2)
    ]
    found["timit"] = _timit()
    found["ai4trust"] = [
        (f"{kind}{recording}_{10 * part}.wav", label, f"{kind}{recording}")
        for kind, label in (("real", "bonafide"), ("fake", "spoof"))
        for recording in range(6)
        for part in range(3)
    ]
    for subset, rows in found.items():
        for number, (path, label, _) in enumerate(dict.fromkeys(rows)):
            corpus = root / subset.split("_")[0]
            write_sound(corpus / path, hash_of(subset, number), 0.3 + 0.02 * (number % 5), tone_hz=300 if label == "bonafide" else 500)
    return found


def hash_of(subset: str, number: int) -> int:
    """A seed of a file's own."""
    return 1000 * sum(map(ord, subset)) + number


def write_author_lists(folder: Path, found: dict[str, list[tuple[str, str, str]]], with_folder: dict[str, str]) -> None:
    """The authors' path|label lists of those trees: ASVspoof's hold bare ids, TIMIT's names its bona fide files twice.

    with_folder: subset -> what stands before a path in the tree and not in the list.
    """
    names = {"mlaad": "mlaad_v5_xls_systems.csv", "ai4trust": "ai4trust_segm_systems.csv"}
    for subset, rows in found.items():
        entries = [
            (Path(path).stem if subset.startswith("asv") else path.removeprefix(with_folder.get(subset, "")), label)
            for path, label, _ in rows
        ]
        again = [entry for entry in entries if entry[1] == "bonafide"] if subset == "timit" else []
        write_text(folder / names.get(subset, f"{subset}_systems.csv"), *(f"{name}|{label}" for name, label in [*again, *entries]))


def _asv19(root: Path, part: str, suffix: str) -> list[tuple[str, str, str]]:
    rows, lines = [], []
    for number in range(6):
        speaker, name, label = f"LA_{number // 2:04d}", f"LA_{part[0].upper()}_{1138215 + number}", LABELS[number % 2]
        lines.append(f"{speaker} {name} - {ATTACKS[number // 2 % 2] if number % 2 else '-'} {label}")
        rows.append((f"ASVspoof2019_LA_{part}/flac/{name}.flac", label, speaker))
    write_text(root / f"ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.{part}.{suffix}.txt", *lines)
    return rows


def _asv21(root: Path) -> list[tuple[str, str, str]]:
    rows, lines = [], []
    for number in range(6):
        speaker, name, label = f"LA_{number // 2:04d}", f"DF_E_{2000011 + number}", LABELS[number % 2]
        lines.append(
            f"{speaker} {name} nocodec asvspoof {ATTACKS[0] if number % 2 else '-'} {label} notrim eval traditional_vocoder - - - -"
        )
        rows.append((f"ASVspoof2021_DF_eval/flac/{name}.flac", label, speaker))
    write_text(root / "keys/DF/CM/trial_metadata.txt", *lines)
    return rows


def _asv5(root: Path, name: str, folder: str) -> list[tuple[str, str, str]]:
    rows, lines = [], []
    for number in range(6):
        speaker, file, label = f"{folder[-1]}_{number // 2:04d}", f"{folder[-1]}_{number:010d}", LABELS[number % 2]
        lines.append(f"{speaker} {file} F - - - {'AC1' if number % 2 else '-'} {ATTACKS[1] if number % 2 else 'bonafide'} {label} -")
        rows.append((f"{folder}/{file}.flac", label, speaker))
    write_text(root / f"ASVspoof5_protocols/ASVspoof5.{name}", *lines)
    return rows


def _in_the_wild(root: Path) -> list[tuple[str, str, str]]:
    people = ("Alec Guinness", "King, Larry", "Ayn Rand", "Barack Obama", "Adam Driver", "Arnold Schwarzenegger")
    rows = [(f"{number}.wav", LABELS[number // 6 % 2], people[number % 6]) for number in range(24)]
    lines = [f'{path},"{speaker}",{"bona-fide" if label == "bonafide" else label}' for path, label, speaker in rows]
    write_text(root / "meta.csv", "file,speaker,label", *lines)
    return rows


def _mlaad(root: Path) -> tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]]:
    """(M-AILABS, MLAAD): two languages, two models that speak the same three sentences."""
    real, fake = [], []
    for language, locale in (("de", "de_DE"), ("it", "it_IT")):
        originals = [f"{locale}/by_book/female/ann/book/wavs/book_{number}" for number in range(2)] + [
            f"{locale}/by_book/mix/tales/wavs/tales_1"
        ]
        real += [(f"{original}.wav", "bonafide", f"{locale}/ann" if "/ann/" in original else original) for original in originals]
        for model in ("griffin_lim", "tts_models/de/css10/vits-neon"):
            folder = f"fake/{language}/{model.replace('/', '_')}"
            paths = [f"{folder}/{Path(original).name}.wav" for original in originals]
            lines = [f"./{path}|{original}.wav|{language}|True|1|d|{model}|a|t" for path, original in zip(paths, originals, strict=True)]
            write_text(root / "mlaad" / folder / "meta.csv", META, *lines)
            fake += [(path, "spoof", original) for path, original in zip(paths, originals, strict=True)]
    return real, fake


def _timit() -> list[tuple[str, str, str]]:
    real = [
        (f"CLEAN/single_speaker/real/{speaker}/audio/{name}.wav", "bonafide", speaker)
        for speaker in ("fadg0", "mabw0")
        for name in ("sa1", "sx9")
    ]
    single = [(f"CLEAN/single_speaker/{system}/{name}.wav", "spoof", "") for system in ("gtts", "tacotron") for name in ("sa1", "sx9")]
    multi = [(f"CLEAN/multi_speaker/vits/{speaker}/sa1.wav", "spoof", f"vits/{speaker}") for speaker in ("p1", "p2")]
    return [*real, *single, *multi]
