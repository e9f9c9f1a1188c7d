"""06 - Score every trained run on the evaluation split and write its classification reports.

Reads   exp/<name>/runs/ and features/
Writes  exp/<name>/runs/<system>/<run>/scores/<split>.parquet (utt_id, variant, language, source, logits), <split>.embeddings.npy
        and <split>_<test set>.txt (per-class reports); with train.labels also <split>.labels.parquet and exp/<name>/tables/labels.{csv,md}
Costs   demo: about 11 s on 2 cores; scores that belong to the weights on disk are kept
Run     python scripts/06_get_classification_metrics.py configs/demo.yaml
"""

import _project_root  # noqa: F401

from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import in_users_words, say_next
from sourcetracing.scoring.matrix import score_runs
from sourcetracing.scoring.reports import write_reports
from sourcetracing.settings.groups import EXPERIMENT
from sourcetracing.settings.reading import ConfigSources
from sourcetracing.tables.labels import write_label_table
from sourcetracing.tables.of_runs import floor_text
from sourcetracing.training.matrix import TRAIN_COMMAND, those_trained
from sourcetracing.training.other_runs import others_line
from sourcetracing.training.plan import describe_variants
from sourcetracing.training.runs import load_runs


def main(config: ConfigSources) -> None:
    """Scores what is trained and not scored, writes the reports, shows each run in one line and how systems stand against the floor.

    Names the runs that are not trained.
    """
    runs = load_runs(config)
    trained, lack = those_trained(runs)
    print(f"06 metrics: {len(trained)} runs", flush=True)
    score_runs(trained)
    print(write_reports(trained))
    if heard := describe_variants(trained):
        print(heard)
    if beside_floor := floor_text(trained, config.resolve()):
        print(f"\n{beside_floor}\n")
    if of_labels := write_label_table(trained, config.resolve()):
        print(f"\n{of_labels}\n")
    if lack:
        print(in_users_words(f"{lack} and have no scores; {TRAIN_COMMAND} trains them"))
    if others := others_line(runs):
        print(in_users_words(others))
    next_script = "07_ood_detector" if config.resolve().corpus.unknown_sources else "08_generate_embeddings"
    say_next(f"python scripts/{next_script}.py CONFIG.yaml   or: python scripts/13_make_tables.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=EXPERIMENT)
