"""Which bands do a run's answers rest on, per source and language? Occlusion by third octaves, with the shortcut audit beside it.

Reads   exp/<name>/runs/ (trained runs and their eval scores), utterances.csv, protocol.csv; paths.corpus; the scores of script 11, if any
Writes  exp/<name>/explanation/<system>/<run>.parquet (drops, utterance by utterance; kept while weights and settings are the same) and
        exp/<name>/tables/explanation.{csv,md,png}, explanation_sources.csv, explanation_checks.csv, explanation_deletion.csv
Costs   demo: some 60 windows heard for each of explain.utterances per source and language: half a minute a run on 2 cores
Run     python scripts/explain_runs.py configs/demo_openset.yaml
        python scripts/explain_runs.py configs/demo_openset.yaml explain.runs=all explain.utterances=20
"""

import _project_root  # noqa: F401

from sourcetracing.explanation.run_experiment import explain_runs
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import in_users_words, say_next
from sourcetracing.settings.groups import EXPERIMENT
from sourcetracing.settings.reading import ConfigSources
from sourcetracing.training.runs import load_runs


def main(config: ConfigSources) -> None:
    """Explains what is missing, writes the tables and shows them."""
    print(in_users_words(explain_runs(load_runs(config), config.resolve())))
    say_next("python scripts/13_make_tables.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=[*EXPERIMENT, "explain", "trace"])
