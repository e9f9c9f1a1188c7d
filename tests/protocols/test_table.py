"""The protocol: disjoint, seeded, stratified; and the reader of MLAAD's layout."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sourcetracing.corpora.mlaad import META_COLUMNS, read_utterances, utterance_id
from sourcetracing.errors import UserError
from sourcetracing.protocols.table import check_protocol, count_utterances, load_protocol, read_table, select, split_utterances
from sourcetracing.settings.corpora import Split
from sourcetracing.settings.paths import Paths
from sourcetracing.settings.schema import Settings


def make_utterances(per_group: int = 40) -> pd.DataFrame:
    rows = [
        {"utt_id": f"{language}/{source}/{number:03d}", "language": language, "source": source, "duration_s": 4.5}
        for language in ("en", "de", "ru")
        for source in ("griffin_lim", "bark", "xtts")
        for number in range(per_group if source != "bark" else per_group // 2)
    ]
    return pd.DataFrame(rows)


def split_sizes(utterances: pd.DataFrame, protocol: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    return utterances.merge(protocol, on="utt_id").groupby([*keys, "split"]).size().unstack()


def test_stratified_split_is_60_20_20_within_each_language_and_source():
    utterances = make_utterances()
    sizes = split_sizes(utterances, split_utterances(utterances, Split(), 688), ["language", "source"])
    assert (sizes.loc[(slice(None), "xtts"), ["train", "dev", "eval"]].to_numpy() == [24, 8, 8]).all()
    assert (sizes.loc[(slice(None), "bark"), ["train", "dev", "eval"]].to_numpy() == [12, 4, 4]).all()


def test_published_split_keeps_languages_but_not_sources_equal():
    utterances = make_utterances()
    protocol = split_utterances(utterances, Split(stratify=False), 688)
    assert (split_sizes(utterances, protocol, ["language"])[["train", "dev", "eval"]].to_numpy() == [60, 20, 20]).all()
    assert split_sizes(utterances, protocol, ["language", "source"])["eval"].nunique() > 2


def test_paper_counts_1260_420_420_and_720_240_240():
    for total, expected in [(2100, [1260, 420, 420]), (1200, [720, 240, 240])]:
        utterances = pd.DataFrame({"utt_id": [f"u{i}" for i in range(total)], "language": "en", "source": "a"})
        counts = split_utterances(utterances, Split(stratify=False), 688)["split"].value_counts()
        assert counts[["train", "dev", "eval"]].tolist() == expected


def test_split_depends_on_the_seed_and_not_on_row_order():
    utterances = make_utterances()
    protocol = split_utterances(utterances, Split(), 688).set_index("utt_id")["split"]
    shuffled = split_utterances(utterances.sample(frac=1, random_state=3), Split(), 688).set_index("utt_id")["split"]
    assert (shuffled[protocol.index] == protocol).all()
    assert (split_utterances(utterances, Split(), 1)["split"].to_numpy() != protocol.to_numpy()).any()


def test_adding_a_language_leaves_the_others_where_they_were():
    utterances = make_utterances()
    whole = split_utterances(utterances, Split(), 688).set_index("utt_id")["split"]
    part = split_utterances(utterances[utterances["language"] != "ru"], Split(), 688).set_index("utt_id")["split"]
    assert (whole[part.index] == part).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: pd.concat([table, table.head(1).assign(split="eval")]), "is listed twice"),
        (lambda table: table.assign(split="test"), "unknown split 'test'"),
        (lambda table: table.assign(utt_id="x/" + table["utt_id"]), "is not among the utterances"),
    ],
)
def test_a_protocol_that_is_not_disjoint_or_not_ours_is_refused(change, message):
    utterances = make_utterances()
    with pytest.raises(UserError, match=message):
        check_protocol(change(split_utterances(utterances, Split(), 688)), utterances)


def test_counts_add_up():
    utterances = make_utterances()
    counts = count_utterances(utterances, split_utterances(utterances, Split(), 688), ["griffin_lim", "bark", "xtts"], ["en", "de", "ru"])
    counts = counts.set_index("language")
    assert list(counts.index) == ["en", "de", "ru", "total"]
    assert (counts[["train", "dev", "eval"]].sum(axis=1) == counts["utterances"]).all()
    assert counts.loc["total", "utterances"] == counts["utterances"].iloc[:-1].sum() == 300
    assert counts.loc["total", "hours"] == pytest.approx(300 * 4.5 / 3600, abs=1e-3)


def test_counts_leave_no_language_out_and_count_no_other():
    utterances = make_utterances().assign(split="published")
    counts = count_utterances(utterances, split_utterances(utterances, Split(), 688), ["xtts", "absent"], ["ru", "fr"])
    assert counts["language"].tolist() == ["ru", "fr", "total"]
    assert counts["utterances"].tolist() == [100, 0, 300]
    assert counts[["train", "dev", "eval", "xtts", "absent"]].to_numpy().tolist() == [[60, 20, 20, 40, 0], [0] * 5, [180, 60, 60, 120, 0]]


def test_selection_by_language_split_variant():
    table = pd.DataFrame({"language": ["en", "en", "de"], "split": ["train", "eval", "eval"], "variant": ["original", "noise", "noise"]})
    assert select(table).tolist() == [True, True, True]
    assert select(table, languages=["en"], splits=["eval"]).tolist() == [False, True, False]
    assert select(table, variants=["noise"], languages=["de", "fr"]).tolist() == [False, False, True]


def test_damaged_tables_are_named(tmp_path):
    with pytest.raises(UserError, match=r"a\.csv is missing\. Run: do this"):
        read_table(tmp_path / "a.csv", ["utt_id"], "do this")
    (tmp_path / "b.csv").write_text("utt,split\n1,train\n", encoding="utf-8")
    with pytest.raises(UserError, match="has no column 'utt_id'; it has: utt, split"):
        read_table(tmp_path / "b.csv", ["utt_id"], "do this")
    (tmp_path / "c.csv").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="is damaged"):
        read_table(tmp_path / "c.csv", ["utt_id"], "do this")


def test_tables_are_read_as_they_were_written(tmp_path):
    texts = ["007", "", "NA", "1e5", 'say "a, b"\nand c', "true"]
    table = pd.DataFrame({"utt_id": texts, "transcript": texts[::-1], "duration_s": np.arange(6) / 4, "sample_rate": 16000})
    table["speaker"] = ["007", "1", "2", "3", "", "5"]
    table = pd.concat([table] * 9000, ignore_index=True)  # quoted line ends fall on the edges of the parts it is read in
    table.to_csv(tmp_path / "a.csv", index=False)
    pd.testing.assert_frame_equal(read_table(tmp_path / "a.csv", ["utt_id"], "do this"), table)


def test_damage_is_told_in_one_line(tmp_path):
    for text in ('utt_id,split\na,"x\ny",z\n', "utt_id,duration_s\na,long\n"):
        (tmp_path / "a.csv").write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=r"a\.csv is damaged .* Delete it and run: do this") as raised:
            read_table(tmp_path / "a.csv", ["utt_id"], "do this")
        assert "\n" not in str(raised.value)


def test_an_experiment_reads_its_own_languages_and_sources_back(tmp_path):
    utterances = make_utterances().assign(path="x.wav", digest="00")
    protocol = split_utterances(utterances, Split(), 688, ["bark"])
    utterances.to_csv(tmp_path / "utterances.csv", index=False)
    protocol.to_csv(tmp_path / "protocol.csv", index=False)
    settings = Settings(name=tmp_path.name, paths=Paths(exp=str(tmp_path.parent)))
    settings.corpus.languages, settings.corpus.sources, settings.corpus.unknown_sources = ["en", "ru"], ["griffin_lim", "xtts"], ["bark"]
    kept, whole = load_protocol(settings)
    assert kept["utt_id"].tolist() == utterances.query("language != 'de' and source != 'bark'")["utt_id"].tolist()
    pd.testing.assert_frame_equal(whole, protocol)


def write_meta(root: Path, language: str, model_name: str, stems: list[str], transcript: str = 'say "a|b"'.replace("|", ";")) -> None:
    folder = root / "fake" / language / model_name.replace("/", "_")
    folder.mkdir(parents=True)
    rows = [
        [
            f"./fake/{language}/{folder.name}/{stem}.wav",
            f"{language}/x/{stem}.wav",
            language,
            "True",
            "4.5",
            "LJ",
            model_name,
            "arch",
            transcript,
        ]
        for stem in stems
    ]
    with open(folder / "meta.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="|", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n")
        writer.writerows([META_COLUMNS, *rows])


def test_reads_mlaad_layout_with_slashes_and_quotes(tmp_path):
    write_meta(tmp_path, "en", "tts_models/multilingual/multi-dataset/xtts_v2", ["b", "a"])
    write_meta(tmp_path, "de", "griffin_lim", ["a"])
    table = read_utterances(tmp_path, ["en", "de"], ["griffin_lim", "tts_models/multilingual/multi-dataset/xtts_v2"])
    assert table["utt_id"].tolist() == [
        "de/griffin_lim/a",
        "en/tts_models_multilingual_multi-dataset_xtts_v2/a",
        "en/tts_models_multilingual_multi-dataset_xtts_v2/b",
    ]
    assert table["path"].str.startswith("fake/").all()
    assert table["transcript"].iloc[0] == 'say "a;b"'
    assert table["language"].tolist() == ["de", "en", "en"]


def test_unknown_language_source_or_column_is_named(tmp_path):
    write_meta(tmp_path, "en", "griffin_lim", ["a"])
    with pytest.raises(UserError, match=".*fake has no 'xx'; there are: en"):
        read_utterances(tmp_path, ["xx"], ["griffin_lim"])
    with pytest.raises(UserError, match="unknown source 'bark': .* holds griffin_lim"):
        read_utterances(tmp_path, ["en"], ["griffin_lim", "bark"])
    meta = tmp_path / "fake" / "en" / "griffin_lim" / "meta.csv"
    meta.write_text(meta.read_text().replace("transcript", "text", 1), encoding="utf-8")
    with pytest.raises(UserError, match="has no column 'transcript'"):
        read_utterances(tmp_path, ["en"], ["griffin_lim"])
    meta.unlink()
    with pytest.raises(UserError, match=r"meta\.csv is missing"):
        read_utterances(tmp_path, ["en"], ["griffin_lim"])


def test_ids_keep_the_whole_path():
    assert utterance_id("./fake/en/m/x.wav") == utterance_id("fake/en/m/x.wav") == "en/m/x"
    ids = {utterance_id(f"fake/{language}/m/x.wav") for language in np.array(["en", "de"])}
    assert len(ids) == 2
