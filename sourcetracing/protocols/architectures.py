"""Which sources are of one architecture: by the column architecture, where it says something, and by names that are nearly the same.

Llasa-8B and Llasa-1B, vits and vits--neon, or mms-tts-deu and mms-tts-hun as known and unknown sources measure how finely names were given,
not how well unknown sources are found (PANDA: merging such names took FPR95 from 9.6 to 2.0 %).
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sourcetracing.settings.corpora import LANGUAGE_NAMES

_NOTHING = {"", "-", "?", "none", "nan", "n/a", "na", "null", "unknown", "other"}
_SIZES = {"nano", "micro", "tiny", "mini", "small", "base", "medium", "large", "big", "xl", "xs", "hd", "turbo", "pro", "lite"}
_VOICES = {"male", "female", "neon", "multilingual", "tts", "model", "ph", "ddc", "dca", "gst", *LANGUAGE_NAMES}
_NUMBER = re.compile(r"v?\d+(\.\d+)*[bmk]?")


def plain_name(name: str) -> str:
    """A name without sizes, versions, languages and voices: vits--neon -> vits, suno/bark-small -> bark, Nari Dia-1.6B -> nari dia."""
    last = name.strip().rpartition("/")[2].lower()
    last = re.sub(r"^mms-tts-[a-z]{3}(-.*)?$", "mms", last)
    words = [word for word in re.split(r"[-_\s()]+", last) if word]
    kept = [word for word in words if word not in _SIZES | _VOICES and not _NUMBER.fullmatch(word)]
    # dia2 -> dia, but f5 stays; melotts -> melo
    kept = [re.sub(r"(?<=[a-z]{3})(tts|[-.]?v?\d+(\.\d+)*)$", "", word) for word in kept]
    return " ".join(kept) or last


def architectures_of(utterances: pd.DataFrame) -> pd.Series:
    """The architecture of each source (index) in an utterance table (columns source and, if known, architecture).

    Sources are of one where `plain_name` of their names or of their architectures are the same, or are so by way of others. It is called
    by the name that most of them have.
    """
    pairs = utterances[["source"]].assign(key=utterances["source"].map(_once(plain_name, utterances["source"])))
    if "architecture" in utterances:
        said = utterances[["source", "architecture"]].drop_duplicates()
        said = said[~said["architecture"].str.strip().str.lower().isin(_NOTHING)]
        pairs = pd.concat([pairs, said.assign(key=said["architecture"].map(plain_name))[["source", "key"]]])
    pairs = pairs.drop_duplicates()
    sources, keys = pd.factorize(pairs["source"], sort=True), pd.factorize(pairs["key"], sort=True)
    groups = linked_groups([sources[0], keys[0]])
    by_group = pairs.assign(group=groups).sort_values("key").groupby("group")["key"]
    name = by_group.agg(lambda keys: keys.mode().iloc[0])
    of_source = pd.Series(groups, index=pairs["source"].to_numpy())
    return of_source[~of_source.index.duplicated()].map(name).sort_index()


def linked_groups(columns: list[np.ndarray]) -> np.ndarray:
    """The group of each row (N,): rows that have the same number in some column are of one, by way of others too; -1 links nothing.

    columns: of whole numbers (N,). Groups are numbered in the order of their first rows.
    """
    num_rows = len(columns[0]) if columns else 0
    starts, ends, offset = [], [], num_rows
    for codes in columns:
        known = codes >= 0
        starts.append(np.flatnonzero(known))
        ends.append(codes[known] + offset)
        offset += int(codes.max(initial=-1)) + 1
    links = np.concatenate(starts), np.concatenate(ends)
    graph = coo_array((np.ones(len(links[0]), np.int8), links), shape=(offset, offset))
    return pd.factorize(connected_components(graph, directed=False)[1][:num_rows])[0]


def _once(function, names: pd.Series) -> dict[str, str]:
    return {name: function(name) for name in names.unique()}
