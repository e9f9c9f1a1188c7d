"""A truncated model.safetensors, an emptied protocol.json, a parquet file of zeros: a traceback, and not a word on which file it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.damage import damage_in_words

WHOLE = {
    "demo/protocol.json": ("02_build_protocols", lambda path: path.write_text(json.dumps({"seed": 1}) + "\n")),
    "demo/speakers/pseudo_speakers.csv": ("03_label_speakers", lambda path: path.write_text("utt_id,pseudo_speaker\na,1\n")),
    "demo/features/lfcc-1/features.npy": ("04_preprocess_dataset", lambda path: np.save(path, np.zeros((9, 80)))),
    "demo/runs/s/r/model.safetensors": ("05_train_matrix", lambda path: save_file({"x": np.zeros(99)}, path)),
    "demo/runs/s/r/scores/eval.parquet": ("06_get_classification_metrics", lambda path: pd.DataFrame({"x": [1.0] * 99}).to_parquet(path)),
    "demo/openset/s/r/figures.csv": ("07_ood_detector", lambda path: path.write_text("detector,auroc\nnsd,0.5\n")),
    "demo/verification/s/r/figures.csv": ("10_verify_sources", lambda path: path.write_text("scoring,eer\ncosine,0.5\n")),
    "demo/robustness/s/r/figures.csv": ("12_test_robustness", lambda path: path.write_text("operation,auroc\nclean,0.5\n")),
    "demo/detection/files.csv": ("detection/00_build_manifest", lambda path: path.write_text("file_id,corpus\na,b\n")),
    "noise_bank/noise-1.npy": ("04_preprocess_dataset", lambda path: np.save(path, np.zeros(99, np.int16))),
}


@pytest.fixture
def exp(tmp_path) -> Path:
    """An experiment of whole files."""
    for name, (_, write) in WHOLE.items():
        path = tmp_path / "exp" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
    return tmp_path / "exp"


def search(exp: Path) -> str | None:
    return damage_in_words(exp, [exp / "demo", exp / "noise_bank"])


def test_whole_files_are_no_damage(exp):
    assert search(exp) is None


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("left", [0.0, 0.6])
def test_a_file_that_is_cut_off_is_named_with_what_makes_it_again(exp, name, left):
    path = exp / name
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content))])
    line = search(exp)
    assert line.startswith(f"{path} is damaged (")
    assert line.endswith(f"Delete it, then run: python scripts/{WHOLE[name][0]}.py CONFIG.yaml")
    assert len(line.splitlines()) == 1


def test_the_door_says_so_where_it_would_have_shown_a_traceback(exp, tmp_path, capsys):
    path = exp / "demo" / "protocol.json"
    path.write_text('{"seed":')
    config = tmp_path / "demo.yaml"
    config.write_text(f"name: demo\npaths: {{exp: {exp}}}\n")
    with pytest.raises(SystemExit) as end:
        run_script(lambda config: json.loads(path.read_text()), doc="", uses=[""], argv=[str(config)])
    err = capsys.readouterr().err
    assert (end.value.code, len(err.splitlines())) == (2, 1)
    assert str(path) in err
