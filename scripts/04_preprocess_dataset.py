"""04 - Make the acoustic variants of every utterance and their features, as one array on disk.

Reads   exp/<name>/utterances.csv, protocol.csv; paths.corpus, paths.musan, paths.rirs
Writes  exp/<name>/features/<front-end>-<hash>/ (features.npy, index.csv, store.json); exp/noise_bank/ (the noises, decoded once)
Costs   about 5 ms and 320 kB per utterance with five variants on 2 cores (python benchmarks/preprocessing.py); a killed run goes on
Run     python scripts/04_preprocess_dataset.py configs/demo.yaml
        python scripts/04_preprocess_dataset.py configs/demo.yaml system=w2v2_base_aasist
        python scripts/04_preprocess_dataset.py configs/demo.yaml configs/as_published/published_augmentation.yaml
"""

import time

import _project_root  # noqa: F401

from sourcetracing.features.extracting import extract_features
from sourcetracing.features.store import FeatureStore
from sourcetracing.protocols.table import load_protocol
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.words import say_next
from sourcetracing.settings.groups import STORE
from sourcetracing.settings.reading import ConfigSources
from sourcetracing.settings.schema import Settings
from sourcetracing.training.runs import front_ends


def main(config: ConfigSources) -> None:
    """Makes the feature stores of the experiment's systems (or of `system=`), and says what is in them."""
    for settings in front_ends(config):
        make_store(settings)
    say_next("python scripts/05_train_matrix.py CONFIG.yaml")


def make_store(settings: Settings) -> None:
    """Makes one store."""
    utterances, protocol = load_protocol(settings, unknown=True)
    what = f"{settings.ssl.model}, layer {settings.ssl.layer}" if settings.frontend == "ssl" else settings.frontend
    print(f"04 features ({what}): {len(utterances)} utterances x {len(settings.augment.variants)} variants", flush=True)
    started = time.perf_counter()
    store = FeatureStore.open(extract_features(settings, utterances, protocol))
    seconds, megabytes = time.perf_counter() - started, store.facts["bytes"] / 1e6
    hours = store.shape[0] * settings.audio.crop_seconds / 3600
    noises = ", ".join(f"{count} {kind}" for kind, count in store.facts["num_noises"].items())
    print(f"drawn from {noises or 'no noise'} files")
    print(f"{store.shape[0]} rows of {store.shape[1:]} {store.dtype}, {megabytes:.0f} MB, {hours:.2f} h of sound, in {seconds:.1f} s")
    if made := store.facts.get("extraction"):
        rate = made["hours_of_sound"] / made["seconds"]["all"] * 60
        print(f"made at {rate:.2f} h of sound per minute ({made['device']}, {made['workers']} workers)")
    print(f"store: {store.folder}")


if __name__ == "__main__":
    run_script(main, doc=__doc__, uses=[*STORE, "experiment", "speakers", "compute", "executor"])
