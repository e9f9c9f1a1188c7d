"""07 - Tell unknown sources from known ones: fit detectors on train, set their thresholds on dev, report eval.

Reads   exp/<name>/runs/ (trained cells; train, dev and eval are scored where they are not) and features/
Writes  exp/<name>/openset/<system>/<run>/ (scores_dev.parquet, scores_eval.parquet: each detector's score of each row; figures.csv, *.png,
        detectors.json) and exp/<name>/tables/openset.{csv,md}, openset_by_language.csv
Needs   unknown sources in dev and eval: corpus.unknown_sources
Costs   demo: about half a minute on 2 cores; what belongs to the scores on disk is kept
Run     python scripts/07_ood_detector.py configs/demo_openset.yaml
        python scripts/07_ood_detector.py configs/mlaad5_source_tracing.yaml configs/compat/published_ood.yaml     # where 63 % came from
"""

import _project_root  # noqa: F401

from sourcetracing.cli import run_script
from sourcetracing.experiments import load_cells
from sourcetracing.openset.experiment import run_openset
from sourcetracing.settings_io import Layers


def main(layers: Layers) -> None:
    """Makes what is missing and shows every detector in one line."""
    cells = load_cells(layers)
    print(f"07 known or unknown source: {', '.join(cells[0].settings.openset.detectors)}", flush=True)
    print(run_openset(cells))
    print("next: python scripts/08_make_tables.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=["", "corpus", "experiment", "evaluation", "openset", "compute", "executor"])
