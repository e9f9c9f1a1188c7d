"""The feature store: written in blocks, resumed at the last one, refused when unfinished or damaged."""

import json
import multiprocessing
import shutil
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.features.store import INDEX_COLUMNS, FeatureStore, StoreWriter, is_finished, only_writer, write_block
from sourcetracing.layout import StoreLayout
from sourcetracing.runtime.files import digest_of_file

ROWS = np.random.default_rng(0).normal(size=(22, 3, 4)).astype(np.float16)
INDEX = pd.DataFrame(
    {
        "row": range(22),
        "utt_id": [f"u{row // 2}" for row in range(22)],
        "variant": ["original", "noise"] * 11,
        "split": ["train"] * 12 + ["dev"] * 10,
        "language": ["en", "en", "de", "de"] * 5 + ["en", "en"],
        "source": "NA",  # a name that CSV readers like to take for a missing value
    }
)


def start(folder, rows_per_block=5) -> StoreWriter:
    folder.mkdir(exist_ok=True)
    return StoreWriter(folder, ROWS.shape, ROWS.dtype, rows_per_block)


def fill(writer: StoreWriter, blocks) -> None:
    for block in blocks:
        rows = writer.block_rows(block)
        writer.commit(block, write_block(writer.path, writer.header_bytes, rows.start, ROWS[rows.start : rows.stop]))


@pytest.fixture
def folder(tmp_path):
    """A finished store."""
    writer = start(tmp_path / "store")
    fill(writer, writer.remaining())
    writer.finish(INDEX, {"recipe": {"seed": 1}})
    return tmp_path / "store"


def test_what_was_written_is_what_is_read(folder):
    store = FeatureStore.open(folder)
    np.testing.assert_array_equal(store.load(range(22)), ROWS)
    np.testing.assert_array_equal(np.load(folder / "features.npy"), ROWS)
    pd.testing.assert_frame_equal(store.index, INDEX, check_dtype=False)
    assert list(store.index.columns) == INDEX_COLUMNS
    assert store.facts["recipe"] == {"seed": 1} and store.shape == (22, 3, 4)
    assert not StoreLayout(folder).partial.exists() and not StoreLayout(folder).progress.exists()
    assert digest_of_file(store.folder / "features.npy") == store.facts["checksum"]


@pytest.mark.parametrize("rows", [[], [3], range(22), range(4, 9), [0, 1, 2, 7, 8, 21], [5, 4, 4, 20, 0], np.array([21, 0])])
def test_any_rows_can_be_loaded_in_any_order(folder, rows):
    loaded = FeatureStore.open(folder).load(rows)
    np.testing.assert_array_equal(loaded, ROWS[np.asarray(rows, dtype=int)])
    assert loaded.flags.c_contiguous and loaded.flags.writeable


@pytest.mark.parametrize("rows", [[22], [-1]])
def test_a_row_that_is_not_there_is_refused(folder, rows):
    with pytest.raises(IndexError):
        FeatureStore.open(folder).load(rows)


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(folder, tmp_path):
    killed = tmp_path / "killed"
    fill(start(killed), [0, 3])
    again = start(killed, rows_per_block=7)  # another block size must not confuse what is there
    assert again.rows_per_block == 5 and again.remaining() == [1, 2, 4]
    fill(again, again.remaining())
    again.finish(INDEX, {"recipe": {"seed": 1}})
    for name in ("features.npy", "index.csv", "store.json"):
        assert (killed / name).read_bytes() == (folder / name).read_bytes()


def test_blocks_whose_bytes_or_record_were_torn_are_made_again(tmp_path):
    killed = tmp_path / "killed"
    writer = start(killed)
    fill(writer, [0, 1, 2])
    with open(StoreLayout(killed).partial, "r+b") as file:  # block 1 was noted but did not survive
        file.seek(writer.header_bytes + 7 * writer.row_bytes)
        file.write(b"\xff\xff")
    with open(StoreLayout(killed).progress, "r+") as file:
        file.truncate(StoreLayout(killed).progress.stat().st_size - 4)  # the last line is cut short
    again = start(killed)
    assert again.remaining() == [1, 2, 3, 4]
    fill(again, [1])
    assert start(killed).remaining() == [2, 3, 4]


def test_a_partial_file_without_a_record_is_begun_anew(tmp_path):
    killed = tmp_path / "killed"
    fill(start(killed), [0])
    StoreLayout(killed).progress.unlink()
    assert start(killed).remaining() == [0, 1, 2, 3, 4]
    fill(start(killed), [0])
    StoreLayout(killed).partial.unlink()
    assert start(killed).remaining() == [0, 1, 2, 3, 4]


def test_a_kill_between_the_last_two_steps_is_mended(tmp_path):
    killed = tmp_path / "killed"
    writer = start(killed)
    fill(writer, writer.remaining())
    writer.path.rename(killed / "features.npy")
    assert not is_finished(killed)
    again = start(killed)
    assert again.remaining() == []
    again.finish(INDEX, {})
    np.testing.assert_array_equal(FeatureStore.open(killed).load(range(22)), ROWS)


def damage_size(folder):
    with open(folder / "features.npy", "r+b") as file:
        file.truncate(300)


def damage_manifest(folder):
    (folder / "store.json").write_text("{")


def damage_index(folder):
    INDEX[:-1].to_csv(folder / "index.csv", index=False)


def lose_features(folder):
    (folder / "features.npy").unlink()


@pytest.mark.parametrize("harm", [damage_size, damage_manifest, damage_index, lose_features])
def test_a_damaged_store_is_refused_in_one_line(folder, harm):
    harm(folder)
    with pytest.raises(UserError, match=r"store .*store is damaged .*[Dd]elete that folder.*04_preprocess_dataset") as caught:
        FeatureStore.open(folder)
    assert "\n" not in str(caught.value)


def test_a_missing_or_unfinished_store_names_the_next_command(folder, tmp_path):
    with pytest.raises(UserError, match=r"nowhere is missing\. Run: python scripts/04_preprocess_dataset"):
        FeatureStore.open(tmp_path / "nowhere")
    (folder / "store.json").unlink()
    with pytest.raises(UserError, match="not finished"):
        FeatureStore.open(folder)


def test_too_little_disk_is_said_before_the_work(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("sourcetracing.downloads.records.disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(UserError, match=r"store: the feature store needs .* but only 100 bytes are free there.*run the same command again"):
        start(tmp_path / "store")


def test_a_resumed_store_needs_room_for_the_rest_alone(tmp_path, monkeypatch):
    rows = np.ones((3, 1 << 20), np.uint8)
    writer = StoreWriter(tmp_path, rows.shape, rows.dtype, rows_per_block=1)
    writer.commit(1, write_block(writer.path, writer.header_bytes, 1, rows[1:2]))
    usage = shutil.disk_usage(tmp_path)
    for free, suffices in ((2 << 20, True), (1 << 20, False)):
        monkeypatch.setattr("sourcetracing.downloads.records.disk_usage", lambda _, free=free: usage._replace(free=free))
        with nullcontext() if suffices else pytest.raises(UserError, match="the rest of the feature store needs"):
            assert StoreWriter(tmp_path, rows.shape, rows.dtype, rows_per_block=1).remaining() == [0, 2]


def hold_lock(folder, held, release):
    with only_writer(folder):
        held.set()
        release.wait(30)


def test_two_processes_do_not_write_one_store(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    other = context.Process(target=hold_lock, args=(tmp_path / "store", held, release))
    other.start()
    try:
        assert held.wait(60)
        with pytest.raises(UserError, match="another process is writing"), only_writer(tmp_path / "store"):
            pass
    finally:
        other.kill()
        other.join()
    with only_writer(tmp_path / "store"):  # the killed process left no lock behind
        pass


def test_store_json_tells_what_the_array_is(folder):
    facts = json.loads((folder / "store.json").read_text())
    assert facts["shape"] == [22, 3, 4] and facts["dtype"] == "float16"
    assert facts["bytes"] == (folder / "features.npy").stat().st_size
