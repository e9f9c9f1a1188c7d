"""From a folder or table to YAML: it is read back as it was meant, the reader finds the same files, script 02 draws what was counted."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from sourcetracing.corpora.corpus import corpus_of
from sourcetracing.errors import UserError
from sourcetracing.protocols.building import build_protocols
from sourcetracing.settings.reading import read_config
from sourcetracing.settings.schema import Settings
from sourcetracing.starting.start import name_for, start
from sourcetracing.starting.writing import text
from sourcetracing.training.table_plans import plans_of
from tests.support.audio_files import write_noises, write_responses, write_wav


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch) -> None:
    """A working folder without noises of the demo."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def write_tree(root: Path, cells: dict[str, int], seconds: float = 0.5) -> Path:
    for number, (folder, count) in enumerate(cells.items()):
        for n in range(count):
            write_wav(root / folder / f"{n}.wav", seconds, 1000 * number + n, level=0.05 * (1 + number % 4))
    return root


def settings_in(out: Path, root: Path) -> Settings:
    return read_config([str(out), f"paths.exp={root / 'exp'}", "compute.workers=1"]).resolve()


def test_a_tree_of_the_readers_layout(tmp_path):
    root = write_tree(tmp_path / "mine", {f"{language}/{source}": 10 for language in ("en", "de") for source in ("a", "007", "null")})
    shown = start(root)
    out = Path("mine.yaml")
    settings = settings_in(out, tmp_path)
    assert settings.name == "mine"
    assert settings.corpus.sources == ["007", "a", "null"]
    assert settings.corpus.languages == ["de", "en"]
    assert settings.folder.table == ""
    assert settings.augment.variants == ["original"]
    assert settings.experiment.seeds == [688, 689, 690]
    assert settings.experiment.systems[0] == "stats_logreg"
    train = read_config([str(out)]).resolve(system="lfcc_ecapa_tdnn").train
    assert (train.schedule, train.steps >= 300, train.warmup_steps > 0) == ("cosine", True, True)
    assert 0 < train.steps_per_dev < train.steps
    assert shown.splitlines()[-1].endswith("01_download_resources.py mine.yaml")
    assert len(corpus_of(settings).prepare()) == 60
    counts = build_protocols(settings).counts.set_index("language")
    written = re.findall(r"- (de|en) # \w+: 30 \((\d+)/(\d+)/(\d+)\), 3 sources", out.read_text())
    assert {language: [int(n) for n in rest] for language, *rest in written} == {
        language: counts.loc[language, ["train", "dev", "eval"]].astype(int).tolist() for language in ("de", "en")
    }


def test_the_same_corpus_gives_the_same_text_but_for_the_estimate(tmp_path):
    root = write_tree(tmp_path / "mine", {"en/a": 8, "en/b": 8})
    texts = []
    for name in ("one.yaml", "two.yaml"):
        start(root, Path(name))
        texts.append([line for line in Path(name).read_text().splitlines() if "Estimate" not in line])
    assert texts[0] == texts[1]


def test_forty_files_without_languages_get_a_table(tmp_path):
    root = write_tree(tmp_path / "forty", dict.fromkeys("abcd", 10))
    shown = start(root, tmp_path / "out" / "forty.yaml")
    table = pd.read_csv(tmp_path / "out" / "forty.csv", dtype=str)
    assert table.columns.tolist() == ["path", "language", "source"]
    assert len(table) == 40
    settings = settings_in(tmp_path / "out" / "forty.yaml", tmp_path)
    assert settings.corpus.languages == ["xx"]
    counts = build_protocols(settings).counts.set_index("language")
    assert counts.loc["xx", "eval"] >= 12
    assert "one language, 'xx'" in shown
    assert f"wrote {tmp_path / 'out' / 'forty.csv'}" in shown


def test_nothing_is_overwritten(tmp_path):
    root = write_tree(tmp_path / "mine", {"a": 4, "b": 4})
    Path("mine.yaml").write_text("name: precious\n")
    with pytest.raises(UserError, match=r"mine.yaml exists already .*--out"):
        start(root)
    assert Path("mine.yaml").read_text() == "name: precious\n"
    Path("other.csv").write_text("precious")
    Path("other_files.csv").write_text("precious too")
    with pytest.raises(UserError, match=r"other_files.csv exists already .*--out"):
        start(root, Path("other.yaml"))
    assert not Path("other.yaml").exists()
    assert (Path("other.csv").read_text(), Path("other_files.csv").read_text()) == ("precious", "precious too")


def test_a_table_with_other_columns_stays_and_gets_one_beside_it(tmp_path):
    """The YAML is called as the table is, so was the table that was to be written: the documented command was refused."""
    root = write_tree(tmp_path / "audio", {"a": 6, "b": 6})
    rows = [f"{root}/{source}/{n}.wav,{source}" for source in "ab" for n in range(6)]
    mine = "\n".join(["file,model", *rows, f"{root}/a/0.wav,b"]) + "\n"
    Path("list.csv").write_text(mine)
    shown = start(Path("list.csv"))
    assert Path("list.csv").read_text() == mine
    assert "wrote list_files.csv" in shown and "left out 2 files, which the table lists under several sources" in shown
    made = pd.read_csv("list_files.csv", dtype=str)
    assert len(made) == 11 and not made["path"].str.endswith("a/0.wav").any()
    assert settings_in(Path("list.yaml"), tmp_path).folder.table == "list_files.csv"


def test_noises_beside_the_corpus_are_used(tmp_path):
    root = write_tree(tmp_path / "mine", {"en/a": 8, "en/b": 8})
    write_noises(tmp_path / "musan")
    start(root, Path("without_rooms.yaml"))
    assert settings_in(Path("without_rooms.yaml"), tmp_path).augment.variants == ["original"]
    write_responses(tmp_path / "RIRS_NOISES")
    start(root, Path("with.yaml"))
    settings = settings_in(Path("with.yaml"), tmp_path)
    assert len(settings.augment.variants) == 5
    assert (settings.paths.musan, settings.paths.rirs) == (f"{tmp_path}/musan", f"{tmp_path}/RIRS_NOISES")


def test_files_that_cannot_be_used_are_left_out_and_said(tmp_path):
    root = write_tree(tmp_path / "mine", {"en/a": 8, "en/b": 8})
    (root / "en/a/0.wav").write_bytes(b"RIFF")
    write_wav(root / "en/b/0.wav", 0.5, 1, level=0.0)
    shown = start(root)
    assert "left out 2 files, which cannot be used (1 x " in shown and "; 1 x " in shown
    settings = settings_in(Path("mine.yaml"), tmp_path)
    assert build_protocols(settings).num_left_out == 2
    for path in root.rglob("*.wav"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"none of 16 files can be used \(is empty \(0 bytes\)\), such as"):
        start(root, Path("none.yaml"))


def test_hopelessly_small_cells_are_said(tmp_path):
    root = write_tree(tmp_path / "mine", {"en/a": 12, "en/b": 12, "de/a": 12, "de/b": 4})
    warning = "1 of 4 pairs of language and source have fewer than 8 utterances (least: 4 of b in de)"
    assert f"warning: {warning}" in start(root)
    assert f"# Warning: {warning}"[:80] in Path("mine.yaml").read_text()
    assert "warning" not in start(write_tree(tmp_path / "enough", {"en/a": 12, "en/b": 12}))


def test_one_audio_file_is_no_corpus(tmp_path):
    write_tree(tmp_path / "mine", {"a": 1})
    with pytest.raises(UserError, match=r"0.wav is one audio file. Give the folder of all of them"):
        start(tmp_path / "mine" / "a" / "0.wav")


def test_an_experiment_of_another_corpus_is_not_added_to(tmp_path):
    root, other = (write_tree(tmp_path / name, {"en/a": 8, "en/b": 8}) for name in ("mine", "other"))
    with pytest.raises(UserError, match="--name demo: an experiment of this project has that name"):
        start(root, Path("x.yaml"), "demo")
    run = Path("exp/trial/runs/stats_logreg/en-seed1-0")
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(f"paths: {{corpus: {other}}}\n")
    with pytest.raises(UserError, match=r"exp/trial holds an experiment on another corpus, .*other. Give this one another name"):
        start(root, Path("x.yaml"), "trial")
    assert not Path("x.yaml").exists()
    start(other, Path("x.yaml"), "trial")


def test_a_source_and_a_language_that_are_nearly_missing(tmp_path):
    cells = {"en/a": 12, "en/b": 12, "de/a": 12, "de/b": 12, "de/c": 12, "fr/a": 12, "en/rare": 2}
    start(write_tree(tmp_path / "mine", cells))
    written, settings = Path("mine.yaml").read_text(), settings_in(Path("mine.yaml"), tmp_path)
    assert settings.experiment.train_sets == ["de", "en"]  # fr has one source
    assert [plan.test_sets for plan in plans_of(settings)] == [["de", "en", "fr"]]
    assert "no b in fr" in written
    assert re.search(r"# unknown_sources: \[.*rare.*\]", written)
    build_protocols(settings, settings.experiment.train_sets, settings.corpus.languages)


@pytest.mark.parametrize(
    "name", ["007", "1e3", "null", "True", "no", "a: b", "x, y", "# x", "caf\u00e9", "acme/tts-v2", 'say "x"', "nan", "-x"]
)
def test_names_are_read_back(name, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(f"corpus:\n  sources:\n    - {text(name)} # 3\n    - b\n  unknown_sources: [{text(name + 'x')}]\n", encoding="utf-8")
    corpus = read_config([str(path)]).resolve().corpus
    assert (corpus.sources, corpus.unknown_sources) == ([name, "b"], [name + "x"])


def test_names_of_experiments(tmp_path):
    assert name_for(tmp_path / "list of mine.csv") == "list_of_mine"
    (tmp_path / "demo").mkdir()
    assert name_for(tmp_path / "demo") == "my_demo"


@pytest.mark.parametrize(
    ("place", "out", "name", "complaint"),
    [
        ("nowhere", None, "", "nowhere does not exist"),
        ("nowhere", "x.txt", "", "--out x.txt: settings are read from .yaml files"),
        ("nowhere", None, "a/b", "--name='a/b'"),
    ],
)
def test_mistakes_are_one_line(place, out, name, complaint):
    with pytest.raises(UserError, match=complaint):
        start(Path(place), Path(out) if out else None, name)
