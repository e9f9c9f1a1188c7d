"""05 - Train every run of an experiment: systems x training sets x seeds, skipping what is done.

Reads   exp/<name>/features/<front-end>-<hash>/
Writes  exp/<name>/runs/<system>/<languages>-seed<n>-<hash>/ (config.yaml, environment.json, history.csv, model.safetensors, model.json)
Costs   demo: 3 to 5 minutes on 2 cores (6 runs); it shows the plan first; a killed run goes on where it was saved last
Run     python scripts/05_train_matrix.py configs/demo.yaml
        python scripts/05_train_matrix.py configs/demo.yaml 'experiment.systems=[lfcc_resnet18]' 'experiment.seeds=[1,2,3]'
        python scripts/05_train_matrix.py configs/demo.yaml --only lfcc_ecapa_tdnn/en     # one system on one training set
        python scripts/05_train_matrix.py configs/demo.yaml --shard 1/4     # a quarter of the runs; docs/scaling.md
        torchrun --nproc-per-node 2 scripts/05_train_matrix.py configs/mcl_mlaad.yaml     # each run on two GPUs
"""

import _project_root  # noqa: F401

from sourcetracing.layout import Layout
from sourcetracing.protocols.table import load_protocol
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import in_users_words, say_next
from sourcetracing.settings.groups import EXPERIMENT
from sourcetracing.settings.reading import ConfigSources
from sourcetracing.training.dev_floor import dev_beside_floor
from sourcetracing.training.matrix import train_runs
from sourcetracing.training.other_runs import others_line
from sourcetracing.training.plan import describe_plan, describe_variants, make_plan, only, read_shard
from sourcetracing.training.runs import load_runs

FLAGS = {
    "--only PATTERN": "train only these runs: a system, system/training set or system/training set/seed; * stands for anything",
    "--shard i/n": "train only part i of n of the runs (i from 1), so that n machines or array jobs can share them",
}


def main(config: ConfigSources, flags: dict[str, str]) -> None:
    """Shows the plan, trains what is not trained and says where it lies."""
    part = read_shard(flags.get("--shard", "1/1"))
    all_runs, settings = load_runs(config), config.resolve()
    runs = only(all_runs, flags.get("--only", "*"))[part]
    chosen = f"{len(runs)} of {len(all_runs)} runs" if flags else f"{len(runs)} runs"
    print(f"05 training: {chosen} for {', '.join(settings.experiment.tables)}", flush=True)
    if runs:
        utterances, protocol = load_protocol(settings)
        print(describe_plan(make_plan(runs, utterances.merge(protocol, on="utt_id")), runs), flush=True)
    if heard := describe_variants(runs):
        print(heard, flush=True)
    train_runs(runs)
    print(f"{len(runs)} trained runs in {Layout.of(settings).runs}")
    if beside_floor := dev_beside_floor(all_runs):
        print(beside_floor)
    if others := others_line(all_runs):
        print(in_users_words(others))
    if not_trained := sum(not run.files.is_finished for run in all_runs):
        print(f"{not_trained} of all {len(all_runs)} runs are not trained yet: they were not chosen here")
    say_next("python scripts/06_get_classification_metrics.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=EXPERIMENT, flags=FLAGS)
