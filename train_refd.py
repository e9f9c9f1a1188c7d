"""Train one system on one selection of languages: the classifier of the source-tracing baselines, on any front-end and back-end.

Reads   exp/<name>/features/<front-end>-<hash>/
Writes  exp/<name>/runs/<system>/<languages>-seed<n>-<hash>/
Costs   demo: about 40 s on 2 cores for the small ECAPA-TDNN; a killed run goes on at its last whole epoch
Run     python train_refd.py configs/demo.yaml system=lfcc_ecapa_tdnn 'train.languages=[en]'
        torchrun --nproc-per-node 2 train_refd.py configs/mcl_mlaad.yaml system=xlsr_aasist 'train.languages=[en]'
        python train_refd.py configs/demo.yaml backend=resnet18 resnet18.width=16 'train.languages=[en,de]' train.epochs=4
"""

from sourcetracing.runtime.cli import run_script
from sourcetracing.settings.backends import BACKENDS
from sourcetracing.settings.frontends import FRONTENDS
from sourcetracing.settings.reading import ConfigSources
from sourcetracing.training.joint import train_in_turn
from sourcetracing.training.run_folder import RunFolder
from sourcetracing.training.runs import load_run


def main(config: ConfigSources) -> None:
    """Trains the run that the settings describe and prints its dev figures."""
    run = load_run(config.resolve())
    print(f"train {run.system} on {run.train_set}, seed {run.seed} -> {run.folder}", flush=True)
    train_in_turn([run])
    outcome = RunFolder(run.folder).read_outcome()
    if "dev_macro_f1" in outcome:
        print(f"epoch {outcome['best_epoch']}: dev macro-F1 {100 * outcome['dev_macro_f1']:.2f} %, dev loss {outcome['dev_loss']:.4f}")
    print(f"wrote {run.folder}")


if __name__ == "__main__":
    uses = ["", "train", *FRONTENDS, *BACKENDS, "finetune", "compute"]
    run_script(main, doc=__doc__, uses=uses)
