"""13 - Turn stored scores into tables, figures and the report.

Reads   exp/<name>/runs/*/*/scores/eval.parquet, history.csv, model.json, environment.json; tables/table1_counts.csv; for Table 6 speakers/;
        what 07, 09 and 11 left, for their tabs in the report
Writes  exp/<name>/tables/: for each of experiment.tables <table>.{csv,md,tex}, the published figures beside ours, <table>_means.csv and
        pictures; by language also <table>_per_class.csv, <table>_confusion.csv (of table4 without table4_); claims.csv, significance.csv,
        rank_stability.csv, floor.csv (which systems beat the floor); hierarchy.{csv,md}, hierarchy_means.csv and a picture for each system
        (architecture, acoustic model, vocoder, source: docs/hierarchy.md);   exp/<name>/report.html
        where tables of other settings lie there, all of it below exp/<name>/tables/<digest>/; both stay
Costs   demo: about 2 s; the same scores give the same bytes
Run     python scripts/13_make_tables.py configs/demo.yaml
        python scripts/13_make_tables.py configs/mcl_mlaad.yaml 'experiment.tables=[table4,figure4,table5,table6]'
"""

import _project_root  # noqa: F401

from sourcetracing.report.experiment import best_on_dev, report_experiment
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import in_users_words, say_next
from sourcetracing.settings.groups import EXPERIMENT
from sourcetracing.settings.reading import ConfigSources
from sourcetracing.training.runs import load_runs


def main(config: ConfigSources) -> None:
    """Writes everything and shows the matrix of each system."""
    print("13 tables, figures, report", flush=True)
    print(in_users_words(report_experiment(config)))
    say_next(f"python scripts/trace_audio.py FILE.wav --run {best_on_dev(load_runs(config)).folder}   (files of your own)")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=[*EXPERIMENT, "verification", "enrolment"])
