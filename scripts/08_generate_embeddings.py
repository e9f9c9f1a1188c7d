"""08 - Gather the embeddings of trained runs: train, dev and eval, known and unknown sources.

Reads   exp/<name>/runs/ and features/; utterances.csv, protocol.csv; speakers/pseudo_speakers.csv where script 03 ran
Writes  exp/<name>/runs/<system>/<run>/embeddings/embeddings.npy (rows, width), index.parquet (what each row is), embeddings.json (last);
        train in train.variants, dev and eval in evaluation.variants;
        scores of the splits that had none; with --export-npy FOLDER one file for each utterance: FOLDER/{train,dev,test}/<class id>/*.npy
Costs   what scoring of train and dev costs (demo_openset: 10 s on 2 cores); embeddings that belong to the weights on disk are kept
Run     python scripts/08_generate_embeddings.py configs/demo.yaml
        python scripts/08_generate_embeddings.py configs/demo.yaml --run exp/demo/runs/lfcc_ecapa_tdnn/<run> --export-npy embeddings
"""

from pathlib import Path

import _project_root  # noqa: F401

from sourcetracing.embeddings.collecting import collect_embeddings
from sourcetracing.embeddings.export import export_tree
from sourcetracing.embeddings.runs import chosen_runs
from sourcetracing.embeddings.stored import load_embeddings
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import in_users_words, say_next
from sourcetracing.settings.groups import EXPERIMENT
from sourcetracing.settings.reading import ConfigSources

FLAGS = {
    "--run FOLDER": "of this run alone, of whatever experiment; without it: of every trained run of the experiment",
    "--export-npy FOLDER": "also write one .npy file for each clean utterance, as the baselines do; of several runs below <system>/<run>/",
}


def main(config: ConfigSources, chosen: dict[str, str]) -> None:
    """Collects what is missing, shows each run in one line, exports where asked."""
    runs, lack = chosen_runs(config, chosen.get("--run"))
    print(f"08 embeddings: {len(runs)} runs", flush=True)
    new = {run.folder for run in collect_embeddings(runs)}
    for run in runs:
        record = load_embeddings(run.files).record
        shape = f"{record['rows']} x {record['width']}, {record['sources']} sources, {record['unknown_sources']} of them unknown"
        print(f"{'wrote' if run.folder in new else 'unchanged:'} {run.files.embeddings.array}  {shape}")
    if folder := chosen.get("--export-npy"):
        print(f"{export_tree(runs, Path(folder))} files written below {folder}")
    if lack:
        print(in_users_words(lack))
    say_next(f"python scripts/09_visualize_embeddings.py CONFIG.yaml{f' --run {folder}' if (folder := chosen.get('--run')) else ''}")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=EXPERIMENT, flags=FLAGS)
