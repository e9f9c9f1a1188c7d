"""A small corpus with tiny stand-ins for the checkpoints of Table 4's SSL systems, and a run of it, ready to train."""

from __future__ import annotations

from pathlib import Path

from sourcetracing.features.extracting import extract_features
from sourcetracing.protocols.building import build_protocols
from sourcetracing.protocols.table import load_protocol
from sourcetracing.settings.reading import load_settings
from sourcetracing.training.runs import TrainingRun, load_run
from tests.support.audio_files import write_noises
from tests.support.small_corpus import write_small_corpus
from tests.support.tiny_ssl import save_tiny

TABLE_4 = ("xlsr_aasist", "w2v2_en_self_aasist", "w2v2_language_aasist")


def write_stand_ins(root: Path) -> Path:
    """Writes corpus, noises, checkpoints and a systems.yaml that names them; returns the folder."""
    write_small_corpus(root / "corpus")
    write_noises(root / "musan", num_files=9)
    for number, name in enumerate(("xls-r", "large-lv60", "large-english", "large-german")):
        save_tiny("xls-r", root / name, seed=number)
    models = dict(zip(TABLE_4, ("xls-r", "large-lv60", "large-{language}"), strict=True))
    lines = [f"  {system}: {{ssl: {{model: '{root}/{model}'}}}}" for system, model in models.items()]
    (root / "systems.yaml").write_text("\n".join(["systems:", *lines]) + "\n")
    return root


def words(root: Path, exp: Path, *more: str) -> list[str]:
    paths = [f"paths.corpus={root}/corpus", f"paths.musan={root}/musan", f"paths.exp={exp}", "name=ssl"]
    corpus = ["corpus.languages=[en,de]", "corpus.sources=[espeak_formant,griffin_lim]", "audio.crop_seconds=0.5"]
    small = ["aasist.channels=[4,8]", "aasist.gat_dims=[8,4]", "resnet18.width=4", "train.epochs=2", "evaluation.bootstrap_samples=10"]
    small += ["experiment.floor=[]"]
    return [str(root / "systems.yaml"), *paths, *corpus, *small, "augment.variants=[original,noise]", "compute.device=cpu", *more]


def prepared(root: Path, exp: Path, *more: str) -> TrainingRun:
    """The run that the words describe, with the store it is trained on."""
    settings = load_settings(words(root, exp, "train.languages=[en]", *more))
    build_protocols(settings)
    extract_features(settings, *load_protocol(settings))
    return load_run(settings)
