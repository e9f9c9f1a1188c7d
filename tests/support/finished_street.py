"""A very small experiment on which every main script ran: two languages, three sources, one of them unknown."""

from __future__ import annotations

from pathlib import Path

from tests.support.audio_files import write_noises, write_responses, write_wav
from tests.support.fork_server import ForkServer

LEVELS = {"quiet": 0.02, "loud": 0.2, "foreign": 0.6}
SCRIPTS = ("02_build_protocols", "03_label_speakers", "04_preprocess_dataset", "05_train_matrix", "06_get_classification_metrics")
SCRIPTS += ("07_ood_detector", "08_generate_embeddings", "09_visualize_embeddings", "10_verify_sources", "11_audit_shortcuts")
SCRIPTS += ("12_test_robustness", "13_make_tables")


def street_words(root: Path) -> list[str]:
    """Settings of the experiment below `root`; a settings file is the first word."""
    settings = root / "street.yaml"
    settings.write_text("name: street\n", encoding="utf-8")
    paths = [f"paths.corpus={root}/corpus", f"paths.musan={root}/musan", f"paths.rirs={root}/rirs", f"paths.exp={root}/exp"]
    corpus = ["corpus.reader=folder", "corpus.languages=[en,de]", "corpus.sources=[quiet,loud]", "corpus.unknown_sources=[foreign]"]
    sizes = ["audio.crop_seconds=0.4", "ecapa_tdnn.channels=8", "train.epochs=1", "evaluation.bootstrap_samples=20", "compute.workers=1"]
    speakers = ["speakers.k_max=4", "speakers.k_restarts=1", "speakers.restarts=1", "experiment.train_sets=[en]", "experiment.floor=[]"]
    more = ["compute.device=cpu", "embedding_pictures.projections=[pca]", "augment.variants=[original,noise]"]
    robust = ["robustness.operations=[lowpass_3k4,noise_10db,quieter_6db+opus_16k]", "robustness.utterances=6"]
    return [str(settings), *robust, *paths, *corpus, *sizes, *speakers, *more]


def write_audio(root: Path) -> None:
    """The corpus, noises and rooms."""
    for language in ("en", "de"):
        for source, level in LEVELS.items():
            for number in range(8):
                write_wav(root / "corpus" / language / source / f"{number}.wav", 0.4, len(language + source) * 100 + number, level=level)
    write_noises(root / "musan", num_files=9)
    write_responses(root / "rirs")


def finish(root: Path, server: ForkServer) -> None:
    """Runs every script in order."""
    write_audio(root)
    for script in SCRIPTS:
        outcome = server.run(f"scripts/{script}.py", street_words(root))
        assert outcome.status == 0, outcome.err
