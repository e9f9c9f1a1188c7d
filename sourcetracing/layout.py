"""Where everything of one experiment lies: the only place that spells file names below paths.exp."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sourcetracing.settings.schema import Settings


@dataclass(frozen=True)
class Layout:
    """The files of exp/<name>/."""

    root: Path

    @classmethod
    def of(cls, settings: Settings) -> Layout:
        return cls(Path(settings.paths.exp) / settings.name)

    @property
    def utterances(self) -> Path:
        return self.root / "utterances.csv"

    @property
    def protocol(self) -> Path:
        return self.root / "protocol.csv"

    @property
    def protocol_record(self) -> Path:
        return self.root / "protocol.json"

    @property
    def bad_audio(self) -> Path:
        return self.root / "bad_audio.csv"

    @property
    def missing_files(self) -> Path:
        return self.root / "missing_files.txt"

    @property
    def speaker_groups(self) -> Path:
        return self.root / "speaker_groups.csv"

    @property
    def label_assignment(self) -> Path:
        return self.root / "label_assignment.txt"

    @property
    def leakage(self) -> Path:
        return self.tables / "leakage.csv"

    @property
    def planned_leakage(self) -> Path:
        return self.tables / "leakage_planned.csv"

    @property
    def counts(self) -> Path:
        return self.root / "tables" / "table1_counts.csv"

    @property
    def features(self) -> Path:
        return self.root / "features"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def openset(self) -> Path:
        return self.root / "openset"

    @property
    def openset_table(self) -> Path:
        return self.tables / "openset.csv"

    @property
    def openset_text(self) -> Path:
        return self.tables / "openset.md"

    @property
    def openset_by_language(self) -> Path:
        return self.tables / "openset_by_language.csv"

    @property
    def shortcuts(self) -> Path:
        return self.root / "shortcuts"

    @property
    def cues(self) -> Path:
        return self.shortcuts / "cues.parquet"

    @property
    def shortcut_scores(self) -> Path:
        return self.shortcuts / "scores.parquet"

    @property
    def shortcut_table(self) -> Path:
        return self.tables / "shortcuts.csv"

    @property
    def shortcut_means(self) -> Path:
        return self.tables / "shortcuts_means.csv"

    @property
    def shortcut_text(self) -> Path:
        return self.tables / "shortcuts.md"

    @property
    def speakers(self) -> Path:
        return self.root / "speakers"

    def speaker_embeddings(self, embedder: str) -> Path:
        return self.speakers / f"embeddings-{embedder}.npy"

    @property
    def pseudo_speakers(self) -> Path:
        return self.speakers / "pseudo_speakers.csv"

    @property
    def speakers_record(self) -> Path:
        return self.speakers / "speakers.json"

    @property
    def speaker_objective(self) -> Path:
        return self.speakers / "objective.csv"

    @property
    def speaker_objective_figure(self) -> Path:
        return self.speakers / "objective.png"

    @property
    def speaker_counts(self) -> Path:
        return self.tables / "table2.csv"

    @property
    def tables(self) -> Path:
        return self.root / "tables"

    @property
    def metric_learning(self) -> Path:
        return self.tables / "metric_learning.csv"

    @property
    def embedding_table(self) -> Path:
        return self.tables / "embeddings.csv"

    @property
    def report(self) -> Path:
        return self.root / "report.html"
