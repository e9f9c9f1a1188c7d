"""Split lists in many layouts are read as the same corpus; whatever is ambiguous is refused with file, row and both readings."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pandas as pd
import pytest

from sourcetracing.corpora.mlaad import model_dir_of
from sourcetracing.corpora.published_lists import describe, read_lists
from sourcetracing.errors import UserError
from sourcetracing.settings.frontends import VARIANTS

MULTI = "tts_models/multilingual/multi-dataset"
SOURCES = ["griffin_lim", f"{MULTI}/bark", f"{MULTI}/xtts_v1.1", f"{MULTI}/xtts_v2"]
LANGUAGES = ["en", "de", "ru"]
NAMES = {"en": "English", "de": "German", "ru": "Russian"}
BOOKS = {"en": "jane_eyre_18", "de": "Die_Kanzlerin_direkt_12_07", "ru": "jizn_gnora"}
PUBLISHED = "Languages Protocol"


def make_corpus() -> pd.DataFrame:
    """Ten utterances for each language and source; stems repeat across sources, as a few do in MLAAD."""
    rows = [
        (language, source, split, f"{BOOKS[language]}_f{place * 10 + number:06d}")
        for language in LANGUAGES
        for place, source in enumerate(SOURCES)
        for number, split in enumerate(["train"] * 6 + ["dev"] * 2 + ["eval"] * 2)
    ]
    rows += [("en", SOURCES[2], "train", "jane_eyre_18_f000099"), ("en", SOURCES[3], "dev", "jane_eyre_18_f000099")]
    table = pd.DataFrame(rows, columns=["language", "source", "split", "stem"])
    folders = table["source"].map(model_dir_of)
    return table.assign(folder=folders, path="fake/" + table["language"] + "/" + folders + "/" + table["stem"] + ".wav")


CORPUS = make_corpus()
EXPECTED = CORPUS.sort_values("path", ignore_index=True)[["path", "language", "source", "split"]]


def write(path: Path, lines, encoding: str = "utf-8", end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((end.join(lines) + end).encode(encoding))


def feature_names(part: pd.DataFrame, variants=VARIANTS) -> list[str]:
    numbers = count()
    rows = [(SOURCES.index(row.source), variant, row.stem) for row in part.itertuples() for variant in variants]
    return [f"{next(numbers):06d}_{label}_{variant}_{stem}.pt" for label, variant, stem in rows]


def per_split_and_language(root: Path, name: str, lines: Callable[[pd.DataFrame], list[str]], **how) -> None:
    """One file per split and language; name: with {split}, {language}, {name}, {test}, {valid}."""
    for (split, language), part in CORPUS.groupby(["split", "language"]):
        words = {"split": split, "language": language, "name": NAMES[language].lower(), "Name": NAMES[language]}
        words["synonym"] = {"train": "training", "dev": "validation", "eval": "test"}[split]
        write(root / name.format(**words), lines(part), **how)


def headed(header: str, *columns: str, separator: str = ",") -> Callable[[pd.DataFrame], list[str]]:
    return lambda part: [header, *part[list(columns)].agg(separator.join, axis=1)]


def mlaad_csv_in_language_pairs(root):
    per_split_and_language(root, PUBLISHED + "/{language}-{language}/{split}.csv", headed("path,model_name", "path", "source"))


def dot_slash_paths_with_language_first(root):
    per_split_and_language(root, "{language}_{synonym}.csv", lambda part: [f"./{path}" for path in part["path"]])


def absolute_paths_one_per_line(root):
    per_split_and_language(root, "{split}_{language}.txt", lambda part: [f"/data/it/train/MLAADv5/{path}" for path in part["path"]])


def three_csv_with_class_ids(root):
    for split, part in CORPUS.groupby("split"):
        labels = part["source"].map(SOURCES.index).astype(str)
        write(root / f"{split}.csv", ["wav,lang,label", *(part["path"] + "," + part["language"] + "," + labels)])


def one_tsv_of_bare_stems_in_words(root):
    part = CORPUS.assign(name=CORPUS["language"].map(NAMES), synonym=CORPUS["split"].map({"train": "Train", "dev": "val", "eval": "test"}))
    lines = headed("Utterance\tLanguage\tModel Name\tSubset", "stem", "name", "folder", "synonym", separator="\t")(part)
    write(root / "all.tsv", lines, encoding="utf-8-sig", end="\r\n")


def folders_of_names_with_class_id_after_a_blank(root):
    per_split_and_language(
        root,
        "{Name}/{synonym}/list.txt",
        lambda part: [f"{stem}.wav {SOURCES.index(source)}" for stem, source in zip(part["stem"], part["source"], strict=True)],
    )


def five_feature_files_per_utterance_with_their_folders(root):
    def lines(part):
        language, split = part.iloc[0][["language", "split"]]
        folder = f"/home/someone/6l4m/language_sub/{language}-{language}/LFCC_add_noise/preprocess_lfcc/{split}/"
        return [folder + name for name in feature_names(part)]

    for number, (_, part) in enumerate(CORPUS.groupby(["split", "language"])):
        write(root / PUBLISHED / f"list{number}.txt", lines(part))


def clean_feature_names_alone(root):
    per_split_and_language(root, PUBLISHED + "/{language}/{split}_files.txt", lambda part: feature_names(part, ["original"]))


def one_file_with_bars_and_no_header(root):
    write(root / "protocol.txt", CORPUS["path"] + "|" + CORPUS["split"] + "|" + CORPUS["language"])


def bare_stems_in_a_folder_per_source(root):
    for (split, language, folder), part in CORPUS.groupby(["split", "language", "folder"]):
        write(root / language / folder / f"{split}.txt", part["stem"])


def short_source_names_in_file_names(root):
    for (split, language, source), part in CORPUS.groupby(["split", "language", "source"]):
        write(root / language / f"{split}_{source.rpartition('/')[2]}.lst", part["stem"] + ".wav")


def semicolons_with_extra_columns_and_backslashes(root):
    part = CORPUS.assign(windows=CORPUS["path"].str.replace("/", "\\"), duration="3.5")
    write(root / "all.csv", headed("duration;file;partition", "duration", "windows", "split", separator=";")(part))


LAYOUTS = [
    mlaad_csv_in_language_pairs,
    dot_slash_paths_with_language_first,
    absolute_paths_one_per_line,
    three_csv_with_class_ids,
    one_tsv_of_bare_stems_in_words,
    folders_of_names_with_class_id_after_a_blank,
    five_feature_files_per_utterance_with_their_folders,
    clean_feature_names_alone,
    one_file_with_bars_and_no_header,
    bare_stems_in_a_folder_per_source,
    short_source_names_in_file_names,
    semicolons_with_extra_columns_and_backslashes,
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read_as_the_same_corpus(tmp_path, layout):
    layout(tmp_path)
    imported = read_lists(tmp_path, SOURCES, LANGUAGES)
    pd.testing.assert_frame_equal(imported.utterances[["path", "language", "source", "split"]], EXPECTED, check_dtype=False)
    assert set(imported.recognised["kind"]) == {"languages"} and imported.speaker_groups.empty
    assert len(imported.recognised) == sum(path.is_file() for path in tmp_path.rglob("*"))
    counts = CORPUS[CORPUS["language"] == "en"]["split"].value_counts()
    assert f"en: 42 utterances: {counts['train']} train, {counts['dev']} dev, {counts['eval']} eval" in describe(imported)


def test_describe_says_where_each_fact_came_from(tmp_path):
    mlaad_csv_in_language_pairs(tmp_path)
    lines = describe(read_lists(tmp_path, SOURCES, LANGUAGES))
    assert lines[0] == (
        "Languages Protocol/de-de/dev.csv: 8 rows (languages); path in column 'path'; language from path, folder 'de-de'; "
        "source from path, column 'model_name'; split from file name 'dev.csv'"
    )


def test_variants_and_repeated_rows_are_collapsed_and_counted(tmp_path):
    five_feature_files_per_utterance_with_their_folders(tmp_path)
    write(tmp_path / "again" / "train.txt", ["fake/en/griffin_lim/x_1.wav"] * 2)
    lines = describe(read_lists(tmp_path, SOURCES, LANGUAGES))
    assert any(line.startswith(f"{PUBLISHED}/list0.txt: 40 rows, 8 utterances, 5 acoustic variants (languages)") for line in lines)
    assert any(line.startswith("again/train.txt: 2 rows, 1 utterances, some listed more than once") for line in lines)


def test_the_order_of_class_ids_is_said_where_no_path_confirms_it(tmp_path):
    three_csv_with_class_ids(tmp_path)
    assert read_lists(tmp_path, SOURCES, LANGUAGES).notes == []
    write(tmp_path / "en_train.csv", ["file,label", "new_1,2"])
    imported = read_lists(tmp_path, SOURCES, LANGUAGES)
    (note,) = imported.notes
    assert note.startswith(f"class ids of 1 files were read in the order of corpus.sources: 0 griffin_lim, 1 {MULTI}/bark, 2 ")
    assert f"fake/en/{model_dir_of(SOURCES[2])}/new_1.wav" in set(imported.utterances["path"])


def test_files_that_are_no_lists_are_skipped_with_a_note(tmp_path):
    mlaad_csv_in_language_pairs(tmp_path)
    for name in ("README.md", ".gitattributes", "LICENSE", "figure.png", ".cache/huggingface/x.txt", "README.txt", "lists.zip"):
        write(tmp_path / name, ["fake/en/griffin_lim/not_listed_1.wav"])
    write(tmp_path / "statistics.csv", ["language,train,dev,eval", "en,24,8,8", "de,24,8,8"])
    write(tmp_path / "notes.txt", ["These lists, made in 2025,", "are for the paper."])
    write(tmp_path / "empty.txt", [""])
    imported = read_lists(tmp_path, SOURCES, LANGUAGES)
    assert len(imported.utterances) == len(EXPECTED)
    skipped = [note for note in imported.notes if note.startswith("skipped")]
    assert len(skipped) == 9 and "skipped 2 hidden files" in skipped
    assert any("statistics.csv" in note for note in skipped) and any("lists.zip" in note for note in skipped)


def test_leave_one_out_lists_name_the_held_out_language_not_that_of_the_row(tmp_path):
    mlaad_csv_in_language_pairs(tmp_path)
    for held_out in ("en", "ru"):
        part = CORPUS[(CORPUS["split"] == "train") & (CORPUS["language"] != held_out)]
        write(tmp_path / PUBLISHED / "5lang" / f"-{held_out}" / "train.csv", headed("path", "path")(part))
    utterances = read_lists(tmp_path, SOURCES, LANGUAGES).utterances
    assert len(utterances) == len(EXPECTED)
    train = utterances[utterances["split"] == "train"].groupby("language")["group"].unique()
    assert {language: list(groups) for language, groups in train.items()} == {
        "de": ["heldout-en;heldout-ru"],
        "en": ["heldout-ru"],
        "ru": ["heldout-en"],
    }
    assert set(utterances["group"][utterances["split"] != "train"]) == {""}


@pytest.mark.parametrize("name", ["Languages+Speakers Protocol/{}.csv", "speakers_{}.csv"])
@pytest.mark.parametrize(
    ("header", "label"),
    [("path,speaker", "{}_7"), ("path,speaker_id", "7"), ("path,label", "{}-spk07"), ("path,label", "17"), ("", "{}_7")],
)
def test_speaker_labels_are_added_to_the_utterances(tmp_path, name, header, label):
    mlaad_csv_in_language_pairs(tmp_path)
    for language, part in CORPUS.groupby("language"):
        lines = [f"{path},{label.format(language)}" for path in part["path"]]
        write(tmp_path / name.format(language), [header, *lines] if header else lines)
    imported = read_lists(tmp_path, SOURCES, LANGUAGES)
    assert len(imported.utterances) == len(EXPECTED)
    assert set(imported.utterances["speaker"]) == {label.format(language) for language in LANGUAGES}
    assert set(imported.recognised["kind"]) == {"languages", "languages+speakers"}
    assert any("speaker from column" in line for line in describe(imported))


def test_speaker_lists_with_splits_are_enough(tmp_path):
    part = CORPUS.assign(speaker=CORPUS["language"] + "_3")
    write(tmp_path / "Languages+Speakers Protocol" / "all.csv", headed("path,split,speaker", "path", "split", "speaker")(part))
    utterances = read_lists(tmp_path, SOURCES, LANGUAGES).utterances
    pd.testing.assert_frame_equal(utterances[["path", "language", "source", "split"]], EXPECTED, check_dtype=False)


def test_bare_names_in_speaker_lists_are_looked_up(tmp_path):
    mlaad_csv_in_language_pairs(tmp_path)
    part = CORPUS[~CORPUS["stem"].duplicated(keep=False)]
    write(tmp_path / "Languages+Speakers Protocol" / "all.csv", ["utt_id,speaker", *(part["stem"] + ",4")])
    utterances = read_lists(tmp_path, SOURCES, LANGUAGES).utterances
    assert (utterances["speaker"] == "4").sum() == len(part)


SPEAKER_FOLDER = "Seen & Unseen Speakers Eval Protocol"


def speaker_test(held_out: str) -> dict[str, pd.DataFrame]:
    part = CORPUS[(CORPUS["split"] == "eval") & (CORPUS["language"] != held_out)]
    return {"seen": part[::2], "unseen": part[1::2]}


def groups_in_folders(root, held_out, group, part):
    write(root / SPEAKER_FOLDER / f"-{held_out}" / f"{group}_speaker.csv", headed("path", "path")(part))


def groups_in_file_names(root, held_out, group, part):
    write(root / SPEAKER_FOLDER / f"{NAMES[held_out]}_{group}.txt", part["path"])


def groups_in_columns(root, held_out, group, part):
    lines = part["path"] + f",{held_out},{group}"
    write(root / "extra" / f"{held_out}{'ab'[group == 'seen']}.csv", ["path,held_out_language,group", *lines])


def groups_of_feature_files(root, held_out, group, part):
    folder = f"/home/x/language_sub/5lang/-{held_out}/{group}_speaker/LFCC_add_noise/preprocess_lfcc/eval/"
    write(root / SPEAKER_FOLDER / f"list_{group}_-{held_out}.txt", [folder + name for name in feature_names(part)])


@pytest.mark.parametrize("layout", [groups_in_folders, groups_in_file_names, groups_in_columns, groups_of_feature_files])
def test_seen_and_unseen_speakers_are_kept_aside(tmp_path, layout):
    mlaad_csv_in_language_pairs(tmp_path)
    expected = []
    for held_out in ("de", "en"):
        for group, part in speaker_test(held_out).items():
            layout(tmp_path, held_out, group, part)
            expected.append(part.assign(heldout=held_out, group=group).sort_values("path"))
    imported = read_lists(tmp_path, SOURCES, LANGUAGES)
    pd.testing.assert_frame_equal(imported.utterances[["path", "language", "source", "split"]], EXPECTED, check_dtype=False)
    columns = ["path", "language", "source", "heldout", "group"]
    pd.testing.assert_frame_equal(imported.speaker_groups, pd.concat(expected, ignore_index=True)[columns], check_dtype=False)
    assert "held-out en: 8 seen, 8 unseen speakers' utterances" in describe(imported)


def test_one_of_the_published_folders_may_be_given_alone(tmp_path):
    mlaad_csv_in_language_pairs(tmp_path)
    assert len(read_lists(tmp_path / PUBLISHED, SOURCES, LANGUAGES).utterances) == len(EXPECTED)
    part = CORPUS.assign(speaker="5")
    write(tmp_path / "Languages+Speakers Protocol" / "all.txt", headed("path,split,label", "path", "split", "speaker")(part))
    assert set(read_lists(tmp_path / "Languages+Speakers Protocol", SOURCES, LANGUAGES).utterances["speaker"]) == {"5"}


def test_speaker_tests_outside_eval_get_a_note(tmp_path):
    mlaad_csv_in_language_pairs(tmp_path)
    groups_in_folders(tmp_path, "en", "seen", CORPUS[(CORPUS["language"] == "de") & (CORPUS["split"] != "eval")])
    assert any("32 of 32 rows" in note and "no eval" in note for note in read_lists(tmp_path, SOURCES, LANGUAGES).notes)


def test_other_languages_are_left_out_with_a_note(tmp_path):
    mlaad_csv_in_language_pairs(tmp_path)
    write(tmp_path / "more" / "train.txt", ["fake/es/griffin_lim/x_1.wav"])
    imported = read_lists(tmp_path, SOURCES, ["en"])
    assert set(imported.utterances["language"]) == {"en"}
    assert "left out 81 utterances in de, es, ru, not in corpus.languages" in imported.notes


XTTS = f"fake/en/{model_dir_of(SOURCES[3])}"
REFUSALS = {
    "path against folder": (
        {"de-de/train.csv": ["path", f"{XTTS}/a_1.wav"]},
        r"de-de/train.csv, row 2 .*path says language en, folder 'de-de' says de",
    ),
    "path against file name": ({"train_de.txt": [f"{XTTS}/a_1.wav"]}, r"row 1 .*path says language en, file name 'train_de.txt' says de"),
    "path against column": ({"train.csv": ["path,lang", f"{XTTS}/a_1.wav,German"]}, "path says language en, column 'lang' says de"),
    "path outside a pair": ({"de-ru/train.csv": ["path", f"{XTTS}/a_1.wav"]}, "path says language en, folder 'de-ru' says de or ru"),
    "pair without path": ({"de-ru/train.txt": ["a_1.wav 0"]}, r"train.txt, row 1 \(a_1\): nothing says the language"),
    "folder against file": ({"train/en_dev.txt": [f"{XTTS}/a_1.wav"]}, "folder 'train' says split train, file name 'en_dev.txt' says dev"),
    "column against file": (
        {"dev.csv": ["path,split", f"{XTTS}/a_1.wav,test"]},
        "row 2 .*column 'split' says split eval, file name 'dev.csv' says dev",
    ),
    "no split": ({"en/list.txt": [f"{XTTS}/a_1.wav"]}, "row 1 .*nothing says the split"),
    "two splits in one name": ({"train_dev.txt": [f"{XTTS}/a_1.wav"]}, "nothing says the split"),
    "no language": ({"train.txt": ["000000_2_original_a_1.pt"]}, r"row 1 \(a_1\): nothing says the language"),
    "no source": ({"train_en.txt": ["a_1.wav"]}, "nothing says the source"),
    "unknown source folder": (
        {"train.txt": ["fake/en/suno_bark/a_1.wav"]},
        "train.txt, row 1: source 'suno_bark' is none of corpus.sources",
    ),
    "unknown source word": (
        {"train.csv": ["path,model", "a_1.wav,bark-small"]},
        "row 2: column 'model' is 'bark-small', none of corpus.sources",
    ),
    "unknown class id": (
        {"train.csv": ["path,label", f"{XTTS}/a_1.wav,3", f"{XTTS}/a_2.wav,4"]},
        "row 3: class id in column 'label' is '4', none of",
    ),
    "class id in a feature name": ({"en_train.txt": ["000000_9_original_a_1.pt"]}, "row 1: the class id in the path is '9', none of"),
    "class id against path": (
        {"train.csv": ["path,label", f"{XTTS}/a_1.wav,0"]},
        "path says source .*xtts_v2, class id in column 'label' says griffin_lim",
    ),
    "two columns of class ids": ({"train_en.txt": ["a_1.wav,0,1"]}, "columns 2 and 3 could both be class ids"),
    "unknown language": (
        {"train.csv": ["path,lang", "a_1.wav,Klingon"]},
        "row 2: column 'lang' is 'Klingon', no language that is known here",
    ),
    "unknown split": ({"all.csv": ["path,split", f"{XTTS}/a_1.wav,holdout"]}, "row 2: column 'split' is 'holdout', no split"),
    "two splits": (
        {"train.txt": [f"{XTTS}/a_1.wav"], "eval.txt": [f"{XTTS}/b_1.wav", f"./{XTTS}/a_1.wav"]},
        "a_1.wav: eval.txt, row 2, says split eval, but train.txt, row 1, says split train",
    ),
    "two speakers": (
        {"train.csv": ["path,speaker", f"{XTTS}/a_1.wav,en_1"], "train_more.csv": ["path,speaker", f"{XTTS}/a_1.wav,en_2"]},
        "train.csv, row 2, says speaker en_1, but train_more.csv, row 2, says speaker en_2",
    ),
    "speaker of another language": (
        {"train.csv": ["path,speaker", f"{XTTS}/a_1.wav,de_1"]},
        "path says language en, column 'speaker' says de",
    ),
    "speaker of nobody": (
        {"train.txt": [f"{XTTS}/a_1.wav"], "speakers.csv": ["utt,speaker", "b_1,7"]},
        r"speakers.csv, row 2 \(b_1\): nothing says its language and source and split, and no other list",
    ),
    "speaker of two": (
        {"train.txt": [f"{XTTS}/a_1.wav", "fake/en/griffin_lim/a_1.wav"], "speakers.csv": ["utt,speaker", "a_1,7"]},
        "speakers.csv, row 2 .* it could be fake/en/griffin_lim/a_1.wav or fake/en/tts_models",
    ),
    "no held-out language": ({"seen_speakers.txt": [f"{XTTS}/a_1.wav"]}, "nothing says the held-out language"),
    "no group": ({f"{SPEAKER_FOLDER}/-de/list.txt": [f"{XTTS}/a_1.wav"]}, "nothing says the group"),
    "both groups": (
        {
            "train.txt": [f"{XTTS}/a_1.wav"],
            f"{SPEAKER_FOLDER}/-de/seen.txt": [f"{XTTS}/a_1.wav"],
            f"{SPEAKER_FOLDER}/-de/unseen.txt": [f"{XTTS}/a_1.wav"],
        },
        "seen.txt, row 1, says group seen, but .*unseen.txt, row 1, says group unseen",
    ),
    "only speaker groups": ({f"{SPEAKER_FOLDER}/-de/seen.txt": [f"{XTTS}/a_1.wav"]}, "say nothing about train, dev and eval"),
    "ragged rows": ({"train.csv": ["path,label", f"{XTTS}/a_1.wav,3", f"{XTTS}/a_2.wav"]}, "train.csv, row 3: 1 cells, but row 1 has 2"),
    "no lists": ({"README.md": ["hello"]}, "holds no lists of audio paths"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_ambiguous_lists_are_refused(tmp_path, case):
    files, message = REFUSALS[case]
    for name, lines in files.items():
        write(tmp_path / name, lines)
    with pytest.raises(UserError, match=message) as error:
        read_lists(tmp_path, SOURCES, LANGUAGES)
    assert "\n" not in str(error.value)


def test_other_encodings_and_absent_folders_are_refused(tmp_path):
    write(tmp_path / "train.txt", ["fake/en/griffin_lim/größe_1.wav"], encoding="latin-1")
    with pytest.raises(UserError, match="train.txt is no UTF-8 text"):
        read_lists(tmp_path, SOURCES, LANGUAGES)
    with pytest.raises(UserError, match="is no folder"):
        read_lists(tmp_path / "absent", SOURCES, LANGUAGES)
