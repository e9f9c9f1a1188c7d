"""Relations of unknown sources to known ones: by hand, by the names of MLAAD, with awkward names and labels that are missing or mixed."""

from __future__ import annotations

import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.protocols.relatives import (
    CHECKPOINT,
    COARSE_LEVELS,
    GENERATOR,
    NEW,
    UNLABELLED,
    labels_of_sources,
    load_labels,
    mixed_labels,
    notes_on_labels,
    relations,
    subsets,
    tree_order,
)
from sourcetracing.settings.schema import Settings

# Names and labels of MLAAD v5 as in docs/hierarchy.md: source -> architecture, acoustic model, vocoder.
MLAAD = {
    "suno/bark": ("ar-codec-lm", "bark", "encodec"),
    "suno/bark-small": ("ar-codec-lm", "bark", "encodec"),
    "xtts_v2": ("ar-codec-lm-gpt", "xtts_v2", "hifigan"),
    "vixTTS": ("ar-codec-lm-gpt", "xtts_v2", "hifigan"),
    "xtts_v1.1": ("ar-codec-lm-gpt", "xtts_v1.1", "univnet"),
    "vits": ("vits", "vits", "hifigan"),
    "vits--neon": ("vits", "vits", "hifigan"),
    "Metavoice-1B": ("ar-codec-lm", "Metavoice", "encodec"),
    "optispeech": ("non-autoregressive", "optispeech", "wavenext"),
    "griffin_lim": ("vocoder-only", "none", "griffin_lim"),
    "never heard of": ("", "", ""),
}


def table_of(labels: dict[str, tuple[str, str, str]]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(labels, orient="index", columns=list(COARSE_LEVELS)).rename_axis("source").sort_index()


def test_the_pairs_of_mlaad_are_checkpoints_of_known_generators():
    known = ["suno/bark", "xtts_v2", "vits"]
    found = relations(table_of(MLAAD), known).to_dict()
    assert found == {
        "suno/bark-small": CHECKPOINT,
        "vixTTS": CHECKPOINT,
        "vits--neon": CHECKPOINT,
        "xtts_v1.1": GENERATOR,
        "Metavoice-1B": GENERATOR,
        "optispeech": NEW,
        "griffin_lim": NEW,
        "never heard of": UNLABELLED,
    }


def test_half_a_generator_is_none():
    labels = table_of({"a": ("x", "m", ""), "b": ("y", "m", ""), "c": ("", "n", "v"), "d": ("", "n", "v"), "e": ("", "n", "w")})
    assert relations(labels, ["a", "c"]).to_dict() == {"b": NEW, "d": CHECKPOINT, "e": UNLABELLED}
    assert relations(labels, ["c"]).to_dict() == {"a": UNLABELLED, "b": UNLABELLED, "d": CHECKPOINT, "e": UNLABELLED}


def test_nothing_known_of_the_known_ones_leaves_all_unlabelled():
    labels = table_of({"a": ("", "", ""), "b": ("y", "m", "v"), "nan": ("", "", "")})
    assert set(relations(labels, ["a"])) == {UNLABELLED}
    assert relations(labels, ["a", "b", "nan"]).empty
    with pytest.raises(UserError, match="b has two rows"):
        relations(pd.concat([labels, labels.loc[["b"]]]), ["a"])


def test_rows_of_subsets_are_those_of_their_sources():
    sources = pd.Series(["vits", "vixTTS", "xtts_v1.1", "optispeech", "stranger", "vits"], index=[9, 8, 7, 6, 5, 4])
    found = {name: list(mask) for name, mask in subsets(sources, table_of(MLAAD), ["vits", "xtts_v2"]).items()}
    assert found["unknown"] == [False, True, True, True, True, False]
    assert found["related"] == [False, True, True, False, False, False]
    assert found["checkpoint"] == [False, True, False, False, False, False]
    assert found["generator"] == [False, False, True, False, False, False]
    assert found["new"] == [False, False, False, True, False, False]
    assert found["unlabelled"] == [False, False, False, False, True, False]


def test_labels_come_from_utterances_and_mixed_ones_are_said():
    rows = [
        ("nan", "x", "", "hifigan"),
        ("nan", "x", "m", ""),
        ("007", "", "", ""),
        ("glow", "flow", "glow-tts", "griffin_lim"),
        ("glow", "flow", "glow-tts", "multiband-melgan"),
        ("voice, large", " y ", "m", "v"),
    ]
    utterances = pd.DataFrame(rows, columns=["source", *COARSE_LEVELS])
    found = labels_of_sources(utterances)
    assert list(found.index) == ["007", "glow", "nan", "voice, large"]
    assert found.loc["nan"].tolist() == ["x", "m", "hifigan"]
    assert found.loc["007"].tolist() == ["", "", ""]
    assert found.loc["glow"].tolist() == ["flow", "glow-tts", ""]
    assert found.loc["voice, large"].tolist() == ["y", "m", "v"]
    assert mixed_labels(utterances) == [("glow", "vocoder", ["griffin_lim", "multiband-melgan"])]
    assert (labels_of_sources(utterances[["source"]]) == "").all(axis=None)


def test_labels_on_disk(tmp_path):
    settings = Settings()
    settings.paths.exp = str(tmp_path)
    assert load_labels(settings).empty
    path = Layout.of(settings).utterances
    path.parent.mkdir(parents=True)
    path.write_text("utt_id,source,architecture,vocoder\n1,NA,arch,001\n2,1e3,,nan\n3,1e3,,None\n", encoding="utf-8")
    found = load_labels(settings)
    assert found.loc["NA"].tolist() == ["arch", "", "001"]
    assert found.loc["1e3"].tolist() == ["", "", ""]
    assert notes_on_labels(settings) == ["1e3 has several labels of vocoder (None, nan), so it counts as unlabelled there"]


def test_with_another_label_traced_its_values_are_the_sources(tmp_path):
    """A vocoder of the name of a system is not that system."""
    settings = Settings()
    settings.paths.exp, settings.corpus.label = str(tmp_path), "vocoder"
    path = Layout.of(settings).utterances
    path.parent.mkdir(parents=True)
    path.write_text("utt_id,source,architecture,vocoder\n1,lpc,arch,hifigan\n2,b,arch,hifigan\n3,c,other,lpc\n", encoding="utf-8")
    found = load_labels(settings)
    assert found["architecture"].to_dict() == {"hifigan": "arch", "lpc": "other"}
    assert found["vocoder"].to_dict() == {"hifigan": "hifigan", "lpc": "lpc"}


def test_the_order_of_the_tree():
    order = tree_order(table_of(MLAAD), ["vits", "never heard of", "xtts_v2", "suno/bark", "Metavoice-1B", "stranger", "xtts_v1.1"])
    assert order == ["Metavoice-1B", "suno/bark", "xtts_v1.1", "xtts_v2", "vits", "never heard of", "stranger"]
