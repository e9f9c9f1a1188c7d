"""Where everything of the detection experiments lies: the only place that spells file names below exp/<name>/detection/."""

from __future__ import annotations

from pathlib import Path

from sourcetracing.layout import Layout
from sourcetracing.settings.names import fitting_name
from sourcetracing.settings.schema import Settings

LISTS_RECORD = "finished.json"  # of a folder of lists of kept files: which there are; written last


class DetectionLayout:
    """The files of exp/<name>/detection/."""

    def __init__(self, settings: Settings):
        self.root = root = Layout.of(settings).root / "detection"
        self.manifest, self.manifest_record = root / "files.csv", root / "files.json"
        self.missing_files, self.bad_audio = root / "missing_files.txt", root / "bad_audio.csv"
        self.checked = root / "checked"  # what is known of blocks of audio files
        self.features = root / "features"
        self.results = root / "results"
        self.layer_choice = self.results / "layer_choice.json"
        self.pruning, self.augment_pruned = root / "pruning", root / "augment_pruned"
        self.report = root / "report.html"

    def table(self, name: str) -> Path:
        """results/<name>.csv"""
        return self.results / f"{name}.csv"

    def text(self, name: str) -> Path:
        """results/<name>.md"""
        return self.results / f"{name}.md"

    def scores(self, experiment: str, name: str) -> Path:
        """Scores of one classifier of an experiment."""
        return self.root / "scores" / experiment / fitting_name(f"{name}.parquet")

    def mixture_model(self, mixture: str) -> Path:
        """The classifier of a mixture, names of its sets joined by +."""
        return self.root / "mixing" / fitting_name(f"{mixture}.safetensors")

    def scratch(self, name: str) -> Path:
        """A folder for copies that are read many times, gone in the end."""
        return self.root / f"scratch_{name}"


class ListFolder:
    """The files beside a list of kept files; list.json is written last."""

    def __init__(self, folder: str | Path):
        self.folder = folder = Path(folder)
        self.files, self.parts = folder / "files.csv", folder / "parts.csv"
        self.model, self.scores = folder / "model.safetensors", folder / "scores.parquet"
        self.record = folder / "list.json"

    def wrong_predictions(self, dataset: str) -> Path:
        """Files of a set that the classifier gets wrong."""
        return self.folder / f"wrong_predictions_{dataset}.csv"
