"""Train one system on one selection of languages: the classifier of the source-tracing baselines, on any front-end and back-end.

Reads   exp/<name>/features/<front-end>-<hash>/
Writes  exp/<name>/runs/<system>/<languages>-seed<n>-<hash>/
Costs   demo: about 40 s on 2 cores for the small ECAPA-TDNN; a killed run goes on where it was saved last
Run     python train_refd.py configs/demo.yaml system=lfcc_ecapa_tdnn 'train.languages=[en]'
        torchrun --nproc-per-node 2 train_refd.py configs/mcl_mlaad.yaml system=xlsr_aasist 'train.languages=[en]'
        python train_refd.py configs/demo.yaml system=lfcc_ecapa_tdnn backend=resnet18 resnet18.width=16 'train.languages=[en,de]'
"""

from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import say_next
from sourcetracing.settings.groups import RUN
from sourcetracing.settings.reading import ConfigSources
from sourcetracing.training.joint import train_in_turn
from sourcetracing.training.rounds import word_for_rounds
from sourcetracing.training.runs import load_run, settings_of_one_run


def main(config: ConfigSources) -> None:
    """Trains the run that the settings describe and shows what it reaches on dev."""
    run = load_run(settings_of_one_run(config))
    print(f"train {run.system} on {run.train_set}, seed {run.seed} -> {run.folder}", flush=True)
    train_in_turn([run])
    outcome = run.files.read_outcome()
    if "dev_macro_f1" in outcome:
        kept = f"{word_for_rounds([run.settings])} {outcome['best_epoch']}"
        print(f"{kept}: dev macro-F1 {100 * outcome['dev_macro_f1']:.2f} %, dev loss {outcome['dev_loss']:.4f}")
    print(f"wrote {run.folder}")
    say_next(f"python scripts/trace_audio.py FILE.wav --run {run.folder}")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=[*RUN, "experiment"])
