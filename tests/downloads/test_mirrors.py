"""Several addresses for one file: which is asked, what may be mixed, and what is said when none has it."""

from __future__ import annotations

import socket

import pytest

from sourcetracing.downloads.http import RemoteFile, fetch, remote_size
from sourcetracing.downloads.records import read_complete
from sourcetracing.errors import UserError
from tests.support.downloads import CONTENT, NAME, OTHER, PART_BYTES, assert_arrived, md5, names, settings


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
