"""What each overlay of configs/as_published does, alone and in as_published.yaml: the object that it is about is built, and its numbers
are those of the published code (docs/fidelity.md). Overlays of detection: tests/detection/experiments/test_as_published.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from sklearn.metrics import classification_report
from transformers import Wav2Vec2Config, Wav2Vec2Model

from sourcetracing.detection.data.manifest_building import build_manifest
from sourcetracing.features.augment import Augmenter
from sourcetracing.features.blocks import cropped_utterance
from sourcetracing.features.extracting import extract_features
from sourcetracing.features.rows import FeatureRows, open_store, select_rows
from sourcetracing.features.store import FeatureStore
from sourcetracing.metrics.classification import confusion_matrix, report_text
from sourcetracing.metrics.ranking import threshold_at_eer
from sourcetracing.openset.detectors import make_detectors
from sourcetracing.protocols.building import build_protocols
from sourcetracing.protocols.table import load_protocol, split_utterances
from sourcetracing.runtime.compute import autocast
from sourcetracing.runtime.process_group import ALONE
from sourcetracing.scoring.scores import score_run
from sourcetracing.settings.corpora import READERS
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings
from sourcetracing.speakers.groups import load_groups
from sourcetracing.speakers.labelling import label_speakers
from sourcetracing.training.batches import shuffled_batches
from sourcetracing.training.loop import train_run
from sourcetracing.training.metric_loss import MetricLoss, select_train_rows
from sourcetracing.training.networks import build_model
from sourcetracing.training.optimization import learning_rates, make_optimizer, set_learning_rates
from sourcetracing.training.runs import run_of
from tests.speakers.test_groups import write_groups_case
from tests.support.audio_files import bank_of, write_noises, write_wav
from tests.support.overlays import ALL, FOLDER, alone_and_in_all
from tests.support.places import GOLDEN
from tests.support.small_corpus import write_small_corpus

CPU = torch.device("cpu")
FOUR = ["corpus.sources=[a,b,c,d]", "compute.device=cpu"]
THROUGH_TRANSFORMERS = ("xlsr53_aasist", "w2v2_en_aasist", "w2v2_en_self_aasist", "w2v2_language_aasist")


def both_ways(overlay: str) -> tuple[tuple[str, list[str]], tuple[str, list[str]]]:
    """Files of settings without the overlay and with it."""
    return ("ours", []), ("published", [overlay])


# --- augmentation, windows, splits


@alone_and_in_all("published_augmentation")
def test_variants_pile_up_and_every_noise_is_one_talker_from_its_beginning(overlay):
    """D5 to D8, by the published arithmetic: y = x + sqrt(10^((L(x) - L(n) - snr) / 10)) n, L(s) = 10 log10(mean s^2 + 1e-4)."""
    settings = load_settings([overlay, "augment.speech_snr_db=[15,15]"])
    generator = np.random.default_rng(3)
    clean, talker, other, response = (
        generator.normal(0, level, size) for level, size in ((0.1, 3000), (0.2, 9000), (0.5, 9000), (0.3, 50))
    )
    banks = {
        kind: bank_of([clip.astype(np.float32)])
        for kind, clip in (("speech", talker), ("music", other), ("noise", other), ("rir", response))
    }
    made = Augmenter(settings.augment, banks, seed=1).variants(clean.astype(np.float32), "u")

    def level_db(signal: np.ndarray) -> float:
        return 10 * np.log10(np.mean(signal**2) + 1e-4)

    expected = [clean, np.convolve(clean, response / np.sqrt(np.sum(response**2)))[:3000]]
    for _ in ("speech", "music", "noise"):
        start = expected[-1]
        expected.append(start + np.sqrt(10 ** ((level_db(start) - level_db(talker[:3000]) - 15) / 10)) * talker[:3000])
    np.testing.assert_allclose(made, expected, atol=1e-5)


@alone_and_in_all("published_crops")
def test_windows_of_dev_and_eval_are_anywhere(overlay, tmp_path):
    path = tmp_path / "ramp.wav"
    soundfile.write(path, (np.arange(16000 * 9) / (16000 * 9)).astype(np.float32), 16000, subtype="FLOAT")
    starts = {
        name: [cropped_utterance(load_settings(words), path, f"u{number}", "eval")[0] * 9 for number in range(40)]
        for name, words in both_ways(overlay)
    }
    assert set(starts["ours"]) == {0.0}
    assert min(starts["published"]) < 1.5 and max(starts["published"]) > 3.5 and max(starts["published"]) < 5.001  # of 5 s that there are
    assert len(set(starts["published"])) > 35


@alone_and_in_all("published_split")
def test_splits_hold_60_20_20_in_a_language_but_not_in_a_source(overlay):
    """D78. 60/20/20 of each source would be 180/60/60; a draw without strata hits that for all four with a chance below 1e-4."""
    rows = [(f"en/{source}/{number:03d}", "en", source) for source in "abcd" for number in range(300)]
    utterances = pd.DataFrame(rows, columns=["utt_id", "language", "source"])
    counts = {}
    for name, words in both_ways(overlay):
        drawn = split_utterances(utterances, load_settings(words).split, 688).merge(utterances, on="utt_id")
        assert drawn["split"].value_counts().to_dict() == {"train": 720, "dev": 240, "eval": 240}
        counts[name] = drawn[drawn["split"] == "eval"]["source"].value_counts()
    assert counts["ours"].tolist() == [60] * 4
    assert counts["published"].sum() == 240 and counts["published"].max() - counts["published"].min() > 5


@alone_and_in_all("published_duplicates")
def test_rows_that_a_list_holds_twice_count_twice(overlay, tmp_path):
    """D50, D69: 11,100 + 12,000 + 33,900 rows (tests/golden/tables/mlaad_protocol_stats.csv), 109 of eval twice; so with files."""
    words = ["configs/mlaad5_source_tracing.yaml", f"paths.protocols={GOLDEN / 'mlaad4sourcetracing.zip'}"]
    rows = {name: READERS["mlaad_source_tracing"].load()(load_settings([*words, *more])).listed() for name, more in both_ways(overlay)}
    per_split = rows["published"]["split"].value_counts()
    assert per_split.loc[["train", "dev", "eval"]].tolist() == [11100, 12000, 33900]
    assert rows["ours"]["split"].value_counts()["eval"] == 33900 - 109
    write_wav(tmp_path / "itw" / "1.wav", 0.5, 1)
    write_wav(tmp_path / "asv19" / "ASVspoof2019_LA_train" / "flac" / "LA_T_0.flac", 0.5, 2)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "itw_systems.csv").write_text("1.wav|bonafide\n1.wav|bonafide\n")
    (tmp_path / "lists" / "asv19_train_systems.csv").write_text("LA_T_0|spoof\n")
    sets = ["detection.sets={ASV19: [asv19_train], ITW: [itw]}", "detection.train=[ASV19]", "detection.baseline_train=[ASV19]"]
    sets += ["detection.test=[ITW]", "detection.baseline_test=[ITW]", "detection.origin=lists", f"detection.lists={tmp_path}/lists"]
    sets += [f"detection.roots={{asv19: {tmp_path}/asv19, itw: {tmp_path}/itw}}", f"paths.exp={tmp_path}/exp", "pruning.train=[]"]
    files = {name: build_manifest(load_settings([*more, *sets])).rows["corpus"].eq("itw").sum() for name, more in both_ways(overlay)}
    assert files == {"ours": 1, "published": 2}


# --- what is trained on


@alone_and_in_all("published_clean_ssl")
@pytest.mark.parametrize("system", ["xlsr_aasist", *THROUGH_TRANSFORMERS, "lfcc_aasist", "lfcc_ecapa_tdnn", "w2v2_base_aasist"])
def test_the_papers_ssl_systems_train_on_clean_speech_only(store, overlay, system):
    words = [f"system={system}", "corpus.languages=[en,de]", "corpus.sources=[a,b,c]", "train.languages=[en]"]
    rows = select_rows(store, load_settings([overlay, *words]), "train", ["en"], CPU)
    is_ssl = system == "xlsr_aasist" or system in THROUGH_TRANSFORMERS
    assert len(rows) == 3 * 6 * (1 if is_ssl else 2)  # 3 sources, 6 utterances, original and noise


@alone_and_in_all("published_augmented_evaluation")
def test_the_special_sessions_baseline_chooses_and_reports_on_all_variants(store, tmp_path, overlay):
    """D37. 3 sources x 2 utterances of dev or eval x original and noise, in two languages."""
    session = "configs/mlaad5_source_tracing.yaml"
    small = ["corpus.languages=[en,de]", "corpus.sources=[a,b,c]", "corpus.unknown_sources=[]", "experiment.train_sets=[en]"]
    small += ["experiment.test_sets=[en]", "train.languages=[en]", f"paths.exp={tmp_path}", "train.epochs=0", "compute.device=cpu"]
    small += ["frontend=lfcc", "aasist.channels=[4,8]", "aasist.gat_dims=[8,4]"]
    counts = {}
    for name, words in (("ours", [session]), ("published", [session, overlay])):
        settings = load_settings([*words, *small, "system=w2v2_base_aasist"])
        run = run_of(settings, "some-store")
        train_run(run, store, CPU)
        score_run(run, store, CPU)
        scores = pd.read_parquet(run.files.scores("eval"))
        counts[name] = (len(select_rows(store, settings, "dev", ["en"], CPU)), len(scores), set(scores["variant"]))
    assert counts == {"ours": (12, 12, {"original"}), "published": (24, 24, {"original", "noise"})}


@alone_and_in_all("published_batches", in_all=False)
def test_batches_of_4_become_8_rows_with_the_mixed_ones(store, overlay):
    settings = load_settings([overlay])
    batches = shuffled_batches(12, settings.train, np.random.default_rng(1), ALONE)
    assert [len(batch.positions) for batch in batches] == [4, 4, 4]
    assert [len(batch.partners) for batch in batches] == [4, 4, 4]
    assert len(shuffled_batches(12, load_settings([ALL]).train, np.random.default_rng(1), ALONE)) == 1  # Table 4: 16


# --- networks


@alone_and_in_all("published_aasist")
@pytest.mark.parametrize(
    ("system", "shape", "is_random"),
    [("lfcc_aasist", (80, 399), True), ("xlsr_frozen_aasist", (1024, 199), False), ("w2v2_base_aasist", (768, 199), False)],
)
@torch.inference_mode()
def test_lfcc_aasist_alone_answers_at_random(overlay, system, shape, is_random):
    """D14. The published SSL networks have a learned position embedding, as golden/aasist_ssl.names.json shows."""
    model = build_model(load_settings([overlay, *FOUR, f"system={system}"]), shape).eval()
    features = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    assert ((model(features)[1] - model(features)[1]).abs().max().item() > 1e-5) == is_random
    assert ("pos_s" in model.state_dict()) != is_random


@alone_and_in_all("published_ecapa_tdnn")
def test_ecapas_logits_are_normalised_over_their_batch(overlay):
    """D17: a BatchNorm that has learned nothing gives each class mean 0 and variance 1 over the batch."""
    features = torch.randn(64, 80, 50, generator=torch.Generator().manual_seed(1))
    spread = {}
    for name, words in both_ways(overlay):
        model = build_model(load_settings([*words, *FOUR, "system=lfcc_ecapa_tdnn", "ecapa_tdnn.channels=8"]), (80, 50)).train()
        logits = model(features)[1].detach()
        spread[name] = (logits.mean(dim=0).abs().max().item(), (logits.var(dim=0, correction=0) - 1).abs().max().item())
    assert spread["published"][0] < 1e-5 and spread["published"][1] < 0.05
    assert spread["ours"][1] > 0.2


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory) -> Path:
    """Tiny, with what a config.json says: dropout, LayerDrop, SpecAugment. Layer norms in its convolutions: it hears the level."""
    torch.manual_seed(1)
    body = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24, "conv_dim": (8,) * 7}
    drops = {"layerdrop": 0.1, "mask_time_prob": 0.3, "mask_time_length": 2, "hidden_dropout": 0.1, "attention_dropout": 0.1}
    stable = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
    config = Wav2Vec2Config(**body, **drops, **stable, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2)
    folder = tmp_path_factory.mktemp("encoder")
    Wav2Vec2Model(config).save_pretrained(folder)
    return folder


def fine_tuned(overlay: str, system: str, folder: Path, *words: str) -> tuple[Settings, torch.nn.Sequential]:
    settings = load_settings([overlay, *FOUR, f"system={system}", "train.languages=[en]", f"ssl.model={folder}", *words])
    return settings, build_model(settings, (16000,))


@alone_and_in_all("published_ssl")
@pytest.mark.parametrize("system", ["xlsr_aasist", *THROUGH_TRANSFORMERS])
def test_fine_tuned_encoders_train_as_the_code_that_loads_them(overlay, system, encoder_folder):
    """D20, D21: the whole encoder at 5e-4, not normalised; fairseq (XLSR-AASIST) with mask=False, else the checkpoint's own."""
    settings, model = fine_tuned(overlay, system, encoder_folder)
    waveforms = 0.1 * torch.randn(2, 16000, generator=torch.Generator().manual_seed(2))
    optimizer = make_optimizer(model, settings)
    set_learning_rates(optimizer, learning_rates(settings, 0, 0, 100))
    assert {group["name"]: group["lr"] for group in optimizer.param_groups} == {"encoder": 5e-4, "backend": 5e-4}
    learning = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
    assert [name for name, weight in model.named_parameters() if id(weight) not in learning] == []
    with torch.inference_mode():
        passes = [model.train().encoder(waveforms) for _ in range(4)]
        is_random = any((one - passes[0]).abs().max() > 1e-4 for one in passes[1:])
        assert is_random == (system != "xlsr_aasist")
        model.eval()
        assert (model.encoder(10 * waveforms) - model.encoder(waveforms)).abs().max() > 1e-3  # it hears the level


@pytest.mark.parametrize("overlay", [ALL, f"{FOLDER}/published_ssl.yaml"])
@torch.inference_mode()
def test_refd_hears_normalised_waveforms(overlay, encoder_folder):
    from sourcetracing.features.ssl_front_end import load_ssl

    encoder = load_ssl(
        load_settings([overlay, "system=w2v2_base_aasist", f"ssl.model={encoder_folder}", "ssl.layer=2", "compute.device=cpu"])
    )
    waveforms = 0.1 * torch.randn(2, 16000, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(encoder(10 * waveforms + 0.1), encoder(waveforms), rtol=1e-3, atol=1e-3)


@alone_and_in_all("published_ge2e")
def test_ge2e_is_the_published_baseline(overlay, encoder_folder, tmp_path, store):
    """D41 to D43; all of it at 1e-4, as its configuration says, not at the paper's 5e-4."""
    settings, model = fine_tuned(overlay, "w2v2_base_ge2e", encoder_folder)
    waveforms = 0.1 * torch.randn(3, 16000, generator=torch.Generator().manual_seed(2))
    louder = waveforms * torch.tensor([[1.0], [1.0], [20.0]])
    model.eval()
    with torch.inference_mode():
        assert (model[:-1](louder)[0] - model[:-1](waveforms)[0]).abs().max() > 1e-4  # another row's level matters (D41)
        assert (model(waveforms)[0].norm(dim=1) - 1).abs().max() > 1e-3  # embeddings are not brought to length 1
    store.index.loc[(store.index["split"] == "dev") & (store.index["source"] == "c"), "source"] = "new"
    small = [
        "corpus.sources=[a,b,c]",
        "train.variants=[original]",
        "metric_learning.classes_per_batch=3",
        "metric_learning.rows_per_class=2",
    ]
    settings = load_settings([overlay, "system=w2v2_base_ge2e", *small, "train.languages=[en]", f"ssl.model={encoder_folder}"])
    rows = FeatureRows(store, *select_train_rows(store, settings, ["en"]), CPU)
    assert np.bincount(rows.labels).tolist() == [8, 8, 6, 2]  # dev trains too, its unknown source as a class (D43)
    aim = MetricLoss(settings, model, rows)
    optimizer = make_optimizer(model, settings, aim.weights)
    set_learning_rates(optimizer, learning_rates(settings, 0, 0, 100))
    assert {group["name"]: group["lr"] for group in optimizer.param_groups} == {"encoder": 1e-4, "backend": 1e-4}  # and no loss (D42)
    assert aim.selected_by == "train_loss"
    golden, case = np.load(GOLDEN / "ge2e.npz"), json.loads((GOLDEN / "ge2e.json").read_text())["cases"][0]
    assert (case["w"], case["b"]) == (10.0, -5.0)
    assert aim.weights(torch.from_numpy(golden["case0/emb"]).float(), None).item() == pytest.approx(case["softmax"]["loss"], abs=1e-4)


# --- choosing, reporting, unknown sources, precision


@alone_and_in_all("published_selection")
def test_the_epoch_of_lowest_dev_loss_is_kept(store, tmp_path, overlay):
    """D17. The history itself tells which epoch it is."""
    small = [f"paths.exp={tmp_path}", "corpus.languages=[en,de]", "corpus.sources=[a,b,c]", "train.languages=[en]", "ecapa_tdnn.channels=8"]
    settings = load_settings(
        [overlay, *small, "train.epochs=6", "train.batch_size=8", "train.lr=0.02", "train.seed=3", "compute.device=cpu"]
    )
    run = run_of(settings, "some-store")
    history = pd.read_csv(train_run(run, store, CPU).history)
    by_loss, by_f1 = history.loc[history["dev_loss"].idxmin(), "epoch"], history.loc[history["dev_macro_f1"].idxmax(), "epoch"]
    assert run.files.read_outcome()["best_epoch"] == by_loss
    assert by_loss != by_f1, "this seed does not tell the rules apart"


@alone_and_in_all("published_metrics")
def test_a_class_that_is_never_predicted_has_a_precision_of_1(overlay):
    """D49: the published reports are scikit-learn's with zero_division=1.0; macro-F1, the mean of F1, is the same."""
    labels, predictions = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0])
    confusion = confusion_matrix(labels, predictions, range(3))
    reports = {
        name: report_text(confusion, ["a", "b", "c"], load_settings(words).evaluation.zero_division).split("\n")
        for name, words in both_ways(overlay)
    }
    theirs = classification_report(labels, predictions, target_names=["a", "b", "c"], digits=6, zero_division=1.0).split("\n")
    assert reports["published"] == theirs
    assert [reports[name][4].split()[:2] for name in ("ours", "published")] == [["c", "0.000000"], ["c", "1.000000"]]


@alone_and_in_all("published_ood")
@pytest.mark.parametrize("case", [0, 1])
def test_nsd_is_read_upside_down_at_the_nearest_corner(overlay, case):
    """D33, D34: the published scores and the EER that goes with them, tests/golden/nsd.json."""
    arrays, facts = np.load(GOLDEN / "nsd.npz"), json.loads((GOLDEN / "nsd.json").read_text())["cases"][case]
    train, tested = ([arrays[f"case{case}/{part}_{kind}"] for kind in ("feats", "logits")] for part in ("train", "test"))
    openset = load_settings([overlay]).openset
    found = make_detectors(openset)["nsd"].fit(*train, np.zeros(len(train[0]))).score(*tested)
    np.testing.assert_allclose(found, arrays[f"case{case}/scores_piotrkawa"], rtol=1e-5)
    eer, _ = threshold_at_eer(arrays[f"case{case}/ood_label"], found, openset.eer_point)
    assert eer == pytest.approx(facts["peer_eer_as_written"]["eer"], abs=1e-12)
    assert openset.padded_batch == 128  # what it does to scores and figures: tests/openset


@alone_and_in_all("published_speakers")
def test_thresholds_of_table_2_and_18_pseudo_speakers(overlay, tmp_path, monkeypatch):
    settings, utterances, protocol = write_groups_case(tmp_path / "groups", overlay)
    groups = load_groups(settings, "fr", utterances, protocol)
    assert groups["published_group"].value_counts().to_dict() == {"seen": 9, "unseen": 1}  # shares above 0.079, by the case's own counts
    asked = []

    def fake_embedder(settings: Settings):
        asked.append(settings.speakers.embedder)
        return lambda waveform: np.abs(np.fft.rfft(waveform[:64]))[:12].astype(np.float32)

    monkeypatch.setattr("sourcetracing.speakers.embeddings.load_embedder", fake_embedder)
    monkeypatch.setattr("sourcetracing.corpora.demo.DemoCorpus.check", lambda corpus: None)
    write_small_corpus(tmp_path / "corpus")
    words = [f"paths.corpus={tmp_path}/corpus", f"paths.exp={tmp_path}/exp", "corpus.languages=[en,de]", "speakers.k_max=20"]
    small = ["corpus.sources=[espeak_formant,griffin_lim]", "speakers.k_restarts=1", "speakers.restarts=2", "compute.workers=1"]
    small += ["speakers.ecapa2_checksum=sha256:" + "0" * 64, f"speakers.ecapa2_id={tmp_path / 'ecapa2.pt'}"]
    (tmp_path / "ecapa2.pt").write_bytes(b"stand-in")
    settings = load_settings([overlay, *words, *small])
    build_protocols(settings)
    label_speakers(settings)
    labels = pd.read_csv(next(Path(tmp_path / "exp").rglob("pseudo_speakers.csv")))
    assert labels["pseudo_speaker"].nunique() == 18 and asked == ["ecapa2"]


@alone_and_in_all("published_precision")
def test_everything_is_float32_on_a_gpu_too(overlay, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
    gpu = torch.device("cuda")
    kinds = [type(autocast(gpu, load_settings([*words, "system=xlsr_aasist"]).compute.precision)).__name__ for words in ([], [overlay])]
    assert kinds == ["autocast", "nullcontext"]
    monkeypatch.setattr("sourcetracing.corpora.demo.DemoCorpus.check", lambda corpus: None)
    write_small_corpus(tmp_path / "corpus", per_group=5)
    write_noises(tmp_path / "musan", num_files=9)
    words = [f"paths.corpus={tmp_path}/corpus", f"paths.musan={tmp_path}/musan", f"paths.exp={tmp_path}/exp", "corpus.languages=[en,de]"]
    words += ["corpus.sources=[espeak_formant,griffin_lim]", "audio.crop_seconds=0.5", "augment.variants=[original]", "compute.workers=1"]
    made = {}
    for name, more in both_ways(overlay):
        settings = load_settings([*more, *words])
        build_protocols(settings)
        extract_features(settings, *load_protocol(settings))
        store: FeatureStore = open_store(settings)
        made[name] = store.load(np.arange(4))
    assert (made["ours"].dtype, made["published"].dtype) == (np.float16, np.float32)
