"""Train one system on one selection of languages: the classifier of the source-tracing baselines, on any front-end and back-end.

Reads   exp/<name>/features/<front-end>-<hash>/
Writes  exp/<name>/runs/<system>/<languages>-seed<n>-<hash>/
Costs   demo: about 40 s on 2 cores for the small ECAPA-TDNN; a killed run goes on at its last whole epoch
Run     python train_refd.py configs/demo.yaml system=lfcc_ecapa_tdnn 'train.languages=[en]'
        torchrun --nproc-per-node 2 train_refd.py configs/mcl_mlaad.yaml system=xlsr_aasist 'train.languages=[en]'
        python train_refd.py configs/demo.yaml backend=resnet18 resnet18.width=16 'train.languages=[en,de]' train.epochs=4
"""

from sourcetracing.cli import run_script
from sourcetracing.experiments import load_cell
from sourcetracing.joint_training import train_in_turn
from sourcetracing.run_folder import RunFolder
from sourcetracing.settings_io import Layers


def main(layers: Layers) -> None:
    """Trains the cell that the settings describe and prints its dev figures."""
    cell = load_cell(layers.resolve())
    print(f"train {cell.system} on {cell.train_set}, seed {cell.seed} -> {cell.folder}", flush=True)
    train_in_turn([cell])
    outcome = RunFolder(cell.folder).read_outcome()
    if "dev_macro_f1" in outcome:
        print(f"epoch {outcome['best_epoch']}: dev macro-F1 {100 * outcome['dev_macro_f1']:.2f} %, dev loss {outcome['dev_loss']:.4f}")
    print(f"wrote {cell.folder}")


if __name__ == "__main__":
    uses = ["", "train", "aasist", "resnet18", "ecapa_tdnn", "lfcc", "ssl", "finetune", "compute"]
    run_script(main, doc=__doc__, uses=uses)
