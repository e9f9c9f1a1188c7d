"""Compare audio: do two files, or two sets of files, come from one synthesizer? A log-likelihood ratio, in words too.

Reads   two files, folders (all the way down) or patterns, in any format that soundfile or ffmpeg reads; a run folder
Writes  what --json names; calibration.json and calibration.png in the run folder, and scores that are missing there
Costs   demo: about 10 s to load, then an hour of sound per minute on 2 cores
Run     python scripts/compare_audio.py A.wav B.wav --run exp/demo/runs/lfcc_ecapa_tdnn/<run>
"""

from pathlib import Path

import _project_root  # noqa: F401

from sourcetracing.casework.comparing import compare_audio
from sourcetracing.errors import UserError
from sourcetracing.runtime.cli import run_tool
from sourcetracing.runtime.words import say_next

FLAGS = {
    "--run RUN_FOLDER": "the trained system: a folder with config.yaml and model.safetensors",
    "--json FILE": "the answer with all figures and sentences",
}


def main(words: list[str], chosen: dict[str, str], changes: list[str]) -> None:
    """Compares and prints."""
    if "--run" not in chosen:
        raise UserError("which system? Add --run exp/<name>/runs/<system>/<run> (script 05 trains them)")
    out = Path(chosen["--json"]) if "--json" in chosen else None
    compare_audio(words, chosen["--run"], changes, out)
    say_next(f"python scripts/trace_audio.py FILE.wav --run {chosen['--run']} --report case.html   (one file, as a page)")


if __name__ == "__main__":
    run_tool(main, doc=__doc__, uses=["trace", "verification", "compute"], things="A B (a file, folder or 'PATTERN' each)", flags=FLAGS)
