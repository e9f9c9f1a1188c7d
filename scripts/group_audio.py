"""Group audio files by the generator that made them: how many groups, how stable that is, and which file is in which.

Reads   audio files, folders (all the way down) and patterns, in any format that soundfile or ffmpeg reads; a run folder
Writes  what --csv and --html name; calibration.json and calibration.png in the run folder, and scores that are missing there
Costs   demo: about 10 s to load, then 10 to 35 files of 5 s per second on 2 cores, half of that with --html; groups of 300 files take 2 s,
        of 5,000 about 5 min and 0.5 GB (100 draws of 2.5 s; hdbscan 11 min and 0.9 GB)
Run     python scripts/group_audio.py folder/ 'more/*.flac' --run exp/demo/runs/lfcc_ecapa_tdnn/<run> --html groups.html
"""

from pathlib import Path

import _project_root  # noqa: F401

from sourcetracing.casework.grouping_job import GroupOutputs, group_audio
from sourcetracing.errors import UserError
from sourcetracing.runtime.cli import run_tool
from sourcetracing.runtime.words import say_next

FLAGS = {
    "--run RUN_FOLDER": "the trained system that compares files: a folder with config.yaml and model.safetensors",
    "--csv FILE": "one row per file: group, stability, nearest other group",
    "--html FILE": "a page with the groups, their spectra, all pairs, and samples, played from where the files lie",
    "--truth FILE": "CSV with path,source: figures of how well groups and true sources agree",
}


def main(words: list[str], chosen: dict[str, str], changes: list[str]) -> None:
    """Groups and prints; the exit status is 2 when a file could not be used."""
    if "--run" not in chosen:
        raise UserError("which system? Add --run exp/<name>/runs/<system>/<run> (script 05 trains them)")
    places = {name: Path(chosen[f"--{name}"]) for name in ("csv", "html", "truth") if f"--{name}" in chosen}
    truth = places.pop("truth", None)
    group_audio(words, chosen["--run"], changes, GroupOutputs(**places), truth)
    say_next(f"python scripts/trace_audio.py FILE.wav --run {chosen['--run']}   (which known source a file is nearest to)")


if __name__ == "__main__":
    run_tool(main, doc=__doc__, uses=["grouping", "trace", "verification", "compute"], things="FILE|FOLDER|'PATTERN' ...", flags=FLAGS)
