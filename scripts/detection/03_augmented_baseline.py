"""03 - Does augmentation help: the baseline trained on clean files, and with their RawBoost and codec copies.

Reads   exp/<name>/detection/files.csv and features/ (copies clean, rawboost and codec of the training set)
Writes  exp/<name>/detection/results/augmented_baseline.csv and .md, scores/augmented_baseline/<training>.parquet
Costs   demo: seconds; five classifiers on one to three times the training files; finished ones are kept
Run     python scripts/detection/03_augmented_baseline.py configs/demo_detection.yaml
"""

import _project_root  # noqa: F401

from sourcetracing.detection.experiments.augmented_baseline import run_augmented_baseline
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import say_next
from sourcetracing.settings.reading import ConfigSources


def main(config: ConfigSources) -> None:
    """Fits the classifiers that are missing, writes the tables and shows them."""
    print("03 augmented baseline", flush=True)
    print(run_augmented_baseline(config.resolve()))
    say_next("python scripts/detection/04_dataset_mixing.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=["detection", "logreg", "selection"])
