"""Data sets of the Hub, from a fake one; each test in a process of its own, since the library reads its variables when it is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_hub import COMMIT, HUB_ID, FakeHub

FILES = {
    **{f"fake/{language}/vits/{number}.wav": os.urandom(3000 + number) for language in ("en", "de") for number in range(5)},
    "fake/en/vits/meta.csv": b"path|transcript\n",
    "fake/en/other/ü 1.wav": b"other model",
    "README.md": b"about",
}
ENGLISH = {path: content for path, content in FILES.items() if path.startswith("fake/en/vits/")}
PRELUDE = """
import json, sys
from pathlib import Path
from sourcetracing.downloads import hub
from sourcetracing.downloads.hub import fetch_hub, list_hub
from sourcetracing.errors import UserError
HUB_ID, COMMIT, target = sys.argv[1], sys.argv[2], Path(sys.argv[3])
def complaint(function, *words, **options):
    try:
        function(*words, **options)
    except UserError as error:
        return str(error)
def work():
    {code}
try:
    print(json.dumps({{"result": work()}}))
except UserError as error:
    print(json.dumps({{"error": str(error)}}))
"""
FETCH = "listing = list_hub(HUB_ID, COMMIT, ['fake/en/vits']); fetch_hub(HUB_ID, listing.commit, listing.files, target)"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub(FILES) as server:
        yield server


@pytest.fixture
def command(hub: FakeHub, tmp_path: Path):
    """Starts a piece of code that knows HUB_ID, COMMIT, target, list_hub and fetch_hub, with some variables set."""

    def start(code: str, **variables: str) -> subprocess.Popen:
        own = {name: value for name, value in os.environ.items() if not name.startswith("HF_") and not name.lower().endswith("_proxy")}
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_TELEMETRY": "1", **variables}
        words = [sys.executable, "-c", PRELUDE.format(code=code), HUB_ID, COMMIT, str(tmp_path / "data")]
        return subprocess.Popen(words, env={**own, **settings}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


@pytest.fixture
def ask(command):
    """Runs such a piece of code to its end: (what it returns or its `UserError`, what it showed on stderr)."""

    def run(code: str, **variables: str) -> tuple[object, str]:
        process = command(code, **variables)
        answer, shown = process.communicate(timeout=60)
        assert process.returncode == 0, shown
        facts = json.loads(answer)
        assert "\n" not in facts.get("error", "")
        return facts.get("error", facts.get("result")), shown

    return run


def content_below(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and ".cache" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def sizes(files: dict[str, bytes]) -> dict[str, int]:
    return {path: len(content) for path, content in sorted(files.items())}


# listing


def test_only_the_wanted_folders_are_listed(hub: FakeHub, ask):
    found, _ = ask("listing = list_hub(HUB_ID, 'main', ['fake/en/vits', 'fake/de/vits']); return [listing.commit, listing.files]")
    assert found == [COMMIT, sizes({path: content for path, content in FILES.items() if "/vits/" in path})]
    listed = hub.asked("GET", f"/api/datasets/{HUB_ID}/tree/")
    assert len(listed) == 6, "pages of two: three for six files, three for five"
    assert all(path.startswith(f"/api/datasets/{HUB_ID}/tree/{COMMIT}/fake/") for path in listed)
    assert hub.asked("GET", f"/api/datasets/{HUB_ID}/revision/") == [f"/api/datasets/{HUB_ID}/revision/main?expand=sha"]


def test_a_commit_is_not_looked_up_and_the_whole_set_can_be_listed(hub: FakeHub, ask):
    found, _ = ask("return list_hub(HUB_ID, COMMIT).files")
    assert found == sizes(FILES)
    assert hub.asked("GET", f"/api/datasets/{HUB_ID}/revision/") == []


def test_what_does_not_exist_is_named(ask):
    calls = [
        "list_hub, HUB_ID, 'v7', setting_name='mlaad.hub_revision'",
        "list_hub, 'org/typo', 'main'",
        "list_hub, HUB_ID, 'main', ['fake/en/vits', 'fake/xx/vits']",
        "list_hub, 'no name', 'main'",
        "fetch_hub, HUB_ID, COMMIT, {'fake/en/none.wav': 1}, target",
    ]
    found, _ = ask("return [" + ", ".join(f"complaint({call})" for call in calls) + "]")
    assert "has no revision v7 (setting mlaad.hub_revision)" in found[0]
    assert "org/typo does not exist" in found[1]
    assert "no folder fake/xx/vits" in found[2]
    assert "'no name' is no name" in found[3]
    assert "fake/en/none.wav" in found[4]
    assert not any("\n" in message for message in found)


# fetching


def test_files_come_under_their_paths_with_one_bar(hub: FakeHub, ask, tmp_path: Path):
    _, shown = ask(FETCH, TQDM_POSITION="-1")  # with it the library shows its own bars even where there is no terminal
    assert content_below(tmp_path / "data") == ENGLISH
    bars = {line.split(":")[0].strip() for line in shown.replace("\r", "\n").splitlines() if "%|" in line}
    assert bars == {f"fetch {HUB_ID}"} and "100%" in shown
    assert {path.removeprefix(f"/datasets/{HUB_ID}/resolve/{COMMIT}/") for path in hub.asked("GET", "/datasets/")} == set(ENGLISH)


def test_a_second_run_transfers_nothing(hub: FakeHub, ask):
    ask(FETCH)
    hub.requests.clear()
    ask(FETCH)
    assert hub.asked("GET", "/datasets/") == hub.asked("HEAD", "/datasets/") == []


def test_a_file_of_another_size_is_fetched_again(hub: FakeHub, ask, tmp_path: Path):
    ask(FETCH)
    hub.requests.clear()
    spoilt = tmp_path / "data" / "fake/en/vits/1.wav"
    spoilt.write_bytes(b"cut")
    os.utime(spoilt, (1, 1))  # older than the library's note on it, which it would believe
    ask(FETCH)
    assert content_below(tmp_path / "data") == ENGLISH
    assert hub.asked("GET", "/datasets/") == [f"/datasets/{HUB_ID}/resolve/{COMMIT}/fake/en/vits/1.wav"]


def test_only_what_is_asked_for_comes(hub: FakeHub, ask, tmp_path: Path):
    code = "fetch_hub(HUB_ID, COMMIT, {'fake/en/other/ü 1.wav': 11, 'README.md': 5}, target)"
    ask(code)
    assert content_below(tmp_path / "data") == {path: FILES[path] for path in ("fake/en/other/ü 1.wav", "README.md")}
    hub.requests.clear()
    ask(code)
    assert hub.requests == []


def test_a_dropped_connection_and_a_busy_server(hub: FakeHub, ask, tmp_path: Path):
    hub.files = {**FILES, "fake/en/vits/long.wav": os.urandom(22 << 20)}
    hub.drops, hub.busy = {"fake/en/vits/3.wav", "fake/en/vits/long.wav"}, {"fake/en/vits/2.wav"}
    ask(FETCH)
    assert content_below(tmp_path / "data") == {**ENGLISH, "fake/en/vits/long.wav": hub.files["fake/en/vits/long.wav"]}
    resumed = [headers["range"] for method, _, headers in hub.requests if method == "GET" and "range" in headers]
    assert resumed == [f"bytes={10 << 20}-"], "the library keeps what it got in pieces of 10 MiB"


def test_a_killed_run_goes_on(hub: FakeHub, command, ask, tmp_path: Path):
    hub.delay_seconds = 0.1
    process = command("hub.NUM_WORKERS = 1; " + FETCH)
    while len(list((tmp_path / "data").rglob("*.wav"))) < 2 and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    there = content_below(tmp_path / "data")
    assert 2 <= len(there) < len(ENGLISH) and there.items() <= ENGLISH.items()
    hub.delay_seconds = 0
    hub.requests.clear()
    ask(FETCH)
    assert content_below(tmp_path / "data") == ENGLISH
    assert not {path.partition(f"{COMMIT}/")[2] for path in hub.asked("GET", "/datasets/")} & set(there)


def test_a_name_that_would_leave_the_folder_is_refused(hub: FakeHub, ask, tmp_path: Path):
    outside = tmp_path / "evil.wav"
    outside.write_bytes(b"mine")
    hub.files = {"fake/../../evil.wav": b"evil"}
    assert "would leave the target folder" in ask(FETCH.replace("['fake/en/vits']", "None"))[0]
    assert outside.read_bytes() == b"mine"


def test_a_list_that_is_not_true(hub: FakeHub, ask):
    hub.listed_sizes = {"fake/en/vits/4.wav": 17}
    assert "3,004 bytes, and the list of org/set says 17" in ask(FETCH)[0]


def test_other_bytes_than_listed_are_removed(hub: FakeHub, ask, tmp_path: Path):
    path = next(path for path in ENGLISH if path.endswith(".wav"))
    code = "x = list_hub(HUB_ID, COMMIT, ['fake/en/vits']); fetch_hub(HUB_ID, x.commit, x.files, target, sha256=x.sha256)"
    hub.listed_sha256[path] = "0" * 64
    message, _ = ask(code)
    assert path in message and "SHA-256 differs" in message
    assert not (tmp_path / "data" / path).exists()
    hub.listed_sha256.clear()
    ask(code)
    assert content_below(tmp_path / "data") == ENGLISH


def test_too_small_a_disk(hub: FakeHub, ask, tmp_path: Path):
    hub.listed_sizes = {"fake/en/vits/4.wav": 1 << 60}
    assert "needs" in ask(FETCH)[0] and content_below(tmp_path / "data") == {}
    full = "def write(*words, **options): raise OSError(28, 'No space left on device')\n    hub.hf_hub_download = write\n    "
    assert "no space is left" in ask(full + "fetch_hub(HUB_ID, COMMIT, {'README.md': 5}, target)")[0]


# who may


def test_the_token_is_sent(hub: FakeHub, ask, tmp_path: Path):
    hub.token = "hf_secret"
    ask(FETCH, HF_TOKEN="hf_secret")
    assert content_below(tmp_path / "data") == ENGLISH


def test_a_gated_data_set_says_what_to_do(hub: FakeHub, ask):
    hub.token = "hf_secret"
    for variables in ({}, {"HF_TOKEN": "hf_somebody_elses"}):
        message, _ = ask(FETCH, **variables)
        assert "gated" in message and "https://huggingface.co/datasets/org/set" in message and "HF_TOKEN" in message
    hub.refused_tokens = {"hf_expired"}
    assert "does not accept the token in HF_TOKEN" in ask(FETCH, HF_TOKEN="hf_expired")[0]


def test_offline_mode(hub: FakeHub, ask, tmp_path: Path):
    ask(FETCH)
    hub.requests.clear()
    fetch = f"complaint(fetch_hub, HUB_ID, COMMIT, {sizes(ENGLISH)}, target)"
    remove = "(target / 'fake/en/vits/1.wav').unlink()"
    found, _ = ask(f"return [{fetch}, {remove}, {fetch}, complaint(list_hub, HUB_ID, 'main')]", HF_HUB_OFFLINE="1")
    assert found[0] is None, "all files were there"
    assert "1.wav and 0 more files are missing, but HF_HUB_OFFLINE is set" in found[2]
    assert "HF_HUB_OFFLINE is set" in found[3]
    assert hub.requests == []


def test_no_network_and_a_login_page(hub: FakeHub, ask):
    assert "http://127.0.0.1:9 cannot be reached" in ask("list_hub(HUB_ID, 'main')", HF_ENDPOINT="http://127.0.0.1:9")[0]
    hub.is_login_page = True
    found, _ = ask("return [complaint(list_hub, HUB_ID, 'main'), complaint(fetch_hub, HUB_ID, COMMIT, {'README.md': 5}, target)]")
    assert all("does not answer as the Hugging Face Hub does" in message for message in found)
