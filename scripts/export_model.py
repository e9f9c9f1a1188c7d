"""Export a trained system: one ONNX file, waveform in, logits and embedding out; or a folder with a model card, ready for the Hub.

Reads   a run folder; its feature store where scores are missing
Writes  what --onnx and --folder name
Costs   ONNX: about half a minute on 2 cores; a folder: seconds
Run     python scripts/export_model.py exp/demo/runs/lfcc_ecapa_tdnn/<run> --onnx system.onnx --folder system/
"""

from pathlib import Path

import _project_root  # noqa: F401

from sourcetracing.errors import UserError
from sourcetracing.runtime.cli import run_tool
from sourcetracing.tracing.export import export_system
from sourcetracing.tracing.model_card import UNDECIDED

FLAGS = {
    "--onnx FILE": "front-end and back-end in one file, compared with the system before it is kept",
    "--folder FOLDER": "weights, settings, classes, calibration, scores, model card; trace_audio.py takes it as --run",
    "--license ID": "licence of the weights for the card, by its id on the Hub, such as cc-by-nc-4.0",
}


def main(words: list[str], chosen: dict[str, str], changes: list[str]) -> None:
    """Exports one run."""
    if len(words) != 1:
        raise UserError("name one run folder: python scripts/export_model.py RUN_FOLDER --folder FOLDER")
    paths = {name: Path(chosen[f"--{name}"]) for name in ("onnx", "folder") if f"--{name}" in chosen}
    if not paths:
        raise UserError("what shall come of it? Add --onnx FILE or --folder FOLDER, or both")
    export_system(words[0], changes, **{"onnx": None, "folder": None, **paths}, licence=chosen.get("--license", UNDECIDED))
    if "folder" in paths:
        print(f"next: read {paths['folder']}/README.md, then: hf upload <user>/<name> {paths['folder']}")


if __name__ == "__main__":
    run_tool(main, doc=__doc__, uses=["trace", "openset"], things="RUN_FOLDER", flags=FLAGS)
