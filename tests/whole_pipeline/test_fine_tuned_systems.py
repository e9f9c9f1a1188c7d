"""Systems with SSL encoders that learn, from audio to tables, with tiny random checkpoints in place of the real ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from sourcetracing.errors import UserError
from sourcetracing.features.extracting import extract_features
from sourcetracing.features.rows import open_store
from sourcetracing.protocols.building import build_protocols
from sourcetracing.protocols.table import load_protocol
from sourcetracing.report.experiment import report_experiment, scored_runs, table_of
from sourcetracing.runtime.process_group import ProcessGroup
from sourcetracing.runtime.seeding import rng
from sourcetracing.scoring.matrix import score_runs
from sourcetracing.scoring.scores import load_model, score_run
from sourcetracing.settings.reading import load_settings, read_config, read_yaml
from sourcetracing.tables.making import Tables
from sourcetracing.training.batches import micro_batches, mixed
from sourcetracing.training.checkpoints import load_checkpoint
from sourcetracing.training.loop import train_run, train_step
from sourcetracing.training.matrix import train_runs
from sourcetracing.training.networks import build_model
from sourcetracing.training.objectives import CrossEntropy
from sourcetracing.training.optimization import learning_rates, make_optimizer
from sourcetracing.training.runs import TrainingRun, front_ends, load_run, load_runs
from sourcetracing.training.state import TrainingState
from sourcetracing.training.table_plans import plans_of
from tests.support.fine_tuned import TABLE_4, prepared, words, write_stand_ins
from tests.support.interrupted_training import Killed, die_after
from tests.support.tiny_ssl import FAMILIES, NUM_BLOCKS, WIDTH, save_tiny

CPU = torch.device("cpu")
OTHER_FAMILIES = [family for family in FAMILIES if family not in ("wav2vec2", "ctc", "pretraining")]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_stand_ins(tmp_path_factory.mktemp("fine_tuned"))


@pytest.fixture(autouse=True)
def no_synthesizer(monkeypatch):
    monkeypatch.setattr("sourcetracing.corpora.demo.DemoCorpus.check", lambda corpus: None)


def tensors_of(run: TrainingRun) -> dict[str, torch.Tensor]:
    return load_checkpoint(run.files.weights)[0]


@pytest.mark.slow
def test_the_ssl_rows_of_table_4_from_one_store_of_waveforms(root, tmp_path):
    config = read_config(words(root, tmp_path, f"experiment.systems=[{','.join(TABLE_4)}]", "train.epochs=1", "compute.workers=2"))
    build_protocols(config.resolve())
    (store_settings,) = front_ends(config)
    store = extract_features(store_settings, *load_protocol(store_settings))
    assert store.name.startswith("waveform-")
    runs = load_runs(config)
    train_runs(runs)
    score_runs(runs)
    report_experiment(config)
    table = pd.read_csv(tmp_path / "ssl" / "tables" / "table4.csv")
    assert set(table["system"]) == set(TABLE_4)
    models = {(run.system, run.train_set): read_yaml(run.folder / "config.yaml")["ssl"]["model"] for run in runs}
    assert models == {
        ("xlsr_aasist", "en"): f"{root}/xls-r",
        ("xlsr_aasist", "de"): f"{root}/xls-r",
        ("w2v2_en_self_aasist", "en"): f"{root}/large-lv60",
        ("w2v2_en_self_aasist", "de"): f"{root}/large-lv60",
        ("w2v2_language_aasist", "en"): f"{root}/large-english",
        ("w2v2_language_aasist", "de"): f"{root}/large-german",
    }
    assert [run.folder for run in load_runs(config)] == [run.folder for run in runs]


@pytest.mark.parametrize("mode", ["frozen", "finetune"])
@pytest.mark.parametrize("family", ["wav2vec2", *(pytest.param(family, marks=pytest.mark.slow) for family in OTHER_FAMILIES)])
def test_every_family_trains_resumes_scores_and_stands_in_the_table(root, tmp_path, family, mode):
    checkpoint = save_tiny(family, tmp_path / "checkpoint")
    more = [f"ssl.mode={mode}", f"ssl.model={checkpoint}", "ssl.layer=2", "experiment.systems=[xlsr_aasist]", "experiment.train_sets=[en]"]
    run = prepared(root, tmp_path, "system=xlsr_aasist", *more)
    store = open_store(run.settings)
    with pytest.raises(Killed):
        train_run(run, store, CPU, on_epoch=die_after(1))
    assert train_run(run, store, CPU).num_epochs_done() == 2
    score_run(run, store, CPU)
    (tables,) = report_of([run])
    assert len(tables.cells) == 2 * 3  # two test languages; pooled and both variants
    assert tables.cells["macro_f1"].between(0, 1).all()


def report_of(runs: list[TrainingRun]) -> list[Tables]:
    settings = runs[0].settings
    return [table_of(plan, runs, scored_runs(runs), settings) for plan in plans_of(settings)]


@pytest.mark.parametrize(
    "options",
    [
        ["finetune.dropout=0.2", "finetune.layerdrop=0.3", "finetune.mask_time_prob=0.3", "train.micro_batch_size=4"],
        ["finetune.lora_rank=2", "finetune.gradient_checkpointing=true", "ssl.layer=weighted_sum"],
    ],
)
def test_killed_and_resumed_equals_uninterrupted_bit_for_bit(root, tmp_path, options):
    run = prepared(root, tmp_path, "system=xlsr_aasist", "train.epochs=3", *options)
    store = open_store(run.settings)
    train_run(run, store, CPU)
    other = replace(run, folder=tmp_path / "interrupted")
    with pytest.raises(Killed):
        train_run(other, store, CPU, on_epoch=die_after(1))
    train_run(other, store, CPU)
    expected, found = tensors_of(run), tensors_of(other)
    assert set(expected) == set(found)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_the_encoder_learns_and_its_convolutions_stay(root, tmp_path):
    run = prepared(root, tmp_path, "system=xlsr_aasist", "finetune.lr=1e-3")
    store = open_store(run.settings)
    before = build_model(run.settings, store.shape[1:]).state_dict()
    train_run(run, store, CPU)
    after = load_model(run, store).state_dict()
    assert set(before) == set(after)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("encoder.network.encoder.layers.2" in name for name in moved)
    assert not any("feature_extractor" in name for name in moved)
    assert not any("feature_extractor" in name for name in tensors_of(run))  # they come from the SSL checkpoint


def test_other_frozen_weights_than_those_of_training_are_refused(tmp_path):
    """The frozen convolutions come from the SSL checkpoint, whose name may stand for others by the time a run is scored."""
    root = write_stand_ins(tmp_path / "own")
    run = prepared(root, tmp_path, "system=xlsr_aasist", "train.epochs=1")
    store = open_store(run.settings)
    train_run(run, store, CPU)
    load_model(run, store)
    save_tiny("xls-r", root / "xls-r", seed=77)
    with pytest.raises(UserError, match=r"model.safetensors was trained on top of other frozen weights.*train again under another name"):
        load_model(run, store)


def test_a_lora_checkpoint_is_small_and_scores(root, tmp_path):
    run = prepared(root, tmp_path, "system=xlsr_aasist", "finetune.lora_rank=2")
    store = open_store(run.settings)
    train_run(run, store, CPU)
    assert all("lora_" in name for name in tensors_of(run) if name.startswith("encoder."))
    outcome = run.files.read_outcome()
    assert 0 < outcome["num_trained_parameters"] < outcome["num_parameters"]
    score_run(run, store, CPU)
    assert (run.files.scores("eval")).is_file()


@pytest.mark.parametrize("mode", ["frozen", "finetune"])
def test_layers_summed_by_learned_weights(root, tmp_path, mode):
    more = ["system=xlsr_aasist", f"ssl.mode={mode}", "ssl.layer=weighted_sum", "train.lr=1e-2"]
    run = prepared(root, tmp_path, *more)
    store = open_store(run.settings)
    assert store.shape[1:] == ((NUM_BLOCKS + 1, WIDTH, 24) if mode == "frozen" else (8000,))
    train_run(run, store, CPU)
    weights = tensors_of(run)["mix.logits"].softmax(dim=0)
    assert len(weights) == NUM_BLOCKS + 1
    assert weights.std() > 1e-4
    score_run(run, store, CPU)


@pytest.mark.parametrize(
    "change", ["finetune.lr=1e-3", "finetune.lora_rank=2", "ssl.layer=1", "ssl.normalize=false", "ssl.model={root}/large-lv60"]
)
def test_another_way_of_fine_tuning_is_another_run_of_the_same_store(root, tmp_path, change):
    run = prepared(root, tmp_path, "system=xlsr_aasist")
    other = load_run(load_settings(words(root, tmp_path, "train.languages=[en]", "system=xlsr_aasist", change.format(root=root))))
    assert other.folder != run.folder


def test_the_published_way_trains_all_weights_at_one_rate(root, tmp_path):
    base = words(root, tmp_path, "train.languages=[en]", "system=xlsr_aasist")
    settings = load_settings([base[0], "configs/as_published/published_ssl.yaml", *base[1:]])
    build_protocols(settings)
    extract_features(settings, *load_protocol(settings))
    run = load_run(settings)
    store = open_store(settings)
    model = build_model(settings, store.shape[1:])
    config = model.encoder.network.config
    assert (config.layerdrop, config.mask_time_prob, config.hidden_dropout, model.encoder.normalize) == (0.0, 0.0, 0.0, False)  # mask=False
    assert all(weight.requires_grad for weight in model.parameters())
    rates = learning_rates(settings, 0, 0, 10)
    assert rates["backend"] == rates["encoder"] == 5e-4
    train_run(run, store, CPU)
    assert read_yaml(run.folder / "config.yaml")["finetune"]["freeze_cnn"] is False


def test_the_encoders_rate_warms_up_and_decays(root, tmp_path):
    settings = load_settings(
        ["system=xlsr_aasist", "finetune.lr=1e-4", "finetune.warmup_epochs=1.5", "train.lr_interval=2", "train.lr=1e-2"]
    )
    rates = [learning_rates(settings, epoch, step, 4) for epoch in range(4) for step in range(4)]
    encoder = [rate["encoder"] for rate in rates]
    np.testing.assert_allclose(encoder[:6], 1e-4 * np.arange(1, 7) / 6)
    np.testing.assert_allclose(encoder[6:8], 1e-4)
    np.testing.assert_allclose(encoder[8:], 0.5e-4)
    assert [rate["backend"] for rate in rates] == [1e-2] * 8 + [0.5e-2] * 8


def test_encoder_and_back_end_are_groups_of_their_own(root, tmp_path):
    run = prepared(root, tmp_path, "system=xlsr_aasist")
    model = build_model(run.settings, open_store(run.settings).shape[1:])
    groups = {group["name"]: group["params"] for group in make_optimizer(model, run.settings).param_groups}
    assert {id(weight) for weight in groups["encoder"]} == {id(weight) for weight in model.encoder.parameters() if weight.requires_grad}
    assert {id(weight) for weight in groups["backend"]} == {id(weight) for weight in model.backend.parameters()}


class RowsInMemory:
    """As much of `FeatureRows` as a training step needs."""

    def __init__(self, num_rows: int):
        self.features, self.labels = torch.randn(num_rows, 6, generator=torch.Generator().manual_seed(1)), torch.arange(num_rows) % 2
        self.further_ids = torch.zeros((num_rows, 0), dtype=torch.int64)

    def batch(self, positions: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return self.features[positions], self.labels[positions]


class WithoutNorm(nn.Module):
    """A network whose rows do not see each other."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, self.layer(x)


@pytest.mark.parametrize("mixup", ["regmix", "mixed_only", "none"])
@pytest.mark.parametrize("micro_batch_size", [4, 5, 100])
def test_gradients_of_micro_batches_add_up_to_the_batchs(mixup, micro_batch_size):
    results = []
    for size in (0, micro_batch_size):
        settings = load_settings(["corpus.sources=[griffin_lim,lpc_vocoder]", f"train.mixup={mixup}", f"train.micro_batch_size={size}"])
        torch.manual_seed(3)
        model = WithoutNorm()
        state = TrainingState(model, CrossEntropy(settings, model, []), make_optimizer(model, settings))
        batch = mixed(np.arange(13), settings.train, rng(1))
        results.append((train_step(state, RowsInMemory(13), batch, settings), model.layer.weight.grad))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5)
    torch.testing.assert_close(results[0][1], results[1][1])


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("micro_batch_size", [0, 4, 7])
def test_every_row_is_computed_by_one_process_in_equally_many_pieces(size, micro_batch_size):
    for num_rows in range(2 * size, 40):
        pieces = [micro_batches(num_rows, micro_batch_size, ProcessGroup(rank, size)) for rank in range(size)]
        assert len({len(of_one) for of_one in pieces}) == 1
        assert sorted(np.concatenate([np.concatenate(of_one) for of_one in pieces])) == list(range(num_rows))
        lengths = [len(piece) for of_one in pieces for piece in of_one]
        assert min(lengths) >= 2
        assert not micro_batch_size or max(lengths) <= micro_batch_size


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("store.dtype=float16", "waveforms need store.dtype=float32"),
        ("train.micro_batch_size=2", "must be 0 or at least 4"),
        ("ssl.mode=melted", "must be one of frozen, finetune"),
    ],
)
def test_settings_that_cannot_work_are_one_clear_line(change, message):
    with pytest.raises(UserError, match=message):
        load_settings(["system=xlsr_aasist", change])


def test_a_layer_that_the_checkpoint_does_not_have_is_named_before_training(root, tmp_path):
    run = prepared(root, tmp_path, "system=xlsr_aasist", "ssl.layer=9")
    with pytest.raises(UserError, match="layer 9: must be .* from 0 to 3"):
        train_run(run, open_store(run.settings), CPU)
