"""09 - Draw the embeddings of trained runs in the plane, and count how they gather by source, language, speaker and split.

Reads   exp/<name>/runs/<system>/<run>/embeddings/ of script 08
Writes  there: by_<label>.png (PCA, t-SNE, UMAP side by side), explore.html (opens in any browser, no network), points.parquet,
        numbers.csv; without --run exp/<name>/tables/embeddings.csv: silhouette and k-nearest-neighbour purity beside chance
Costs   about 20 s of one core for a run of 2000 points, and once for each process 20 s for UMAP's compiler; what is up to date is kept
Run     python scripts/09_visualize_embeddings.py configs/demo.yaml
        python scripts/09_visualize_embeddings.py configs/demo.yaml embedding_pictures.projections=[umap] --run exp/demo/runs/<system>/<run>
"""

import _project_root  # noqa: F401

from sourcetracing.embeddings.runs import chosen_runs
from sourcetracing.embeddings.visualizing import numbers_of, numbers_text, visualize_runs
from sourcetracing.layout import Layout
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.files import write_frame
from sourcetracing.runtime.words import in_users_words, say_next
from sourcetracing.settings.groups import EXPERIMENT
from sourcetracing.settings.reading import ConfigSources

FLAGS = {"--run FOLDER": "of this run alone, of whatever experiment; without it: of every trained run of the experiment"}


def main(config: ConfigSources, chosen: dict[str, str]) -> None:
    """Draws what is missing, shows the numbers and where the pictures lie."""
    runs, lack = chosen_runs(config, chosen.get("--run"))
    print(f"09 pictures of embeddings: {len(runs)} runs", flush=True)
    new = {run.folder for run in visualize_runs(runs)}
    numbers = numbers_of(runs)
    print(f"\n{numbers_text(numbers)}\n")
    for run in runs:
        print(f"{'wrote' if run.folder in new else 'unchanged:'} {run.files.embeddings.page}")
    if "--run" not in chosen:
        write_frame(numbers, Layout.of(config.resolve()).embedding_table)
        print(f"table: {Layout.of(config.resolve()).embedding_table}")
    if lack:
        print(in_users_words(lack))
    say_next("python scripts/10_verify_sources.py CONFIG.yaml   or: python scripts/13_make_tables.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=[*EXPERIMENT, "embedding_pictures"], flags=FLAGS)
