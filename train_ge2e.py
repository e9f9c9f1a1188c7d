"""Train one embedding system (GE2E or another metric loss) and evaluate how well its embeddings trace: the session's second baseline.

Reads   exp/<name>/features/<front-end>-<hash>/
Writes  exp/<name>/runs/<system>/<languages>-seed<n>-<hash>/ and its row of exp/<name>/tables/metric_learning.csv
Costs   demo: about a minute on 2 cores; a killed run goes on where it was saved last
Run     python train_ge2e.py configs/demo_openset.yaml system=demo_ge2e
        python train_ge2e.py configs/ge2e.yaml
        python train_ge2e.py configs/ge2e.yaml configs/as_published/published_ge2e.yaml
        python train_ge2e.py configs/demo_openset.yaml system=demo_ge2e metric_learning.loss=aam_softmax
"""

from sourcetracing.embeddings.evaluation import describe, evaluate_embeddings
from sourcetracing.errors import UserError
from sourcetracing.features.rows import open_store
from sourcetracing.layout import Layout
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.compute import prepare_device
from sourcetracing.runtime.words import say_next
from sourcetracing.settings.backends import BACKENDS
from sourcetracing.settings.groups import RUN
from sourcetracing.settings.reading import ConfigSources
from sourcetracing.training.joint import train_in_turn
from sourcetracing.training.rounds import word_for_rounds
from sourcetracing.training.runs import load_run, settings_of_one_run


def main(config: ConfigSources) -> None:
    """Trains the run that the settings describe, then scores and evaluates it."""
    settings = settings_of_one_run(config)
    if not BACKENDS[settings.backend].metric_loss:
        raise UserError(
            f"system={settings.system} has backend={settings.backend}, which train_refd.py trains; here embedding_head is meant"
        )
    run = load_run(settings)
    rules = settings.metric_learning
    print(f"train {run.system} on {run.train_set}, seed {run.seed}, loss {rules.loss} -> {run.folder}", flush=True)
    train_in_turn([run])
    outcome = run.files.read_outcome()
    print(f"{word_for_rounds([run.settings])} {outcome['best_epoch']}, picked by {outcome['selected_by']}; on eval, in percent:")
    print(describe(evaluate_embeddings(run, open_store(settings), prepare_device(settings.compute))))
    print(f"wrote {run.folder} and {Layout.of(settings).metric_learning}")
    say_next(f"python scripts/08_generate_embeddings.py CONFIG.yaml --run {run.folder}")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=[*RUN, "experiment"])
