"""06 - The kept files once more, some of them as codec or RawBoost copies: does it help?

Reads   exp/<name>/detection/pruning/ and features/; makes there the copies of the files drawn, and only of these
Writes  exp/<name>/detection/augment_pruned/<list>-<hash>/ (parts.csv, model.safetensors, scores.parquet,
        wrong_predictions_<set>.csv, list.json), results/augment_pruned.csv
Costs   the copies of five sevenths of the list; one classifier
Run     python scripts/detection/06_augment_pruned.py configs/demo_detection.yaml
"""

import _project_root  # noqa: F401

from sourcetracing.detection.experiments.augment_pruned import run_augmentation
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import say_next
from sourcetracing.settings.reading import ConfigSources


def main(config: ConfigSources) -> None:
    """Fits the classifier unless it is there, writes the tables and shows the EERs."""
    print("06 augmentation after pruning", flush=True)
    print(run_augmentation(config.resolve()))
    say_next("python scripts/detection/07_report.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(
        main,
        doc=__doc__,
        uses=["detection", "logreg", "selection", "pruning", "layer_features", "rawboost", "codec", "ssl", "lfcc", "compute", "executor"],
    )
