"""Downloads from a server with faults: what arrives is the right file entire, or nothing under its name and one clear line."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time

import pytest

from sourcetracing.downloads import answers
from sourcetracing.downloads.http import RemoteFile, fetch, remote_size
from sourcetracing.downloads.records import read_complete
from sourcetracing.errors import UserError
from tests.support.downloads import CONTENT, NAME, OTHER, PART_BYTES, assert_arrived, begin, md5, names, settings

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
