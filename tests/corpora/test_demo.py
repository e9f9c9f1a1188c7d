"""The demo corpus: MLAAD's layout, the same bytes on every way to them, resumed and refused as it should be."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import soundfile

from sourcetracing.corpora import demo
from sourcetracing.corpora.mlaad import read_meta
from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.protocols.building import build_protocols
from sourcetracing.protocols.table import load_protocol
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.runtime.parallel import map_unordered
from sourcetracing.settings.corpora import Corpus, Demo
from sourcetracing.settings.paths import Paths
from sourcetracing.settings.schema import Settings
from sourcetracing.synthesis import make

HEADER = "path|original_file|language|is_original_language|duration|training_data|model_name|architecture|transcript"
LANGUAGES, SOURCES = ["en", "ru"], ["espeak_formant", "griffin_lim"]


def settings_for(root: Path, workers: int = 1, **changes) -> Settings:
    settings = Settings(
        seed=7,
        paths=Paths(corpus=str(root), musan=str(root / "musan"), rirs=str(root / "RIRS_NOISES")),
        corpus=Corpus(languages=list(LANGUAGES), sources=list(SOURCES)),
        demo=Demo(
            utterances_per_source=5,
            speakers_per_language=2,
            noises_per_category=2,
            noise_seconds=5.0,
            long_noises_per_category=1,
            long_noise_seconds=7.0,
            rirs_per_room_size=1,
        ),
    )
    settings.compute.workers = workers
    for key, value in changes.items():
        setattr(settings.demo, key, value)
    return settings


def digests(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): digest_of_file(path) for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """A tiny corpus made by one worker; tests must leave it as it is."""
    root = tmp_path_factory.mktemp("corpus")
    demo.DemoCorpus(settings_for(root)).download()
    return root


def test_layout_is_that_of_mlaad_musan_and_rirs_noises(corpus):
    for language in LANGUAGES:
        for source in SOURCES:
            folder = corpus / "fake" / language / source
            assert (folder / "meta.csv").read_text(encoding="utf-8").split("\n")[0] == HEADER
            meta = read_meta(folder / "meta.csv")
            assert sorted(meta["path"]) == sorted(f"./{path.relative_to(corpus)}" for path in folder.glob("*.wav"))
            assert set(meta["model_name"]) == {source}
            assert set(meta["language"]) == {language}
    assert {path.parent.parent.name for path in corpus.glob("musan/*/*/*.wav")} == {"music", "noise", "speech"}
    assert len(list(corpus.glob("RIRS_NOISES/simulated_rirs/*/Room001/Room001-00001.wav"))) == 3


def test_meta_tells_the_duration_of_its_files(corpus):
    meta = read_meta(corpus / "fake" / "en" / "griffin_lim" / "meta.csv")
    for row in meta.itertuples():
        assert float(row.duration) == pytest.approx(soundfile.info(corpus / row.path).duration, abs=1e-3)


def test_prepare_gives_one_row_per_utterance_with_its_speaker(corpus):
    utterances = demo.DemoCorpus(settings_for(corpus)).prepare()
    assert len(utterances) == 2 * 2 * 5
    speakers = utterances.groupby(["language", "source"])["speaker"].agg(set)
    assert all(found == {f"{language}_speaker01", f"{language}_speaker02"} for (language, _), found in speakers.items())
    assert all((corpus / path).is_file() for path in utterances["path"])


def test_transcripts_recur_across_sources(corpus):
    utterances = demo.DemoCorpus(settings_for(corpus)).prepare().query("language == 'en'")
    assert utterances.groupby("transcript")["source"].nunique().max() == 2
    assert not utterances.duplicated(["source", "transcript"]).any()


def test_check_counts_what_is_there(corpus):
    assert demo.DemoCorpus(settings_for(corpus)).check() == {"utterances": 20, "noises": 6, "rirs": 3}


def test_two_workers_make_the_same_bytes_as_one(corpus, tmp_path):
    demo.DemoCorpus(settings_for(tmp_path, workers=2)).download()
    assert digests(tmp_path) == digests(corpus)


def test_continues_where_files_are_missing_and_keeps_the_rest(corpus, tmp_path):
    kept = _copy(corpus, tmp_path)
    removed = [
        *sorted(tmp_path.glob("fake/*/*/*_00001.wav")),
        tmp_path / "fake/en/griffin_lim/meta.csv",
        *tmp_path.glob("musan/speech/*/*"),
    ]
    assert len(removed) > 3
    for path in removed:
        path.unlink()
    (tmp_path / "fake" / "en" / "griffin_lim" / ".x.1.partial.wav").write_bytes(b"left by a killed run")
    with pytest.raises(UserError, match="01_download_resources"):
        demo.DemoCorpus(settings_for(tmp_path)).check()
    untouched = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.wav")}
    demo.DemoCorpus(settings_for(tmp_path)).download()
    assert digests(tmp_path) == kept
    assert all(path.stat().st_mtime_ns == time for path, time in untouched.items() if path.exists())


def test_nothing_is_made_when_all_is_there(corpus, monkeypatch):
    before = digests(corpus)
    monkeypatch.setattr(make, "map_unordered", lambda *_, **__: pytest.fail("started workers"))
    demo.DemoCorpus(settings_for(corpus)).download()
    assert digests(corpus) == before


def test_a_source_added_later_leaves_the_others_alone(corpus, tmp_path):
    before = _copy(corpus, tmp_path)
    settings = settings_for(tmp_path)
    settings.corpus.unknown_sources = ["sinusoidal"]
    demo.DemoCorpus(settings).download()
    after = digests(tmp_path)
    assert len(list(tmp_path.glob("fake/*/sinusoidal/*.wav"))) == 2 * 5
    assert {path: digest for path, digest in after.items() if "sinusoidal" not in path} == before
    assert set(demo.DemoCorpus(settings_for(tmp_path)).prepare()["source"]) == set(SOURCES)
    assert set(demo.DemoCorpus(settings).prepare()["source"]) == {*SOURCES, "sinusoidal"}


def test_unknown_sources_are_in_dev_and_eval_and_in_no_class(corpus, tmp_path):
    _copy(corpus, tmp_path)
    settings = settings_for(tmp_path)
    settings.corpus.unknown_sources, settings.paths.exp = ["sinusoidal"], str(tmp_path / "exp")
    demo.DemoCorpus(settings).download()
    built = build_protocols(settings)
    assert built.counts.set_index("language").loc["total", ["train", "dev", "eval"]].sum() == 2 * 5 * (len(SOURCES) + 1)
    root = Layout.of(settings).root
    table = pd.read_csv(root / "utterances.csv").merge(pd.read_csv(root / "protocol.csv"), on="utt_id")
    assert set(table["split"][table["source"] == "sinusoidal"]) == {"dev", "eval"}
    assert (root / "label_assignment.txt").read_text().splitlines()[-1] == f"{'sinusoidal':<50}|{len(SOURCES):<3}|OOD"
    assert set(load_protocol(settings)[0]["source"]) == set(SOURCES)


@pytest.mark.parametrize(("change", "folder"), [({"speakers_per_language": 3}, "."), ({"noise_seconds": 6.0}, "musan")])
def test_other_settings_are_refused_by_name(corpus, change, folder):
    with pytest.raises(UserError) as refusal:
        demo.DemoCorpus(settings_for(corpus, **change)).download()
    assert f"demo.{next(iter(change))}" in str(refusal.value)
    assert str(corpus / folder) in str(refusal.value)


def test_half_a_corpus_is_not_continued_by_another_synthesizer(corpus, tmp_path):
    _copy(corpus, tmp_path)
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    (tmp_path / "recipe.json").write_text(json.dumps({**recipe, "made_with": {"espeakng-loader": "0.0.1"}}))
    demo.DemoCorpus(settings_for(tmp_path)).download()  # complete: no reason to complain
    next(tmp_path.glob("fake/*/*/*.wav")).unlink()
    with pytest.raises(UserError, match="espeakng-loader"):
        demo.DemoCorpus(settings_for(tmp_path)).download()


def test_foreign_audio_is_never_written_to(tmp_path):
    settings = settings_for(tmp_path)
    foreign = tmp_path / "fake" / "en" / "bark" / "x.wav"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"somebody's")
    with pytest.raises(UserError, match="paths.corpus"):
        demo.DemoCorpus(settings).download()
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["x.wav"]


def test_a_real_musan_is_used_as_it_is(corpus, tmp_path):
    _copy(corpus, tmp_path)
    (tmp_path / "musan" / "recipe.json").unlink()
    before = digests(tmp_path)
    demo.DemoCorpus(settings_for(tmp_path, noises_per_category=4)).download()
    assert digests(tmp_path) == before


@pytest.mark.parametrize(("key", "value"), [("languages", ["en", "xx"]), ("sources", ["bark"])])
def test_an_unknown_language_or_source_is_named(tmp_path, key, value):
    settings = settings_for(tmp_path)
    setattr(settings.corpus, key, value)
    with pytest.raises(UserError, match=value[-1]):
        demo.DemoCorpus(settings).download()


def test_interrupted_making_ends_complete_or_absent(corpus, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        for number, made in enumerate(map_unordered(*args, **kwargs)):
            if number == 4:
                raise KeyboardInterrupt
            yield made

    with monkeypatch.context() as patch:
        patch.setattr(make, "map_unordered", interrupted)
        with pytest.raises(KeyboardInterrupt):
            demo.DemoCorpus(settings_for(tmp_path)).download()
    demo.DemoCorpus(settings_for(tmp_path)).download()
    assert digests(tmp_path) == digests(corpus)


def _copy(corpus: Path, target: Path) -> dict[str, str]:
    __import__("shutil").copytree(corpus, target, dirs_exist_ok=True)
    return digests(target)
