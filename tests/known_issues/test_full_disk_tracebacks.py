"""`python scripts/05_train_matrix.py` on a full disk: a traceback of SafetensorError, or of an OSError without number or name."""

from __future__ import annotations

import errno
import os
import resource
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sourcetracing.runtime import files
from sourcetracing.runtime.cli import run_script
from sourcetracing.runtime.files import atomic_path
from tests.support.places import ROOT

MANY = np.zeros(100_000, np.float32)
WRITERS = {
    "numpy": lambda path: np.save(path, MANY),
    "safetensors": lambda path: save_file({"x": torch.from_numpy(MANY)}, path),
    "text": lambda path: path.write_text("x" * 100_000),
}


@pytest.fixture
def small_files():
    """No file may become larger than 4 kB, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("library", WRITERS)
def test_whatever_writes_the_error_has_number_and_name(tmp_path, small_files, library):
    with pytest.raises(OSError) as caught, atomic_path(tmp_path / "x.npy") as partial:
        WRITERS[library](partial)
    assert caught.value.errno in (errno.EFBIG, errno.EIO)
    assert caught.value.filename == str(tmp_path / "x.npy")
    assert not list(tmp_path.iterdir())


def test_any_error_of_a_library_on_a_full_disk_is_the_disks(tmp_path, monkeypatch):
    def fail() -> None:
        with atomic_path(tmp_path / "x.wav"):
            raise RuntimeError("System error.")  # soundfile's

    with pytest.raises(RuntimeError):
        fail()
    monkeypatch.setattr(files, "disk_usage", lambda folder: SimpleNamespace(free=0))
    with pytest.raises(OSError, match="No space left on device"):
        fail()


def outcome_of(error: Exception, capsys) -> tuple[int, str]:
    """Exit status and stderr of a script whose work ends so."""

    def work(config) -> None:
        raise error

    with pytest.raises(SystemExit) as end:
        run_script(work, doc="", uses=[""], argv=[str(ROOT / "configs" / "tiny.yaml")])
    return end.value.code, capsys.readouterr().err


NUMBERS = (
    "ENOSPC",
    "EDQUOT",
    "EACCES",
    "EROFS",
    "ENOLCK",
    "ENOTSUP",
    "ENAMETOOLONG",
    "ENOENT",
    "EIO",
    "ENOTDIR",
    "ELOOP",
    "EISDIR",
    "EFBIG",
)


@pytest.mark.parametrize("name", NUMBERS)
def test_what_the_system_refuses_is_one_line(name, capsys):
    number = getattr(errno, name)
    status, err = outcome_of(OSError(number, os.strerror(number), "exp/demo/protocol.csv"), capsys)
    assert (status, len(err.splitlines())) == (2, 1)
    assert err.startswith(f"error: {os.strerror(number)}: exp/demo/protocol.csv.")


def test_an_error_without_number_is_one_line_too(capsys):
    assert outcome_of(OSError("160000 requested and 0 written"), capsys)[0] == 2


def test_too_little_memory_is_one_line(capsys):
    status, err = outcome_of(MemoryError("Unable to allocate 16.5 TiB"), capsys)
    assert status == 2
    assert "Unable to allocate 16.5 TiB" in err


@pytest.mark.parametrize("error", [OSError(errno.EBADF, "Bad file descriptor"), KeyError("x")])
def test_mistakes_of_ours_keep_their_traceback(error, capsys, monkeypatch):
    monkeypatch.setattr("sourcetracing.runtime.cli.damage_in_words", lambda exp, folders: None)
    with pytest.raises(type(error)):
        outcome_of(error, capsys)


def test_a_path_below_proc_is_one_line(capsys):
    with pytest.raises(SystemExit) as end:
        run_script(lambda config: files.write_text("/proc/x/y", ""), doc="", uses=[""], argv=[str(ROOT / "configs" / "tiny.yaml")])
    err = capsys.readouterr().err
    assert (end.value.code, len(err.splitlines())) == (2, 1)
    assert "/proc/x" in err
