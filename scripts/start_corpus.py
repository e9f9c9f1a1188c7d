"""Begin here with a corpus of your own: look at it, write the YAML of a first experiment, name the next command.

Reads   a folder (<language>/<source>/*.wav, <source>/*.wav, below train, dev and test or not), or a CSV or TSV with columns path, source
        and, if known, language, speaker, transcript, recording, split
Writes  NAME.yaml (or --out FILE): every choice with its reason beside it; NAME.csv beside it where your folders need a table to be read.
        Nothing is overwritten
Costs   seconds: decodes 400 files at most, times ten of them and four steps of a network
Run     python scripts/start_corpus.py my_corpus
        python scripts/start_corpus.py my_corpus/list.csv --out configs/mine.yaml --name mine
"""

from pathlib import Path

import _project_root  # noqa: F401

from sourcetracing.errors import UserError
from sourcetracing.runtime.cli import run_tool
from sourcetracing.starting.start import start

FLAGS = {
    "--out FILE": "the YAML file to write; without it NAME.yaml in this folder",
    "--name NAME": "name of the experiment, its folder below exp/; without it the name of the folder or table",
}


def main(words: list[str], chosen: dict[str, str], changes: list[str]) -> None:
    """Looks, writes and tells."""
    if changes:
        raise UserError(f"{changes[0]}: settings go into the YAML file that is written, or behind it on the command line of later scripts")
    if len(words) != 1:
        raise UserError(f"one folder or table is expected, there are {len(words)}. Run: python scripts/start_corpus.py FOLDER")
    print(f"start: {words[0]}", flush=True)
    print(start(Path(words[0]), Path(chosen["--out"]) if "--out" in chosen else None, chosen.get("--name", "")))


if __name__ == "__main__":
    run_tool(main, doc=__doc__, uses=[], things="FOLDER|TABLE.csv", flags=FLAGS)
