"""A kill while script 02 replaced its six files left utterances of one state of the corpus beside the splits of another, and every later
script took them."""

from __future__ import annotations

import json

import pytest

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.protocols import building
from sourcetracing.protocols.building import build_protocols
from sourcetracing.protocols.table import load_protocol
from sourcetracing.settings.reading import load_settings
from sourcetracing.training.run_folder import RunFolder
from tests.support.audio_files import write_wav


@pytest.fixture
def settings(tmp_path):
    for number in range(20):
        write_wav(tmp_path / f"corpus/en/{'ab'[number % 2]}/{number}.wav", 0.4, number)
    words = [f"paths.corpus={tmp_path}/corpus", f"paths.exp={tmp_path}/exp", "corpus.reader=folder", "corpus.languages=[en]"]
    return load_settings([*words, "corpus.sources=[a,b]", "audio.min_seconds=0.1", "compute.workers=1"])


@pytest.mark.parametrize("at", ["write_text", "write_record"])
def test_after_a_kill_nobody_takes_the_half_of_it(settings, tmp_path, monkeypatch, at):
    build_protocols(settings)
    before = load_protocol(settings)[0]
    write_wav(tmp_path / "corpus/en/a/more.wav", 0.4, 99)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(building, at, killed)
        with pytest.raises(KeyboardInterrupt):
            build_protocols(settings)
    with pytest.raises(UserError, match=r"protocol\.csv was not written to its end.*02_build_protocols"):
        load_protocol(settings)
    assert build_protocols(settings).is_new
    assert len(load_protocol(settings)[0]) == len(before) + 1
    assert not build_protocols(settings).is_new
    assert not list(Layout.of(settings).root.glob("*.unfinished"))


def test_a_kill_before_the_first_record_is_no_protocol_made_by_hand(settings, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(building, "write_record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build_protocols(settings)
    with pytest.raises(UserError, match="was not written to its end"):
        load_protocol(settings)


def test_a_run_whose_weights_were_deleted_is_not_finished_by_its_first_epoch(settings, tmp_path):
    """model.json of the earlier training made the weights of the first epoch pass for those of the last one."""
    import torch

    files = RunFolder(tmp_path / "run")
    files.open(settings, torch.device("cpu"))
    files.weights.write_bytes(b"")
    files.finish({"best_epoch": 3})
    assert files.is_finished
    files.weights.unlink()
    files.open(settings, torch.device("cpu"))
    files.weights.write_bytes(b"")
    assert not files.is_finished


def test_what_an_earlier_check_found_is_not_believed(settings, tmp_path):
    """A file that an earlier check had passed stopped 04 as cut off, and 02 said that nothing had changed."""
    build_protocols(settings)
    record = Layout.of(settings).protocol_record
    facts = json.loads(record.read_text())
    protocol = Layout.of(settings).protocol.read_bytes()
    del facts["check"]  # as before there were numbers
    record.write_text(json.dumps(facts))
    assert build_protocols(settings).is_new
    assert Layout.of(settings).protocol.read_bytes() == protocol
    assert not build_protocols(settings).is_new
