"""List every run of an experiment: how far it is, its dev figure, whether it is scored, and what differs from the settings at hand.

Reads   exp/<name>/runs/*/*/
Writes  nothing, or with --csv FILE a row for each run
Costs   seconds: the weights of scored runs are read, to tell whether the scores are theirs
Run     python scripts/list_runs.py configs/demo.yaml
        python scripts/list_runs.py configs/demo.yaml train.epochs=12 --csv runs.csv
"""

import _project_root  # noqa: F401

from sourcetracing.layout import Layout
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.files import write_csv
from sourcetracing.scoring.run_list import list_runs, table_of, text_of
from sourcetracing.settings.groups import EXPERIMENT
from sourcetracing.settings.reading import ConfigSources

FLAGS = {"--csv FILE": "also write them to a CSV file"}


def main(config: ConfigSources, chosen: dict[str, str]) -> None:
    """Lists them."""
    runs = list_runs(config)
    print(f"runs in {Layout.of(config.resolve()).runs}: {sum(not run.problem for run in runs)}")
    if runs:
        print(f"\n{text_of(runs)}\n")
    if "--csv" in chosen:
        write_csv(table_of(runs), chosen["--csv"])
        print(f"wrote {chosen['--csv']}")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=EXPERIMENT, flags=FLAGS)
