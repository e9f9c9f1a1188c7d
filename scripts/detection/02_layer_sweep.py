"""02 - Which layer tells bona fide from spoofed speech best: a linear classifier on each.

Reads   exp/<name>/detection/files.csv and features/
Writes  exp/<name>/detection/results/layer_sweep.csv and .md (EER of each layer on each test set, averages, published values),
        results/layer_choice.json (the layer chosen on the selection parts; scripts 03 to 06 use it unless logreg.layer is a number),
        scores/layer_sweep/layer_<n>.parquet
Costs   a second per layer of the demo; finished layers are kept
Run     python scripts/detection/02_layer_sweep.py configs/demo_detection.yaml
"""

import _project_root  # noqa: F401

from sourcetracing.detection.experiments.layer_sweep import run_sweep
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import say_next
from sourcetracing.settings.reading import ConfigSources


def main(config: ConfigSources) -> None:
    """Fits the layers that are missing, writes the tables and shows them."""
    print("02 layer sweep", flush=True)
    print(run_sweep(config.resolve()))
    say_next("python scripts/detection/03_augmented_baseline.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=["detection", "logreg", "selection"])
