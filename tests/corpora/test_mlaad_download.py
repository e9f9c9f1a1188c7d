"""Script 01 with configs/mcl_mlaad.yaml against a local Hub and a local archive: only what the protocol needs, and nothing twice."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sourcetracing.corpora import mcl_mlaad
from sourcetracing.corpora.mlaad import model_dir_of
from sourcetracing.settings.reading import load_settings
from tests.support.fake_hub import COMMIT, HUB_ID, FakeHub
from tests.support.faulty_server import FaultyServer
from tests.support.places import ROOT
from tests.support.split_zips import split

META = "path|original_file|language|is_original_language|duration|training_data|model_name|architecture|transcript\n"


def mlaad_files(per_folder: int = 4) -> dict[str, bytes]:
    """A small MLAAD: the four sources in two languages, and one folder that nobody needs."""
    files = {}
    for language in ("en", "ru"):
        for source in (*mcl_mlaad.SOURCES, "suno/bark"):
            folder, lines = f"fake/{language}/{model_dir_of(source)}", []
            for number in range(per_folder):
                files[f"{folder}/book_{number}.wav"] = f"{language} {source} {number} ".encode() * 500
                original = f"{language}_X/book/wavs/book_{number}.wav"
                lines.append(f"./{folder}/book_{number}.wav|{original}|{language}|True|1.0|x|{source}|x|text {number}\n")
            files[f"{folder}/meta.csv"] = (META + "".join(lines)).encode()
    return files


FILES = mlaad_files()
NEEDED = {path for path in FILES if path.endswith(".wav") and "suno" not in path and not path.endswith("_3.wav")}


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    lists = tmp_path / "lists"
    lists.mkdir()
    names = {model_dir_of(source): source for source in (*mcl_mlaad.SOURCES, "suno/bark")}
    for number, name in enumerate(("train", "dev", "eval")):  # book_3 is in no list
        paths = [path for path in FILES if path.endswith(f"_{number}.wav")]
        rows = [f"./{path},{names[path.split('/')[2]]}\n" for path in paths]
        (lists / f"{name}.csv").write_text("path,model_name\n" + "".join(rows))
    places = [f"paths.corpus={tmp_path}/mlaad", f"paths.protocols={lists}", f"paths.exp={tmp_path}/exp", f"mlaad.hub_id={HUB_ID}"]
    small = ["corpus.languages=[en,ru]", "augment.variants=[original]", "mcl_mlaad.published_counts=false", "mlaad.hub_revision=main"]
    return ["configs/mcl_mlaad.yaml", *places, *small]


def download(words: list[str], endpoint: str = "http://127.0.0.1:9", status: int = 0, **variables: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = {**kept, "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1", "HF_HOME": "/nonexistent", **variables}
    command = [sys.executable, "scripts/01_download_resources.py", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def audio_below(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*.wav")}


def test_the_hub_gives_the_needed_files_and_no_others(tmp_path, words):
    root = tmp_path / "mlaad"
    with FakeHub(FILES) as hub:
        assert "complete: 24 utterances" in download(words, hub.url)
        assert audio_below(root) == NEEDED
        assert all((root / path).read_bytes() == FILES[path] for path in NEEDED)
        assert not hub.asked("GET", f"/api/datasets/{HUB_ID}/tree/{COMMIT}/fake/en/suno_bark")
        record = json.loads((root / ".complete-mlaad.json").read_text())
        assert (record["revision"], record["commit"], record["files"]) == ("main", COMMIT, len(NEEDED) + 8)
        num_requests = len(hub.requests)
        download(words, hub.url)
        assert len(hub.requests) == num_requests  # nothing is missing: the Hub is not asked
        (root / "fake/ru/griffin_lim/book_1.wav").unlink()
        download(words, hub.url)
        assert audio_below(root) == NEEDED
        assert len(hub.asked("GET", f"/datasets/{HUB_ID}/resolve")) <= len(NEEDED) + 8 + 1  # with eight meta.csv
    utterances = mcl_mlaad.MclMlaad(load_settings(words)).prepare()
    assert set(utterances["transcript"]) == {"text 0", "text 1", "text 2"}
    assert set(utterances["recording"]) == {f"{language}_X/book/wavs/book_{number}.wav" for language in ("en", "ru") for number in range(3)}


def test_a_gated_or_unreachable_hub_is_one_clear_line(words):
    with FakeHub(FILES) as hub:
        hub.token = "hf_right"
        shown = download(words, hub.url, status=2)
        assert "accept the terms at" in shown
        assert "HF_TOKEN" in shown
        assert "complete: 24" in download(words, hub.url, HF_TOKEN="hf_right")
    shutil.rmtree(words[1].partition("=")[2])
    assert "cannot be reached" in download(words, status=2)


def test_files_that_a_later_version_lacks_are_named_before_the_download(tmp_path, words):
    poorer = {path: content for path, content in FILES.items() if path != "fake/en/griffin_lim/book_2.wav"}
    with FakeHub(poorer) as hub:
        shown = download(words, hub.url, status=2)
        assert "lacks 1 of the files needed, the first is fake/en/griffin_lim/book_2.wav" in shown
        assert "mlaad.origin=archive" in shown
    assert not audio_below(tmp_path / "mlaad")


@pytest.mark.parametrize("above", ["", "mlaad_v5/"])
def test_the_archive_is_checked_joined_and_unpacked(tmp_path, words, above):
    parts = split({above + path: hashlib.shake_128(path.encode()).digest(9000) for path in FILES}, tmp_path / "parts", part_bytes=64_000)
    with FaultyServer() as server:
        sums = serve_parts(server, parts)
        archive = ["mlaad.origin=archive", f"mlaad.archive_url={server.url('')}", "mlaad.archive_name=x", "download.attempts=2"]
        archive.append(f"mlaad.archive_parts={len(parts) - 1}")
        server.add("x.zip.md5", sums.replace(sums[:4], "0000").encode())
        assert "checksum" in download([*words, *archive], status=2)
        server.add("x.zip.md5", sums.encode())
        (tmp_path / "mlaad" / "archive" / "x.zip.md5").unlink()
        assert "complete: 24 utterances" in download([*words, *archive])
    found = audio_below(tmp_path / "mlaad")
    assert found >= NEEDED  # whole folders are unpacked ...
    assert not any("suno" in path for path in found)  # ... but only those that are needed
    path = "fake/ru/griffin_lim/book_1.wav"
    assert (tmp_path / "mlaad" / path).read_bytes() == hashlib.shake_128(path.encode()).digest(9000)
    assert not list((tmp_path / "mlaad").rglob("*.z0*"))  # the parts are gone


def serve_parts(server: FaultyServer, parts: list[Path]) -> str:
    """Serves the parts and returns their md5 list, with a folder before the names as in a list made elsewhere."""
    lines = []
    for part in parts:
        server.add(part.name, part.read_bytes())
        lines.append(f"{hashlib.md5(part.read_bytes()).hexdigest()}  ./upload/{part.name}\n")
    return "".join(lines)


def test_an_md5_list_without_a_part_is_named(tmp_path, words):
    parts = split({"fake/en/griffin_lim/a.wav": b"x" * 10}, tmp_path / "parts")
    with FaultyServer() as server:
        serve_parts(server, parts)
        server.add("x.zip.md5", b"no sums here\n")
        archive = ["mlaad.origin=archive", f"mlaad.archive_url={server.url('')}", "mlaad.archive_name=x", "mlaad.archive_parts=0"]
        assert "has no checksum for x.zip" in download([*words, *archive], status=2)


def test_the_authors_lists_come_from_the_hub(tmp_path, words):
    lists = {}
    for number, name in enumerate(("train", "dev", "eval")):
        for language in ("en", "ru"):
            rows = [path for path in sorted(NEEDED) if path.endswith(f"_{number}.wav") and f"/{language}/" in path]
            lists[f"Languages Protocol/{language}/{name}.txt"] = ("\n".join(rows) + "\n").encode()
    with FakeHub({**FILES, **lists, "README.md": b"# lists"}) as hub:
        imported = [f"mcl_mlaad.lists={tmp_path}/imported", f"mcl_mlaad.lists_hub_id={HUB_ID}", "split.assignment=published"]
        hub.files = {path: content for path, content in hub.files.items() if not path.endswith("meta.csv")}
        shown = download([*words, *imported], hub.url)
    assert "complete: 24 utterances" in shown
    assert "Languages Protocol/en/train.txt" in shown
    table = mcl_mlaad.MclMlaad(load_settings([*words, *imported])).needed
    assert table.groupby("split").size().to_dict() == {"train": 8, "dev": 8, "eval": 8}
    assert (table["split"] == table["path"].str.extract(r"_(\d)\.wav")[0].map({"0": "train", "1": "dev", "2": "eval"})).all()


def test_the_plan_of_the_archive_names_every_part():
    settings = load_settings(["configs/mcl_mlaad.yaml", "mlaad.origin=archive"])
    addresses = [resource.origin for resource in mcl_mlaad.MclMlaad(settings).audio_resources(1)]
    assert len(addresses) == 11
    assert addresses[0].endswith("files=mlaad_v5.z01")
    assert addresses[-1].endswith("files=mlaad_v5.zip")


def test_the_whole_of_another_version_gives_all_tables_and_the_audio_that_is_named(tmp_path, words):
    whole = [*words, "corpus.reader=mlaad", "mlaad.version=v9", "corpus.sources=[griffin_lim]"]
    root = tmp_path / "mlaad"
    with FakeHub(FILES) as hub:
        assert "complete: 8 utterances" in download(whole, hub.url)
        assert audio_below(root) == {path for path in FILES if path.endswith(".wav") and "griffin_lim" in path}
        tables = {path.relative_to(root).as_posix() for path in root.rglob("meta.csv")}
        assert tables == {path for path in FILES if path.endswith("meta.csv")}
        assert "complete: 16 utterances" in download([*whole, "corpus.unknown_sources=[suno/bark]"], hub.url)
