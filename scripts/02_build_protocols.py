"""02 - Check every audio file, split the utterances into train, dev and eval, and count them (Table 1).

Reads   paths.corpus (fake/<language>/<model_dir>/*.wav and meta.csv)
Writes  exp/<name>/utterances.csv, protocol.csv, protocol.json, tables/table1_counts.csv (and bad_audio.csv if any file is bad)
Costs   reads all audio once: 1 s for the demo; nothing when nothing changed
Run     python scripts/02_build_protocols.py configs/demo.yaml
"""

import _project_root  # noqa: F401

from sourcetracing.cli import run_script
from sourcetracing.layout import Layout
from sourcetracing.protocol_building import build_protocols
from sourcetracing.settings_io import Layers


def main(layers: Layers) -> None:
    """Builds the protocol and prints its counts."""
    settings = layers.resolve()
    print(f"02 protocols: {settings.paths.corpus} -> {Layout.of(settings).root}", flush=True)
    built = build_protocols(settings)
    print(built.counts.to_string(index=False))
    if built.num_left_out:
        print(f"left out {built.num_left_out} bad audio files, listed in {Layout.of(settings).bad_audio}")
    print(f"{'wrote' if built.is_new else 'unchanged:'} {Layout.of(settings).protocol}")
    print("next: python scripts/04_preprocess_dataset.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=["", "paths", "corpus", "split", "audio"])
