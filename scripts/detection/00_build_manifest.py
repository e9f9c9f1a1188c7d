"""00 - List every audio file of the corpora for detection, decode each once, drop repeated rows. For the demo: make the corpora first.

Reads   detection.roots (each corpus as unpacked; docs/detection_data.md) or detection.lists (the authors' path|label files)
Writes  exp/<name>/detection/files.csv (file_id, corpus, path, label, speaker, group, source, duration_s, digest), files.json and
        checked/ (what is known of each file); missing_files.txt, bad_audio.csv if there are any; demo: detection.demo_folder
Costs   reads all audio once (a killed run goes on); nothing when nothing changed. Demo: under a minute on 2 cores, 90 MB
Run     python scripts/detection/00_build_manifest.py configs/demo_detection.yaml
        python scripts/detection/00_build_manifest.py configs/ai4t.yaml detection.origin=lists
"""

import _project_root  # noqa: F401

from sourcetracing.detection.data.demo import READ_ME, make_demo
from sourcetracing.detection.data.layout import DetectionLayout
from sourcetracing.detection.data.manifest_building import build_manifest
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import say_next
from sourcetracing.settings.reading import ConfigSources


def main(config: ConfigSources) -> None:
    """Makes the demo where it is asked for, builds the manifest, prints counts and remarks."""
    settings = config.resolve()
    path = DetectionLayout(settings).manifest
    print(f"00 manifest: {settings.detection.origin} -> {path}", flush=True)
    if settings.detection.origin == "demo":
        print(f"demo: {READ_ME}made {make_demo(settings)} files", flush=True)
    built = build_manifest(settings)
    print(built.counts.to_string(index=False))
    print("".join(f"note: {line}\n" for line in built.notes), end="")
    print(f"{'wrote' if built.is_new else 'unchanged:'} {path}")
    say_next("python scripts/detection/01_extract_layers.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=["", "paths", "detection", "audio", "compute"])
