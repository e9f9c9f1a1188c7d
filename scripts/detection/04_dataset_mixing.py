"""04 - Which training corpora are worth mixing: a classifier for every mixture of them, 127 of seven corpora.

Reads   exp/<name>/detection/files.csv and features/
Writes  exp/<name>/detection/results/dataset_mixing.csv and .md (EERs on the real-life sets, ranked, published values beside them),
        results/mixing_marginal.csv (what each corpus adds on average over the mixtures),
        scores/dataset_mixing/<mixture>.parquet, mixing/<mixture>.safetensors (the classifiers)
Costs   demo: 3 s; 50,000 files x 960 features: 132 s on 2 cores; finished mixtures are kept
Run     python scripts/detection/04_dataset_mixing.py configs/demo_detection.yaml
"""

import _project_root  # noqa: F401

from sourcetracing.detection.experiments.mixing import run_mixing
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import say_next
from sourcetracing.settings.reading import ConfigSources


def main(config: ConfigSources) -> None:
    """Fits the mixtures that are missing, writes the tables and shows the best."""
    print("04 dataset mixing", flush=True)
    print(run_mixing(config.resolve()))
    say_next("python scripts/detection/05_pruning.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=["detection", "logreg", "selection", "mixing"])
