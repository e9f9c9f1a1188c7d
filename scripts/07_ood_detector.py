"""07 - Tell unknown sources from known ones: fit detectors on train, set their thresholds on dev, report eval.

Reads   exp/<name>/runs/ (trained runs; train, dev and eval are scored where they are not) and features/; dev and eval with unknown sources
        (corpus.unknown_sources)
Writes  exp/<name>/openset/<system>/<run>/ (scores_dev.parquet, scores_eval.parquet: each detector's score of each row; figures.csv, *.png,
        relatives.csv, detectors.json) and exp/<name>/tables/openset.{csv,md}, openset_by_language.csv, openset_relatives.csv (with and
        without relatives among the known sources: docs/hierarchy.md)
Costs   demo: about half a minute on 2 cores; what belongs to the scores on disk is kept
Run     python scripts/07_ood_detector.py configs/demo_openset.yaml
        python scripts/07_ood_detector.py configs/mlaad5_source_tracing.yaml configs/as_published/published_ood.yaml  # where 63 % came from
"""

import _project_root  # noqa: F401

from sourcetracing.openset.experiment import run_openset
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import say_next
from sourcetracing.settings.groups import EXPERIMENT
from sourcetracing.settings.reading import ConfigSources
from sourcetracing.training.runs import load_runs


def main(config: ConfigSources) -> None:
    """Makes what is missing and shows every detector in one line."""
    runs = load_runs(config)
    print(f"07 known or unknown source: {', '.join(runs[0].settings.openset.detectors)}", flush=True)
    print(run_openset(runs))
    say_next("python scripts/08_generate_embeddings.py CONFIG.yaml   or: python scripts/13_make_tables.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=[*EXPERIMENT, "openset"])
