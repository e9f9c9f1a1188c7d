"""Is a traced file one that the system was made with? Then an answer about it is memory, not evidence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.protocols.records import PROTOCOL_COMMAND
from sourcetracing.protocols.table import read_table
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.settings.schema import Settings

OF_CORPUS = "byte by byte the utterance"  # how the note begins
_WHAT_OF_IT = {
    "train": "training heard it, so what the system says of it is memory, not evidence",
    "dev": "thresholds and likelihood ratios were fitted with it, so what the system says of it is memory, not evidence",
    "eval": "the system's figures are of it; training did not hear it",
}


def corpus_files(settings: Settings) -> dict[str, tuple[str, str]]:
    """Digest (BLAKE2b) -> utt_id and split ("" for none) of the experiment's utterances.

    {} where their lists are not at hand, as beside an exported system.
    """
    layout = Layout.of(settings)
    try:
        utterances = read_table(layout.utterances, ["utt_id", "digest"], PROTOCOL_COMMAND)
        protocol = read_table(layout.protocol, ["utt_id", "split"], PROTOCOL_COMMAND)
    except UserError:
        return {}
    split_of = dict(zip(protocol["utt_id"].astype(str), protocol["split"].astype(str), strict=True))
    pairs = zip(utterances["digest"].astype(str), utterances["utt_id"].astype(str), strict=True)
    return {digest: (utt_id, split_of.get(utt_id, "")) for digest, utt_id in pairs}


def corpus_note(path: str | Path, known: Mapping[str, tuple[str, str]]) -> str | None:
    """What to say of a file whose bytes are those of an utterance; None for any other. known: `corpus_files`."""
    utt_id, split = known.get(digest_of_file(path), ("", "")) if known else ("", "")
    if not utt_id:
        return None
    what = f": {_WHAT_OF_IT[split]}" if split in _WHAT_OF_IT else ""
    return f"{OF_CORPUS} {utt_id} of the corpus that the system was made with{f', split {split}' if split else ''}{what}"
