"""A very small corpus of one's own whose table says vocoder and architecture of most sources, and scripts that trace either of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from scipy.signal import lfilter

from tests.support.audio_files import RATE, write_noises, write_responses
from tests.support.fork_server import ForkServer

LANGUAGES, FILES = ("en", "de"), 8
# source -> (vocoder, architecture); of zeta the vocoder is not known.
COMPONENTS = {
    "alpha": ("hifigan", "vits"),
    "beta": ("hifigan", "tacotron"),
    "gamma": ("lpc", "vits"),
    "delta": ("lpc", "tacotron"),
    "epsilon": ("world", "flow"),
    "zeta": ("", "vits"),
}
_POLES = {"hifigan": 0.9, "lpc": -0.9, "world": 0.5, "": 0.0}
_LEVELS = {"vits": 0.02, "tacotron": 0.1, "flow": 0.3}
SCRIPTS = ("02_build_protocols", "04_preprocess_dataset", "05_train_matrix", "06_get_classification_metrics")
LATER = (
    "07_ood_detector",
    "08_generate_embeddings",
    "09_visualize_embeddings",
    "10_verify_sources",
    "11_audit_shortcuts",
    "13_make_tables",
)
BY_SOURCE = ["corpus.sources=[alpha,beta,gamma,delta]", "corpus.unknown_sources=[epsilon]"]
BY_VOCODER = ["corpus.label=vocoder", "corpus.sources=[hifigan,lpc]", "corpus.unknown_sources=[all]"]
BY_ARCHITECTURE = ["corpus.label=architecture", "corpus.sources=[vits,tacotron]", "corpus.unknown_sources=[flow]"]


def write_labelled_corpus(root: Path) -> pd.DataFrame:
    """Audio, noises, rooms and corpus/table.csv below `root`; returns the table by utt_id."""
    rows = []
    for language in LANGUAGES:
        for place, (source, (vocoder, architecture)) in enumerate(COMPONENTS.items()):
            for number in range(FILES):
                path = f"{language}/{source}/{number}.wav"
                draw = np.random.default_rng([place, number, LANGUAGES.index(language)])
                sound = lfilter([1.0], [1.0, -_POLES[vocoder]], draw.normal(size=RATE // 2))
                (root / "corpus" / path).parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(root / "corpus" / path, _LEVELS[architecture] * sound / np.abs(sound).max(), RATE, subtype="PCM_16")
                rows.append((path, language, source, f"speaker{number % 3}", f"text {source} {number}", vocoder, architecture))
    write_noises(root / "musan", num_files=9)
    write_responses(root / "rirs")
    table = pd.DataFrame(rows, columns=["path", "language", "source", "speaker", "transcript", "vocoder", "architecture"])
    table.to_csv(root / "corpus" / "table.csv", index=False)
    return table.set_index(table["path"].str.removesuffix(".wav").rename("utt_id"))


def words(root: Path, *more: str) -> list[str]:
    """Settings of the experiment below `root`; a settings file is the first word."""
    settings = root / "labels.yaml"
    settings.write_text("name: labels\n", encoding="utf-8")
    paths = [f"paths.corpus={root}/corpus", f"paths.musan={root}/musan", f"paths.rirs={root}/rirs", f"paths.exp={root}/exp"]
    corpus = ["corpus.reader=folder", f"folder.table={root}/corpus/table.csv", f"corpus.languages=[{','.join(LANGUAGES)}]"]
    sizes = ["audio.crop_seconds=0.4", "evaluation.bootstrap_samples=5", "compute.workers=1", "enrolment.draws=2", "enrolment.counts=[1,2]"]
    sizes += ["openset.detectors=[max_softmax,mahalanobis]", "verification.scoring=[cosine]", "trace.detector=mahalanobis"]
    plan = ["experiment.train_sets=[en]", "experiment.test_sets=[en,de]", "experiment.floor=[]", "experiment.systems=[stats_logreg]"]
    others = ["compute.device=cpu", "embedding_pictures.projections=[pca]", "augment.variants=[original,noise]"]
    return [str(settings), *paths, *corpus, *sizes, *plan, *others, *more]


def run(server: ForkServer, script: str, arguments: list[str]) -> str:
    """What a script prints; it must succeed."""
    outcome = server.run(f"scripts/{script}.py", arguments)
    assert outcome.status == 0, f"{script}: {outcome.out[-1000:]}{outcome.err[-3000:]}"
    return outcome.out
