"""From utterances to pseudo-speakers (script 03): embeddings, clusters, what the clusters follow, Table 2."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.protocols.table import load_protocol
from sourcetracing.runtime.files import digest_of_json, is_half_written, write_csv, write_json, written_together
from sourcetracing.runtime.locks import held
from sourcetracing.runtime.parallel import resolve_workers
from sourcetracing.settings.schema import Settings
from sourcetracing.speakers.agreement import COMPARED, agreement
from sourcetracing.speakers.clustering import Clustering, elbow, objective_curve, spherical_kmeans
from sourcetracing.speakers.counts import count_groups
from sourcetracing.speakers.embedders import embedder_key
from sourcetracing.speakers.embeddings import embed_utterances
from sourcetracing.speakers.groups import check_thresholds
from sourcetracing.speakers.picture import write_objective_figure
from sourcetracing.speakers.records import label_facts, note_grouping, note_settings_of_older_record


@dataclass(frozen=True)
class Labelling:
    """record: what speakers.json holds; counts: Table 2; is_new: whether anything was clustered."""

    record: dict
    counts: pd.DataFrame
    is_new: bool


def label_speakers(settings: Settings) -> Labelling:
    """Embeds every clean utterance, clusters the embeddings, counts the groups of each held-out language.

    Writes exp/<name>/speakers/ (embeddings, objective.csv, objective.png, pseudo_speakers.csv and, last, speakers.json) and
    tables/table2.csv; labels of other settings than those there go to a folder of their own, speakers/<digest>/. What is there and was made
    from the same things is kept. Raises `UserError`.
    """
    check_thresholds(settings)
    layout = Layout.of(settings)
    with held(layout.speakers_lock, f"another process is writing {layout.speakers}"):
        return _label(settings)


def _label(settings: Settings) -> Labelling:
    utterances, protocol = load_protocol(settings)
    if settings.speakers.k > len(utterances):
        raise UserError(f"speakers.k={settings.speakers.k}, but there are only {len(utterances)} utterances")
    embeddings = embed_utterances(settings, utterances)
    inputs = _digest_of_inputs(settings, utterances)
    note_settings_of_older_record(settings, inputs)
    layout = Layout.of(settings)
    record = _record_of_last_time(layout, inputs)
    is_new = record is None
    if is_new:
        with written_together(layout.speakers_record):
            record = _cluster(settings, utterances, embeddings, inputs)
    counts = count_groups(settings, utterances, protocol)
    note_grouping(settings)
    return Labelling(record, counts, is_new)


def _digest_of_inputs(settings: Settings, utterances: pd.DataFrame) -> str:
    speakers = settings.speakers
    search = [speakers.k, speakers.k_max, speakers.k_restarts, speakers.restarts, settings.seed, version("faiss-cpu")]
    known = utterances[[column for column in ("utt_id", "digest", *COMPARED) if column in utterances]]
    return digest_of_json([embedder_key(settings), search, known.astype(str).to_numpy().tolist()])


def _record_of_last_time(layout: Layout, inputs: str) -> dict | None:
    """None unless the files on disk were made from these inputs."""
    made = (layout.speakers_record, layout.pseudo_speakers, layout.speaker_objective, layout.speaker_objective_figure)
    if is_half_written(layout.speakers_record) or not all(path.is_file() for path in made):
        return None
    record = json.loads(layout.speakers_record.read_text(encoding="utf-8"))
    return record if record.get("inputs") == inputs else None


def _cluster(settings: Settings, utterances: pd.DataFrame, embeddings: np.ndarray, inputs: str) -> dict:
    layout, speakers = Layout.of(settings), settings.speakers
    num_workers, k_max = resolve_workers(settings.compute.workers), min(speakers.k_max, len(embeddings))
    objectives = objective_curve(embeddings, k_max, speakers.k_restarts, settings.seed, num_workers)
    at_elbow = elbow(objectives)
    k = speakers.k or at_elbow
    clustering = spherical_kmeans(embeddings, k, speakers.restarts, settings.seed)
    write_csv(pd.DataFrame({"k": range(1, k_max + 1), "objective": objectives}), layout.speaker_objective)
    write_objective_figure(layout.speaker_objective_figure, objectives, at_elbow, k, len(embeddings))
    labels = pd.DataFrame({"utt_id": utterances["utt_id"], "pseudo_speaker": clustering.labels})
    write_csv(labels, layout.pseudo_speakers)
    facts = {"agreement": agreement(utterances, clustering.labels), **label_facts(settings, labels)}
    record = {"inputs": inputs, "k": k, "elbow": at_elbow, **_facts(settings, clustering), **facts}
    write_json(layout.speakers_record, record)
    return record


def _facts(settings: Settings, clustering: Clustering) -> dict:
    speakers, num_utterances = settings.speakers, len(clustering.labels)
    return {
        "objective": clustering.objective,
        "mean_cosine": clustering.objective / num_utterances,
        "num_utterances": num_utterances,
        "cluster_sizes": np.bincount(clustering.labels, minlength=len(clustering.centroids)).tolist(),
        "embedder": embedder_key(settings),
        "k_max": speakers.k_max,
        "k_restarts": speakers.k_restarts,
        "restarts": speakers.restarts,
        "seed": settings.seed,
        "versions": {name: version(name) for name in ("faiss-cpu", "numpy", "torch")},
    }
