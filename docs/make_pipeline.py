"""Writes docs/pipeline.svg: the scripts in order, and the file that each hands to the next.

Run     python docs/make_pipeline.py
"""

from __future__ import annotations

from pathlib import Path

TARGET = Path(__file__).with_name("pipeline.svg")
WIDTH, HEIGHT, BOX, TALL, GAP = 1010, 306, 136, 70, 34
INK, EDGE, MAIN, SIDE = "#1f2933", "#8193a6", "#e3edf7", "#f5f1e6"
STREET = (
    ("01 download", "audio files,", "noises, rooms"),
    ("02 protocols", "utterances.csv,", "protocol.csv"),
    ("04 preprocess", "feature store:", "5 variants each"),
    ("05 train", "training run:", "weights, settings"),
    ("06 metrics", "scores: a row for", "each tested row"),
    ("13 tables", "tables, figures,", "report.html"),
)
SIDES = (
    ("03 speakers", "pseudo-speakers,", "for Table 6", 1),
    ("trace, export", "one audio file", "at a time", 3),
    ("07, 08, 09, 10", "unknown sources,", "embeddings, pairs", 4),
    ("11 shortcuts", "how far trivial", "cues alone get", 5),
)
ABOUT = "Each script reads what the one before it wrote, and goes on where it was stopped."
UPWARD = (5,)  # the column whose side box feeds the street; the others are fed by it
TOP, LOW = 92, 224


def left_of(column: int) -> int:
    """x of a column of boxes, in pixels."""
    return 12 + column * (BOX + GAP)


def box(column: int, y: int, fill: str, lines: tuple[str, ...]) -> str:
    """A box whose first line is bold."""
    x = left_of(column)
    texts = [
        f'<text x="{x + BOX / 2:g}" y="{y + 22 + 18 * row}" font-weight="{"bold" if not row else "normal"}">{line}</text>'
        for row, line in enumerate(lines)
    ]
    return "\n".join([f'<rect x="{x}" y="{y}" width="{BOX}" height="{TALL}" rx="7" fill="{fill}" stroke="{EDGE}"/>', *texts])


def arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    """A line that ends in a point."""
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{EDGE}" stroke-width="1.6" marker-end="url(#tip)"/>'


def picture() -> str:
    """The SVG text: the street above, what branches off below."""
    across = [arrow(left_of(c) + BOX + 2, TOP + TALL / 2, left_of(c + 1) - 5, TOP + TALL / 2) for c in range(len(STREET) - 1)]
    branches = []
    for *_, column in SIDES:
        x = left_of(column) + BOX / 2
        start, end = (LOW - 3, TOP + TALL + 5) if column in UPWARD else (TOP + TALL + 3, LOW - 5)
        branches.append(arrow(x, start, x, end))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"',
            f'     font-family="Helvetica, Arial, sans-serif" font-size="13" text-anchor="middle" fill="{INK}">',
            "<title>The pipeline: scripts in order, and what each hands to the next</title>",
            f'<defs><marker id="tip" markerWidth="9" markerHeight="8" refX="7" refY="4" orient="auto">'
            f'<path d="M0,0 L8,4 L0,8 z" fill="{EDGE}"/></marker></defs>',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            '<text x="12" y="34" text-anchor="start" font-size="17" font-weight="bold">Which synthesizer made this speech?</text>',
            f'<text x="12" y="58" text-anchor="start" fill="{EDGE}">{ABOUT}</text>',
            *(box(column, TOP, MAIN, lines) for column, lines in enumerate(STREET)),
            *(box(column, LOW, SIDE, tuple(lines)) for *lines, column in SIDES),
            *across,
            *branches,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    TARGET.write_text(picture(), encoding="utf-8")
    print(f"wrote {TARGET}")
