"""Trace audio files: which source made them, how sure that is, or whether the source is unknown.

Reads   audio files, folders (all the way down) and patterns, in any format that soundfile or ffmpeg reads; a run folder; a library
Writes  what --json, --csv, --timeline, --explain and --report name; in the run folder calibration.json and .png, and scores that are
        missing there
Costs   demo: about 10 s to load, then an hour of sound per minute on 2 cores; memory does not grow with a file's length
        --explain hears each of 3 windows some 80 times more: about 10 s a file
Run     python scripts/trace_audio.py file.wav folder/ 'more/*.flac' --run exp/demo/runs/lfcc_ecapa_tdnn/<run>
"""

from pathlib import Path

import _project_root  # noqa: F401

from sourcetracing.casework.case_report import case_writer
from sourcetracing.errors import UserError
from sourcetracing.explanation.explainer import Explainer
from sourcetracing.runtime.cli import run_tool
from sourcetracing.runtime.words import say_next
from sourcetracing.tracing.job import Outputs, trace_files

FLAGS = {
    "--run RUN_FOLDER": "the trained system: a folder with config.yaml and model.safetensors",
    "--library FOLDER": "enrolled sources (enroll_source.py) that a file may come from as well",
    "--json FILE": "all answers, window by window; answers that are in it already are kept",
    "--csv FILE": "one row per file",
    "--timeline FOLDER": "a picture per file: probabilities and unknown score over time",
    "--explain FOLDER": "what each answer rests on, by band and by time: a picture, CSV and JSON per file; also on the page of --report",
    "--report FILE.html": "a page for a case: digests, answers with likelihood ratios, reliability, limits; traces every file anew",
    "--language CODE": "what the files are spoken in, for --report",
}
USES = ["trace", "explain", "openset", "verification", "enrolment", "compute"]


def main(words: list[str], chosen: dict[str, str], changes: list[str]) -> None:
    """Traces and prints; the exit status is 2 when a file could not be traced."""
    if "--run" not in chosen:
        raise UserError("which system? Add --run exp/<name>/runs/<system>/<run> (script 05 trains them)")
    outputs = {name: Path(chosen[f"--{name}"]) for name in ("json", "csv", "timeline", "report") if f"--{name}" in chosen}
    library = Path(chosen["--library"]) if "--library" in chosen else None
    explainer = Explainer(Path(chosen["--explain"])) if "--explain" in chosen else None
    report = case_writer(chosen.get("--report"), chosen.get("--language"), explainer)
    trace_files(words, chosen["--run"], changes, Outputs(**outputs), library, report, explainer)
    say_next(f"python scripts/export_model.py {chosen['--run']} --folder FOLDER   (to share the system)")


if __name__ == "__main__":
    run_tool(main, doc=__doc__, uses=USES, things="FILE|FOLDER|'PATTERN' ...", flags=FLAGS)
