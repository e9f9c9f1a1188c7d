"""Systems on frozen SSL encoders, from audio to tables, with tiny random checkpoints in place of the real ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sourcetracing.errors import UserError
from sourcetracing.features.augment import Augmenter
from sourcetracing.features.blocks import cropped_utterance
from sourcetracing.features.extracting import extract_features, find_store
from sourcetracing.features.noise_bank import open_banks, prepare_banks
from sourcetracing.models.frontends.ssl import SslEncoder
from sourcetracing.protocols.building import build_protocols
from sourcetracing.protocols.table import load_protocol
from sourcetracing.report.experiment import report_experiment
from sourcetracing.scoring.matrix import score_runs
from sourcetracing.settings.reading import ConfigSources, load_settings, read_config, read_yaml
from sourcetracing.training.matrix import train_runs
from sourcetracing.training.runs import front_ends, load_runs
from tests.support.audio_files import write_noises
from tests.support.small_corpus import write_small_corpus
from tests.support.tiny_ssl import WIDTH, save_tiny

VARIANTS = ("original", "noise")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ssl_systems")
    write_small_corpus(root / "corpus")
    write_noises(root / "musan", num_files=9)
    save_tiny("wav2vec2", root / "base")
    for number, language in enumerate(("english", "german")):
        save_tiny("xls-r", root / f"large-{language}", seed=number)
    (root / "systems.yaml").write_text(
        f"systems:\n  w2v2_base_aasist: {{ssl: {{model: {root}/base, layer: 2}}}}\n"
        f"  w2v2_language_frozen_aasist: {{ssl: {{model: '{root}/large-{{language}}'}}}}\n"
    )
    return root


@pytest.fixture(autouse=True)
def no_synthesizer(monkeypatch):
    monkeypatch.setattr("sourcetracing.corpora.demo.DemoCorpus.check", lambda corpus: None)


def words(root: Path, exp: Path, *more: str) -> list[str]:
    paths = [f"paths.corpus={root}/corpus", f"paths.musan={root}/musan", f"paths.exp={exp}", "name=ssl"]
    corpus = ["corpus.languages=[en,de]", "corpus.sources=[espeak_formant,griffin_lim]", "audio.crop_seconds=0.5"]
    small = ["aasist.channels=[4,8]", "aasist.gat_dims=[8,4]", "train.epochs=1", "evaluation.bootstrap_samples=10", "compute.device=cpu"]
    small += ["experiment.floor=[]"]
    return [str(root / "systems.yaml"), *paths, *corpus, *small, f"augment.variants=[{','.join(VARIANTS)}]", *more]


@pytest.mark.slow
def test_from_audio_to_tables_with_the_checkpoint_of_the_training_language(root, tmp_path):
    config = read_config(words(root, tmp_path, "experiment.systems=[w2v2_base_aasist,w2v2_language_frozen_aasist]", "compute.workers=2"))
    build_protocols(config.resolve())
    stores = [make_store(settings) for settings in front_ends(config)]
    assert len(stores) == 3  # one for the base model, one for each language's
    runs = load_runs(config)
    train_runs(runs)
    score_runs(runs)
    report_experiment(config)
    table = pd.read_csv(tmp_path / "ssl" / "tables" / "table4.csv")
    assert set(table["system"]) == {"w2v2_base_aasist", "w2v2_language_frozen_aasist"}
    models = {(run.system, run.train_set): read_yaml(run.folder / "config.yaml")["ssl"]["model"] for run in runs}
    assert models["w2v2_language_frozen_aasist", "en"] == f"{root}/large-english"
    assert models["w2v2_language_frozen_aasist", "de"] == f"{root}/large-german"
    assert models["w2v2_base_aasist", "en"] == f"{root}/base"


def test_a_system_named_in_a_file_does_not_hide_those_of_the_experiment(root, tmp_path):
    """Else script 04 would make one store, and script 05 would send the user back to script 04 for ever."""
    (tmp_path / "mine.yaml").write_text("system: lfcc_aasist\nexperiment: {systems: [lfcc_aasist, w2v2_base_aasist]}\n")
    mine = [str(tmp_path / "mine.yaml"), *words(root, tmp_path)]
    assert [settings.frontend for settings in front_ends(read_config(mine))] == ["lfcc", "ssl"]
    assert [settings.frontend for settings in front_ends(read_config([*mine, "system=w2v2_base_aasist"]))] == ["ssl"]


def make_store(settings) -> Path:
    return extract_features(settings, *load_protocol(settings))


def test_a_row_is_the_encoder_applied_to_the_variant(root, tmp_path):
    settings = load_settings(words(root, tmp_path, "system=w2v2_base_aasist", "store.dtype=float32"))
    build_protocols(settings)
    utterances, protocol = load_protocol(settings)
    make_store(settings)
    store = find_store(settings, utterances, protocol)
    assert store.shape == (len(utterances) * len(VARIANTS), WIDTH, 24)
    item = utterances.merge(protocol, on="utt_id").iloc[7]
    clean = cropped_utterance(settings, root / "corpus" / item.path, item.utt_id, item.split)
    augmenter = Augmenter(settings.augment, open_banks(prepare_banks(settings)), settings.seed)
    encoder = SslEncoder(root / "base", layer=2)
    expected = encoder(torch.from_numpy(augmenter.variants(clean, item.utt_id)))
    rows = store.index.query("utt_id == @item.utt_id")
    assert list(rows["variant"]) == list(VARIANTS)
    np.testing.assert_allclose(store.load(rows["row"]), expected.numpy(), rtol=1e-4, atol=1e-4)


def test_workers_and_blocks_do_not_change_a_byte(root, tmp_path):
    contents = []
    for workers, block_rows in ((1, 4), (2, 10)):
        more = [f"compute.workers={workers}", f"store.block_rows={block_rows}", "system=w2v2_base_aasist"]
        settings = load_settings(words(root, tmp_path / str(workers), *more))
        build_protocols(settings)
        contents.append((make_store(settings) / "features.npy").read_bytes())
    assert contents[0] == contents[1]


def test_another_layer_or_model_is_another_store(root, tmp_path):
    names = set()
    for change in ("ssl.layer=2", "ssl.layer=1", "ssl.layer=last", "ssl.normalize=false", f"ssl.model={root}/large-german"):
        settings = load_settings(words(root, tmp_path, "system=w2v2_base_aasist", change))
        build_protocols(settings)
        names.add(make_store(settings).name)
    assert len(names) == 5
    assert all(json.loads((tmp_path / "ssl" / "features" / name / "store.json").read_text())["recipe"]["frontend"]["ssl"] for name in names)


def test_another_network_in_the_same_folder_is_another_store(root, tmp_path):
    settings = load_settings(words(root, tmp_path, "system=w2v2_base_aasist", f"ssl.model={save_tiny('wav2vec2', tmp_path / 'model')}"))
    build_protocols(settings)
    before = make_store(settings)
    assert make_store(settings) == before
    save_tiny("wav2vec2", tmp_path / "model", seed=5)
    assert make_store(settings) != before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("ssl.layer=9", "must be 'last', 'weighted_sum' or a number from 0 to 3"),
        ("ssl.model=/nowhere/at/all", "is no folder with a checkpoint"),
        ("ssl.model=x-{language}", r"train.languages=\[en\]"),
        ("audio.sample_rate=8000", "SSL encoders hear 16000 Hz"),
    ],
)
def test_what_cannot_be_is_one_clear_line(root, tmp_path, change, message):
    settings = load_settings(words(root, tmp_path, "system=w2v2_base_aasist", change))
    build_protocols(settings)
    with pytest.raises(UserError, match=message) as refusal:
        make_store(settings)
    assert "\n" not in str(refusal.value)


def test_a_model_that_is_not_here_says_how_to_get_it(root, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.utils.hub.is_offline_mode", lambda: True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    settings = load_settings(words(root, tmp_path, "system=w2v2_base_aasist", "ssl.model=facebook/not-here"))
    build_protocols(settings)
    with pytest.raises(UserError, match="hf download facebook/not-here --revision main"):
        make_store(settings)


@pytest.mark.parametrize("languages", ["[en,de]", "[xx]"])
def test_a_model_per_language_needs_one_known_language(root, tmp_path, languages):
    extra = ["corpus.languages=[en,de,xx]", f"train.languages={languages}", "system=w2v2_language_frozen_aasist"]
    with pytest.raises(UserError, match="needs one training language"):
        load_settings(words(root, tmp_path, *extra))


def test_layers_that_are_no_numbers_are_refused():
    for text in ("first", "-1", "1.5", "true"):
        with pytest.raises(UserError, match="ssl.layer"):
            load_settings([f"ssl.layer={text}"])
    assert load_settings(["ssl.layer=7"]).ssl.layer == 7
    assert isinstance(read_config(["ssl.layer=last"]), ConfigSources)
