"""Good bytes with a few changed: what a broken download, an editor or a wrong program makes of a file."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

NUMBERS = (b"\0\0", b"\1\0", b"\xff\xff", b"\xff\x7f", b"\0\0\0\0", b"\1\0\0\0", b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff")


@st.composite
def mutated(draw: st.DrawFn, content: bytes, pieces: Sequence[bytes] = NUMBERS, *, head: int = 0) -> bytes:
    """A few bytes overwritten, put in or taken out, maybe the end cut off. head: half of the changes lie in so many first bytes."""
    for _ in range(draw(st.integers(1, 4))):
        last = min(head, len(content)) if head and draw(st.booleans()) else len(content)
        place, piece = draw(st.integers(0, last)), draw(st.one_of(st.binary(min_size=1, max_size=3), st.sampled_from(list(pieces))))
        taken = draw(st.sampled_from([len(piece), len(piece), 0, 1, 20]))
        content = content[:place] + piece + content[place + taken :]
    if draw(st.integers(0, 4)) == 0:
        content = content[: draw(st.integers(0, len(content)))]
    return content
