"""Tables and lists that users bring, and JSON and YAML, changed at random: read, or refused in one line that names the file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from hypothesis import strategies as st

from sourcetracing.corpora.folder import FolderCorpus
from sourcetracing.corpora.mlaad import read_meta, read_utterances
from sourcetracing.corpora.mlaad_source_tracing import read_protocols
from sourcetracing.corpora.published_lists import read_lists
from sourcetracing.detection.data.corpora import author_lists
from sourcetracing.detection.data.corpora.asvspoof import read_asv19
from sourcetracing.detection.data.corpora.listed import read_in_the_wild
from sourcetracing.detection.data.segments import read_recordings
from sourcetracing.errors import UserError
from sourcetracing.protocols.leakage import audit
from sourcetracing.protocols.table import check_protocol, read_table, split_utterances
from sourcetracing.settings.schema import Settings
from sourcetracing.training.table_plans import read_plan
from tests.fuzz.test_settings import PIECES, assert_one_line
from tests.support.fuzzing import CASES, SHORT_AND_LONG, run_cases
from tests.support.mutations import mutated

META = "path|original_file|language|is_original_language|duration|training_data|model_name|architecture|transcript\n"
META += "".join(f"./fake/en/vits/{n}.wav|by/x/{n}.wav|en|True|1.0|none|vits|none|some words, {n}\n" for n in range(3))
TABLE = "path,language,source,speaker,transcript,split\n"
TABLE += "".join(f'en/vits/{n}.wav,en,vits,s{n % 3},"some, words {n}",{split}\n' for n, split in enumerate(["train", "dev", "eval"] * 4))
OWN = "utt_id,path,language,source,duration_s,digest\n" + "".join(f"en/vits/{n},fake/en/vits/{n}.wav,en,vits,1.5,d{n}\n" for n in range(8))
PROTOCOLS = "path,model_name\n" + "".join(f"./fake/en/acme_vits/{n}.wav,acme/vits\n" for n in range(3))
PLAN = "title: A table\ntrain_sets: languages\ntest_sets: languages\n"


def settings_of(folder: Path, **changes: str) -> Settings:
    """Settings of a corpus below `folder`."""
    settings = Settings()
    settings.paths.corpus, settings.paths.exp = str(folder), str(folder / "exp")
    settings.corpus.languages, settings.corpus.sources = ["en"], ["vits"]
    for key, value in changes.items():
        group, _, name = key.partition("__")
        setattr(getattr(settings, group), name, value)
    return settings


def use_folder_table(path: Path) -> None:
    settings = settings_of(path.parent, folder__table=str(path))
    utterances = FolderCorpus(settings).prepare()
    audit(utterances, split_utterances(utterances, settings.split, 1))


def use_meta(path: Path) -> None:
    read_meta(path)
    folder = path.parent / "fake" / "en" / "vits"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "meta.csv").write_bytes(path.read_bytes())
    read_utterances(path.parent, ["en"], ["vits"])


def use_own_table(path: Path) -> None:
    utterances = read_table(path, ["utt_id", "path", "language", "source", "duration_s", "digest"], "python scripts/02.py")
    check_protocol(split_utterances(utterances, Settings().split, 1), utterances)


def use_protocols(path: Path) -> None:
    for split in ("train", "dev", "eval"):
        (path.parent / f"{split}.csv").write_bytes(path.read_bytes())
    read_protocols(path.parent)


def use_published_lists(path: Path) -> None:
    folder = path.parent / "lists"
    folder.mkdir(exist_ok=True)
    (folder / "mono_train.csv").write_bytes(path.read_bytes())
    read_lists(folder, ["vits", "xtts"], ["en", "de"])


def use_author_list(path: Path) -> None:
    settings = settings_of(path.parent, detection__origin="lists", detection__lists=str(path.parent))
    settings.detection.list_files = {"itw": path.name}
    author_lists.read(settings, "itw")


def use_in_the_wild(path: Path) -> None:
    (path.parent / "meta.csv").write_bytes(path.read_bytes())
    read_in_the_wild(Settings(), "itw", path.parent)


def use_asv19(path: Path) -> None:
    folder = path.parent / "ASVspoof2019_LA_cm_protocols"
    folder.mkdir(exist_ok=True)
    (folder / "ASVspoof2019.LA.cm.train.trn.txt").write_bytes(path.read_bytes())
    read_asv19(Settings(), "asv19_train", path.parent)


def use_plan(path: Path) -> None:
    named = path.with_suffix(".yaml")
    named.write_bytes(path.read_bytes())
    read_plan(str(named), settings_of(path.parent))


DOORS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "folder.table": (TABLE, use_folder_table),
    "meta.csv": (META, use_meta),
    "utterances.csv": (OWN, use_own_table),
    "MLAAD's protocols": (PROTOCOLS, use_protocols),
    "MCL-MLAAD's lists": ("path,language,label\n" + "".join(f"fake/en/vits/{n}.wav,en,0\n" for n in range(4)), use_published_lists),
    "the authors' lists": ("a.wav|bonafide\nx/b.wav|spoof\n", use_author_list),
    "In-the-Wild": ("file,speaker,label\n0.wav,Someone,spoof\n1.wav,Another,bona-fide\n", use_in_the_wild),
    "ASVspoof 2019": ("LA_0079 LA_T_1138215 - - bonafide\nLA_0079 LA_T_1271820 - A01 spoof\n", use_asv19),
    "recordings": ("a/b.mp4|spoof|x\nc.wav|bonafide\n", lambda path: read_recordings(path)),
    "a table": (PLAN, use_plan),
}
TEXT_PIECES = [
    *PIECES,
    b",",
    b"|",
    b";",
    b"\t",
    b'"',
    b"\r",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"../",
    b"/",
    b"\\",
    b".wav",
    b"  ",
    "é".encode(),
    b"\xe2\x80\x8b",
]


@st.composite
def changed_list(draw: st.DrawFn) -> tuple[str, bytes]:
    """A door and what it is given."""
    name = draw(st.sampled_from(sorted(DOORS)))
    good = DOORS[name][0].encode()
    lines = good.splitlines(keepends=True)
    if draw(st.integers(0, 4)) == 0:  # whole lines in another order, doubled or left out
        return name, b"".join(draw(st.lists(st.sampled_from(lines), max_size=8)))
    return name, draw(mutated(good, TEXT_PIECES))


def check_list(folder: Path, case: tuple[str, bytes]) -> None:
    name, content = case
    path = folder / "given.csv"
    path.write_bytes(content)
    try:
        DOORS[name][1](path)
    except UserError as error:
        assert_one_line(error)


@SHORT_AND_LONG
def test_lists(tmp_path, is_long):
    run_cases("lists", is_long, changed_list(), partial(check_list, tmp_path))


def test_the_good_ones_are_read(tmp_path):
    for number, (text, use) in enumerate(DOORS.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "given.csv").write_text(text, encoding="utf-8")
        use(folder / "given.csv")


def test_ten_thousand_cases_in_all():
    assert sum(long for _, long in CASES.values()) >= 10_000
