"""All settings of a script: what `CONFIG.yaml [MORE.yaml ...] [key=value ...]` may say.

Order, later wins: defaults here < configs/systems/<system>.yaml < each YAML file, then its `systems.<system>` part < key=value.
An unknown key is refused with the nearest name, a wrong type with both types (`sourcetracing.settings.checking`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass
from typing import Any

from sourcetracing.settings.backends import BACKENDS
from sourcetracing.settings.corpora import Corpus, Demo, Download, Folder, MclMlaad, Mlaad, Split
from sourcetracing.settings.declaring import LARGEST_SEED, setting
from sourcetracing.settings.detection import Codec, Detection, LayerFeatures, Logreg, Mixing, Pruning, Selection
from sourcetracing.settings.embeddings import EmbeddingPictures
from sourcetracing.settings.enrolment import Enrolment
from sourcetracing.settings.explaining import Explain
from sourcetracing.settings.frontends import FRONTENDS, Audio, Augment, Finetune, Rawboost, Store
from sourcetracing.settings.grouping import Grouping
from sourcetracing.settings.metric_learning import MetricLearning
from sourcetracing.settings.open_split import OpenSplit
from sourcetracing.settings.openset import Openset
from sourcetracing.settings.parts import load_outside_parts
from sourcetracing.settings.paths import Compute, Executor, Paths
from sourcetracing.settings.robustness import Robustness
from sourcetracing.settings.speakers import Speakers
from sourcetracing.settings.tracing import Trace
from sourcetracing.settings.training import Evaluation, Experiment, Train
from sourcetracing.settings.verification import Verification


@dataclass
class _Groups:
    """Every setting but the groups of single front-ends and back-ends, which their registries bring."""

    name: str = setting("demo", "name of the experiment: its folder below paths.exp")
    seed: int = setting(688, "seed of synthesis, split, crops and augmentation", at_least=0, at_most=LARGEST_SEED)
    system: str = setting("lfcc_ecapa_tdnn", "front-end, back-end and their settings: a file in configs/systems, or systems.NAME.base")
    frontend: str = setting("lfcc", "what turns audio into features", choices=FRONTENDS)
    backend: str = setting("ecapa_tdnn", "what turns features into a source", choices=BACKENDS)
    paths: Paths = field(default_factory=Paths)
    corpus: Corpus = field(default_factory=Corpus)
    demo: Demo = field(default_factory=Demo)
    mlaad: Mlaad = field(default_factory=Mlaad)
    mcl_mlaad: MclMlaad = field(default_factory=MclMlaad)
    folder: Folder = field(default_factory=Folder)
    download: Download = field(default_factory=Download)
    split: Split = field(default_factory=Split)
    open_split: OpenSplit = field(default_factory=OpenSplit)
    audio: Audio = field(default_factory=Audio)
    augment: Augment = field(default_factory=Augment)
    finetune: Finetune = field(default_factory=Finetune)
    store: Store = field(default_factory=Store)
    train: Train = field(default_factory=Train)
    metric_learning: MetricLearning = field(default_factory=MetricLearning)
    experiment: Experiment = field(default_factory=Experiment)
    evaluation: Evaluation = field(default_factory=Evaluation)
    speakers: Speakers = field(default_factory=Speakers)
    openset: Openset = field(default_factory=Openset)
    embedding_pictures: EmbeddingPictures = field(default_factory=EmbeddingPictures)
    verification: Verification = field(default_factory=Verification)
    enrolment: Enrolment = field(default_factory=Enrolment)
    robustness: Robustness = field(default_factory=Robustness)
    trace: Trace = field(default_factory=Trace)
    explain: Explain = field(default_factory=Explain)
    grouping: Grouping = field(default_factory=Grouping)
    detection: Detection = field(default_factory=Detection)
    layer_features: LayerFeatures = field(default_factory=LayerFeatures)
    rawboost: Rawboost = field(default_factory=Rawboost)
    codec: Codec = field(default_factory=Codec)
    logreg: Logreg = field(default_factory=Logreg)
    selection: Selection = field(default_factory=Selection)
    mixing: Mixing = field(default_factory=Mixing)
    pruning: Pruning = field(default_factory=Pruning)
    compute: Compute = field(default_factory=Compute)
    executor: Executor = field(default_factory=Executor)
    systems: dict[str, Any] = setting(
        {}, "per system: settings that differ from configs/systems/<name>.yaml in this file; with base: NAME a system of your own"
    )


load_outside_parts()
_PARTS = {name: entry.options for registry in (FRONTENDS, BACKENDS) for name, entry in registry.items() if entry.options}
Settings = make_dataclass(
    "Settings",
    [(name, options, field(default_factory=options)) for name, options in _PARTS.items()],
    bases=(_Groups,),
    namespace={"__module__": __name__, "__doc__": "The resolved settings of a script, one attribute for each group."},
)
