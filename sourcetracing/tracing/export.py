"""The work of export_model.py: a trained system as one ONNX file, and as a folder that others can trace with and the Hub can hold."""

from __future__ import annotations

import shutil
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sourcetracing.errors import UserError
from sourcetracing.layout import RunLayout
from sourcetracing.metrics.calibration import Calibration
from sourcetracing.runtime.files import atomic_path, write_json, write_text
from sourcetracing.settings.paths import Paths
from sourcetracing.settings.reading import to_yaml
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import SPLITS
from sourcetracing.tracing.calibration import calibrate
from sourcetracing.tracing.levels import write_labels
from sourcetracing.tracing.model_card import UNDECIDED, model_card
from sourcetracing.tracing.onnx_export import export_onnx
from sourcetracing.tracing.system import TracingSystem, run_in_folder, score_splits
from sourcetracing.tracing.unknown import UnknownRule, fit_rule

CPU = torch.device("cpu")
CARD = "README.md"
_RELATIVE = RunLayout(Path())
COPIED = {
    _RELATIVE.weights: "the weights",
    _RELATIVE.label_classes: "the classes of each head and how many training rows they had",
    _RELATIVE.calibration: "the temperature and how far probabilities are off",
    _RELATIVE.calibration_picture: "the same as a reliability diagram",
    **{_RELATIVE.label_scores(split): f"what further heads say of the {split} rows" for split in SPLITS},
    _RELATIVE.scores("train"): "logits of the training rows, which the detector of unknown sources is fitted on",
    _RELATIVE.scored_embeddings("train"): "their embeddings",
    _RELATIVE.scores("dev"): "logits of the dev rows, which set the threshold and the temperature",
    _RELATIVE.scored_embeddings("dev"): "their embeddings",
    _RELATIVE.scores("eval"): "logits of the eval rows, which the figures above are from",
}
WRITTEN = {_RELATIVE.config: "every setting", _RELATIVE.classes: "the sources in the order of the logits"}
CHECKPOINT_FILES = (".json", ".safetensors", ".bin")


def export_system(run_folder: str, changes: list[str], *, onnx: Path | None, folder: Path | None, licence: str = UNDECIDED) -> None:
    """Writes what is asked for and says so. Raises `UserError`."""
    run = run_in_folder(run_folder, changes)
    if folder:
        _refuse_strangers(folder, run.folder)
    # The precision stays the run's: its features and scores are of that.
    settings = run.settings
    run = replace(run, settings=replace(settings, compute=replace(settings.compute, device="cpu")))
    calibration = calibrate(run, CPU)
    if onnx:
        compute = replace(run.settings.compute, precision="float32", encoder_precision="auto", compile=False, engine="torch")
        system = TracingSystem(replace(run, settings=replace(run.settings, compute=compute)), CPU)
        worst = export_onnx(system, calibration, onnx)
        print(f"{onnx}: waveform (batch, {system.window_samples}) -> logits, embedding; off by {worst:.1e} of the largest output at most")
    if folder:
        write_folder(TracingSystem(run, CPU), calibration, fit_rule(run, CPU), settings, folder, licence)
        print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")


def _refuse_strangers(folder: Path, run_folder: Path) -> None:
    """Only an empty folder, or an earlier export, is written to; what else lies there would be uploaded along."""
    if folder.resolve() == run_folder.resolve():
        raise UserError(f"--folder {folder} is the run itself; name another folder")
    ours = {CARD, *(path.parts[0] for path in (*COPIED, *WRITTEN, _RELATIVE.labels, _RELATIVE.encoder))}
    strangers = [path.name for path in sorted(folder.iterdir()) if path.name not in ours] if folder.is_dir() else []
    if strangers or folder.is_file():
        raise UserError(f"--folder {folder} holds other things ({', '.join(strangers[:3]) or 'it is a file'}); name a new or empty folder")


def write_folder(
    system: TracingSystem, calibration: Calibration, rule: UnknownRule | None, settings: Settings, folder: Path, licence: str
) -> None:
    """Weights, encoder, classes, calibration, scores, the card and, last, settings. The folder is a run folder: trace_audio.py takes it."""
    run = system.run
    score_splits(run, ["train", "dev", "eval"], CPU)
    there = {name: meaning for name, meaning in COPIED.items() if (run.folder / name).is_file()}
    (folder / _RELATIVE.config).unlink(missing_ok=True)  # of an earlier export: a folder without it is no run
    for name in there:
        with atomic_path(folder / name) as partial:
            shutil.copyfile(run.folder / name, partial)
    there |= _copy_encoder(run.settings, folder / _RELATIVE.encoder)
    write_json(folder / _RELATIVE.classes, system.classes)
    (folder / _RELATIVE.labels).unlink(missing_ok=True)  # likewise
    if write_labels(run, folder / _RELATIVE.labels):
        there[_RELATIVE.labels] = "architecture, acoustic model and vocoder of the sources, which levels are named by"
    card = model_card(system, calibration, rule, {**WRITTEN, **there}, licence)
    write_text(folder / CARD, str(card))
    write_text(folder / _RELATIVE.config, to_yaml(portable(settings)))


def _copy_encoder(settings: Settings, target: Path) -> dict[Path, str]:
    """Copies the checkpoint of a local SSL encoder, for it is nowhere else; returns what the card says of it."""
    if not _has_local_encoder(settings):
        return {}
    for source in sorted(Path(settings.ssl.model).iterdir()):
        if source.suffix in CHECKPOINT_FILES:
            with atomic_path(target / source.name) as partial:
                shutil.copyfile(source, partial)
    return {_RELATIVE.encoder / "config.json": "with what lies beside it: the SSL encoder before training"}


def _has_local_encoder(settings: Settings) -> bool:
    return settings.frontend == "ssl" and Path(settings.ssl.model).is_dir()


def portable(settings: Settings) -> Settings:
    """The settings for another machine: where things lie on this one is nobody else's business, and of no use to them."""
    found = _without_places(replace(settings, paths=Paths()))
    return replace(found, ssl=replace(found.ssl, model=_RELATIVE.encoder.name)) if _has_local_encoder(settings) else found


def _without_places(value: Any) -> Any:
    """Absolute paths in a setting, or in a group of them, as mere names."""
    if is_dataclass(value):
        return replace(value, **{field.name: _without_places(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, dict):
        return {key: _without_places(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_places(one) for one in value]
    return Path(value).name if isinstance(value, str) and value.startswith(("/", "~")) else value
