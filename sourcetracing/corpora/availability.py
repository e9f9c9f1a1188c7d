"""Everything one experiment needs, for scripts 01 and 02: the corpus and, unless it is the demo, the noises of its augmentation."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sourcetracing.corpora import noise_corpora
from sourcetracing.corpora.corpus import DOWNLOAD_COMMAND, Resource, corpus_of
from sourcetracing.corpora.labels import labelled_corpus
from sourcetracing.downloads.http import remote_size
from sourcetracing.downloads.records import free_bytes, size_text
from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.runtime.files import write_text
from sourcetracing.settings.corpora import SOURCE
from sourcetracing.settings.schema import Settings

NUM_NAMED = 10  # missing files that the terminal shows; the list on disk has all


def _noise_corpora(settings: Settings) -> list[noise_corpora.NoiseCorpus]:
    return [] if settings.corpus.reader == "demo" else noise_corpora.needed_corpora(settings)


def download_all(settings: Settings) -> dict[str, int]:
    """Fetches or makes what is missing; how many utterances and noise files there are then. Raises `UserError`."""
    if settings.corpus.label != SOURCE:
        corpus_of(settings).download_lists()  # they say which sources have the labels
    corpus, noises = labelled_corpus(settings), _noise_corpora(settings)
    corpus.download()
    for noise in noises:
        noise_corpora.download(noise, settings)
    return corpus.check() | {noise.name: noise_corpora.check(noise, settings) for noise in noises}


def count_files(settings: Settings) -> tuple[pd.DataFrame, list[str]]:
    """(language, source, needed, present, missing of everything; the missing utterances), the latter also written to missing_files.txt."""
    corpus = labelled_corpus(settings)
    table = pd.concat([corpus.inventory(), *(noise_corpora.inventory(noise, settings) for noise in _noise_corpora(settings))])
    missing = corpus.missing_files()
    listing = Layout.of(settings).missing_files
    if missing:
        write_text(listing, "\n".join(missing) + "\n")
    else:
        listing.unlink(missing_ok=True)
    lacking = (table["needed"] - table["present"]).clip(lower=0)
    return table.assign(missing=lacking).reset_index(drop=True), missing


def print_counts(settings: Settings) -> None:
    """Script 01 --check: the table, the first missing files; raises `UserError` if anything is missing."""
    table, missing = count_files(settings)
    print(table.to_string(index=False))
    for path in missing[:NUM_NAMED]:
        print(f"missing: {path}")
    if len(missing) > NUM_NAMED:
        print(f"... and {len(missing) - NUM_NAMED} more, all in {Layout.of(settings).missing_files}")
    if total := int(table["missing"].sum()):
        raise UserError(f"{total} of {int(table['needed'].sum())} files are missing. Run: {DOWNLOAD_COMMAND}")
    print(f"complete: {int(table['present'].sum())} files")


def print_plan(settings: Settings) -> None:
    """Script 01 --dry-run: what would be fetched, from where, how large, under which licence. Servers are asked for sizes nobody knows."""
    resources = labelled_corpus(settings).resources()
    resources = [*resources, *(noise_corpora.resource(noise, settings) for noise in _noise_corpora(settings))]
    rows = [_plan_row(resource, settings) for resource in resources]
    print(_left_aligned(pd.DataFrame(rows)))
    known = [resource.size_bytes or 0 for resource in resources if not resource.is_here]
    unknown = " and what is unknown above" if "size unknown" in [row["size"] for row in rows] else ""
    print(f"to fetch: {size_text(sum(known))}{unknown}; free: {size_text(free_bytes(Path(settings.paths.corpus)))}")


def _left_aligned(table: pd.DataFrame) -> str:
    widths = {column: max(len(column), table[column].str.len().max()) for column in table}
    rows = [list(table.columns), *table.to_numpy().tolist()]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths.values(), strict=True)).rstrip() for row in rows)


def _plan_row(resource: Resource, settings: Settings) -> dict[str, str]:
    return {
        "what": resource.name,
        "size": "here" if resource.is_here else _size_text(resource, settings),
        "licence": resource.licence,
        "to": resource.target,
        "from": resource.origin,
    }


def _size_text(resource: Resource, settings: Settings) -> str:
    if resource.size_bytes is not None:
        return ("about " if resource.is_estimate else "") + size_text(resource.size_bytes)
    try:
        size_bytes = remote_size(resource.remote, settings.download) if resource.remote else None
    except UserError:
        size_bytes = None
    return size_text(size_bytes)
