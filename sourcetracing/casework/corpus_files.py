"""Is a file of a case one that the system was made with? Then an answer about it is memory, not evidence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.protocols.records import PROTOCOL_COMMAND
from sourcetracing.protocols.table import read_table
from sourcetracing.runtime.files import digest_of_file
from sourcetracing.settings.schema import Settings


def corpus_digests(settings: Settings) -> dict[str, str]:
    """Digest (BLAKE2b) -> utt_id of the experiment's utterances; {} where their list is not at hand, as beside an exported system."""
    try:
        table = read_table(Layout.of(settings).utterances, ["utt_id", "digest"], PROTOCOL_COMMAND)
    except UserError:
        return {}
    return dict(zip(table["digest"].astype(str), table["utt_id"].astype(str), strict=True))


def corpus_note(path: str | Path, digests: Mapping[str, str]) -> str | None:
    """What to say of a file whose bytes are those of an utterance; None for any other."""
    utt_id = digests.get(digest_of_file(path))
    if utt_id is None:
        return None
    return f"byte by byte the utterance {utt_id} of the corpus that the system was made with: what it says of it is memory, not evidence"
