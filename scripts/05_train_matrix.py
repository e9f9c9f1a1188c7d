"""05 - Train every cell of an experiment: systems x training sets x seeds, skipping what is done.

Reads   exp/<name>/features/<front-end>-<hash>/
Writes  exp/<name>/runs/<system>/<languages>-seed<n>-<hash>/ (config.yaml, environment.json, history.csv, model.safetensors, model.json)
Costs   demo: about 3 minutes on 2 cores (6 cells); a killed run goes on at its last whole epoch
Run     python scripts/05_train_matrix.py configs/demo.yaml
        python scripts/05_train_matrix.py configs/demo.yaml 'experiment.systems=[lfcc_resnet18]' 'experiment.seeds=[1,2,3]'
        python scripts/05_train_matrix.py configs/demo.yaml --shard 1/4     # a quarter of the cells; docs/scaling.md
"""

import _project_root  # noqa: F401

from sourcetracing.cli import run_script
from sourcetracing.experiments import load_cells
from sourcetracing.layout import Layout
from sourcetracing.run_folder import RunFolder
from sourcetracing.settings_io import Layers
from sourcetracing.training_matrix import read_shard, train_cells

FLAGS = {"--shard i/n": "train only part i of n of the cells (i from 1), so that n machines or array jobs can share them"}


def main(layers: Layers, flags: dict[str, str]) -> None:
    """Trains what is not trained and says where it lies."""
    shard = flags.get("--shard", "1/1")
    part = read_shard(shard)
    all_cells = load_cells(layers)
    cells = all_cells[part]
    num_done = sum(RunFolder(cell.folder).is_finished for cell in cells)
    whole = f"shard {shard} of {len(all_cells)} cells: " if flags else ""
    print(f"05 training: {whole}{len(cells)} cells, {num_done} done, {len(cells) - num_done} to do", flush=True)
    train_cells(cells)
    print(f"{len(cells)} trained cells in {Layout.of(layers.resolve()).runs}")
    if not_trained := sum(not RunFolder(cell.folder).is_finished for cell in all_cells):
        print(f"{not_trained} of all {len(all_cells)} cells are not trained yet; they belong to other shards")
    print("next: python scripts/06_get_classification_metrics.py CONFIG.yaml")


if __name__ == "__main__":
    uses = ["", "experiment", "train", "aasist", "resnet18", "ecapa_tdnn", "compute", "executor"]
    run_script(main, doc=__doc__, uses=uses, flags=FLAGS)
