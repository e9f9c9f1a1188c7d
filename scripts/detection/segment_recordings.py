"""Cut long recordings (AI4T's videos, once you have them) into segments of ten seconds. Beside the numbered scripts, once per corpus.

Reads   --list FILE: lines path|label or path|label|speaker (bonafide or spoof); --source FOLDER: where those paths begin
Writes  detection.roots.ai4trust: <recording>/00000.wav ... at audio.sample_rate, and segments.csv (path, label, speaker, recording ...)
Costs   about as long as decoding; memory does not grow with a recording. What is cut already stays; a killed run goes on
Run     python scripts/detection/segment_recordings.py configs/ai4t.yaml --list data/ai4t_links.txt --source data/ai4t_videos
"""

from pathlib import Path

import _project_root  # noqa: F401

from sourcetracing.detection.data.corpora.listed import SEGMENTS_LIST
from sourcetracing.detection.data.manifest import root_of
from sourcetracing.detection.data.segments import segment_recordings
from sourcetracing.errors import UserError
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import say_next
from sourcetracing.settings.reading import ConfigSources

FLAGS = {
    "--list FILE": "the recordings: a line path|label or path|label|speaker for each",
    "--source FOLDER": "folder that the paths in it are relative to",
}


def main(config: ConfigSources, flags: dict[str, str]) -> None:
    """Cuts what is not cut yet and writes the list of all segments."""
    settings = config.resolve()
    if missing := [flag for flag in ("--list", "--source") if flag not in flags]:
        raise UserError(f"{missing[0]} is missing. Run with --help to see what it is")
    target = root_of(settings, "ai4trust")
    print(f"segments: {flags['--list']} -> {target}", flush=True)
    segments, failed = segment_recordings(Path(flags["--list"]), Path(flags["--source"]), target, settings)
    print("\n".join(f"left out: {line}" for line in failed) + "\n" if failed else "", end="")
    print(f"{len(segments)} segments of {segments['recording'].nunique()} recordings, {segments['seconds'].sum() / 3600:.2f} h")
    print(f"wrote {target / SEGMENTS_LIST}")
    say_next("python scripts/detection/00_build_manifest.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=["detection", "audio", "compute"], flags=FLAGS)
