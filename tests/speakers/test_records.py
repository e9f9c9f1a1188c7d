"""Labels of several settings side by side; groups by a rule that script 03 has not counted are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.protocols.table import load_protocol
from sourcetracing.settings.reading import load_settings
from sourcetracing.settings.schema import Settings
from sourcetracing.speakers import labelling
from sourcetracing.speakers.groups import load_groups
from sourcetracing.speakers.records import labels_of

RULES = "speakers.thresholds={en: 0.2, de: 0.3}"


@pytest.fixture
def words(tmp_path: Path, monkeypatch) -> list[str]:
    """A protocol made by hand, and embeddings from a generator instead of a network."""
    root = tmp_path / "exp" / "x"
    root.mkdir(parents=True)
    rows = [{"utt_id": f"u{n:02d}", "language": ("en", "de")[n % 2], "source": "a"} for n in range(30)]
    facts = {"path": "u.wav", "duration_s": 1.0, "digest": "0", "speaker": ""}
    pd.DataFrame(rows).assign(**facts).to_csv(root / "utterances.csv", index=False)
    splits = [("train", "dev", "eval")[n // 2 % 3] for n in range(30)]
    pd.DataFrame({"utt_id": [row["utt_id"] for row in rows], "split": splits}).to_csv(root / "protocol.csv", index=False)
    embeddings = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)
    monkeypatch.setattr(labelling, "embed_utterances", lambda settings, utterances: embeddings)
    monkeypatch.setattr(labelling, "embedder_key", lambda settings: "drawn")
    monkeypatch.setattr(labelling, "write_objective_figure", lambda path, *_: path.write_bytes(b"picture"))
    search = ["speakers.k_max=5", "speakers.k_restarts=1", "speakers.restarts=2"]
    return [f"paths.exp={tmp_path / 'exp'}", "name=x", "corpus.languages=[en,de]", "corpus.sources=[a]", "compute.workers=1", *search]


def labels_on_disk(settings: Settings) -> list[str]:
    return pd.read_csv(Layout.of(settings).pseudo_speakers, dtype=str)["pseudo_speaker"].tolist()


def groups(settings: Settings) -> pd.DataFrame:
    return load_groups(settings, "en", *load_protocol(settings))


def test_labels_of_two_settings_lie_side_by_side(words, tmp_path):
    three, four = (load_settings([*words, f"speakers.k={k}"]) for k in (3, 4))
    labelling.label_speakers(three)
    before = (tmp_path / "exp/x/speakers/pseudo_speakers.csv").read_bytes()
    assert labelling.label_speakers(four).is_new
    assert (tmp_path / "exp/x/speakers/pseudo_speakers.csv").read_bytes() == before
    assert (len(set(labels_on_disk(three))), len(set(labels_on_disk(four)))) == (3, 4)
    assert not labelling.label_speakers(three).is_new
    assert not labelling.label_speakers(four).is_new
    assert labels_of(three) != labels_of(four)
    assert labels_of(three).endswith("theta=search on seen_languages")


@pytest.mark.parametrize(("word", "made"), [("speakers.k=4", "speakers.k=3"), ("speakers.restarts=7", "speakers.restarts=2")])
def test_labels_of_other_settings_are_refused_with_both_values(words, word, made):
    labelling.label_speakers(load_settings([*words, "speakers.k=3"]))
    with pytest.raises(UserError) as caught:
        groups(load_settings([*words, "speakers.k=3", word]))
    assert f"pseudo_speakers.csv was made with {made}, these settings say {word}." in str(caught.value)
    assert "scripts/03_label_speakers.py" in str(caught.value)


@pytest.mark.parametrize("word", ["audio.on_bad_audio=skip", "corpus.unknown_sources=[all]", "demo.utterances_per_source=9"])
def test_labels_of_other_utterances_lie_beside_the_first(words, word):
    """Clustering other utterances once wrote over the labels of the first ones."""
    first, other = load_settings(words), load_settings([*words, word])
    labelling.label_speakers(first)
    before = Layout.of(first).pseudo_speakers.read_bytes()
    assert labelling.label_speakers(other).is_new
    assert Layout.of(other).pseudo_speakers != Layout.of(first).pseudo_speakers
    assert Layout.of(first).pseudo_speakers.read_bytes() == before


def test_a_record_of_fewer_settings_is_completed_by_script_03(words):
    settings = load_settings([*words, "demo.utterances_per_source=9"])
    labelling.label_speakers(settings)
    path = Layout.of(settings).speakers_record
    record = json.loads(path.read_text())
    older = {key: value for key, value in record["settings"].items() if not key.startswith("demo.")}
    path.write_text(json.dumps({**record, "settings": older}))
    with pytest.raises(UserError, match=r"does not say demo.utterances_per_source of what it was made with .*03_label"):
        groups(settings)
    assert not labelling.label_speakers(settings).is_new
    assert json.loads(path.read_text()) == record


def test_a_rule_for_theta_that_was_not_counted_is_refused_until_it_is(words):
    searched, named = load_settings(words), load_settings([*words, RULES])
    labelling.label_speakers(searched)
    groups(searched)
    with pytest.raises(UserError) as caught:
        groups(named)
    said = 'speakers.thresholds={"en": 0.2, "de": 0.3}'
    assert f"were made with speakers.thresholds=search, these settings say {said}." in str(caught.value)
    assert not labelling.label_speakers(named).is_new  # the clusters are the same
    groups(named)
    groups(searched)


def test_a_record_from_before_is_completed_by_script_03(words):
    settings = load_settings(words)
    labelling.label_speakers(settings)
    path = Layout.of(settings).speakers_record
    record = json.loads(path.read_text())
    older = {key: value for key, value in record.items() if key not in ("settings", "digest", "groupings")}
    path.write_text(json.dumps(older))
    with pytest.raises(UserError, match=r"does not say which settings it was made with.*03_label_speakers"):
        groups(settings)
    assert not labelling.label_speakers(settings).is_new
    assert json.loads(path.read_text()) == record
    groups(settings)


def test_table_2_says_what_it_was_counted_with(words):
    settings = load_settings(words)
    counts = labelling.label_speakers(settings).counts
    record = json.loads(Layout.of(settings).speakers_record.read_text())
    assert set(counts["labels"]) == {f"{record['digest'][:8]} theta=search on seen_languages"}
    assert counts["protocol"].str.fullmatch("[0-9a-f]{8}").all()
