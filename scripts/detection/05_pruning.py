"""05 - Which training files are worth keeping: random, cluster and margin pruning at the working layer.

Reads   exp/<name>/detection/files.csv and features/
Writes  exp/<name>/detection/pruning/<hash>/<list>/ (files.csv: the kept files; their classifier and its scores),
        results/pruning.csv (EERs of each list, set and part), pruning_levels.csv (means over seeds), pruning_choice.csv, pruning.md
Costs   demo: seconds; 64 classifiers; features of one layer in memory once; finished lists are kept
Run     python scripts/detection/05_pruning.py configs/demo_detection.yaml
"""

import _project_root  # noqa: F401

from sourcetracing.detection.experiments.pruning import run_pruning
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import say_next
from sourcetracing.settings.reading import ConfigSources


def main(config: ConfigSources) -> None:
    """Makes the lists that are missing, writes the tables and shows what was chosen."""
    print("05 pruning", flush=True)
    print(run_pruning(config.resolve()))
    say_next("python scripts/detection/06_augment_pruned.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=["detection", "logreg", "selection", "pruning"])
