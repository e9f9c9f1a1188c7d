"""From a trained run to one array of its embeddings, a table of its rows, and the baselines' tree of files."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from sourcetracing.embeddings import collecting
from sourcetracing.embeddings.collecting import collect_embeddings
from sourcetracing.embeddings.export import export_tree, file_name
from sourcetracing.embeddings.runs import chosen_runs, run_in_folder
from sourcetracing.embeddings.stored import load_embeddings
from sourcetracing.errors import UserError
from sourcetracing.features.rows import open_store
from sourcetracing.layout import Layout
from sourcetracing.scoring.scores import load_model
from sourcetracing.settings.reading import read_config
from sourcetracing.training.loop import train_run
from tests.support.embedded_run import CPU, modification_times, score_here, write_trained_run


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """A trained run whose embeddings were made; tests that change anything work on a copy (`copied`)."""
    run = write_trained_run(tmp_path_factory.mktemp("embedded"))
    assert collect_embeddings([run]) == [run]
    return run


@pytest.fixture
def copied(embedded, tmp_path):
    """The same run in a folder of its own."""
    shutil.copytree(embedded.folder, tmp_path / "run")
    return replace(embedded, folder=tmp_path / "run")


def test_every_row_is_what_the_model_makes_of_its_features(embedded):
    found, store = load_embeddings(embedded.files), open_store(embedded.settings)
    model = load_model(embedded, store)
    row_of = store.index.set_index(["utt_id", "variant"])["row"]
    rows = np.array([row_of[key] for key in zip(found.index["utt_id"], found.index["variant"], strict=True)])
    with torch.inference_mode():
        expected = model(torch.from_numpy(store.load(rows)).float())[0].numpy()
    np.testing.assert_allclose(found.array, expected, rtol=2e-3, atol=2e-3)
    assert isinstance(found.array, np.memmap)


def test_index_says_what_each_row_is(embedded):
    index = load_embeddings(embedded.files).index
    assert list(index["row"]) == list(range(24 * 5))
    assert not index.duplicated(["utt_id", "variant"]).any()
    assert list(dict.fromkeys(index["split"])) == ["train", "dev", "eval"]
    assert set(index.loc[~index["known"], "source"]) == {"source2"}
    assert set(index.loc[index["known"], "source"]) == {"source0", "source1"}
    assert "train" not in set(index.loc[~index["known"], "split"])
    table = pd.read_csv(Layout.of(embedded.settings).utterances, dtype=str).set_index("utt_id")["speaker"].fillna("")
    assert list(index["speaker"]) == list(table[index["utt_id"]])
    assert set(index["pseudo_speaker"]) == {""}


def test_a_second_run_does_nothing(embedded):
    before = modification_times(embedded.folder)
    assert collect_embeddings([embedded]) == []
    assert modification_times(embedded.folder) == before


def test_pseudo_speakers_that_come_later_get_into_the_index(embedded, copied):
    path, array = Layout.of(embedded.settings).pseudo_speakers, copied.files.embeddings.array.read_bytes()
    ids = load_embeddings(copied.files).index["utt_id"].unique()[2:]
    path.parent.mkdir()
    pd.DataFrame({"utt_id": ids, "pseudo_speaker": range(len(ids))}).to_csv(path, index=False)
    try:
        assert collect_embeddings([copied]) == [copied]
    finally:
        shutil.rmtree(path.parent)
    index = load_embeddings(copied.files).index
    assert dict(zip(index["utt_id"], index["pseudo_speaker"], strict=True)) == {
        **dict.fromkeys(index["utt_id"], ""),
        **{utt_id: str(n) for n, utt_id in enumerate(ids)},
    }
    assert copied.files.embeddings.array.read_bytes() == array


def test_changed_weights_make_the_embeddings_again(copied):
    before = np.array(load_embeddings(copied.files).array)
    settings = copied.settings
    other = replace(settings, train=replace(settings.train, seed=settings.train.seed + 1))
    weights = copied.files
    for path in (weights.weights, weights.outcome):
        path.unlink()
    train_run(replace(copied, settings=other), open_store(settings), CPU)
    with pytest.raises(UserError, match=r"older than the weights .* Run: python scripts/08_generate_embeddings\.py"):
        load_embeddings(copied.files)
    score_here(copied)
    assert collect_embeddings([copied]) == [copied]
    after = load_embeddings(copied.files).array
    assert after.shape == before.shape
    assert not np.allclose(after, before, atol=1e-2)


def test_only_the_variants_that_are_evaluated(copied):
    settings = copied.settings
    settings = replace(settings, evaluation=replace(settings.evaluation, variants=["original"]))
    everything = load_embeddings(copied.files)
    assert collect_embeddings([replace(copied, settings=settings)])
    found = load_embeddings(copied.files)
    assert found.index.groupby("split")["variant"].nunique().to_dict() == {"dev": 1, "eval": 1, "train": 5}
    key = ["utt_id", "variant"]
    rows = everything.index.set_index(key).loc[list(found.index[key].itertuples(index=False, name=None)), "row"]
    np.testing.assert_array_equal(found.array, everything.array[rows.to_numpy()])


@pytest.mark.parametrize("at", ["write_at", "write_json"])
def test_killed_in_the_middle_leaves_nothing_that_looks_complete(copied, monkeypatch, at):
    complete = copied.files.embeddings.array.read_bytes()
    copied.files.embeddings.record.unlink()

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(collecting, at, interrupt)
        with pytest.raises(KeyboardInterrupt):
            collect_embeddings([copied])
    assert not list(copied.folder.rglob("*.partial*"))
    with pytest.raises(UserError, match=r"holds no embeddings\. Run: python scripts/08_generate_embeddings\.py"):
        load_embeddings(copied.files)
    assert collect_embeddings([copied]) == [copied]
    assert copied.files.embeddings.array.read_bytes() == complete


def test_scores_that_do_not_fit_their_embeddings_are_made_again(copied):
    path = copied.files.scored_embeddings("dev")
    complete = path.read_bytes()
    np.save(path, np.load(path)[1:])
    copied.files.embeddings.record.unlink()
    assert collect_embeddings([copied]) == [copied]
    assert path.read_bytes() == complete


def test_tree_has_a_file_for_each_clean_utterance(embedded, tmp_path):
    assert export_tree([embedded], tmp_path / "tree") == 24  # stems repeat in the two languages (D45)
    found, index = sorted(tmp_path.rglob("*.npy")), load_embeddings(embedded.files).index
    assert {path.parts[-3] for path in found} == {"train", "dev", "test"}
    assert {path.parts[-2] for path in found} == {"0", "1", "2"}
    one = index[(index["utt_id"] == "de/source2/2") & (index["variant"] == "original")].iloc[0]
    stored = np.load(tmp_path / "tree" / one["split"].replace("eval", "test") / "2" / "de__source2__2.npy")
    np.testing.assert_array_equal(stored, load_embeddings(embedded.files).array[one["row"]].astype(np.float32))


def test_tree_goes_on_and_belongs_to_one_run(embedded, copied, tmp_path):
    tree = tmp_path / "tree"
    export_tree([embedded], tree)
    for path in list(tree.rglob("*.npy"))[:5]:
        path.unlink()
    assert export_tree([embedded], tree) == 5
    assert export_tree([embedded], tree) == 0
    with copied.files.weights.open("ab") as file:
        file.write(b"\0")
    record = copied.files.embeddings.record
    weights = load_embeddings(embedded.files).record["weights"]
    record.write_text(record.read_text().replace(weights, collecting.digest_of_file(copied.files.weights)))
    with pytest.raises(UserError, match="holds embeddings of other weights"):
        export_tree([copied], tree)
    assert export_tree([embedded, copied], tmp_path / "both") == 48
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(UserError, match="not empty"):
        export_tree([embedded], tmp_path / "mine")


def test_no_two_utterances_share_a_file_name():
    ids = ["a/b", "a__b", "a/_b", "a_/b", "a//b", "a___b", "a/b#2", "x" * 300, "x" * 299 + "y", "ä" * 200 + "/1", "a\tb"]
    names = [file_name(utt_id) for utt_id in ids]
    assert len(set(names)) == len(ids)
    assert all(len(name.encode()) < 250 and "/" not in name and name.isprintable() for name in names)
    assert file_name("en/vits/utterance_01") == "en__vits__utterance_01"


def test_a_run_is_found_by_its_folder(embedded):
    other = replace(embedded.settings.compute, encoder_precision="bf16", engine="openvino")
    run = run_in_folder(embedded.folder, replace(embedded.settings, name="another", compute=other))
    assert (run.settings.compute.encoder_precision, run.settings.compute.engine) == ("auto", "torch")  # which its features are of
    assert (run.system, run.train_set, run.seed, run.folder) == (
        embedded.system,
        embedded.train_set,
        embedded.seed,
        embedded.folder,
    )
    assert collect_embeddings([run]) == []


def test_wrong_runs_get_one_clear_line(embedded, tmp_path):
    settings = embedded.settings
    with pytest.raises(UserError, match=re.escape(f"does not exist; did you mean '{embedded.folder}'")):
        run_in_folder(embedded.folder.with_name(embedded.folder.name + "x"), settings)
    with pytest.raises(UserError, match="holds no run"):
        run_in_folder(tmp_path, settings)
    shutil.copy(embedded.folder / "config.yaml", tmp_path)
    with pytest.raises(UserError, match=r"not trained to its end\. Run: python scripts/05_train_matrix\.py"):
        run_in_folder(tmp_path, settings)


def test_without_a_trained_run_script_05_is_named(embedded, tmp_path):
    config = read_config([str(embedded.folder / "config.yaml"), "experiment.systems=[lfcc_ecapa_tdnn]", "train.epochs=2"])
    with pytest.raises(UserError, match=r"runs are not trained .*\. Run: python scripts/05_train_matrix\.py"):
        chosen_runs(config)
