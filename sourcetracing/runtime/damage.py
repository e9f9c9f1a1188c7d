"""After a crash: is a file of the experiment damaged? Then that is what the user should hear of, and which command makes it again.

Readers need not expect each way in which a file can be cut off or overwritten: whatever they raise, the door looks here before it shows a
traceback.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

# Which script makes a file again: the first pattern that fits its path below paths.exp.
_MAKERS = (
    ("noise_bank/*", "04_preprocess_dataset"),
    ("*/detection/features/*", "detection/01_extract_layers"),
    ("*/detection/results/layer_*", "detection/02_layer_sweep"),
    ("*/detection/scores/layer_sweep/*", "detection/02_layer_sweep"),
    ("*/detection/*augmented_baseline*", "detection/03_augmented_baseline"),
    ("*/detection/*mixing*", "detection/04_dataset_mixing"),
    ("*/detection/*augment_pruned*", "detection/06_augment_pruned"),
    ("*/detection/*pruning*", "detection/05_pruning"),
    ("*/detection/*", "detection/00_build_manifest"),
    ("*/runs/*/*/scores/*", "06_get_classification_metrics"),
    ("*/runs/*/*/embeddings/*", "08_generate_embeddings"),
    ("*/runs/*", "05_train_matrix"),
    ("*/openset/*", "07_ood_detector"),
    ("*/verification/*", "10_verify_sources"),
    ("*/verification_trials/*", "10_verify_sources"),
    ("*/tables/verification*", "10_verify_sources"),
    ("*/robustness/*", "12_test_robustness"),
    ("*/tables/robustness*", "12_test_robustness"),
    ("*/features/*", "04_preprocess_dataset"),
    ("*/speakers/*", "03_label_speakers"),
    ("*/shortcuts/*", "11_audit_shortcuts"),
    ("*/explanation/*", "explain_runs"),
    ("*/tables/explanation*", "explain_runs"),
    ("*/tables/table2.csv", "03_label_speakers"),
    ("*/tables/audio_facts.csv", "02_build_protocols"),
    ("*/tables/*", "13_make_tables"),
    *((f"*/{name}", "02_build_protocols") for name in ("utterances.csv", "protocol.csv", "protocol.json", "audio_notes.csv")),
)


def damage_in_words(exp: Path, folders: Iterable[Path]) -> str | None:
    """A line on the first damaged file below `folders`: which, what is wrong, what makes it again; None where all are whole.

    exp: the folder that all experiments lie in.
    """
    for path in sorted(path for folder in folders if folder.is_dir() for path in folder.rglob("*")):
        maker = _maker(path, exp)  # what lies there besides may be the user's
        if maker and (reason := _what_is_wrong(path)) is not None:
            return f"{path} is damaged ({reason}). Delete it, then run: python scripts/{maker}.py CONFIG.yaml"
    return None


def _maker(path: Path, exp: Path) -> str | None:
    below = path.relative_to(exp).as_posix() if path.is_relative_to(exp) else f"{path.parent.name}/{path.name}"
    return next((script for pattern, script in _MAKERS if fnmatchcase(below, pattern)), None)


def _what_is_wrong(path: Path) -> str | None:
    check = _CHECKS.get(path.suffix)
    if check is None or path.name.startswith(".") or not path.is_file():
        return None
    try:
        check(path)
    except Exception as error:  # what five libraries may raise for bytes that are no file of theirs
        return " ".join((str(error) or type(error).__name__).split())[:150]
    return None


def _check_text(path: Path, read: Callable[[str], object] = str.splitlines) -> None:
    text = path.read_bytes().decode("utf-8")
    if not text.endswith("\n"):  # each of ours does
        raise ValueError("it is cut off" if text else "it is empty")
    if "\0" in text:
        raise ValueError("it holds NUL characters")
    read(text)


def _check_parquet(path: Path) -> None:
    import pyarrow.parquet as pq

    pq.read_table(path)


def _check_array(path: Path) -> None:
    import numpy as np

    np.load(path, mmap_mode="r")


def _check_tensors(path: Path) -> None:
    from safetensors import safe_open

    with safe_open(path, framework="numpy"):
        pass


_CHECKS: dict[str, Callable[[Path], None]] = {
    ".csv": _check_text,
    ".json": lambda path: _check_text(path, json.loads),
    ".yaml": lambda path: _check_text(path, yaml.safe_load),
    ".parquet": _check_parquet,
    ".npy": _check_array,
    ".safetensors": _check_tensors,
}
