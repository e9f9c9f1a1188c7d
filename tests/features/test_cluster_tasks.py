"""Which blocks go to the machines of a cluster as one task, and that what came back is read; without a cluster."""

from __future__ import annotations

import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from sourcetracing.errors import UserError
from sourcetracing.features import ray_cluster as cluster
from sourcetracing.features.store import BlockFile
from sourcetracing.settings.reading import load_settings

NUM_BLOCKS, BLOCK_BYTES, HEADER = 40, 6, 4


@pytest.fixture
def job(tmp_path: Path) -> SimpleNamespace:
    """Of blocks of two rows of three bytes, but for the last, which has one."""
    file = BlockFile(tmp_path / "features.npy", HEADER, 3, 2 * NUM_BLOCKS - 1, 2)
    file.path.write_bytes(bytes(index % 251 for index in range(HEADER + 3 * file.num_rows)))
    return SimpleNamespace(settings=load_settings(["compute.device=auto"]), file=file)


@pytest.fixture
def tasks(job, monkeypatch) -> list[list[int]]:
    """The tasks of each call. What they return is what the file holds."""
    given = []
    content = job.file.path.read_bytes()[HEADER:]

    def run(function, items, settings, *, on_gpu):
        given.extend(items)
        for blocks in items:
            cuts = (content[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES] for block in blocks)
            yield blocks, [(block, zlib.crc32(cut)) for block, cut in zip(blocks, cuts, strict=True)]

    monkeypatch.setattr(cluster, "map_unordered", run)
    return given


def with_machines(monkeypatch, **resources: int) -> None:
    monkeypatch.setattr(cluster, "connect", lambda settings: SimpleNamespace(put=id, cluster_resources=lambda: resources))


@pytest.mark.parametrize(
    ("on_gpu", "device", "gpus", "size"),
    [(True, "auto", 2, 8), (True, "auto", 4, 5), (True, "auto", 32, 1), (True, "cpu", 2, 1), (True, "auto", 0, 1), (False, "auto", 2, 1)],
)
def test_neighbouring_blocks_go_to_a_gpu_together_as_long_as_each_has_two_tasks(job, tasks, monkeypatch, on_gpu, device, gpus, size):
    with_machines(monkeypatch, CPU=64, GPU=gpus)
    job.settings.compute.device = device
    made = dict(cluster.make_blocks(job, pytest.fail, list(range(NUM_BLOCKS)), on_gpu=on_gpu))
    assert sorted(made) == list(range(NUM_BLOCKS))
    assert [len(task) for task in tasks[:-1]] == [size] * (-(-NUM_BLOCKS // size) - 1)
    assert cluster.device_type(job.settings, on_gpu=on_gpu) == ("cuda" if on_gpu and device == "auto" and gpus else "cpu")


def test_a_block_that_is_not_what_was_written_is_refused_in_one_line(job, tasks, monkeypatch):
    with_machines(monkeypatch, CPU=2)
    made = cluster.make_blocks(job, pytest.fail, list(range(NUM_BLOCKS)), on_gpu=False)
    next(made)
    content = bytearray(job.file.path.read_bytes())
    content[HEADER + 7 * BLOCK_BYTES] ^= 1
    job.file.path.write_bytes(content)
    with pytest.raises(UserError, match=r"block 7 is not what a worker wrote") as caught:
        list(made)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("block, rows", [(0, range(2)), (NUM_BLOCKS - 1, range(2 * NUM_BLOCKS - 2, 2 * NUM_BLOCKS - 1))])
def test_a_block_knows_its_rows_and_its_place(job, block, rows):
    assert job.file.rows(block) == rows and job.file.offset_bytes(block) == HEADER + BLOCK_BYTES * block
    content = job.file.path.read_bytes()[HEADER + BLOCK_BYTES * block :][: 3 * len(rows)]
    assert job.file.holds(block, zlib.crc32(content)) and not job.file.holds(block, zlib.crc32(content) ^ 1)
