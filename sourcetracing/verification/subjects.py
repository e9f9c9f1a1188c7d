"""What is judged by trials: the trained runs of an experiment, and the baseline that knows voices alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from sourcetracing.layout import Layout, VerificationLayout
from sourcetracing.protocols.records import protocol_facts
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.settings.recorded import traced
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import SPLITS
from sourcetracing.speakers.embedders import embedder_key
from sourcetracing.training.recorded import overlays_of_run, protocol_of_run
from sourcetracing.training.runs import TrainingRun
from sourcetracing.verification.representations import OF_SPEAKERS, Embedded, embedded_by, speaker_baseline

# What is learnt from labels of sources knows more than voices: on the demo it told seen sources apart like any system.
LEFT_OUT_FOR_SPEAKERS = {"lda_cosine": "it would learn sources from voices' embeddings"}
SHORT = 8  # digits of a digest that a table shows


@dataclass(frozen=True)
class Subject:
    """keys: what a table says of it, columns system, train_set, seed, run, compat, protocol. inputs: what its embeddings hang on (JSON).

    load: its embeddings by split, train among them; it can be sent to another process. name: of a line in a picture. without: scoring ->
    why it has none of it.
    """

    keys: dict[str, object]
    name: str
    inputs: dict[str, object]
    files: VerificationLayout
    load: Callable[[], dict[str, Embedded]]
    without: Mapping[str, str] = field(default_factory=dict)


def subject_of_run(run: TrainingRun) -> Subject:
    """run: scored on all splits (`on_all_splits`)."""
    files = Layout.of(run.settings).verification_of(run.system, run.folder.name)
    keys = {"system": run.system, "train_set": run.train_set, "seed": run.seed, "run": run.folder.name}
    keys |= {"compat": overlays_of_run(run), "protocol": protocol_of_run(run)["digest"][:SHORT]}
    inputs = {split: digest_of_file(run.files.scores(split)) for split in SPLITS}
    inputs["variants"] = [run.settings.train.variants, run.settings.evaluation.variants]
    name = f"{run.system}, {run.train_set}, seed {run.seed}"
    return Subject(keys, name, inputs, files, partial(_all_splits, run))


def _all_splits(run: TrainingRun) -> dict[str, Embedded]:
    return {split: embedded_by(run, split) for split in SPLITS}


def subject_of_speakers(settings: Settings) -> Subject:
    """Only where there is a baseline (`why_no_speakers`)."""
    layout, embedder = Layout.of(settings), settings.speakers.embedder
    facts = protocol_facts(settings) or {"digest": ""}
    keys = {"system": OF_SPEAKERS, "train_set": "", "seed": None, "run": embedder, "compat": "", "protocol": facts["digest"][:SHORT]}
    inputs = {"embedder": embedder_key(settings), "utterances": digest_of_file(layout.utterances), "protocol": facts["digest"]}
    inputs["corpus"] = [settings.corpus.languages, *traced(settings.corpus)]
    name = f"{OF_SPEAKERS}, {embedder}"
    files = layout.verification_of(OF_SPEAKERS, embedder)
    return Subject(keys, name, inputs, files, partial(speaker_baseline, settings), LEFT_OUT_FOR_SPEAKERS)
