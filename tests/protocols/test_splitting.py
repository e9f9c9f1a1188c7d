"""Drawing splits: the same as ever by default; groups that stay together; sources that never train; published splits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.protocols.table import balance_lines, split_balance, split_utterances
from sourcetracing.runtime.files import digest_of_bytes
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.corpora import Split

LANGUAGES, SOURCES = ("de", "en", "ru"), ("bark", "griffin_lim", "vits", "xtts")


def make_corpus(num_texts: int = 60) -> pd.DataFrame:
    """Each text of a language is spoken by two or three sources, a few texts are in two languages, and nothing of `xtts` has one."""
    generator, rows = rng("corpus"), []
    for language in LANGUAGES:
        for number in range(num_texts):
            for source in generator.choice(SOURCES, int(generator.integers(2, 4)), replace=False):
                text = f"text {number}" if number % 7 == 0 else f"{language} text {number}"
                rows.append(
                    (f"{language}/{source}/{number:03d}", language, source, "" if source == "xtts" else text, f"speaker{number % 10}")
                )
    table = pd.DataFrame(rows, columns=["utt_id", "language", "source", "transcript", "speaker"])
    return table.assign(recording=table["utt_id"].str[-3:])


def split_of(utterances: pd.DataFrame, split: Split, seed: int = 688, unknown=()) -> pd.Series:
    return split_utterances(utterances, split, seed, unknown).set_index("utt_id")["split"]


def joined(utterances: pd.DataFrame, split: Split, unknown=()) -> pd.DataFrame:
    return utterances.assign(split=split_of(utterances, split, unknown=unknown).to_numpy())


def splits_per_value(table: pd.DataFrame, column: str) -> pd.Series:
    return table[table[column] != ""].groupby(column)["split"].nunique()


@pytest.mark.parametrize(("stratify", "digest"), [(True, "57796e14d21dd44e8c9d030488b8c8b0"), (False, "840993537f6a611cb48170f8ff0a74fa")])
def test_default_split_is_byte_for_byte_what_it_always_was(stratify, digest):
    sizes = {"griffin_lim": 40, "bark": 20, "xtts": 40}
    rows = [
        (f"{language}/{source}/{number:03d}", language, source)
        for language in ("en", "de", "ru")
        for source, size in sizes.items()
        for number in range(size)
    ]
    utterances = pd.DataFrame(rows, columns=["utt_id", "language", "source"]).sample(frac=1, random_state=5)
    protocol = split_utterances(utterances, Split(stratify=stratify), 688)
    assert digest_of_bytes(protocol.sort_values("utt_id").to_csv(index=False).encode()) == digest


@pytest.mark.parametrize("column", ["transcript", "recording", "speaker"])
def test_a_group_is_in_one_split_across_sources_and_languages(column):
    utterances = make_corpus()
    assert splits_per_value(joined(utterances, Split()), column).max() == 3
    assert splits_per_value(joined(utterances, Split(group_by=column)), column).max() == 1


def test_blanks_around_a_value_do_not_make_another_group():
    utterances = make_corpus()
    padded = utterances.assign(
        transcript=np.where(utterances["source"] == "bark", " " + utterances["transcript"], utterances["transcript"])
    )
    assert (split_of(padded, Split(group_by="transcript")) == split_of(utterances, Split(group_by="transcript"))).all()


@pytest.mark.parametrize("stratify", [True, False])
def test_groups_keep_the_fractions_in_each_stratum(stratify):
    utterances, split = make_corpus(), Split(group_by="transcript", stratify=stratify)
    table = joined(utterances, split)
    keys = ["language", "source"] if stratify else ["language"]
    counts = table.groupby([*keys, "split"]).size().unstack(fill_value=0)[["train", "dev", "eval"]]
    wanted = counts.sum(axis=1).to_numpy()[:, None] * np.array([0.6, 0.2, 0.2])
    assert np.abs(counts - wanted).max().max() <= (2 if stratify else 1)


def test_utterances_without_a_value_are_groups_of_their_own():
    utterances = make_corpus()
    alone = joined(utterances, Split(group_by="transcript"))
    counts = alone[alone["source"] == "xtts"].groupby(["language", "split"]).size().unstack()
    assert (counts > 0).all().all()
    assert splits_per_value(alone, "transcript").max() == 1


def test_groups_depend_on_the_seed_and_not_on_row_order():
    utterances, split = make_corpus(), Split(group_by="transcript")
    once = split_of(utterances, split)
    shuffled = split_of(utterances.sample(frac=1, random_state=4), split)
    assert (shuffled[once.index] == once).all()
    assert (split_of(utterances, split, seed=1) != once).any()


def test_large_groups_go_to_every_split():
    sizes = [50] * 20 + [1] * 300
    texts = np.repeat([f"text {number:03d}" for number in range(len(sizes))], sizes)
    utterances = pd.DataFrame(
        {"utt_id": [f"u{number:04d}" for number in range(len(texts))], "language": "en", "source": "a", "transcript": texts}
    )
    table = joined(utterances, Split(group_by="transcript"))
    large = table.groupby("transcript")["split"].agg(["size", "first"]).query("size == 50")["first"].value_counts()
    assert large.to_dict() == {"train": 12, "dev": 4, "eval": 4}
    assert table["split"].value_counts().to_dict() == {"train": 780, "dev": 260, "eval": 260}


def test_a_fraction_of_zero_gets_nothing():
    table = joined(make_corpus(), Split(train=0.7, dev=0.0, eval=0.3, group_by="transcript"), unknown=["vits"])
    assert set(table["split"]) == {"train", "eval"}
    assert set(table["split"][table["source"] == "vits"]) == {"eval"}


@pytest.mark.parametrize("utterances", [make_corpus().assign(speaker=""), make_corpus().drop(columns="speaker")])
def test_a_column_without_values_is_refused_by_the_name_of_the_setting(utterances):
    with pytest.raises(UserError, match="split.group_by=speaker, but the speaker of every utterance is unknown"):
        split_utterances(utterances, Split(group_by="speaker"), 688)


def test_too_few_groups_to_fill_the_splits_are_refused():
    with pytest.raises(UserError, match="split.group_by=speaker leaves no utterance for eval: 2 groups"):
        utterances = make_corpus()
        split_utterances(
            utterances.assign(speaker=np.where(utterances["language"] == "en", "a", "b")), Split(group_by="speaker", dev=0.0, eval=0.4), 688
        )


@pytest.mark.parametrize("stratify", [True, False])
def test_unknown_sources_share_dev_and_eval_and_change_nothing_else(stratify):
    utterances, split = make_corpus(), Split(train=0.6, dev=0.1, eval=0.3, stratify=stratify)
    whole = split_of(utterances, split, unknown=["vits", "xtts"])
    is_unknown = utterances["source"].isin(["vits", "xtts"]).to_numpy()
    known = split_of(utterances[~is_unknown], split)
    assert (whole[known.index] == known).all()
    unknown = utterances[is_unknown].assign(split=whole[is_unknown].to_numpy())
    counts = unknown.groupby(["language", "source"] if stratify else ["language"])["split"].value_counts().unstack(fill_value=0)
    assert list(counts.columns) == ["dev", "eval"]
    assert (counts["dev"] - counts.sum(axis=1) / 4).abs().max() <= 0.5


def test_unknown_sources_keep_their_whole_group_out_of_train():
    utterances, split = make_corpus(), Split(group_by="transcript")
    table = joined(utterances, split, unknown=["vits"])
    assert set(table["split"][table["source"] == "vits"]) == {"dev", "eval"}
    assert splits_per_value(table, "transcript").max() == 1
    assert (table["split"][table["source"] == "bark"] == "train").any()


def test_other_groups_make_up_in_train_for_those_kept_out_of_it():
    rows = [(f"a{number:03d}", "a", f"text {number // 3}") for number in range(60)]
    rows += [(f"{source}{number:03d}", source, f"text {number}") for number in range(60, 100) for source in ("a", "b")]
    utterances = pd.DataFrame(rows, columns=["utt_id", "source", "transcript"]).assign(language="en")
    table = joined(utterances, Split(group_by="transcript"), unknown=["b"])
    assert table["split"][table["source"] == "a"].value_counts().to_dict() == {"train": 60, "dev": 20, "eval": 20}


def test_small_strata_count_as_much_as_large_ones():
    generator = rng("strata")
    sources = np.repeat([f"source{number:02d}" for number in range(12)], [*[20] * 6, *[1000] * 6])
    utterances = pd.DataFrame({"source": sources, "language": "en", "utt_id": [f"u{number:05d}" for number in range(len(sources))]})
    utterances["transcript"] = [f"text {number}" for number in generator.integers(0, 500, len(sources))]
    split = Split(group_by="transcript")
    assert split_balance(utterances, split_utterances(utterances, split, 688), split)["deviation_points"].max() < 8


def test_unknown_sources_need_a_split_to_go_to():
    with pytest.raises(UserError, match="split.dev and split.eval are both 0, but corpus.unknown_sources need one of them"):
        split_utterances(make_corpus(), Split(train=1.0, dev=0.0, eval=0.0), 688, ["vits"])


def test_published_splits_are_taken_as_they_are():
    utterances = make_corpus()
    published = utterances.assign(split=np.where(utterances["source"] == "bark", "eval", "train"))
    assert split_utterances(published, Split(assignment="published"), 688)["split"].tolist() == published["split"].tolist()


@pytest.mark.parametrize(
    ("utterances", "split", "unknown", "message"),
    [
        (make_corpus(), Split(), [], "comes without splits: set split.assignment=seeded"),
        (make_corpus().assign(split="train"), Split(), ["vits"], "is published as train, but its source vits is in corpus.unknown_sources"),
        (make_corpus().assign(split="train"), Split(group_by="speaker"), [], "split.group_by=speaker needs split.assignment=seeded"),
        (make_corpus().assign(split="test"), Split(), [], "unknown split 'test' of de/"),
    ],
)
def test_published_splits_that_cannot_be_kept_are_refused(utterances, split, unknown, message):
    split.assignment = "published"
    with pytest.raises(UserError, match=message):
        split_utterances(utterances, split, 688, unknown)


def test_balance_counts_deviates_and_warns():
    utterances = pd.DataFrame({"utt_id": [f"u{n:02d}" for n in range(24)], "language": ["de"] * 4 + ["en"] * 20})
    utterances["source"] = ["a"] * 14 + ["b"] * 10
    splits = ["train"] * 4 + ["train"] * 6 + ["dev"] * 3 + ["eval"] + ["dev"] * 10
    protocol = pd.DataFrame({"utt_id": utterances["utt_id"], "split": splits})
    balance = split_balance(utterances, protocol.sample(frac=1, random_state=2), Split(), ["b"]).set_index(["language", "source"])
    assert balance.loc[("en", "a"), ["utterances", "train", "dev", "eval"]].tolist() == [10, 6, 3, 1]
    assert balance["deviation_points"].round(6).to_dict() == {("de", "a"): 40.0, ("en", "a"): 10.0, ("en", "b"): 50.0}
    assert balance["empty"].to_dict() == {("de", "a"): "dev eval", ("en", "a"): "", ("en", "b"): "eval"}
    lines = balance_lines(balance.reset_index())
    assert lines[0].startswith("largest deviation from the fractions asked for: 50.0 points (en b: 0/10/0 of 10,")
    assert lines[1:] == ["warning: no eval utterance of en b"]


def test_balance_by_language():
    utterances = make_corpus()
    split = Split(stratify=False)
    balance = split_balance(utterances, split_utterances(utterances, split, 688, ["vits"]), split, ["vits"])
    assert balance[["language", "source"]].to_numpy().tolist() == [[code, kind] for code in LANGUAGES for kind in ("all", "unknown")]
    assert balance["utterances"].sum() == len(utterances)
    assert len(balance_lines(balance)) == 1


def test_a_single_group_is_counted_as_one():
    utterances = make_corpus().assign(speaker="ann")
    with pytest.raises(UserError, match=r"split.group_by=speaker leaves no utterance for dev: 1 groups, 0 of them"):
        split_of(utterances, Split(group_by="speaker"))


def test_a_stratum_of_five_utterances_is_reported_and_one_of_four_is_not():
    utterances = pd.DataFrame({"utt_id": list("abcdefghi"), "language": ["de"] * 5 + ["en"] * 4, "source": "s"})
    protocol = pd.DataFrame({"utt_id": utterances["utt_id"], "split": "train"})
    lines = balance_lines(split_balance(utterances, protocol, Split(), []))
    assert "(de s: 5/0/0 of 5," in lines[0]
    assert lines[1:] == ["warning: no dev or eval utterance of de s"]
