"""Full disks, files that are there already, and downloads that end in every way but the right one."""

from __future__ import annotations

import _thread
import os
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple

import pytest

from sourcetracing.downloads import parts, records, transfer
from sourcetracing.downloads.http import RemoteFile, fetch
from sourcetracing.downloads.records import only_run, read_complete
from sourcetracing.errors import UserError
from tests.support.downloads import CONTENT, NAME, OTHER, assert_arrived, begin, md5, names, settings
from tests.support.places import ROOT

# The disk, the lock, files that are there


def free_space(monkeypatch, free_bytes):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(records, "disk_usage", lambda folder: usage(0, 0, free_bytes))


def test_a_full_disk_is_noticed_before_the_body(server, tmp_path, monkeypatch, capsys):
    free_space(monkeypatch, 700_000)
    files = [RemoteFile(name, (server.add(name, CONTENT),)) for name in ("a.zip", "b.zip")]
    with pytest.raises(UserError, match=r"the download of 2 files needs 800.00 kB, but only 700.00 kB are free"):
        fetch(files, tmp_path, settings())
    assert server.body_requests() == [] and names(tmp_path) == set()
    assert "room needed: 800.00 kB; free: 700.00 kB" in capsys.readouterr().out


def test_bytes_that_are_here_need_no_room(server, tmp_path, monkeypatch):
    url = begin(server, tmp_path)
    free_space(monkeypatch, 300_000)
    fetch([RemoteFile(NAME, (url,))], tmp_path, settings())
    assert_arrived(tmp_path)


def test_a_disk_that_fills_up_is_one_line(server, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(transfer.Transfer, "_write", full)
    with pytest.raises(OSError, match="No space left on device"):  # which the scripts' door says in one line
        fetch([RemoteFile(NAME, (server.add(NAME, CONTENT),))], tmp_path, settings())


def test_a_complete_file_costs_no_request(server, tmp_path, monkeypatch):
    file = RemoteFile(NAME, (server.add(NAME, CONTENT),), len(CONTENT), md5(CONTENT))
    fetch([file], tmp_path, settings())
    server.requests.clear()
    monkeypatch.setattr("sourcetracing.downloads.retrieval.checksum_of", None)
    assert fetch([file], tmp_path, settings()) == [tmp_path / NAME]
    assert server.requests == []


def test_a_file_that_was_put_there_is_checked_and_taken(server, tmp_path):
    (tmp_path / NAME).write_bytes(CONTENT)
    fetch([RemoteFile(NAME, (server.url(NAME),), len(CONTENT), md5(CONTENT))], tmp_path, settings())
    assert_arrived(tmp_path)
    assert server.requests == []


@pytest.mark.parametrize("file", [RemoteFile(NAME, ("x",), None, md5(CONTENT)), RemoteFile(NAME, ("x",), 5)])
def test_another_file_under_the_name_is_named_and_left_alone(tmp_path, file):
    (tmp_path / NAME).write_bytes(OTHER)
    with pytest.raises(UserError, match="not the file that is wanted.*expected.*Move or delete it"):
        fetch([file], tmp_path, settings())
    assert (tmp_path / NAME).read_bytes() == OTHER


def test_a_finished_file_that_was_changed_is_noticed(server, tmp_path):
    file = RemoteFile(NAME, (server.add(NAME, CONTENT),))
    fetch([file], tmp_path, settings())
    os.utime(tmp_path / NAME, (1, 1))
    fetch([file], tmp_path, settings())
    with pytest.raises(UserError, match="not the file that is wanted"):
        fetch([RemoteFile(NAME, file.urls, None, md5(OTHER))], tmp_path, settings())
    (tmp_path / NAME).write_bytes(OTHER)
    with pytest.raises(UserError, match="not the file that is wanted"):
        fetch([file], tmp_path, settings())


# Ends of all kinds

RUN = """
import sys
from pathlib import Path
from sourcetracing.settings.corpora import Download
from sourcetracing.downloads import parts
from sourcetracing.downloads.http import RemoteFile, fetch
from sourcetracing.errors import UserError
parts.SMALLEST_PART_BYTES = 50_000
try:
    fetch([RemoteFile("musan.tar.gz", (sys.argv[1],))], Path(sys.argv[2]), Download(connections=2))
except UserError as error:
    sys.exit(f"error: {error}")
"""


def start(url, folder):
    return subprocess.Popen([sys.executable, "-c", RUN, url, str(folder)], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def saved_bytes(folder) -> int:
    begun = parts.load_parts(folder / f"{NAME}.part")
    return begun.done_bytes if begun else 0


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_after_kill_9_only_missing_bytes_are_fetched(server, tmp_path):
    url = server.add(NAME, CONTENT, pause_per_block_seconds=0.03)
    process = start(url, tmp_path)
    wait_for(lambda: saved_bytes(tmp_path) > 50_000)
    first_save = saved_bytes(tmp_path)
    wait_for(lambda: saved_bytes(tmp_path) > first_save)
    with pytest.raises(UserError, match="another process is downloading into"):
        fetch([RemoteFile(NAME, (url,))], tmp_path, settings())
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    server.files[NAME].pause_per_block_seconds = 0
    time.sleep(0.1)  # the server notices that nobody reads
    missing, server.body_bytes = len(CONTENT) - saved_bytes(tmp_path), 0
    fetch([RemoteFile(NAME, (url,))], tmp_path, settings())
    assert_arrived(tmp_path)
    assert server.body_bytes == missing < len(CONTENT)


def test_ctrl_c_leaves_a_part_that_is_resumed_and_no_threads(server, tmp_path):
    url = server.add(NAME, CONTENT, stalls_after=100_000)
    before = set(threading.enumerate())

    def interrupt():
        wait_for(lambda: server.body_bytes >= 100_000)
        time.sleep(0.2)
        _thread.interrupt_main()

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        fetch([RemoteFile(NAME, (url,))], tmp_path, settings(timeout_seconds=60.0))
    interrupter.join()
    assert not [thread for thread in threading.enumerate() if thread not in before and thread.name.startswith("download")]
    assert not (tmp_path / NAME).exists()
    done = saved_bytes(tmp_path)
    assert done >= 100_000
    server.files[NAME].stalls_after, server.body_bytes = None, 0
    with only_run(tmp_path):
        fetch([RemoteFile(NAME, (url,))], tmp_path, settings())
    assert_arrived(tmp_path)
    assert server.body_bytes == len(CONTENT) - done


def test_a_run_killed_between_the_last_byte_and_the_rename(server, tmp_path, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    file = RemoteFile(NAME, (server.add(NAME, CONTENT),), None, md5(CONTENT))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("sourcetracing.downloads.retrieval.checksum_of", killed)
        fetch([file], tmp_path, settings())
    assert not (tmp_path / NAME).exists()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("sourcetracing.downloads.retrieval.mark_complete", killed)
        fetch([file], tmp_path, settings())
    fetch([file], tmp_path, settings())
    assert (tmp_path / NAME).read_bytes() == CONTENT and server.body_bytes == len(CONTENT)
    assert read_complete(tmp_path, NAME)["checksum"] == md5(CONTENT)
