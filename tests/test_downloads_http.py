"""Downloads from a server with faults: what arrives is the right file entire, or nothing under its name and one clear line."""

from __future__ import annotations

import _thread
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import namedtuple

import pytest
from faulty_server import FaultyServer

from sourcetracing.config import Download
from sourcetracing.downloads import answers, parts, records, transfer
from sourcetracing.downloads.http import RemoteFile, fetch, remote_size
from sourcetracing.downloads.records import only_run, read_complete
from sourcetracing.errors import UserError
from sourcetracing.settings_io import PROJECT_ROOT

NAME = "musan.tar.gz"
CONTENT = random.Random(1).randbytes(400_000)
OTHER = random.Random(2).randbytes(400_000)
PART_BYTES = 50_000


@pytest.fixture(autouse=True)
def short_pauses_and_small_parts(monkeypatch):
    monkeypatch.setattr(answers, "BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(parts, "SMALLEST_PART_BYTES", PART_BYTES)
    monkeypatch.setattr(parts, "LARGEST_PART_BYTES", PART_BYTES)


@pytest.fixture
def server():
    with FaultyServer() as running:
        yield running


def settings(**changes) -> Download:
    return Download(**{"connections": 3, "timeout_seconds": 5.0, "attempts": 4, **changes})


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


def names(folder) -> set[str]:
    """Everything in a folder but the lock."""
    return {path.name for path in folder.iterdir()} - {records.LOCK}


def assert_arrived(folder, content=CONTENT, name=NAME):
    assert (folder / name).read_bytes() == content
    assert names(folder) == {name, f".complete-{name}.json"}


def begin(server, folder, served_bytes=150_000, **faults):
    """A first run that fails after some bytes; leaves a .part file. Returns the address."""
    url = server.add(NAME, CONTENT, drops=[served_bytes // 3] * 3 + [0] * 12, **faults)
    with pytest.raises(UserError, match="goes on"):
        fetch([RemoteFile(NAME, (url,))], folder, settings(attempts=2, connections=1))
    server.files[NAME].drops.clear()
    return url


# The whole file


def test_a_file_in_parallel_parts(server, tmp_path):
    url = server.add(NAME, CONTENT)
    paths = fetch([RemoteFile(NAME, (url,), len(CONTENT), md5(CONTENT))], tmp_path / "new", settings())
    assert paths == [tmp_path / "new" / NAME]
    assert_arrived(tmp_path / "new")
    assert len(server.body_requests()) == len(CONTENT) // PART_BYTES and server.body_bytes == len(CONTENT)
    assert {request.encodings for request in server.requests} == {"identity"}
    assert all(request.if_range == server.files[NAME].current_etag() for request in server.body_requests())


def test_several_files_and_their_plan(server, tmp_path, capsys):
    files = [RemoteFile(f"{n}.zip", (server.add(f"{n}.zip", CONTENT[: 60_000 * n]),)) for n in (1, 2)]
    fetch(files, tmp_path, settings())
    printed = capsys.readouterr()
    assert [len((tmp_path / file.name).read_bytes()) for file in files] == [60_000, 120_000]
    assert "60.00 kB" in printed.out and "room needed: 180.00 kB; free:" in printed.out
    assert "all files" in printed.err and "2.zip" in printed.err


def test_the_record_says_what_was_fetched(server, tmp_path):
    url = server.add(NAME, CONTENT)
    fetch([RemoteFile(NAME, (url,))], tmp_path, settings())
    record = read_complete(tmp_path, NAME)
    assert record["checksum"] == f"sha256:{hashlib.sha256(CONTENT).hexdigest()}" and record["checksum_was_known"] is False
    assert (record["size_bytes"], record["url"], record["etag"]) == (len(CONTENT), url, server.files[NAME].current_etag())


def test_an_empty_file(server, tmp_path):
    fetch([RemoteFile(NAME, (server.add(NAME, b""),))], tmp_path, settings())
    assert_arrived(tmp_path, b"")


def test_a_server_without_ranges(server, tmp_path):
    url = server.add(NAME, CONTENT, sends_ranges=False, drops=[100_000])
    fetch([RemoteFile(NAME, (url,), checksum=md5(CONTENT))], tmp_path, settings())
    assert_arrived(tmp_path)


def test_a_server_that_tells_no_size(server, tmp_path, capsys):
    url = server.add(NAME, CONTENT, sends_ranges=False, tells_length=False)
    assert remote_size(RemoteFile(NAME, (url,)), settings()) is None
    fetch([RemoteFile(NAME, (url,))], tmp_path, settings())
    assert_arrived(tmp_path)
    printed = capsys.readouterr().out
    assert "size unknown" in printed and "did not tell its size" in printed


@pytest.mark.parametrize(("surplus", "why"), [(1, "it has 400000 bytes .* expected 400001"), (-1, "sends more than the expected 399999")])
def test_a_wrong_size_is_noticed_even_where_the_server_tells_none(server, tmp_path, surplus, why):
    url = server.add(NAME, CONTENT, sends_ranges=False, tells_length=False)
    with pytest.raises(UserError, match=why):
        fetch([RemoteFile(NAME, (url,), len(CONTENT) + surplus)], tmp_path, settings())
    assert not (tmp_path / NAME).exists()


def test_a_redirect_is_followed(server, tmp_path):
    target = server.add("elsewhere", CONTENT)
    url = server.add(NAME, b"", redirect_to=f"{target}?signature=1")
    fetch([RemoteFile(NAME, (url,))], tmp_path, settings())
    assert_arrived(tmp_path)


def test_an_address_behind_a_redirect_may_expire(server, tmp_path):
    target = server.add("elsewhere", CONTENT)
    url = server.add(NAME, b"", redirect_to=f"{target}?signature=1")

    def expire(served, is_probe):
        if server.body_bytes < PART_BYTES or server.files[NAME].redirect_to.endswith("=2"):
            return None
        server.files[NAME].redirect_to = f"{target}?signature=2"
        return 403

    server.files["elsewhere"].before_request = expire
    fetch([RemoteFile(NAME, (url,))], tmp_path, settings(connections=1))
    assert_arrived(tmp_path)
    assert server.body_bytes == len(CONTENT)


# Connections that break, servers that lie


def test_connections_dropped_in_the_middle(server, tmp_path):
    url = server.add(NAME, CONTENT, drops=[10_000, 0, 30_000, 4_096, 49_999, 1, 0])
    fetch([RemoteFile(NAME, (url,), checksum=md5(CONTENT))], tmp_path, settings())
    assert_arrived(tmp_path)
    assert server.body_bytes == len(CONTENT)


def test_progress_resets_the_count_of_failures(server, tmp_path):
    url = server.add(NAME, CONTENT, drops=[10_000] * 30)
    fetch([RemoteFile(NAME, (url,))], tmp_path, settings(connections=1, attempts=2))
    assert_arrived(tmp_path)


@pytest.mark.parametrize("lie", [1000, -1000])
@pytest.mark.parametrize("sends_ranges", [True, False])
def test_a_wrong_content_length_never_ends_as_a_wrong_file(server, tmp_path, lie, sends_ranges):
    url = server.add(NAME, CONTENT, length_lie=lie, sends_ranges=sends_ranges)
    file = RemoteFile(NAME, (url,), len(CONTENT), md5(CONTENT))
    if sends_ranges and lie > 0:  # every part is as long as was asked for, whatever the header says
        fetch([file], tmp_path, settings())
        assert_arrived(tmp_path)
    else:
        with pytest.raises(UserError, match=f"{NAME} was not downloaded"):
            fetch([file], tmp_path, settings())
        assert not (tmp_path / NAME).exists()


def test_parts_that_are_longer_than_asked_for(server, tmp_path):
    fetch([RemoteFile(NAME, (server.add(NAME, CONTENT, surplus=b"x" * 100),))], tmp_path, settings(attempts=20))
    assert_arrived(tmp_path)


def test_wrong_parts_are_not_taken(server, tmp_path, capsys):
    url = server.add(NAME, CONTENT, range_lie=7)
    fetch([RemoteFile(NAME, (url,))], tmp_path, settings(attempts=2))
    assert_arrived(tmp_path)
    assert "in one piece" in capsys.readouterr().out


def test_busy_servers_are_asked_again(server, tmp_path):
    busy = [(429, {"Retry-After": "0"}), (503, {}), (500, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})]
    url = server.add(NAME, CONTENT, statuses=list(busy), probe_statuses=list(busy))
    fetch([RemoteFile(NAME, (url,))], tmp_path, settings())
    assert_arrived(tmp_path)


def test_retry_after_is_honoured_within_reason(monkeypatch):
    assert answers.pause_seconds(1, 7.0) == 7.0
    assert answers.pause_seconds(1, 1e6) == answers.LONGEST_RETRY_AFTER_SECONDS
    monkeypatch.setattr(answers, "BACKOFF_SECONDS", 1.0)
    pauses = [answers.pause_seconds(failures) for failures in range(1, 40)]
    assert 0.5 <= pauses[0] <= 1 and 2 <= pauses[2] <= 4 and max(pauses) <= answers.LONGEST_PAUSE_SECONDS


@pytest.mark.parametrize("probe_works", [True, False])
def test_a_server_that_stays_busy_is_given_up(server, tmp_path, probe_works):
    busy = [(503, {})] * 1000
    url = server.add(NAME, CONTENT, statuses=busy, probe_statuses=[] if probe_works else list(busy))
    with pytest.raises(UserError, match="503 Service Unavailable.*Run the same command again: it goes on") as caught:
        fetch([RemoteFile(NAME, (url,), len(CONTENT))], tmp_path, settings(attempts=3, connections=1))
    assert url in str(caught.value) and "\n" not in str(caught.value)
    assert len(server.requests) == (1 + 3 if probe_works else 3)


def test_a_server_that_allows_one_connection_serves_the_file(server, tmp_path):
    served_by: dict[str, threading.Thread] = {}  # the server has one thread for each connection

    def one_connection(served, is_probe):
        here = threading.current_thread()
        return None if is_probe or served_by.setdefault("first", here) is here else 503

    url = server.add(NAME, CONTENT, before_request=one_connection)
    fetch([RemoteFile(NAME, (url,))], tmp_path, settings())
    assert_arrived(tmp_path)


def test_a_silent_server_is_given_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/{NAME}"
        with pytest.raises(UserError, match="fell silent"):
            fetch([RemoteFile(NAME, (url,))], tmp_path, settings(timeout_seconds=0.1, attempts=2))
    with pytest.raises(UserError, match="connection refused.*goes on"):
        remote_size(RemoteFile(NAME, (url,)), settings())


def test_a_login_page_is_refused(server, tmp_path):
    url = server.add(NAME, b"<html>please log in</html>", content_type="text/html; charset=utf-8")
    with pytest.raises(UserError, match=f"web page .text/html. came instead of {NAME}"):
        fetch([RemoteFile(NAME, (url,))], tmp_path, settings())
    assert names(tmp_path) == set()


# A file that changes on the server


@pytest.mark.parametrize("honours_if_range", [True, False])
def test_a_file_that_changes_under_way_is_fetched_anew(server, tmp_path, capsys, honours_if_range):
    def change(served, is_probe):
        if server.body_bytes > 100_000:
            served.content = OTHER

    url = server.add(NAME, CONTENT, before_request=change, honours_if_range=honours_if_range)
    fetch([RemoteFile(NAME, (url,))], tmp_path, settings())
    assert_arrived(tmp_path, OTHER)
    assert "changed on the server" in capsys.readouterr().out


def test_a_file_whose_etag_changes_at_every_request(server, tmp_path):
    def change(served, is_probe):
        served.etag = f'"{time.monotonic_ns()}"'

    url = server.add(NAME, CONTENT, before_request=change)
    fetch([RemoteFile(NAME, (url,))], tmp_path, settings())
    assert_arrived(tmp_path)


VALIDATORS = [{}, {"etag": "", "last_modified": 1e9}, {"etag": 'W/"weak"', "last_modified": 1e9}]


@pytest.mark.parametrize("validators", VALIDATORS)
def test_a_later_run_asks_for_the_missing_bytes_alone(server, tmp_path, capsys, validators):
    url = begin(server, tmp_path, **validators)
    missing, server.body_bytes = len(CONTENT) - server.body_bytes, 0
    assert 0 < missing < len(CONTENT)
    fetch([RemoteFile(NAME, (url,))], tmp_path, settings())
    assert_arrived(tmp_path)
    assert server.body_bytes == missing
    assert "going on at 150.00 kB of 400.00 kB" in capsys.readouterr().out


@pytest.mark.parametrize("validators", [{"etag": None}, {"etag": "", "last_modified": 2e9}, {"etag": 'W/"weak"', "last_modified": 2e9}])
def test_a_later_run_starts_over_where_the_file_is_another(server, tmp_path, capsys, validators):
    url = begin(server, tmp_path, **{**validators, **({"last_modified": 1e9} if "last_modified" in validators else {})})
    server.add(NAME, OTHER, **validators)
    fetch([RemoteFile(NAME, (url,))], tmp_path, settings())
    assert_arrived(tmp_path, OTHER)
    assert "starting over" in capsys.readouterr().out


def test_what_was_begun_of_another_file_is_not_mixed_in_even_if_the_checksum_would_tell(server, tmp_path):
    url = begin(server, tmp_path)
    server.add(NAME, OTHER)
    server.body_bytes = 0
    fetch([RemoteFile(NAME, (url,), None, md5(OTHER))], tmp_path, settings())
    assert_arrived(tmp_path, OTHER)
    assert server.body_bytes == len(OTHER)


def test_without_etag_and_date_nothing_is_resumed(server, tmp_path):
    url = server.add(NAME, CONTENT, etag="", drops=[100_000] * 2 + [0] * 12)
    with pytest.raises(UserError):
        fetch([RemoteFile(NAME, (url,))], tmp_path, settings(attempts=2))
    server.add(NAME, OTHER, etag="")
    fetch([RemoteFile(NAME, (url,))], tmp_path, settings())
    assert_arrived(tmp_path, OTHER)


@pytest.mark.parametrize("damage", ["sidecar", "length", "progress"])
def test_a_damaged_part_file_is_not_continued(server, tmp_path, damage):
    url = begin(server, tmp_path)
    part, sidecar = tmp_path / f"{NAME}.part", tmp_path / f"{NAME}.part.json"
    (tmp_path / f".{NAME}.part.123.partial.json").write_text("{", encoding="utf-8")  # left by a killed run
    if damage == "sidecar":
        sidecar.write_text(sidecar.read_text(encoding="utf-8")[:40], encoding="utf-8")
    elif damage == "length":
        os.truncate(part, 60_000)
    else:
        state = json.loads(sidecar.read_text(encoding="utf-8"))
        state["parts"][0][2] = 10**6
        sidecar.write_text(json.dumps(state), encoding="utf-8")
    fetch([RemoteFile(NAME, (url,))], tmp_path, settings())
    assert_arrived(tmp_path)


# Mirrors


@pytest.mark.parametrize(
    ("first", "why"),
    [
        ({"always_status": 404}, "404 Not Found"),
        ({"always_status": 403}, "403 Forbidden"),
        ({"content": CONTENT + b"1"}, "it has 400001 bytes"),
        ({"content": OTHER}, "wrong checksum"),
        ({"content_type": "text/html"}, "web page"),
        ({"always_status": 503}, "503"),
        ({"drops": [0] * 1000}, "dropped"),
    ],
)
def test_the_next_mirror_takes_over_and_the_reason_is_said(server, tmp_path, capsys, first, why):
    one, two = server.add("one", **{"content": CONTENT, **first}), server.add("two", CONTENT)
    fetch([RemoteFile(NAME, (one, two), len(CONTENT), md5(CONTENT))], tmp_path, settings())
    assert_arrived(tmp_path)
    assert read_complete(tmp_path, NAME)["url"] == two
    lines = [line for line in capsys.readouterr().out.splitlines() if "Trying" in line]
    assert len(lines) == 1 and one in lines[0] and why in lines[0]


def test_an_unreachable_mirror_is_left_for_the_next(server, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dead = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
    fetch([RemoteFile(NAME, (dead, server.add(NAME, CONTENT)))], tmp_path, settings())
    assert_arrived(tmp_path)
    assert f"{dead}: connection refused" in capsys.readouterr().out


def test_a_mirror_in_trouble_is_asked_last_from_then_on(server, tmp_path):
    one, two = server.add("one", CONTENT, always_status=503), server.add("two", CONTENT)
    fetch([RemoteFile(NAME, (one, two))], tmp_path, settings())
    assert_arrived(tmp_path)
    assert [request.path for request in server.requests].count("one") == 1


def test_another_mirror_goes_on_where_the_checksum_is_known(server, tmp_path):
    one = server.add("one", CONTENT, drops=[PART_BYTES, PART_BYTES] + [0] * 100)
    two = server.add("two", CONTENT, etag='"of its own"')
    fetch([RemoteFile(NAME, (one, two), None, md5(CONTENT))], tmp_path, settings(connections=1))
    assert_arrived(tmp_path)
    assert server.body_bytes == len(CONTENT)


def test_another_mirror_starts_over_where_no_checksum_is_known(server, tmp_path):
    one = server.add("one", CONTENT, drops=[PART_BYTES, PART_BYTES] + [0] * 100)
    two = server.add("two", OTHER)
    fetch([RemoteFile(NAME, (one, two))], tmp_path, settings(connections=1))
    assert_arrived(tmp_path, OTHER)


def test_mirrors_that_do_not_fit_together_are_not_mixed(server, tmp_path, capsys):
    one = server.add("one", OTHER, drops=[PART_BYTES, PART_BYTES] + [0] * 100)
    two = server.add("two", CONTENT)
    fetch([RemoteFile(NAME, (one, two), None, md5(CONTENT))], tmp_path, settings(connections=1))
    assert_arrived(tmp_path)
    assert "do not fit together" in capsys.readouterr().out


def test_a_wrong_checksum_everywhere(server, tmp_path):
    urls = (server.add("one", OTHER), server.add("two", OTHER))
    with pytest.raises(UserError) as caught:
        fetch([RemoteFile(NAME, urls, len(CONTENT), md5(CONTENT))], tmp_path, settings())
    message = str(caught.value)
    assert all(word in message for word in (NAME, md5(CONTENT), md5(OTHER), *urls, "Run the same command again")) and "\n" not in message
    assert names(tmp_path) == set()


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_refused_everywhere_names_address_and_status_at_once(server, tmp_path, status):
    urls = (server.add("one", CONTENT, always_status=status), server.add("two", CONTENT, always_status=status))
    with pytest.raises(UserError) as caught:
        fetch([RemoteFile(NAME, urls)], tmp_path, settings())
    assert all(f"{url}: {status} " in str(caught.value) for url in urls) and len(server.requests) == 2


def test_a_wrong_pinned_size_is_noticed_before_the_body(server, tmp_path):
    url = server.add(NAME, CONTENT)
    with pytest.raises(UserError, match="400000 bytes .*expected 400001"):
        fetch([RemoteFile(NAME, (url,), len(CONTENT) + 1)], tmp_path, settings())
    assert server.body_requests() == []


@pytest.mark.parametrize("url", ["not an address", "ftp://127.0.0.1/x", "http://"])
def test_an_address_that_is_none(tmp_path, url):
    with pytest.raises(UserError, match="was not downloaded"):
        fetch([RemoteFile(NAME, (url,))], tmp_path, settings())


@pytest.mark.parametrize("name", ["../x", "a/b", "", "..", "/etc/x", "a\\b"])
def test_a_name_with_a_folder_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="plain name"):
        fetch([RemoteFile(name, ("http://127.0.0.1/x",))], tmp_path, settings())


def test_two_files_of_one_name_are_refused(tmp_path):
    with pytest.raises(UserError, match="two downloads"):
        fetch([RemoteFile(NAME, ("http://127.0.0.1/x",))] * 2, tmp_path, settings())


def test_a_file_without_address_is_refused(tmp_path):
    with pytest.raises(UserError, match="no address"):
        fetch([RemoteFile(NAME, ())], tmp_path, settings())


def test_what_the_server_says_about_the_size(server):
    assert remote_size(RemoteFile(NAME, (server.add(NAME, CONTENT),)), settings()) == len(CONTENT)
    assert remote_size(RemoteFile("b", (server.add("b", CONTENT, sends_ranges=False),)), settings()) == len(CONTENT)
    assert server.body_requests() == []


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
    with pytest.raises(UserError, match="No space left on device.*goes on"):
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
from sourcetracing.config import Download
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
    return subprocess.Popen([sys.executable, "-c", RUN, url, str(folder)], cwd=PROJECT_ROOT, stderr=subprocess.PIPE, text=True)


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
