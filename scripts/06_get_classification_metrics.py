"""06 - Score every trained cell on the evaluation split and write its classification reports.

Reads   exp/<name>/runs/ and features/
Writes  exp/<name>/runs/<system>/<run>/scores/<split>.parquet (utt_id, variant, language, source, logits), <split>.embeddings.npy
        and <split>_<test set>.txt (per-class reports)
Costs   demo: about 11 s on 2 cores; scores that belong to the weights on disk are kept
Run     python scripts/06_get_classification_metrics.py configs/demo.yaml
"""

import _project_root  # noqa: F401

from sourcetracing.classification import write_reports
from sourcetracing.cli import run_script
from sourcetracing.experiments import load_cells
from sourcetracing.settings_io import Layers
from sourcetracing.training_matrix import score_cells


def main(layers: Layers) -> None:
    """Scores what is not scored, writes the reports and shows each cell in one line."""
    cells = load_cells(layers)
    print(f"06 metrics: {len(cells)} cells", flush=True)
    score_cells(cells)
    print(write_reports(cells))
    print("next: python scripts/08_make_tables.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=["experiment", "evaluation", "compute"])
