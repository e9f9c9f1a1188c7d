"""10 - Are these two from one source? Trials over dev and eval, scores of every trained run, log-likelihood ratios, EER, minDCF, Cllr.

Reads   exp/<name>/runs/ (trained runs; train, dev and eval are scored where they are not) and features/; utterances.csv, protocol.csv;
        speakers/ of script 03, where it ran: the baseline that knows voices alone; with verification.trials=FILE that list in place of
        the one that is generated over eval
Writes  exp/<name>/verification_trials/ (dev.csv, eval.csv, their models and counts), exp/<name>/verification/<system>/<run>/
        (scores_dev.parquet, scores_eval.parquet: score and log-likelihood ratio of each trial; figures.csv, det.png, verification.json) and
        exp/<name>/tables/verification.{csv,md}, verification_det.png
Costs   two runs and the voices, 3,100 trials on each split, 200 resamples: some seconds; 16,000 trials with the 1,000 resamples of the
        defaults: a quarter of a minute a run and split, on all cores; what belongs to the scores on disk is kept
Run     python scripts/10_verify_sources.py configs/demo_openset.yaml
        python scripts/10_verify_sources.py configs/demo_openset.yaml verification.trials=my_trials.csv verification.score_norm=as_norm
"""

import _project_root  # noqa: F401

from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import in_users_words, say_next
from sourcetracing.settings.groups import EXPERIMENT
from sourcetracing.settings.reading import ConfigSources
from sourcetracing.training.runs import load_runs
from sourcetracing.verification.experiment import verify_runs


def main(config: ConfigSources) -> None:
    """Makes what is missing and shows every run and scoring in one line."""
    runs = load_runs(config)
    print(f"10 one source or two: {', '.join(runs[0].settings.verification.scoring)}", flush=True)
    print(in_users_words(verify_runs(runs)))
    say_next("python scripts/11_audit_shortcuts.py CONFIG.yaml   or: python scripts/13_make_tables.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=[*EXPERIMENT, "verification"])
