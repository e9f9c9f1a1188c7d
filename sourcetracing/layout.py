"""Where everything of one experiment lies: the only place that spells the names of files below paths.exp.

A line such as `protocol = At("protocol.csv")` is a path below the folder that its class stands for: `Layout.of(settings).protocol` is
exp/<name>/protocol.csv. The files of real-or-fake detection have a layout of their own, in `sourcetracing.detection`.

A protocol, and speakers' labels, belong to the settings that made them (`sourcetracing.settings.recorded`). The first of an experiment lie
at exp/<name>/ and exp/<name>/speakers/; those of other settings beside them, at exp/<name>/protocols/<digest>/ and
exp/<name>/speakers/<digest>/. Which of them `Layout.of(settings).protocol` means is read off their records.

Tables and report too: the first at exp/<name>/tables/ and exp/<name>/report.html, those of other settings at exp/<name>/tables/<digest>/.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sourcetracing.settings.names import fitting_name
from sourcetracing.settings.recorded import differences, label_recipe, name_of_recipe, name_of_table_recipe, protocol_recipe, table_recipe
from sourcetracing.settings.schema import Settings

PROTOCOL_RECORD, LABELS_RECORD, TABLES_RECORD = "protocol.json", "speakers.json", "made_with.json"


@dataclass(frozen=True)
class At:
    """A file or folder below the root of the layout that it is declared in."""

    name: str

    def __get__(self, layout: FolderLayout, owner: type) -> Path:
        return layout.root / self.name


@dataclass(frozen=True)
class OfProtocol(At):
    """A file that each protocol of an experiment has of its own."""

    def __get__(self, layout: Layout, owner: type) -> Path:
        return layout.protocol_folder / self.name


@dataclass(frozen=True)
class OfLabels(At):
    """A file that each labelling of an experiment's speakers has of its own."""

    def __get__(self, layout: Layout, owner: type) -> Path:
        return layout.labels_folder / self.name


@dataclass(frozen=True)
class OfTables(At):
    """A file that the tables of each set of settings have of their own. `name` is the place of the first ones, `other` that of others."""

    other: str

    def __get__(self, layout: Layout, owner: type) -> Path:
        folder = layout.tables
        return layout.root / self.name if folder == layout.first_tables else folder / self.other


@dataclass(frozen=True)
class FolderLayout:
    """What all layouts have: the folder whose files they name."""

    root: Path


class StoreLayout(FolderLayout):
    """A feature store (`sourcetracing.features.store`)."""

    features = At("features.npy")
    index = At("index.csv")
    record = At("store.json")
    partial = At("features.partial.npy")
    progress = At("progress.jsonl")
    lock = At(".lock")


class EmbeddingLayout(FolderLayout):
    """The embeddings of a run (`sourcetracing.embeddings.stored`) and their pictures."""

    array = At("embeddings.npy")
    index = At("index.parquet")
    record = At("embeddings.json")
    points = At("points.parquet")
    numbers = At("numbers.csv")
    page = At("explore.html")
    pictures_record = At("pictures.json")
    lock = At(".lock")

    def picture(self, label: str) -> Path:
        """The picture that is coloured by a label."""
        return self.root / f"by_{label}.png"


class RunLayout(FolderLayout):
    """One trained system (`sourcetracing.training.run_folder`), its scores, its embeddings, its calibration."""

    lock = At(".lock")
    config = At("config.yaml")
    environment = At("environment.json")
    classes = At("classes.json")
    labels = At("labels.json")  # of an export: architecture, acoustic model, vocoder of each source
    label_classes = At("label_classes.json")  # where train.labels asks for several heads
    protocol = At("protocol.json")
    weights = At("model.safetensors")
    last = At("last.safetensors")
    progress = At("progress.json")
    outcome = At("model.json")
    history = At("history.csv")
    tensorboard = At("tensorboard")
    all_scores = At("scores")
    scores_lock = At("scores/.lock")
    calibration = At("calibration.json")
    calibration_picture = At("calibration.png")
    encoder = At("encoder")  # of an export: the SSL encoder, where it is no model of the Hub

    @property
    def records(self) -> tuple[Path, ...]:
        """What says how the run was made and what became of it."""
        return self.config, self.environment, self.classes, self.protocol, self.outcome

    @property
    def embeddings(self) -> EmbeddingLayout:
        """The files of its embeddings."""
        return EmbeddingLayout(self.root / "embeddings")

    def scores(self, split: str) -> Path:
        """Logits of the rows of a split."""
        return self.all_scores / f"{split}.parquet"

    def scored_embeddings(self, split: str) -> Path:
        """Embeddings of the same rows."""
        return self.all_scores / f"{split}.embeddings.npy"

    def label_scores(self, split: str) -> Path:
        """What further heads say of the same rows."""
        return self.all_scores / f"{split}.labels.parquet"

    def class_report(self, split: str, test_set: str) -> Path:
        """Figures of each class on a test set."""
        return self.all_scores / fitting_name(f"{split}_{test_set}.txt")


class OpensetLayout(FolderLayout):
    """What `sourcetracing.openset` makes of one run."""

    record = At("detectors.json")
    figures = At("figures.csv")
    relatives = At("relatives.csv")
    lock = At(".lock")
    curves = At("curves.png")
    histograms = At("histograms.png")
    oscr = At("oscr.png")

    @property
    def pictures(self) -> tuple[Path, ...]:
        """In the order in which the report shows them."""
        return self.curves, self.histograms, self.oscr

    def scores(self, split: str) -> Path:
        """Parquet: utt_id, variant, split, language, source, label, prediction, then one column for each detector."""
        return self.root / f"scores_{split}.parquet"


class VerificationLayout(FolderLayout):
    """What `sourcetracing.verification` makes of one run, or of the baseline that knows voices alone."""

    record = At("verification.json")
    figures = At("figures.csv")
    lock = At(".lock")
    det = At("det.png")
    enrolment = At("enrolment.csv")
    enrolment_record = At("enrolment.json")

    def scores(self, split: str) -> Path:
        """Parquet: enrol, test, label, condition, then two columns for each scoring: its score and its log-likelihood ratio."""
        return self.root / f"scores_{split}.parquet"


class RobustnessLayout(FolderLayout):
    """What `sourcetracing.robustness` makes of one run."""

    record = At("robustness.json")
    figures = At("figures.csv")
    worst = At("worst.csv")
    lock = At(".lock")

    def answers(self, digest: str) -> Path:
        """The folder of its answers after post-processing, by what they hang on."""
        return self.root / f"answers-{digest}"


class TablesLayout(FolderLayout):
    """Tables and their pictures, which are named after what they show."""

    def csv(self, name: str) -> Path:
        """For programs."""
        return self.root / f"{name}.csv"

    def markdown(self, name: str) -> Path:
        """For people."""
        return self.root / f"{name}.md"

    def latex(self, name: str) -> Path:
        """For papers."""
        return self.root / f"{name}.tex"

    def picture(self, name: str) -> Path:
        """A PNG file."""
        return self.root / f"{name}.png"


@dataclass(frozen=True)
class Layout(FolderLayout):
    """One experiment, exp/<name>/. settings: whose protocol and speakers' labels are meant; None: the first ones."""

    settings: Settings | None = None

    utterances = OfProtocol("utterances.csv")
    protocol = OfProtocol("protocol.csv")
    protocol_record = OfProtocol(PROTOCOL_RECORD)
    bad_audio = OfProtocol("bad_audio.csv")
    audio_notes = OfProtocol("audio_notes.csv")
    speaker_groups = OfProtocol("speaker_groups.csv")
    label_assignment = OfProtocol("label_assignment.txt")
    counts = OfProtocol("tables/table1_counts.csv")
    model_counts = OfProtocol("tables/counts_by_model.csv")
    audio_facts = OfProtocol("tables/audio_facts.csv")
    leakage = OfProtocol("tables/leakage.csv")
    planned_leakage = OfProtocol("tables/leakage_planned.csv")
    protocol_lock = At(".protocol.lock")
    missing_files = At("missing_files.txt")
    report = OfTables("report.html", "report.html")
    report_record = OfTables("report.json", "report.json")

    protocols = At("protocols")
    features = At("features")
    runs = At("runs")
    openset = At("openset")
    verification = At("verification")
    robustness = At("robustness")
    unknown_speaker_embeddings = At("verification/speakers/embeddings.npy")

    speakers = At("speakers")
    speakers_lock = At("speakers/.lock")
    pseudo_speakers = OfLabels("pseudo_speakers.csv")
    speakers_record = OfLabels(LABELS_RECORD)
    speaker_objective = OfLabels("objective.csv")
    speaker_objective_figure = OfLabels("objective.png")

    shortcuts = At("shortcuts")
    cues = At("shortcuts/cues.parquet")
    cured_cues = At("shortcuts/cues_cured.parquet")
    shortcut_scores = At("shortcuts/scores.parquet")
    cured_shortcut_scores = At("shortcuts/scores_cured.parquet")
    shortcuts_record = OfTables("shortcuts/made.json", "shortcuts.json")

    first_tables = At("tables")
    tables_lock = At(".tables.lock")
    speaker_counts = At("tables/table2.csv")
    openset_table = At("tables/openset.csv")
    openset_text = At("tables/openset.md")
    openset_by_language = At("tables/openset_by_language.csv")
    openset_relatives = At("tables/openset_relatives.csv")
    verification_table = At("tables/verification.csv")
    verification_text = At("tables/verification.md")
    verification_det = At("tables/verification_det.png")
    robustness_table = At("tables/robustness.csv")
    robustness_text = At("tables/robustness.md")
    robustness_worst = At("tables/robustness_worst.csv")
    robustness_picture = At("tables/robustness.png")
    robustness_gains = At("tables/robustness_gains.csv")
    robustness_gains_text = At("tables/robustness_gains.md")
    enrolment_table = At("tables/enrolment.csv")
    enrolment_text = At("tables/enrolment.md")
    enrolment_picture = At("tables/enrolment.png")
    shortcut_table = OfTables("tables/shortcuts.csv", "shortcuts.csv")
    shortcut_means = OfTables("tables/shortcuts_means.csv", "shortcuts_means.csv")
    shortcut_text = OfTables("tables/shortcuts.md", "shortcuts.md")
    metric_learning = At("tables/metric_learning.csv")
    metric_learning_lock = At("tables/.metric_learning.lock")
    embedding_table = At("tables/embeddings.csv")
    explanation = At("explanation")
    explanation_record = At("explanation/made.json")
    explanation_table = At("tables/explanation.csv")
    explanation_sources = At("tables/explanation_sources.csv")
    explanation_checks = At("tables/explanation_checks.csv")
    explanation_deletion = At("tables/explanation_deletion.csv")
    explanation_text = At("tables/explanation.md")
    explanation_picture = At("tables/explanation.png")
    label_table = At("tables/labels.csv")
    label_text = At("tables/labels.md")

    @classmethod
    def of(cls, settings: Settings) -> Layout:
        """The folder named after `name` below paths.exp."""
        return cls(Path(settings.paths.exp) / settings.name, settings)

    @property
    def protocol_folder(self) -> Path:
        """Where the protocol of the settings lies, or will."""
        if self.settings is None:
            return self.root
        return _place(self.root, self.protocols, PROTOCOL_RECORD, protocol_recipe(self.settings))

    @property
    def labels_folder(self) -> Path:
        """Where the speakers' labels of the settings lie, or will."""
        if self.settings is None:
            return self.speakers
        return _place(self.speakers, self.speakers, LABELS_RECORD, label_recipe(self.settings))

    @property
    def tables(self) -> Path:
        """Where the tables of the settings lie, or will; first ones from before settings were noted stay."""
        first = self.first_tables
        if self.settings is None:
            return first
        recipe = table_recipe(self.settings)
        name = name_of_table_recipe(recipe)
        is_older = (self.root / "report.json").is_file() and not (first / TABLES_RECORD).is_file()
        return first / name if is_older else _place(first, first, TABLES_RECORD, recipe, name)

    @property
    def tables_record(self) -> Path:
        """The settings that the tables were made with."""
        return self.tables / TABLES_RECORD

    def store(self, front_end: str, digest: str) -> StoreLayout:
        """The feature store of a front-end."""
        return StoreLayout(self.features / f"{front_end}-{digest}")

    def run(self, system: str, name: str) -> RunLayout:
        """A run by its folder's name, which ends in the digest of what decides it."""
        return RunLayout(self.runs / system / name)

    def openset_of(self, system: str, run_name: str) -> OpensetLayout:
        """The detectors of unknown sources that are fitted on a run."""
        return OpensetLayout(self.openset / system / run_name)

    def verification_of(self, system: str, run_name: str) -> VerificationLayout:
        """How a run tells same-source pairs from others."""
        return VerificationLayout(self.verification / system / run_name)

    def explanation_of(self, system: str, run_name: str) -> Path:
        """Parquet: drops of a run's LLRs, a row for each utterance and band (`sourcetracing.explanation.run_values`)."""
        return self.explanation / system / f"{run_name}.parquet"

    def robustness_of(self, system: str, run_name: str) -> RobustnessLayout:
        """What of a run survives post-processing."""
        return RobustnessLayout(self.robustness / system / run_name)

    def trials(self, split: str) -> Path:
        """The list of trials of a split, as CSV; its models stand beside it."""
        return self.protocol_folder / "verification_trials" / f"{split}.csv"

    def speaker_embeddings(self, embedder: str) -> Path:
        """The array; whose its rows are says the .csv of the same name."""
        return self.speakers / f"embeddings-{embedder}.npy"


def noise_bank(settings: Settings, kind: str, digest: str) -> Path:
    """The record of a bank of noises, which all experiments share; its samples are the .npy of the same name."""
    return Path(settings.paths.exp) / "noise_bank" / f"{kind}-{digest}.json"


def _place(first: Path, others: Path, record: str, recipe: dict[str, Any], name: str = "") -> Path:
    """`first` where nothing is finished there yet or what is there has this recipe; else a folder of its own below `others`."""
    own = others / (name or name_of_recipe(recipe))
    if (own / record).is_file() or not (first / record).is_file():
        return own if (own / record).is_file() else first
    made = recipe_in(first / record)
    return first if made is not None and not differences(made, recipe) else own


def recipe_in(record: Path) -> dict[str, Any] | None:
    """The settings that a protocol or labels were made with; None where the record is from before they were noted."""
    return json.loads(record.read_text(encoding="utf-8")).get("settings")
