"""05 - Train every cell of an experiment: systems x training sets x seeds, skipping what is done.

Reads   exp/<name>/features/<front-end>-<hash>/
Writes  exp/<name>/runs/<system>/<languages>-seed<n>-<hash>/ (config.yaml, environment.json, history.csv, model.safetensors, model.json)
Costs   demo: 3 to 5 minutes on 2 cores (6 cells); it shows the plan first; a killed run goes on at its last whole epoch
Run     python scripts/05_train_matrix.py configs/demo.yaml
        python scripts/05_train_matrix.py configs/demo.yaml 'experiment.systems=[lfcc_resnet18]' 'experiment.seeds=[1,2,3]'
        python scripts/05_train_matrix.py configs/demo.yaml --only lfcc_ecapa_tdnn/en     # one system on one training set
        python scripts/05_train_matrix.py configs/demo.yaml --shard 1/4     # a quarter of the cells; docs/scaling.md
        torchrun --nproc-per-node 2 scripts/05_train_matrix.py configs/mcl_mlaad.yaml     # each cell on two GPUs
"""

import _project_root  # noqa: F401

from sourcetracing.cli import run_script
from sourcetracing.experiments import load_cells
from sourcetracing.layout import Layout
from sourcetracing.protocols import load_protocol
from sourcetracing.run_folder import RunFolder
from sourcetracing.settings_io import Layers
from sourcetracing.training_matrix import train_cells
from sourcetracing.training_plan import describe_plan, make_plan, only, read_shard

FLAGS = {
    "--only PATTERN": "train only these cells: a system, system/training set or system/training set/seed; * stands for anything",
    "--shard i/n": "train only part i of n of the cells (i from 1), so that n machines or array jobs can share them",
}


def main(layers: Layers, flags: dict[str, str]) -> None:
    """Shows the plan, trains what is not trained and says where it lies."""
    part = read_shard(flags.get("--shard", "1/1"))
    all_cells, settings = load_cells(layers), layers.resolve()
    cells = only(all_cells, flags.get("--only", "*"))[part]
    chosen = f"{len(cells)} of {len(all_cells)} cells" if flags else f"{len(cells)} cells"
    print(f"05 training: {chosen} for {', '.join(settings.experiment.tables)}", flush=True)
    if cells:
        utterances, protocol = load_protocol(settings, Layout.of(settings).root)
        print(describe_plan(make_plan(cells, utterances.merge(protocol, on="utt_id")), cells), flush=True)
    train_cells(cells)
    print(f"{len(cells)} trained cells in {Layout.of(settings).runs}")
    if not_trained := sum(not RunFolder(cell.folder).is_finished for cell in all_cells):
        print(f"{not_trained} of all {len(all_cells)} cells are not trained yet: they were not chosen here")
    print("next: python scripts/06_get_classification_metrics.py CONFIG.yaml")


if __name__ == "__main__":
    uses = ["", "experiment", "train", "aasist", "resnet18", "ecapa_tdnn", "compute", "executor"]
    run_script(main, doc=__doc__, uses=uses, flags=FLAGS)
