"""Blocks by way of an encoder that takes batches (as on a GPU): what one by one gives, whatever the workers, interruptions and memory."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from sourcetracing.errors import UserError
from sourcetracing.features import encoder_batches as encoder_pipeline
from sourcetracing.features import extracting as features
from sourcetracing.features import front_end as front_end_module
from sourcetracing.features.blocks import BlockMaker, StoreJob
from sourcetracing.features.extracting import extract_features, find_store, list_items, store_recipe
from sourcetracing.features.front_end import build_front_end, convert_once
from sourcetracing.features.making import make_blocks
from sourcetracing.features.noise_bank import prepare_banks
from sourcetracing.features.store import FeatureStore, StoreWriter
from sourcetracing.models.frontends.ssl import SslEncoder
from sourcetracing.runtime.compute import HALF_TYPES, autocast
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.runtime.progress import Stopwatch
from sourcetracing.settings.frontends import Ssl
from sourcetracing.settings.schema import Settings
from sourcetracing.training.runs import run_recipe
from tests.support.audio_files import small_audio_settings, write_corpus, write_noises, write_responses, write_wav
from tests.support.tiny_ssl import FAMILIES, WIDTH, save_tiny

NUM_UTTERANCES, NUM_VARIANTS = 9, 5
OUT_OF_MEMORY = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "mps": RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB)"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("batches")
    write_corpus(root / "corpus", NUM_UTTERANCES)
    write_noises(root / "musan")
    write_responses(root / "RIRS_NOISES")
    save_tiny("xls-r", root / "model")
    return root


@pytest.fixture
def experiment(root, tmp_path):
    """(settings, utterances, protocol): features in float32 by a tiny encoder, one by one as on a CPU."""
    utterances, protocol = write_corpus(tmp_path / "corpus", NUM_UTTERANCES)
    settings = small_audio_settings(root)
    settings.paths.corpus, settings.paths.exp = str(tmp_path / "corpus"), str(tmp_path / "exp")
    settings.frontend, settings.ssl = "ssl", Ssl(model=str(root / "model"), layer=2)
    settings.store.dtype, settings.store.block_rows = "float32", 20
    settings.compute.device, settings.compute.workers = "cpu", 2
    return settings, utterances, protocol


def batched(settings: Settings, encoder_batch: int, exp: str = "", **compute) -> Settings:
    """These settings with batches, and results of their own."""
    settings = deepcopy(settings)
    settings.paths.exp += f"-{encoder_batch}{exp}"
    settings.compute.encoder_batch = encoder_batch
    for name, value in compute.items():
        setattr(settings.compute, name, value)
    return settings


def rows_of(experiment, settings: Settings) -> np.ndarray:
    store = FeatureStore.open(extract_features(settings, *experiment[1:]))
    assert digest_of_file(store.folder / "features.npy") == store.facts["checksum"]
    return store.load(range(store.shape[0]))


def pipeline_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("decode", "write"))]


def job_of(experiment, tmp_path: Path) -> tuple[StoreJob, StoreWriter]:
    """A store that is begun, without a row."""
    settings, utterances, protocol = experiment
    prepare_banks(settings)
    items = list_items(utterances, protocol)
    shape = (len(items) * NUM_VARIANTS, *build_front_end(settings).output_shape(8000))
    (tmp_path / "store").mkdir()
    writer = StoreWriter(tmp_path / "store", shape, np.dtype("float32"), 4 * NUM_VARIANTS)
    return StoreJob(settings, items, prepare_banks(settings), writer.file), writer


@pytest.mark.parametrize("encoder_batch", [2, 5, 12, 64], ids=lambda size: f"batch{size}")
def test_batches_give_what_one_by_one_gives(experiment, encoder_batch):
    settings = experiment[0]
    alone, together = rows_of(experiment, settings), rows_of(experiment, batched(settings, encoder_batch))
    assert alone.shape == (NUM_UTTERANCES * NUM_VARIANTS, WIDTH, 24)
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)


def test_the_store_is_the_same_one_so_that_it_may_be_made_on_a_gpu_and_read_on_a_cpu(experiment):
    """Batches are no part of a store's name: asked for again without them, it is there, and no byte of it is written anew."""
    settings, utterances, protocol = experiment
    there = batched(settings, 12, "-kept")
    folder = extract_features(there, utterances, protocol)
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()}
    here = deepcopy(there)
    here.compute.encoder_batch, here.compute.workers = 0, 1
    assert extract_features(here, utterances, protocol) == folder
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()} == before
    assert find_store(here, utterances, protocol).folder == folder
    here.compute.precision = "bf16"  # other numbers: not the same store
    assert extract_features(here, utterances, protocol) != folder


def test_the_encoder_gets_one_shape_only(experiment, monkeypatch):
    shapes = set()
    forward = SslEncoder.forward
    monkeypatch.setattr(SslEncoder, "forward", lambda self, rows: (shapes.add(tuple(rows.shape)), forward(self, rows))[1])
    rows_of(experiment, batched(experiment[0], 12))
    assert shapes == {(10, 8000)}  # two utterances with their variants; the ninth utterance is filled up


def test_workers_and_blocks_do_not_change_a_byte(experiment):
    settings = experiment[0]
    expected = rows_of(experiment, batched(settings, 10))
    for workers, block_rows in [(1, 20), (5, 20), (2, 45), (2, 1)]:
        other = batched(settings, 10, f"-{workers}-{block_rows}", workers=workers)
        other.store.block_rows = block_rows
        np.testing.assert_array_equal(rows_of(experiment, other), expected)


def test_ctrl_c_keeps_the_finished_blocks_and_the_bytes(experiment, monkeypatch):
    settings = experiment[0]
    expected = rows_of(experiment, batched(settings, 10))
    commit = features.StoreWriter.commit

    def interrupt(self, block, crc):
        commit(self, block, crc)
        raise KeyboardInterrupt

    interrupted = batched(settings, 10, "-interrupted")
    with monkeypatch.context() as patched:
        patched.setattr(features.StoreWriter, "commit", interrupt)
        with pytest.raises(KeyboardInterrupt):
            extract_features(interrupted, *experiment[1:])
    assert pipeline_threads() == []
    made = []
    real = encoder_pipeline.encode_blocks
    monkeypatch.setattr("sourcetracing.features.making.encode_blocks", lambda make, blocks: (made.extend(blocks), real(make, blocks))[1])
    np.testing.assert_array_equal(rows_of(experiment, interrupted), expected)
    assert made == [1, 2]  # of three


def test_a_single_block_can_be_made_as_a_cluster_does(experiment, tmp_path):
    experiment[0].compute.encoder_batch = 10
    job, writer = job_of(experiment, tmp_path)
    front_end = build_front_end(job.settings)
    crcs = dict(make_blocks(job, front_end, writer.remaining()))
    before = job.file.path.read_bytes()
    assert {block: dict(make_blocks(job, front_end, [block]))[block] for block in reversed(writer.remaining())} == crcs
    assert job.file.path.read_bytes() == before and list(crcs) == [0, 1, 2]


@pytest.mark.parametrize("error", OUT_OF_MEMORY.values(), ids=OUT_OF_MEMORY)
def test_out_of_memory_halves_the_batch_says_so_and_goes_on(experiment, monkeypatch, capsys, error):
    settings = experiment[0]
    expected, sizes, forward = rows_of(experiment, settings), [], SslEncoder.forward

    def small_device(self, rows):
        sizes.append(len(rows))
        if len(rows) > 3:
            raise error
        return forward(self, rows)

    monkeypatch.setattr(SslEncoder, "forward", small_device)
    capsys.readouterr()
    np.testing.assert_allclose(rows_of(experiment, batched(settings, 12)), expected, rtol=1e-4, atol=1e-4)
    said = [line for line in capsys.readouterr().err.splitlines() if "do not fit the memory" in line]
    assert len(said) == 2 and "going on with 5" in said[0] and "going on with 2" in said[1]
    assert sizes[:3] == [10, 5, 2] and set(sizes[2:]) == {2}


def test_no_memory_for_one_waveform_is_the_users_to_mend(experiment, monkeypatch):
    def no_memory(self, rows):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(SslEncoder, "forward", no_memory)
    with pytest.raises(UserError, match="not enough memory on cpu for one waveform of 0.5 s. Use compute.device=cpu"):
        extract_features(batched(experiment[0], 12), *experiment[1:])


def test_another_error_of_the_encoder_is_not_hidden(experiment, monkeypatch):
    def broken(self, rows):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(SslEncoder, "forward", broken)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        extract_features(batched(experiment[0], 12), *experiment[1:])


def test_bad_audio_in_a_decoding_thread_is_the_same_error_and_ends_everything(experiment):
    settings, utterances, protocol = experiment
    write_wav(Path(settings.paths.corpus) / utterances["path"][4], 0.5, 99)
    messages = []
    for tried in (settings, batched(settings, 12)):
        with pytest.raises(UserError, match=r"4\.wav: has changed.*02_build_protocols") as refusal:
            extract_features(tried, utterances, protocol)
        messages.append(str(refusal.value))
    assert messages[0] == messages[1] and pipeline_threads() == []


def test_a_disk_that_fails_ends_everything(experiment, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(encoder_pipeline, "write_at", full)
    with pytest.raises(OSError, match="No space left"):
        extract_features(batched(experiment[0], 5), *experiment[1:])
    assert pipeline_threads() == []


def test_features_that_do_not_fit_float16_are_refused_by_name(experiment, monkeypatch):
    settings, forward = experiment[0], SslEncoder.forward
    settings.store.dtype = "float16"
    calls = []

    def huge(self, rows):
        made = forward(self, rows)
        calls.append(len(rows))
        if len(calls) == 3:  # the first looks for the shape, this one holds the third and fourth utterance
            made[7, 3, 3] = -70000.0
        return made

    monkeypatch.setattr(SslEncoder, "forward", huge)
    with pytest.raises(UserError, match=r"en/source1/3, variant speech: .*float16.*70000.*store\.dtype=float32"):
        extract_features(batched(settings, 10), *experiment[1:])


def test_decoders_run_ahead_by_a_few_batches_only(experiment, tmp_path, monkeypatch):
    experiment[0].compute.encoder_batch, decoded = 5, []
    job, writer = job_of(experiment, tmp_path)
    make = BlockMaker(job, build_front_end(job.settings))
    real = BlockMaker.waveforms
    monkeypatch.setattr(BlockMaker, "waveforms", lambda self, item: (decoded.append(item.utt_id), real(self, item))[1])
    decoders = ThreadPoolExecutor(2)
    batches = encoder_pipeline._decoded(make, writer.remaining(), decoders)
    next(batches)
    decoders.shutdown()  # all that was asked for is done
    assert 2 <= len(decoded) <= 5 < NUM_UTTERANCES
    batches.close()


def test_a_store_tells_how_fast_it_was_made(experiment):
    settings = experiment[0]
    for made in (settings, batched(settings, 10)):
        facts = FeatureStore.open(extract_features(made, *experiment[1:])).facts["extraction"]
        assert facts["device"] == "cpu" and facts["encoder_batch"] == (made.compute.encoder_batch or 1)
        assert facts["hours_of_sound"] == pytest.approx(NUM_UTTERANCES * NUM_VARIANTS * 0.5 / 3600)
        seconds = facts["seconds"]
        assert min(seconds["decoding"], seconds["encoding"], seconds["writing"]) > 0
        assert seconds["encoding"] < seconds["all"] * 2


def test_a_stopwatch_counts_no_second_twice(monkeypatch):
    clock = iter([0.0, 1.0, 4.0, 10.0])
    monkeypatch.setattr("sourcetracing.runtime.progress.time.perf_counter", lambda: next(clock))
    watch = Stopwatch()
    with watch("writing"), watch("encoding"):
        pass
    watch.add("encoding", 0.5)
    assert watch.seconds == {"writing": 7.0, "encoding": 3.5}


@torch.inference_mode()
@pytest.mark.parametrize(("family", "precision"), [pair for pair in product(FAMILIES, HALF_TYPES) if pair != ("w2v-bert", "fp16")])
def test_weights_converted_once_give_what_autocast_gives(tmp_path, family, precision):
    encoder = SslEncoder(save_tiny(family, tmp_path / family))
    entering = encoder.entering(torch.randn(2, 8000, generator=torch.Generator().manual_seed(3)))
    with autocast(torch.device("cpu"), precision):
        expected = encoder.network(entering).last_hidden_state
        convert_once(encoder.network, precision)
        assert torch.equal(encoder.network(entering).last_hidden_state, expected)
    assert any(parameter.dtype == HALF_TYPES[precision] for parameter in encoder.parameters())


def test_an_encoder_that_a_cpu_does_not_end_with_in_fp16_is_refused(tmp_path):
    """Its depthwise convolution hung for as long as one waited, from 4 s of sound on."""
    encoder = SslEncoder(save_tiny("w2v-bert", tmp_path))
    with pytest.raises(UserError, match=r"Use compute\.encoder_precision=float32$"):
        convert_once(encoder.network, "fp16")
    assert all(parameter.dtype == torch.float32 for parameter in encoder.parameters())


@pytest.mark.parametrize(("device", "mode"), [("cpu", None), ("cuda", "reduce-overhead")])
def test_what_is_compiled_for_a_gpu_is_started_as_one_graph_of_a_fixed_shape(monkeypatch, device, mode):
    asked = {}
    network = torch.nn.Linear(2, 2)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **options: asked.update(options))
    front_end_module._compile(network, torch.device(device))
    assert asked == {"dynamic": False, "mode": mode}


def test_rows_of_one_pass_outlive_the_next_one(experiment):
    """A CUDA graph writes each pass to the same place: what a compiled encoder gives has to be a copy."""
    front_end = build_front_end(batched(experiment[0], 5))
    front_end.settings.compute.compile = True
    place = torch.zeros(5, 2, 3)

    class Graph(torch.nn.Module):
        def forward(self, rows):
            return place.copy_(rows[:, :6].reshape(5, 2, 3))

    front_end.module = Graph()
    waveforms = torch.arange(10.0)[:, None].expand(10, 8000)
    assert torch.equal(front_end(waveforms)[:, 0, 0], torch.arange(10.0))


def test_what_fp16_cannot_hold_is_one_line_with_another_setting(experiment, tmp_path):
    job, _ = job_of((batched(experiment[0], 5, encoder_precision="fp16"), *experiment[1:]), tmp_path)
    make = BlockMaker(job, build_front_end(job.settings))
    with pytest.raises(UserError, match=r"u1, variant reverb: .* they reach inf\. Use compute\.encoder_precision=bf16 or float32$"):
        make.refuse_overflow(torch.tensor([1.0, torch.inf, 2.0, 3.0, 4.0]), "u1")


def test_fp16_of_the_encoder_makes_a_store_of_its_own_near_the_one_in_float32(experiment):
    settings, utterances, protocol = experiment
    half = batched(settings, 5, encoder_precision="fp16")
    half.paths.exp = settings.paths.exp
    exact, coarse = rows_of(experiment, settings), rows_of(experiment, half)
    error = np.sqrt(np.square(coarse - exact).mean() / np.square(exact).mean())
    assert 0 < error < 5e-3
    recipes = [store_recipe(one, list_items(utterances, protocol)) for one in (settings, half)]
    assert [recipe["frontend"]["ssl"].pop("precision") for recipe in recipes] == ["auto", "fp16"]
    assert recipes[0] == recipes[1]
    assert run_recipe(settings) == run_recipe(half)  # its networks learn as ever; the store that a run stands on says fp16
    shutil.rmtree(extract_features(settings, utterances, protocol))
    with pytest.raises(UserError, match=r"with compute\.encoder_precision=fp16 there is "):
        find_store(settings, utterances, protocol)


needs_compiler = pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler")


@pytest.mark.slow
@needs_compiler
def test_a_compiled_encoder_gives_the_same_features_in_a_store_of_its_own(experiment, tmp_path, capfd):
    settings, utterances, protocol = experiment
    settings.ssl = Ssl(model=str(save_tiny("w2v-bert", tmp_path / "model")), layer=0)  # the least there is to compile
    expected = rows_of(experiment, settings)
    compiled = batched(settings, 0, "-compiled", compile=True, workers=3)
    torch.compiler.reset()
    counters.clear()
    np.testing.assert_allclose(rows_of(experiment, compiled), expected, rtol=1e-3, atol=1e-3)
    assert counters["stats"]["unique_graphs"] == 1  # by the first pass, for all threads
    assert "compiling the encoder" in capfd.readouterr().err
    items = list_items(utterances, protocol)
    assert store_recipe(compiled, items) != store_recipe(settings, items)
    assert "compiled" not in store_recipe(settings, items)["frontend"]["ssl"]  # stores made before there was this setting keep their names


@pytest.mark.slow
def test_without_a_compiler_there_is_one_clear_line(experiment):
    import torch._inductor.config as inductor

    with inductor.patch({"cpp.cxx": ("/nowhere/g++",), "fx_graph_cache": False}):
        torch.compiler.reset()
        with pytest.raises(UserError, match=r"compute\.compile=true needs a working C\+\+ compiler") as refusal:
            extract_features(batched(experiment[0], 0, compile=True), *experiment[1:])
    assert "\n" not in str(refusal.value)
