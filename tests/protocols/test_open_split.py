"""What an open-set protocol promises, checked by other means on several corpora and seeds; and what is said where it cannot be had."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.protocols.architectures import architectures_of, plain_name
from sourcetracing.protocols.leakage import audit, overall_table, summarize
from sourcetracing.protocols.open_split import draw_open_set
from sourcetracing.settings.corpora import Split
from sourcetracing.settings.open_split import OpenSplit

KNOWN = ["suno/bark", "suno/bark-small", "xtts_v2", "griffin_lim"]
UNKNOWN = ["Llasa-1B", "Llasa-8B", "vits", "tts_models/de/vits--neon"]
ARCHITECTURE = dict(zip(KNOWN + UNKNOWN, ["bark", "bark", "xtts", "griffin", "llasa", "llasa", "vits", "vits"], strict=True))


def make(languages=("de", "en", "fr"), speakers=6, per_speaker=8, sources=(*KNOWN, *UNKNOWN)) -> pd.DataFrame:
    """All sources read the same sentences, which belong to the speakers of a language."""
    rows = [
        (f"{language}/{source}/{speaker}_{number}", language, source, f"{language}{speaker}", f"{language} {speaker} {number}")
        for language in languages
        for source in sources
        for speaker in range(speakers)
        for number in range(per_speaker)
    ]
    table = pd.DataFrame(rows, columns=["utt_id", "language", "source", "speaker", "transcript"])
    return table.assign(recording=table["transcript"] + ".wav")


def draw(table: pd.DataFrame, seed: int = 1, known=tuple(KNOWN), split: Split | None = None, **rules) -> pd.DataFrame:
    return draw_open_set(table, list(known), split or Split(), OpenSplit(**{"least_per_source": 1, **rules}), seed).protocol


def holders(table: pd.DataFrame, protocol: pd.DataFrame, column: str) -> dict[str, set[str]]:
    """value -> the splits that have it; counted row by row."""
    values, found = dict(zip(table["utt_id"], table[column], strict=True)), defaultdict(set)
    for utt_id, split in zip(protocol["utt_id"], protocol["split"], strict=True):
        if values[utt_id].strip():
            found[values[utt_id]].add(split)
    return found


def assert_clean(
    table: pd.DataFrame, protocol: pd.DataFrame, known=tuple(KNOWN), heldout=(), columns=("speaker", "transcript", "recording")
):
    for column in columns:
        assert all(len(splits) == 1 for splits in holders(table, protocol, column).values())
    rows = protocol.merge(table, on="utt_id")
    assert len(rows) == len(protocol)
    unknown = rows[~rows["source"].isin(known)]
    assert set(unknown["split"]) == {"dev", "eval"}
    sides = unknown.assign(name=unknown["source"].map(ARCHITECTURE)).groupby("name")["split"].nunique()
    assert (sides == 1).all()
    assert set(rows["split"][rows["language"].isin(heldout)]) <= {"eval"}
    assert set(rows["split"][rows["source"].isin(known)]) == {"train", "dev", "eval"}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("heldout", [[], ["fr"], ["de", "fr"]])
def test_the_promises_hold(seed, heldout):
    table = make()
    protocol = draw(table, seed, heldout_languages=heldout)
    assert_clean(table, protocol, heldout=heldout)
    for language in heldout:
        own = table[(table["language"] == language) & table["source"].isin(KNOWN)]
        assert set(own["utt_id"]) <= set(protocol["utt_id"])  # all that is known of a held-out language is tested on


@pytest.mark.parametrize("seed", range(5))
def test_fractions_of_known_sources_are_as_near_as_groups_allow(seed):
    rows = draw(make(speakers=20), seed).merge(make(speakers=20), on="utt_id")
    known = rows[rows["source"].isin(KNOWN)]
    shares = pd.crosstab([known["language"], known["source"]], known["split"], normalize="index")
    assert len(shares) == 3 * len(KNOWN)
    assert np.allclose(shares[["train", "dev", "eval"]], [0.6, 0.2, 0.2], atol=0.051)  # one of 20 speakers


def test_the_order_of_rows_says_nothing_and_seeds_do():
    table = make()
    first = draw(table, 3).set_index("utt_id")["split"]
    shuffled = draw(table.sample(frac=1, random_state=1), 3).set_index("utt_id")["split"]
    pd.testing.assert_series_equal(first.sort_index(), shuffled.sort_index())
    assert len({tuple(draw(table, seed).sort_values("utt_id")["split"]) for seed in range(6)}) > 1


def test_languages_that_share_nothing_are_drawn_apart():
    table = make()
    given = {"dev_sources": ["vits", "tts_models/de/vits--neon"]}
    whole, part = draw(table, 4, **given), draw(table[table["language"] != "fr"], 4, **given)
    known = table["utt_id"][table["source"].isin(KNOWN) & (table["language"] != "fr")]
    whole, part = (one.set_index("utt_id")["split"].loc[known] for one in (whole, part))
    pd.testing.assert_series_equal(whole, part)


def test_a_cap_keeps_so_many_of_each_source_and_the_same_ones():
    table = make(speakers=10)
    capped = draw(table, 5, most_per_source=60, disjoint=["architecture"]).merge(table, on="utt_id")
    assert (capped["source"].value_counts() == 60).all()
    tighter = draw(table, 5, most_per_source=30, disjoint=["architecture"])
    assert set(tighter["utt_id"]) <= set(capped["utt_id"])
    assert_clean(table, draw(table, 5, most_per_source=60))


def test_groups_of_unknown_sources_alone_are_all_kept():
    table = make()
    alone = ~table["source"].isin(KNOWN)
    for column in ("speaker", "transcript", "recording"):
        table.loc[alone, column] = table.loc[alone, "source"] + " " + table.loc[alone, column]
    protocol = draw(table)
    assert set(table["utt_id"][alone]) <= set(protocol["utt_id"])
    assert_clean(table, protocol)


def test_what_is_unknown_links_nothing():
    table = make()
    table.loc[table["language"] == "en", ["speaker", "transcript", "recording"]] = ""
    assert_clean(table, draw(table))
    lines = draw_open_set(table.assign(speaker=""), KNOWN, Split(), OpenSplit(least_per_source=1), 1).lines
    assert lines[0] == "open_split.disjoint: the speaker of every utterance is unknown, so nothing keeps it in one split"


@pytest.mark.parametrize("seed", range(2))
def test_the_audit_finds_nothing_in_a_drawn_protocol_and_every_planted_leak(seed):
    table = make()
    protocol = draw(table, seed)
    drawn = table[table["utt_id"].isin(set(protocol["utt_id"]))]
    clean = audit(drawn, protocol, UNKNOWN)
    overall = clean[clean["scope"] == "overall"]
    assert set(overall["kind"]) >= {"speaker", "transcript", "recording", "unknown source", "architecture"}
    assert (overall["shared"].fillna(0) == 0).all()
    assert "architecture" in overall_table(clean)["kind"].tolist()
    rows = protocol.merge(drawn, on="utt_id")
    unknown = rows[rows["source"].isin(UNKNOWN)]
    for column, source in (("speaker", KNOWN[0]), ("transcript", KNOWN[0])):
        first, second = (rows[(rows["split"] == split) & (rows["source"] == source)].iloc[0] for split in ("train", "eval"))
        leaking = drawn.assign(**{column: drawn[column].where(drawn["utt_id"] != second["utt_id"], first[column])})
        assert shared(leaking, protocol, column, "train", "eval") == 1
    moved = unknown["utt_id"][unknown["split"] == "dev"].iloc[0]
    planted = protocol.assign(split=protocol["split"].where(protocol["utt_id"] != moved, "eval"))
    assert shared(drawn, planted, "unknown source", "dev", "eval") == shared(drawn, planted, "architecture", "dev", "eval") == 1
    renamed = drawn.assign(source=drawn["source"].replace({"griffin_lim": "Llasa-3B"}))
    side = unknown["split"][unknown["source"] == "Llasa-8B"].iloc[0]
    assert shared(renamed, protocol, "architecture", "train", side) == 1
    assert any("architecture: 1 of" in line and "split.assignment=openset" in line for line in summarize(audit(renamed, protocol, UNKNOWN)))


def shared(table, protocol, kind, first, second) -> int:
    found = audit(table, protocol, UNKNOWN)
    found = found[(found["scope"] == "overall") & (found["kind"] == kind) & (found["first"] == first) & (found["second"] == second)]
    return int(found["shared"].iloc[0])


def relaxed(**changes) -> dict:
    return {"table": make(), "rules": {}, **changes}


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            relaxed(table=make().assign(speaker="one")),
            r"utterances of known sources hang together in 1 group, too few for 3 splits\. Take speaker out of open_split\.disjoint",
        ),
        (relaxed(table=make(speakers=2, languages=("de",))), r"hang together in 2 groups, .*Take speaker out of open_split\.disjoint"),
        (relaxed(rules={"heldout_languages": ["de", "en", "fr"]}), "hang together in no group at all"),
        (relaxed(rules={"heldout_languages": ["xx"]}), "open_split.heldout_languages: this corpus has no 'xx'"),
        (relaxed(table=make(sources=KNOWN)), "corpus.unknown_sources names none"),
        (relaxed(table=make(sources=[*KNOWN, "vits"])), "vits is the only one, and dev and eval must have different ones"),
        (relaxed(table=make(sources=[*KNOWN, *UNKNOWN[:2]])), r"all unknown sources are of one architecture \(llasa\)"),
        (
            relaxed(table=make(sources=[*KNOWN, "bark-large", "vits"])),
            "bark-large is of the same architecture as .* suno/bark",
        ),
        (
            relaxed(rules={"dev_sources": ["vits"]}),
            "vits--neon, which is left for eval, is of the architecture of one of them",
        ),
        (relaxed(rules={"dev_sources": UNKNOWN}), "names all unknown sources"),
        (relaxed(rules={"dev_sources": ["x"]}), "'x' is not among the unknown sources"),
        (relaxed(rules={"least_per_source": 10_000}), r"suno/bark has \d+ training utterances, and open_split.least_per_source=10000"),
    ],
)
def test_what_cannot_be_had_is_said_with_what_to_relax(case, message):
    with pytest.raises(UserError, match=message):
        draw(case["table"], **case["rules"])


def test_relaxing_as_the_line_says_helps():
    table = make().assign(speaker="one")
    assert_clean(table, draw(table, disjoint=["architecture", "transcript", "recording"]), columns=("transcript", "recording"))
    one = make(sources=["vits", "vits--neon", "vits-small", "de/vits"])
    rows = draw(one, known=("vits", "de/vits"), disjoint=["speaker"]).merge(one, on="utt_id")
    assert rows.groupby("source")["split"].nunique().to_dict() == {"vits": 3, "de/vits": 3, "vits--neon": 1, "vits-small": 1}


def test_grouping_is_said_in_one_place():
    with pytest.raises(UserError, match="with split.assignment=openset name it in open_split.disjoint instead"):
        draw(make(), split=Split(group_by="speaker"))


@pytest.mark.parametrize(
    "names",
    [
        ("vits", "vits-neon", "vits--neon", "tts_models/fr/css10/vits", "vits-male"),
        ("suno/bark", "suno/bark-small", "bark"),
        ("facebook/mms-tts-deu", "facebook/mms-tts-hun"),
        ("VibeVoice 1.5B", "VibeVoice Large"),
        ("Nari Dia-1.6B", "Nari Dia2"),
        ("parler_tts_mini_v0.1", "parler_tts_large_v1"),
        ("Llasa-8B", "Llasa-1B"),
        ("xtts_v1.1", "tts_models/multilingual/multi-dataset/xtts_v2"),
        ("tacotron2-DDC", "tacotron2-DDC_ph", "tacotron2-DCA"),
    ],
)
def test_names_that_are_nearly_the_same(names):
    assert len({plain_name(name) for name in names}) == 1


def test_names_of_different_systems_stay_apart():
    names = ["f5-tts", "e2-tts", "vits", "xtts_v2", "bark", "griffin_lim", "WhisperSpeech", "MeloTTS", "MatchaTTS", "kokoro", "Mars5"]
    names += ["Metavoice-1B", "speecht5_tts", "tortoise-v2", "glow-tts", "fast_pitch", "overflow", "neural_hmm", "optispeech"]
    assert len({plain_name(name) for name in names}) == len(names)


def test_the_column_architecture_joins_what_names_do_not():
    table = pd.DataFrame({"source": ["jenny", "MeloTTS", "vits", "kokoro", "a", "b"], "architecture": ["VITS", "vits", "", "-", "nan", ""]})
    found = architectures_of(table)
    assert found["jenny"] == found["MeloTTS"] == found["vits"]
    assert len(set(found)) == 4
