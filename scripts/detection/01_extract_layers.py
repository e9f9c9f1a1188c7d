"""01 - Mean over time of every layer of an SSL encoder, for each file of each subset, and for augmented copies of the baseline's.

Reads   exp/<name>/detection/files.csv and the audio that it lists
Writes  exp/<name>/detection/features/<subset>-<copy>-<hash>/: features.npy (files, layers, width) float32, index.csv, store.json
Costs   files x layers x width x 4 bytes (49 layers of XLS-R 2B: 0.38 MB per file; one layer: 7.7 kB); killed runs go on at the last block
Run     python scripts/detection/01_extract_layers.py configs/ai4t.yaml
"""

import _project_root  # noqa: F401

from sourcetracing.detection.features.layer_features import extract_layers
from sourcetracing.detection.features.layer_store import LayerStore
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import say_next
from sourcetracing.settings.reading import ConfigSources


def main(config: ConfigSources) -> None:
    """Makes what is missing and shows each store in one line."""
    stores = [LayerStore.open(folder) for folder in extract_layers(config.resolve())]
    for store in stores:
        print(f"  {store.folder.name:<42} {store.num_files:>8,} files x {len(store.layers)} layers x {store.width}")
    print(f"{len(stores)} stores in {stores[0].folder.parent}")
    say_next("python scripts/detection/02_layer_sweep.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=["", "layer_features", "rawboost", "codec", "ssl", "lfcc", "compute", "executor"])
