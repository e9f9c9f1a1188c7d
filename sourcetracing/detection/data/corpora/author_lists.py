"""The authors' lists `path_or_id|label`, one file per subset, whose order is the order of their feature rows (D55, D56, D67)."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pandas as pd

from sourcetracing.detection.data.corpora.folders import place_of_version
from sourcetracing.detection.data.corpora.rows import AUDIO_SUFFIXES, make_rows, read_lines, stem, to_labels
from sourcetracing.detection.data.manifest import root_of
from sourcetracing.errors import UserError
from sourcetracing.settings.detection import CORPORA, corpus_of_subset
from sourcetracing.settings.names import trimmed
from sourcetracing.settings.schema import Settings

# Rows, bona fide, spoof, rows that repeat another, of the lists as published. Those of for, mailabs and mlaad were not with them.
PUBLISHED_COUNTS = {
    "ai4trust": (4798, 2793, 2005, 0),
    "asv19_dev": (24844, 2548, 22296, 0),
    "asv19_eval": (71237, 7355, 63882, 0),
    "asv19_train": (25380, 2580, 22800, 0),
    "asv21": (61173, 2259, 58914, 0),
    "asv5_dev": (140950, 31334, 109616, 0),
    "asv5_train": (182357, 18797, 163560, 0),
    "itw": (31779, 19963, 11816, 0),
    "odss": (30025, 11032, 18993, 0),
    "timit": (20640, 860, 19780, 430),
}

_SEGMENT = r"^(.*[^/])[_/]\d+$"  # <recording>_<number>, or a folder for each recording


def has_list(settings: Settings, subset: str) -> bool:
    """Whether a subset is read from a list of the authors."""
    return settings.detection.origin == "lists" and bool(settings.detection.list_files.get(subset))


def read(settings: Settings, subset: str) -> pd.DataFrame:
    """Rows of a list, in its order, repeated rows included. Raises `UserError` with file and line."""
    path = Path(settings.detection.lists) / str(settings.detection.list_files[subset])
    entries = [_split(path, number, line) for number, line in enumerate(read_lines(path), start=1) if line.strip()]
    if not entries:
        raise UserError(f"{path} lists no files")
    names = [name for name, _ in entries]
    template = str(settings.detection.templates.get(subset) or CORPORA[corpus_of_subset()[subset]].subsets[subset])
    place = place_of_version(root_of(settings, subset), settings.detection.for_version)
    paths = [_fill(template, subset, name, place) for name in names]
    labels = to_labels(pd.Series([word for _, word in entries]), path)
    return make_rows(paths, labels, id=[stem(name) if name.lower().endswith(AUDIO_SUFFIXES) else name for name in names])


def _split(path: Path, number: int, line: str) -> tuple[str, str]:
    fields = [trimmed(field) for field in line.split("|")]
    if len(fields) != 2:
        raise UserError(f"{path}, line {number}: {len(fields)} fields between |, but path|label are expected (D67)")
    return fields[0].removeprefix("./"), fields[1]


def _fill(template: str, subset: str, name: str, place: str) -> str:
    try:
        return template.format(id=name.lstrip("/"), name=PurePosixPath(name).name, place=place)
    except (KeyError, IndexError, ValueError) as error:
        raise UserError(f"detection.templates.{subset}={template}: {error} is no field; there are {{id}}, {{name}} and {{place}}") from None


def with_known_facts(rows: pd.DataFrame, official: pd.DataFrame, subset: str) -> pd.DataFrame:
    """Rows of a list with id, speaker, recording, source of the corpus' own protocol, by path. Raises `UserError` where labels differ."""
    known = official.drop_duplicates("path").set_index("path").reindex(rows["path"]).reset_index(drop=True)
    differing = known["label"].notna() & (known["label"] != rows["label"])
    if differing.any():
        row = rows[differing].iloc[0]
        raise UserError(f"{subset}: the list says {row['path']} is {row['label']}, the corpus' own protocol says otherwise")
    facts = ["speaker", "recording", "source"]
    return rows.assign(id=known["id"].fillna(rows["id"]), **{name: known[name].fillna("") for name in facts})


def with_recordings(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of AI4T's list, those without speaker and recording with the recording that their names tell: real10_30.wav is of real10.

    Segments of one recording must not choose and be reported on (D70). Raises `UserError` for a name that does not tell.
    """
    is_open = (rows["speaker"] == "") & (rows["recording"] == "")
    found = rows["id"].where(is_open).str.extract(_SEGMENT)[0]
    if (untold := is_open & found.isna()).any():
        raise UserError(
            f"ai4trust: {rows.loc[untold, 'path'].iloc[0]} does not tell which recording it was cut from, and its segments must stay "
            "together: names like real10_30.wav are expected, or a segments.csv beside the audio (docs/detection_data.md)"
        )
    return rows.assign(recording=rows["recording"].where(~is_open, found))


def count_notes(subset: str, rows: pd.DataFrame) -> list[str]:
    """A line where a list is not the published one, by its counts."""
    if subset not in PUBLISHED_COUNTS:
        return []
    bonafide = int((rows["label"] == "bonafide").sum())
    found = (len(rows), bonafide, len(rows) - bonafide, int(rows.duplicated(["path", "label"]).sum()))
    if found == PUBLISHED_COUNTS[subset]:
        return []
    texts = ["{} rows, {} bona fide, {} spoof, {} repeated".format(*counts) for counts in (found, PUBLISHED_COUNTS[subset])]
    return [f"{subset}: the list has {texts[0]}; the published one has {texts[1]}"]
