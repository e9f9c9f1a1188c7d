"""Train one embedding system (GE2E or another metric loss) and evaluate how well its embeddings trace: the session's second baseline.

Reads   exp/<name>/features/<front-end>-<hash>/
Writes  exp/<name>/runs/<system>/<languages>-seed<n>-<hash>/ and its row of exp/<name>/tables/metric_learning.csv
Costs   demo: about a minute on 2 cores; a killed run goes on at its last whole epoch
Run     python train_ge2e.py configs/demo_openset.yaml system=demo_ge2e
        python train_ge2e.py configs/ge2e.yaml
        python train_ge2e.py configs/ge2e.yaml configs/compat/published_ge2e.yaml
        python train_ge2e.py configs/demo_openset.yaml system=demo_ge2e metric_learning.loss=aam_softmax
"""

from sourcetracing.cli import run_script
from sourcetracing.compute import pick_device
from sourcetracing.errors import UserError
from sourcetracing.experiments import load_cell
from sourcetracing.feature_data import open_store
from sourcetracing.joint_training import train_in_turn
from sourcetracing.layout import Layout
from sourcetracing.metric_learning.evaluation import describe, evaluate_embeddings
from sourcetracing.run_folder import RunFolder
from sourcetracing.settings_io import Layers


def main(layers: Layers) -> None:
    """Trains the cell that the settings describe, then scores and evaluates it."""
    settings = layers.resolve()
    if settings.backend != "embedding_head":
        raise UserError(
            f"system={settings.system} has backend={settings.backend}, which train_refd.py trains; here embedding_head is meant"
        )
    cell = load_cell(settings)
    rules = settings.metric_learning
    print(f"train {cell.system} on {cell.train_set}, seed {cell.seed}, loss {rules.loss} -> {cell.folder}", flush=True)
    train_in_turn([cell])
    outcome = RunFolder(cell.folder).read_outcome()
    print(f"epoch {outcome['best_epoch']}, picked by {outcome['selected_by']}; on eval, in percent:")
    print(describe(evaluate_embeddings(cell, open_store(settings), pick_device(settings.compute.device))))
    print(f"wrote {cell.folder} and {Layout.of(settings).metric_learning}")
    print(f"next: python scripts/10_generate_embeddings.py CONFIG.yaml --run {cell.folder}")


if __name__ == "__main__":
    uses = ["", "embedding_head", "metric_learning", "train", "lfcc", "ssl", "finetune", "evaluation", "compute"]
    run_script(main, doc=__doc__, uses=uses)
