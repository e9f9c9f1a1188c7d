"""Several processes that train together (gloo, on CPUs) learn what one process learns from the same batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import distributed, nn

from sourcetracing.models.backends.synced_batch_norm import SyncedBatchNorm, synced
from sourcetracing.training.checkpoints import load_checkpoint
from sourcetracing.training.joint import train_in_turn
from tests.support.fine_tuned import prepared, words, write_stand_ins
from tests.support.places import ROOT

# Without dropout: its masks cannot be the same for another division of the rows. ECAPA-TDNN has BatchNorm throughout and no dropout.
SYSTEM = ["system=xlsr_aasist", "backend=ecapa_tdnn", "ecapa_tdnn.channels=8", "finetune.dropout=0"]
SYSTEM += ["finetune.lr=1e-3", "train.batch_size=12", "train.epochs=3"]
# In double precision: Adam turns the rounding errors of vanishing gradients into steps, and float32 curves part after a few of them.
IN_DOUBLE_PRECISION = f"""
import sys, runpy
sys.path.insert(0, {str(ROOT)!r})
from sourcetracing.features import rows
from sourcetracing.training import state
build, batch = state.build_model, rows.FeatureRows.batch
state.build_model = lambda *args: build(*args).double()
rows.FeatureRows.batch = lambda self, positions: (lambda x, y: (x.double(), y))(*batch(self, positions))
runpy.run_path({str(ROOT / "train_refd.py")!r}, run_name="__main__")
"""


CRASH_AFTER_TWO_EPOCHS = f"""
import os, sys, runpy
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "scripts")!r}]
from sourcetracing.training import loop
keep = loop.keep_epoch
def keep_and_die(state, *rest):
    keep(state, *rest)
    if len(state.history) == 2:
        os._exit(9)
loop.keep_epoch = keep_and_die
runpy.run_path({str(ROOT / "scripts" / "05_train_matrix.py")!r}, run_name="__main__")
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_stand_ins(tmp_path_factory.mktemp("process_group"))


@pytest.fixture(autouse=True)
def no_synthesizer(monkeypatch):
    monkeypatch.setattr("sourcetracing.corpora.demo.DemoCorpus.check", lambda corpus: None)


def launch(*command: str, processes: int = 2) -> subprocess.CompletedProcess:
    """Runs a command in several processes, as torchrun does."""
    return run_by(["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)], *command)


def run_by(launcher: list[str], *command: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    whole = [sys.executable, "-m", *launcher, *command]
    return subprocess.run(whole, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(root, tmp_path):
    script = tmp_path / "in_double_precision.py"
    script.write_text(IN_DOUBLE_PRECISION)
    histories, weights = [], []
    for processes in (1, 2):
        run = prepared(root, tmp_path / str(processes), *SYSTEM)
        command = [str(script), *words(root, tmp_path / str(processes), "train.languages=[en]", *SYSTEM)]
        result = launch(*command, processes=processes)
        assert result.returncode == 0, result.stderr
        assert result.stdout.count("wrote ") == 1  # the second process does not talk
        histories.append(pd.read_csv(run.files.history).drop(columns="seconds"))
        weights.append(load_checkpoint(run.files.weights)[0])
    pd.testing.assert_frame_equal(*histories, rtol=1e-4)
    assert histories[0]["train_loss"].nunique() == 3
    assert set(weights[0]) == set(weights[1])
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-3, atol=2e-3 if name.endswith("bias") else 1e-4, msg=name)


ACCELERATE = ["accelerate.commands.launch", "--num_machines", "1", "--num_processes", "2", "--main_process_port", "0"]
ACCELERATE += ["--mixed_precision", "no", "--dynamo_backend", "no"]


@pytest.mark.slow
def test_accelerate_launch_trains_as_torchrun_does(root, tmp_path):
    """--multi_gpu starts processes with torchrun's variables, where there is no GPU too; --cpu a single one, whatever is asked for."""
    ways = {
        "torchrun": launch,
        "accelerate": lambda *command: run_by([*ACCELERATE, "--multi_gpu"], *command),
        "accelerate, cpu": lambda *command: run_by([*ACCELERATE, "--cpu"], *command),
    }
    weights = {}
    for name, way in ways.items():
        run = prepared(root, tmp_path / name, *SYSTEM)
        result = way("train_refd.py", *words(root, tmp_path / name, "train.languages=[en]", *SYSTEM))
        assert result.returncode == 0, result.stderr
        assert result.stdout.count("wrote ") == 1
        weights[name] = run.files.weights.read_bytes()
    alone = prepared(root, tmp_path / "alone", *SYSTEM)
    train_in_turn([alone])
    assert weights["accelerate"] == weights["torchrun"]
    # Those of one process have their sums in another order: `test_two_processes_learn_what_one_learns` says how near they are.
    assert weights["accelerate, cpu"] == alone.files.weights.read_bytes() != weights["torchrun"]


@pytest.mark.slow
def test_a_loss_on_whole_batches_is_refused_in_one_line_before_processes_meet(root, tmp_path):
    metric = ["frontend=lfcc", "backend=embedding_head", "metric_learning.classes_per_batch=2", "metric_learning.rows_per_class=2"]
    run = prepared(root, tmp_path, *metric)
    result = launch("train_ge2e.py", *words(root, tmp_path, "train.languages=[en]", *metric))
    assert result.returncode != 0 and not run.folder.exists()
    lines = [line for line in result.stderr.splitlines() if "error: backend=embedding_head" in line]
    assert lines == [
        "error: backend=embedding_head trains in one process: its loss compares all rows of a batch. Start it without torchrun"
    ]


@pytest.mark.slow
def test_killed_and_run_again_by_another_number_of_processes_it_ends(root, tmp_path):
    options = [*SYSTEM, "train.micro_batch_size=4", "experiment.systems=[xlsr_aasist]", "experiment.train_sets=[en]"]
    run = prepared(root, tmp_path, *options)
    crash = tmp_path / "crash.py"
    crash.write_text(CRASH_AFTER_TWO_EPOCHS)
    assert launch(str(crash), *words(root, tmp_path, *options)).returncode != 0
    folder = run.files
    assert folder.num_epochs_done() == 2 and not folder.is_finished
    train_in_turn([run])
    assert folder.is_finished and folder.num_epochs_done() == 3
    assert pd.read_csv(folder.history)["train_loss"].notna().all()


SHAPES = {"BatchNorm1d": (7, 5), "BatchNorm2d": (7, 5, 3, 2)}


def normalized_in_two_processes(folder: Path) -> None:
    """Runs in each process: part of the rows through synced BatchNorms, gradients and statistics saved."""
    distributed.init_process_group("gloo")
    rank, facts = distributed.get_rank(), {}
    for kind, (x, weights) in torch.load(folder / "data.pt").items():
        norm = synced(nn.Sequential(fresh_norm(kind)), torch.device("cpu"))[0]
        assert isinstance(norm, SyncedBatchNorm)
        mine = x.tensor_split([3])[rank].clone().requires_grad_()
        output = norm(mine)
        (output * weights.tensor_split([3])[rank]).sum().backward()
        distributed.all_reduce(norm.weight.grad)
        states = {name: value.clone() for name, value in norm.state_dict().items()}
        facts[kind] = {"output": output.detach(), "x_grad": mine.grad, "weight_grad": norm.weight.grad, **states}
        facts[kind]["eval"] = norm.eval()(mine).detach()
    torch.save(facts, folder / f"rank{rank}.pt")
    distributed.destroy_process_group()


def fresh_norm(kind: str) -> nn.Module:
    norm = getattr(nn, kind)(5)
    nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(1))
    nn.init.normal_(norm.bias, generator=torch.Generator().manual_seed(2))
    return norm


def test_batch_norm_sees_the_rows_of_all_processes(tmp_path):
    data = {kind: (torch.randn(shape) * 3 + 1, torch.randn(shape)) for kind, shape in SHAPES.items()}
    torch.save(data, tmp_path / "data.pt")
    result = launch("-m", __name__, str(tmp_path))
    assert result.returncode == 0, result.stderr
    for kind, (x, weights) in data.items():
        norm, x = fresh_norm(kind), x.requires_grad_()
        output = norm(x)
        (output * weights).sum().backward()
        ranks = [torch.load(tmp_path / f"rank{rank}.pt")[kind] for rank in range(2)]
        evaluated = norm.eval()(x).detach()
        for name, expected in (("output", output.detach()), ("x_grad", x.grad), ("eval", evaluated)):
            torch.testing.assert_close(torch.cat([rank[name] for rank in ranks]), expected, atol=1e-5, rtol=1e-4)
        for rank in ranks:
            torch.testing.assert_close(rank["weight_grad"], norm.weight.grad, atol=1e-5, rtol=1e-4)
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                torch.testing.assert_close(rank[name], getattr(norm, name))


if __name__ == "__main__":
    normalized_in_two_processes(Path(sys.argv[1]))
