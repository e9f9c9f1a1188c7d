"""The lock, the room on the disk, completion records, sizes and checksums."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import namedtuple

import pytest

from sourcetracing.downloads import records
from sourcetracing.downloads.records import (
    checksum_of,
    discard,
    mark_complete,
    normal_checksum,
    only_run,
    read_complete,
    record_path,
    require_free_space,
    size_text,
)
from sourcetracing.errors import UserError
from tests.support.places import ROOT

TAKE_LOCK = """
import sys
from pathlib import Path
from sourcetracing.downloads.records import only_run
from sourcetracing.errors import UserError
try:
    with only_run(Path(sys.argv[1])):
        print("taken")
except UserError as error:
    print(f"refused: {error}")
"""


def other_process(folder):
    command = [sys.executable, "-c", TAKE_LOCK, str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_a_second_process_is_refused_at_once_and_welcome_afterwards(tmp_path):
    folder = tmp_path / "new" / "musan"
    with only_run(folder), only_run(folder):
        refusal = other_process(folder)
    assert refusal.startswith("refused: another process is downloading into") and str(folder) in refusal and refusal.count("\n") == 1
    assert other_process(folder) == "taken\n"


def test_the_lock_is_held_until_the_outer_run_ends(tmp_path):
    with only_run(tmp_path):
        with only_run(tmp_path):
            pass
        assert other_process(tmp_path).startswith("refused")


def test_too_little_room_is_refused_with_both_sizes(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(records, "disk_usage", lambda folder: usage(0, 0, 1_500_000_000))
    folder = tmp_path / "not" / "there" / "yet"
    require_free_space(folder, 1_500_000_000, "musan.tar.gz")
    with pytest.raises(UserError, match=r"musan.tar.gz needs 11.09 GB, but only 1.50 GB are free"):
        require_free_space(folder, 11_086_114_085, "musan.tar.gz")
    assert not folder.exists()


def test_a_completion_record_is_read_back_and_absent_or_broken_ones_are_none(tmp_path):
    assert read_complete(tmp_path, "a.zip") is None
    mark_complete(tmp_path, "a.zip", {"size_bytes": 3})
    assert read_complete(tmp_path, "a.zip") == {"size_bytes": 3}
    assert record_path(tmp_path, "a.zip") == tmp_path / ".complete-a.zip.json"
    for broken in ("{", json.dumps([1])):
        record_path(tmp_path, "a.zip").write_text(broken, encoding="utf-8")
        assert read_complete(tmp_path, "a.zip") is None


def test_a_discarded_file_leaves_no_record(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"a")
    mark_complete(tmp_path, "a.zip", {"size_bytes": 1})
    discard(tmp_path / "a.zip")
    discard(tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(None, "size unknown"), (0, "0 bytes"), (999, "999 bytes"), (1_000_000_000, "1.00 GB"), (11_086_114_085, "11.09 GB")],
)
def test_sizes_are_readable(size_bytes, text):
    assert size_text(size_bytes) == text


def test_checksums_by_either_algorithm(tmp_path):
    content = b"noise" * 300_000
    (tmp_path / "a").write_bytes(content)
    assert checksum_of(tmp_path / "a", like="md5:") == f"md5:{hashlib.md5(content).hexdigest()}"
    assert checksum_of(tmp_path / "a") == f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.mark.parametrize(
    "text", ["md5", "md5:", "md5:0c47", "0c472d4fc0c5141eca47ad1ffeb2a7df", "sha256:0c472d4fc0c5141eca47ad1ffeb2a7df", "sha1:" + "0" * 40]
)
def test_a_malformed_checksum_is_refused(text):
    with pytest.raises(UserError, match="hexadecimal"):
        normal_checksum(text)


def test_a_checksum_in_capitals_is_the_same():
    assert normal_checksum("MD5:0C472D4FC0C5141ECA47AD1FFEB2A7DF ") == "md5:0c472d4fc0c5141eca47ad1ffeb2a7df"
    assert normal_checksum("") == ""
