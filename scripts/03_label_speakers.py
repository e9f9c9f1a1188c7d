"""03 - Label pseudo-speakers: embed every clean utterance, cluster, say which speakers each training set has seen (Table 2).

Reads   exp/<name>/utterances.csv, protocol.csv; paths.corpus; with speakers.embedder=ecapa2 a file from the Hugging Face Hub
Writes  exp/<name>/speakers/ (embeddings-*.npy, objective.csv, objective.png, pseudo_speakers.csv, speakers.json); tables/table2.csv;
        labels below exp/<name>/speakers/<digest>/ where labels of other settings lie there, which stay
Costs   demo: about 50 s on 2 cores (0.07 s per utterance and core, then 10 s for the clusters); a killed run goes on
Run     python scripts/03_label_speakers.py configs/demo.yaml
        python scripts/03_label_speakers.py configs/mcl_mlaad.yaml speakers.embedder=ecapa2 speakers.thresholds=published
        python scripts/03_label_speakers.py configs/demo.yaml speakers.k=18 speakers.test_set=unseen_language
"""

import _project_root  # noqa: F401

from sourcetracing.layout import Layout
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import say_next
from sourcetracing.settings.reading import ConfigSources
from sourcetracing.training.table_plans import plans_of

COLUMNS = ["held_out", "threshold", "p_min", "p_max", "seen", "unseen", "never_seen", "rare", "frequent", "total"]
FLAGS = {"--if-needed": "does nothing where no table of the experiment tells groups of speakers apart"}


def main(config: ConfigSources, flags: dict[str, str]) -> None:
    """Labels the speakers and prints what the clusters follow and how the groups come out."""
    settings = config.resolve()
    if "--if-needed" in flags and not any(plan.needs_speakers for plan in plans_of(settings)):
        print(f"03 speakers: no table of {', '.join(settings.experiment.tables)} needs them")
        return
    # Here, for torch takes seconds to import and most experiments end above.
    from sourcetracing.speakers.agreement import what_clusters_follow
    from sourcetracing.speakers.labelling import label_speakers

    layout = Layout.of(settings)
    print(f"03 speakers ({settings.speakers.embedder}): {settings.paths.corpus} -> {layout.speakers}", flush=True)
    labelling = label_speakers(settings)
    record = labelling.record
    chosen = "the elbow" if not settings.speakers.k else f"speakers.k; the elbow is at {record['elbow']}"
    print(f"{record['k']} pseudo-speakers ({chosen}) for {record['num_utterances']} utterances, mean cosine {record['mean_cosine']:.3f}")
    for column, match in record["agreement"].items():
        indices = f"adjusted Rand index {match['adjusted_rand_index']:.2f}, NMI {match['normalized_mutual_information']:.2f}"
        print(f"agreement with the {match['values']} {column}s known of {match['utterances']} utterances: {indices}")
    if follows := what_clusters_follow(record["agreement"]):
        print(follows)
    counts = labelling.counts
    print(f"\nTable 2, tested on {counts['test_set'].iloc[0]}:\n{counts[COLUMNS].round(3).to_string(index=False)}\n")
    print(f"{'wrote' if labelling.is_new else 'unchanged:'} {layout.pseudo_speakers}")
    say_next("python scripts/04_preprocess_dataset.py CONFIG.yaml")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=["", "paths", "corpus", "split", "audio", "speakers", "experiment", "compute"], flags=FLAGS)
