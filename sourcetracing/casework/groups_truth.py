"""Groups beside the sources that are known: a user's list, and figures of how well both agree.

Shapes: N files. Sources: Rosenberg and Hirschberg 2007 (purity); Hubert and Arabie 1985 (adjusted Rand index); Vinh et al. 2010 (adjusted
mutual information); Bagga and Baldwin 1998 (B-cubed).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.runtime.files import read_csv
from sourcetracing.runtime.lists import read_list
from sourcetracing.settings.names import printable, trimmed

COLUMNS = ("path", "source")
SEPARATORS = (",", ";", "\t")
FIGURES = {
    "purity": "share of files whose source is the most frequent one of their group; 1 where every file is alone, too",
    "adjusted Rand index": "agreement of pairs beyond chance: 1 = the same groups, 0 = as by chance",
    "adjusted mutual information": "information that groups and sources share, beyond chance: 1 = the same groups, 0 = as by chance",
    "B-cubed precision": "share of a file's group that has its source, the file itself among them, on average over files",
    "B-cubed recall": "share of a file's source that is in its group, on average over files",
}


def read_truth(path: Path) -> dict[Path, str]:
    """Sources by resolved path, of a CSV with the columns path and source; paths are as from here, or as from the folder of the list.

    Raises `UserError`, in one line, for a missing file, one that is no UTF-8, other columns, rows that are too long, empty cells and a
    path with two sources.
    """
    try:
        text = read_list(path)
    except OSError as error:
        raise UserError(f"--truth {path}: {error.strerror}. It is a CSV with the columns path,source") from None
    table = _table(text.lines, text.separator, path)
    found: dict[Path, str] = {}
    for number, (name, source) in enumerate(table.itertuples(index=False), 2):
        if not name or not source:
            raise UserError(
                f"--truth {path}, file {number - 1}: the {'path' if not name else 'source'} is empty. Fill it in, or leave out the row"
            )
        place = _place(name, path.parent)
        if found.setdefault(place, source) != source:
            raise UserError(f"--truth {path}: {printable(name)} has two sources, {printable(found[place])} and {printable(source)}")
    return found


def _table(lines: Sequence[str], separator: str, path: Path) -> pd.DataFrame:
    head = next((line for line in lines if line.strip()), "")
    wanted = (separator,) if separator else SEPARATORS
    separator = max(wanted, key=lambda sign: len({trimmed(cell).strip('"').lower() for cell in head.split(sign)} & set(COLUMNS)))
    try:
        table = read_csv(io.StringIO("\n".join(lines)), sep=separator, skipinitialspace=True, header=None).fillna("")
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"--truth {path}: {' '.join(str(error).split())}. It is a CSV with the columns path,source") from None
    table.columns = [trimmed(heading).lower() for heading in table.iloc[0]]
    if missing := [column for column in COLUMNS if list(table.columns).count(column) != 1]:
        raise UserError(f"--truth {path} needs one column {missing[0]}; it has: {printable(', '.join(table.columns))}")
    return table[list(COLUMNS)].iloc[1:].map(trimmed)


def _place(name: str, folder: Path) -> Path:
    here = Path(name)
    return (here if here.exists() or not (folder / name).exists() else folder / name).resolve()


def sources_of(files: Sequence[Sequence[Path]], truth: Mapping[Path, str]) -> list[str]:
    """The source of each file, which may have several paths; "" where the list has none. Raises `UserError` for copies with two sources."""
    found = []
    for paths in files:
        named = {path: truth[place] for path in paths if (place := path.resolve()) in truth}
        if len(set(named.values())) > 1:
            (one, first), (other, second) = (
                list(named.items())[0],
                next(item for item in named.items() if item[1] != list(named.values())[0]),
            )
            raise UserError(
                f"--truth: {printable(str(one))} and {printable(str(other))} are the same file, with two sources, {printable(first)} and "
                f"{printable(second)}. Mend the list"
            )
        found.append(next(iter(named.values()), ""))
    if not any(found):
        raise UserError("--truth names none of these files: its paths are as from here, or as from the folder of the list")
    return found


def agreement(labels: np.ndarray, sources: Sequence[str]) -> dict[str, float]:
    """`FIGURES` of a grouping (N,) without `NO_GROUP` (`each_alone`), against the sources (N,)."""
    from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score
    from sklearn.metrics.cluster import contingency_matrix

    counts = contingency_matrix(np.asarray(sources), labels).astype(np.float64)  # sources, groups
    total = counts.sum()
    figures = (
        counts.max(axis=0).sum() / total,
        adjusted_rand_score(sources, labels),
        adjusted_mutual_info_score(sources, labels),
        (counts**2 / counts.sum(axis=0)).sum() / total,
        (counts**2 / counts.sum(axis=1, keepdims=True)).sum() / total,
    )
    return dict(zip(FIGURES, map(float, figures), strict=True))
