"""Enrol a source from a few of its files, without training, so that trace_audio.py --library can name it.

Reads   audio files, folders (all the way down) and patterns, in any format that soundfile or ffmpeg reads; a run folder
Writes  the library: a folder with a folder for each source, JSON and npy; what --export names
Costs   demo: about 10 s to load, then an hour of sound per minute on 2 cores; the other flags need no run and no time
Run     python scripts/enroll_source.py NAME file.wav folder/ 'more/*.flac' --run exp/demo/runs/lfcc_ecapa_tdnn/<run> --library my_sources/
        python scripts/enroll_source.py --list --library my_sources/
        python scripts/enroll_source.py NAME --rename NEW --library my_sources/      (or NAME --remove, NAME --notes TEXT)
        python scripts/enroll_source.py [NAME ...] --export FILE.zip --library my_sources/      (or [NAME ...] --import FILE.zip)
"""

from pathlib import Path

import _project_root  # noqa: F401

from sourcetracing.errors import UserError
from sourcetracing.runtime.cli import run_tool
from sourcetracing.runtime.words import say_next
from sourcetracing.tracing.enrolling import bring, enrol, export, note, remove, rename, show, trace_command

FLAGS = {
    "--library FOLDER": "the library; it is made where there is none",
    "--run RUN_FOLDER": "the trained system: a folder with config.yaml and model.safetensors",
    "--notes TEXT": "what to remember of the source; without files, of one that is there",
    "--list": "shows what the library holds",
    "--remove": "takes sources out",
    "--rename NEW": "gives a source another name",
    "--export FILE": "writes sources, all if none is named, to a .zip",
    "--import FILE": "takes the sources of such a .zip in, all if none is named",
}
ONE_OF = ("--list", "--remove", "--rename", "--export", "--import")


def main(words: list[str], chosen: dict[str, str], changes: list[str]) -> None:
    """Does one thing to the library."""
    if "--library" not in chosen:
        raise UserError("which library? Add --library FOLDER")
    folder, asked = Path(chosen["--library"]), [flag for flag in ONE_OF if flag in chosen]
    if len(asked) > 1:
        raise UserError(f"{asked[0]} and {asked[1]}: one thing at a time")
    if asked and "--notes" in chosen:
        raise UserError(f"{asked[0]} and --notes: one thing at a time")
    match asked:
        case ["--list"]:
            show(folder, words)
        case ["--remove"]:
            remove(folder, words)
        case ["--rename"]:
            rename(folder, words, chosen["--rename"])
        case ["--export"]:
            export(folder, words, Path(chosen["--export"]))
        case ["--import"]:
            bring(folder, words, Path(chosen["--import"]))
        case _:
            if not words:
                raise UserError("which source? Name it, then its files: NAME FILE|FOLDER|'PATTERN' ...")
            if len(words) == 1 and "--notes" in chosen:
                note(folder, words[0], chosen["--notes"])
                return
            if "--run" not in chosen:
                raise UserError("which system? Add --run exp/<name>/runs/<system>/<run> (script 05 trains them)")
            enrol(words[0], words[1:], chosen["--run"], changes, folder, chosen.get("--notes"))
            say_next(trace_command(chosen["--run"], folder))


if __name__ == "__main__":
    run_tool(main, doc=__doc__, uses=["trace", "enrolment", "compute"], things="NAME FILE|FOLDER|'PATTERN' ...", flags=FLAGS)
