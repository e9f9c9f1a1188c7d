"""Several processes that train together (gloo, on CPUs) learn what one process learns from the same batches."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from models.synced_batch_norm import SyncedBatchNorm, synced
from sourcetracing.checkpoints import load_checkpoint
from sourcetracing.joint_training import train_in_turn
from sourcetracing.run_folder import RunFolder
from sourcetracing.settings_io import PROJECT_ROOT
from tests.fine_tuned_setup import prepared, words, write_stand_ins

# Without dropout: its masks cannot be the same for another division of the rows. ResNet18 has BatchNorm throughout.
SYSTEM = ["system=xlsr_aasist", "backend=resnet18", "finetune.dropout=0", "finetune.lr=1e-3", "train.batch_size=6", "train.epochs=3"]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_stand_ins(tmp_path_factory.mktemp("process_group"))


@pytest.fixture(autouse=True)
def no_synthesizer(monkeypatch):
    monkeypatch.setattr("sourcetracing.corpora.demo.check", lambda settings: None)


def launch(folder: Path, *command: str, processes: int = 2) -> subprocess.CompletedProcess:
    """Runs a command in several processes, as torchrun does."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT_ROOT)}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return subprocess.run([*launcher, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("micro_batch_size", [0, 4])
def test_two_processes_learn_what_one_learns(root, tmp_path, micro_batch_size):
    options = [*SYSTEM, f"train.micro_batch_size={micro_batch_size}"]
    cell = prepared(root, tmp_path, *options)
    alone = replace(cell, folder=tmp_path / "alone")
    if not micro_batch_size:  # BatchNorm sees a micro-batch at a time; alone that is another half of the rows
        train_in_turn([alone])
    result = launch(PROJECT_ROOT, "train_refd.py", *words(root, tmp_path, "train.languages=[en]", *options))
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("wrote ") == 1  # the second process does not talk
    history = pd.read_csv(RunFolder(cell.folder).history)
    assert len(history) == 3
    if micro_batch_size:
        assert history["train_loss"].notna().all()
        return
    expected = pd.read_csv(RunFolder(alone.folder).history)
    columns = ["epoch", "lr", "train_loss", "train_accuracy", "dev_loss", "dev_accuracy", "dev_macro_f1"]
    pd.testing.assert_frame_equal(history[columns], expected[columns], rtol=2e-3)
    assert history["train_loss"].nunique() == 3  # it does learn
    one, two = (load_checkpoint(RunFolder(each.folder).weights)[0] for each in (alone, cell))
    assert set(one) == set(two)


def test_killed_and_run_again_by_another_number_of_processes_it_ends(root, tmp_path):
    cell = prepared(root, tmp_path, *SYSTEM)
    first = [*words(root, tmp_path, "train.languages=[en]", *SYSTEM)]
    crash = tmp_path / "crash.py"
    crash.write_text(
        f"import sys, os, runpy\nsys.path.insert(0, {str(PROJECT_ROOT)!r})\n"
        "from sourcetracing import training\nkeep = training._keep_epoch\n"
        "def keep_and_die(state, *rest):\n    keep(state, *rest)\n    if len(state.history) == 2:\n        os._exit(9)\n"
        f"training._keep_epoch = keep_and_die\nrunpy.run_path({str(PROJECT_ROOT / 'train_refd.py')!r}, run_name='__main__')\n"
    )
    assert launch(PROJECT_ROOT, str(crash), *first).returncode != 0
    folder = RunFolder(cell.folder)
    assert folder.num_epochs_done() == 2 and not folder.is_finished
    train_in_turn([cell])
    assert folder.is_finished and folder.num_epochs_done() == 3


def normalized_in_two_processes() -> None:
    """Runs in each process: half of the rows through a synced BatchNorm, gradients and statistics saved."""
    from torch import distributed

    distributed.init_process_group("gloo")
    rank, folder = distributed.get_rank(), Path(sys.argv[1])
    data = torch.load(folder / "data.pt")
    norm = synced(nn.Sequential(fresh_norm(data["kind"])), torch.device("cpu"))[0]
    assert isinstance(norm, SyncedBatchNorm)
    x = data["x"].tensor_split([3])[rank].clone().requires_grad_()
    output = norm(x)
    (output * data["weights"].tensor_split([3])[rank]).sum().backward()
    distributed.all_reduce(norm.weight.grad)
    facts = {"output": output.detach(), "x_grad": x.grad, "weight_grad": norm.weight.grad, **norm.state_dict()}
    torch.save({**facts, "eval": norm.eval()(x).detach()}, folder / f"rank{rank}.pt")
    distributed.destroy_process_group()


def fresh_norm(kind: str) -> nn.Module:
    norm = getattr(nn, kind)(5)
    nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(1))
    nn.init.normal_(norm.bias, generator=torch.Generator().manual_seed(2))
    return norm


@pytest.mark.parametrize(("kind", "shape"), [("BatchNorm1d", (7, 5)), ("BatchNorm2d", (7, 5, 3, 2))])
def test_batch_norm_sees_the_rows_of_all_processes(tmp_path, kind, shape):
    x, weights = torch.randn(shape) * 3 + 1, torch.randn(shape)
    torch.save({"kind": kind, "x": x, "weights": weights}, tmp_path / "data.pt")
    result = launch(PROJECT_ROOT, "-m", "tests.test_process_group", str(tmp_path))
    assert result.returncode == 0, result.stderr
    norm, x = fresh_norm(kind), x.requires_grad_()
    output = norm(x)
    (output * weights).sum().backward()
    ranks = [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)]
    torch.testing.assert_close(torch.cat([rank["output"] for rank in ranks]), output.detach(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(torch.cat([rank["x_grad"] for rank in ranks]), x.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(torch.cat([rank["eval"] for rank in ranks]), norm.eval()(x).detach(), atol=1e-5, rtol=1e-4)
    for rank in ranks:
        torch.testing.assert_close(rank["weight_grad"], norm.weight.grad, atol=1e-5, rtol=1e-4)
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            torch.testing.assert_close(rank[name], getattr(norm, name))


if __name__ == "__main__":
    normalized_in_two_processes()
