"""The tables as people read them, in percent: terminal, Markdown and LaTeX (the paper's layout)."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path

from sourcetracing.drawing.text import ABSENT, SAME, WITHOUT_SPREAD, percent, spread_text
from sourcetracing.layout import TablesLayout
from sourcetracing.runtime.files import write_text
from sourcetracing.settings.corpora import SOURCE
from sourcetracing.tables.axes import CROSS, MONO, POOLED
from sourcetracing.tables.class_lists import chance_text, classes_text, range_text
from sourcetracing.tables.comparison import PUBLISHED_SPREAD, has_published, marks_of, published_matrix, published_variant
from sourcetracing.tables.floor import heading, sentences, terminal_block
from sourcetracing.tables.making import NEXT_COMMAND, Tables, matrix_of, mean_of


def write_text_tables(tables: Tables, out_folder: Path) -> None:
    """Writes <table>.md and <table>.tex."""
    write_text(TablesLayout(out_folder).markdown(tables.plan.name), markdown(tables))
    write_text(TablesLayout(out_folder).latex(tables.plan.name), latex(tables))


def mean_text(tables: Tables, system: str, kind: str, variant: str = POOLED) -> str:
    """The mono or cross mean in percent; ± sd over several seeds; over how many classes, where not all cells have the same number; how
    many cells where some are missing."""
    row = mean_of(tables, system, kind, variant)
    if row is None:
        return ABSENT
    text = percent(row.macro_f1) + spread_text(row.sd) + (f" over {row.num_classes} classes" if varies(tables) else "")
    return text if row.cells == row.expected_cells else f"{text} ({row.cells} of {row.expected_cells} cells)"


def interval_text(tables: Tables, system: str, kind: str, variant: str = POOLED) -> str:
    """The 95 % interval of a mean in percent, such as `92.1 to 95.0`; – where there is none."""
    row = mean_of(tables, system, kind, variant)
    return ABSENT if row is None or math.isnan(row.ci_low) else f"{percent(row.ci_low)} to {percent(row.ci_high)}"


def cell_text(tables: Tables, system: str, row: str, column: str, variant: str = POOLED) -> str:
    """One cell of the display in percent, ± sd where several seeds are there."""
    value = matrix_of(tables, system, variant).loc[row, column]
    sd = matrix_of(tables, system, variant, over_seeds="std").loc[row, column]
    return percent(value) + spread_text(sd)


def terminal(tables: Tables, variant: str = POOLED) -> str:
    """One matrix for each system, for a terminal of 100 columns (up to ten test sets of one language)."""
    axes = tables.axes
    what = f"macro-F1 in %, split {axes.split}, {_variant_phrase(tables, variant)}; {classes_phrase(tables)}"
    blocks = [f"{tables.plan.name}: {tables.plan.title}\n{what}\n{_legend(tables)}"]
    headers = _stacked(axes.columns)
    for system in axes.systems:
        body = [[row, *(_bracketed(tables, system, row, column, variant) for column in axes.columns)] for row in axes.rows]
        if varies(tables):
            body.append(["classes", *(f"{text} " for text in column_classes(tables))])
        blocks.append("\n".join([axes.shown(system), *_aligned([*headers, *body]), _mean_lines(tables, system, variant)]))
    if floor := terminal_block(tables):
        blocks.append(floor)
    blocks += [textwrap.fill(f"note: {note}", 98, subsequent_indent="      ") for note in tables.notes]
    if tables.missing:
        blocks.append(f"next: {NEXT_COMMAND}")
    return "\n\n".join(blocks)


def classes_phrase(tables: Tables, digits: int = 0) -> str:
    """Over how many classes the figures are, and chance: `4 classes, chance 25`; `4 classes of vocoder` with another `corpus.label`."""
    classes, chance = classes_text(tables.cells), chance_text(tables.cells, digits)
    label = "" if tables.axes.label == SOURCE else f" of {tables.axes.label}"
    return f"{classes} classes{label}{' with test items' if varies(tables) else ''}, chance {chance}"


def varies(tables: Tables) -> bool:
    """Whether cells differ in how many classes have test items, or lack some of the declared ones."""
    return bool((tables.cells["num_classes"] != len(tables.axes.classes)).any())


def column_classes(tables: Tables) -> list[str]:
    """Over how many classes the cells of each column of the display are."""
    found: dict[str, list[int]] = {column: [] for column in tables.axes.columns}
    for row in tables.cells.itertuples():
        found[tables.axes.place_of[row.train, row.test][1]].append(row.num_classes)
    return [range_text(numbers) if numbers else ABSENT for numbers in found.values()]


def _legend(tables: Tables) -> str:
    if tables.axes.columns == tables.axes.test_sets:
        return "rows: trained on; columns: tested on; [mono]: the test language was trained on"
    if tables.plan.needs_speakers:
        return "rows: the language that was held out of training; columns: groups of speakers, by how much of training is theirs"
    return "rows: the language that was held out of training; [mono]: the test languages were trained on"


def markdown(tables: Tables) -> str:
    """The table (pooled), its means by kind of cell and variant, and the notes."""
    axes = tables.axes
    first = "train" if axes.columns == axes.test_sets else "held out"
    what = f"macro-F1 in %, split {axes.split}, {_variant_phrase(tables, POOLED)}; {classes_phrase(tables, 1)}"
    lines = [f"# {tables.plan.title}: {what}", ""]
    lines += [_markdown_row(["system", first, *axes.columns]), _markdown_row(["---", "---", *["---:"] * len(axes.columns)])]
    for system in axes.systems:
        for row in axes.rows:
            cells = [(cell_text(tables, system, row, column), axes.is_mono(row, column)) for column in axes.columns]
            lines.append(_markdown_row([axes.shown(system), row, *(f"**{text}**" if is_mono else text for text, is_mono in cells)]))
    if varies(tables):
        lines.append(_markdown_row(["", "classes", *column_classes(tables)]))
    lines += ["", f"Bold: mono (the test languages were trained on). {_footnote(tables)}", ""]
    kinds = kinds_of(tables)
    head = [text for kind in kinds for text in (kind, "95 % CI")]
    lines += ["## Means over cells, by acoustic variant", ""]
    lines += [_markdown_row(["system", "variant", *head]), _markdown_row(["---", "---", *["---:"] * len(head)])]
    for system in axes.systems:
        for variant in axes.all_variants:
            figures = [text(tables, system, kind, variant) for kind in kinds for text in (mean_text, interval_text)]
            lines.append(_markdown_row([axes.shown(system), variant, *figures]))
    if floor := sentences(tables):
        lines += ["", "## Does it earn its place?", "", f"{heading(tables).capitalize()}", ""] + [f"* {line}" for line in floor]
    lines += _published_lines(tables, first)
    lines += [""] + [f"* {note}" for note in tables.notes]
    return "\n".join(lines).rstrip() + "\n"


def _published_lines(tables: Tables, first: str) -> list[str]:
    """The published figures with the difference of ours, and which of them are known to be wrong; nothing where there are none."""
    axes = tables.axes
    if not has_published(tables):
        return []
    lines = ["", "## Published, in brackets ours minus published", "", PUBLISHED_SPREAD, ""]
    lines += [_markdown_row(["system", "variants", first, *axes.columns]), _markdown_row(["---"] * 3 + ["---:"] * len(axes.columns))]
    for system in axes.systems:
        variant = published_variant(system)
        if variant not in axes.all_variants or published_matrix(tables, system).isna().all(axis=None):
            continue
        theirs, difference = published_matrix(tables, system), matrix_of(tables, system, variant, "difference")
        for row in axes.rows:
            texts = [_with_difference(theirs.loc[row, column], difference.loc[row, column]) for column in axes.columns]
            lines.append(_markdown_row([system, variant, row, *texts]))
    return [*lines, ""] + [f"* {system} {where}: {note}" for system, where, note in marks_of(tables)]


def _with_difference(published: float, difference: float) -> str:
    return ABSENT if math.isnan(published) else f"{percent(published, 2)} ({100 * difference:+.1f})"


def latex(tables: Tables) -> str:
    """The table (pooled) for the booktabs package; mono cells in bold."""
    axes, kinds = tables.axes, kinds_of(tables)
    first = "Train" if axes.columns == axes.test_sets else "Held out"
    header = " & ".join(["System", first, *map(_escaped, axes.columns), *(_escaped(kind.capitalize()) for kind in kinds)])
    layout = f"ll{'r' * (len(axes.columns) + len(kinds))}"
    lines = [f"% {_footnote(tables)}", f"\\begin{{tabular}}{{{layout}}}", "\\toprule", f"{header} \\\\"]
    for system in axes.systems:
        lines.append("\\midrule")
        for position, row in enumerate(axes.rows):
            cells = [_latex_cell(tables, system, row, column) for column in axes.columns]
            means = [_latex_text(mean_text(tables, system, kind)) if position == 0 else "" for kind in kinds]
            lines.append(" & ".join([_escaped(axes.shown(system)) if position == 0 else "", _escaped(row), *cells, *means]) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _variant_phrase(tables: Tables, variant: str) -> str:
    if variant != POOLED:
        return f"variant {variant}"
    variants = tables.axes.variants
    return f"pooled over {len(variants)} variants" if len(variants) > 1 else f"variant {variants[0]}"


def _footnote(tables: Tables) -> str:
    seeds = len(tables.axes.seeds)
    same = f"; {WITHOUT_SPREAD}" if (tables.means["sd"] < SAME).any() else ""
    spread = f" Mean ± sample sd over {seeds} seeds{same}." if seeds > 1 else ""
    seed_phrase = "" if seeds > 1 else " One seed: another training run, or another processor, may move a cell by many points."
    classes = f"Macro-F1 over the {classes_text(tables.cells)} classes with test items"
    return f"{classes}; chance level {chance_text(tables.cells, 1)}.{spread}{seed_phrase}"


def _mean_lines(tables: Tables, system: str, variant: str) -> str:
    texts = {kind: mean_text(tables, system, kind, variant) for kind in kinds_of(tables)}
    intervals = {kind: interval_text(tables, system, kind, variant) for kind in texts}
    width = max(5, *map(len, texts))
    return "\n".join(f"  {kind:<{width}} mean {text} (95 % CI {intervals[kind]})" for kind, text in texts.items() if text != ABSENT)


def kinds_of(tables: Tables) -> list[str]:
    """The kinds of cells that the table has means of: mono and cross, or the groups of speakers."""
    found = list(dict.fromkeys(tables.means["kind"]))
    return found if tables.plan.needs_speakers else [MONO, CROSS]


def _bracketed(tables: Tables, system: str, row: str, column: str, variant: str) -> str:
    text = percent(matrix_of(tables, system, variant).loc[row, column])
    return f"[{text}]" if tables.axes.is_mono(row, column) else f"{text} "


def _stacked(names: list[str]) -> list[list[str]]:
    """Header rows for sets of languages, one language below the other: `en+de` takes two rows."""
    parts = [[f"{part}+" for part in name.split("+")[:-1]] + [f"{name.split('+')[-1]} "] for name in names]
    height = max(map(len, parts))
    padded = [[""] * (height - len(part)) + part for part in parts]
    return [["", *row] for row in zip(*padded, strict=True)]


def _aligned(rows: list[list[str]]) -> list[str]:
    first = max(len(row[0]) for row in rows)
    others = max(7, *(len(cell) for row in rows for cell in row[1:]))
    return [f"  {row[0]:<{first}} " + " ".join(f"{cell:>{others}}" for cell in row[1:]) for row in rows]


def _markdown_row(cells: list[str]) -> str:
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def _latex_cell(tables: Tables, system: str, row: str, column: str) -> str:
    text = _latex_text(cell_text(tables, system, row, column))
    return f"\\textbf{{{text}}}" if tables.axes.is_mono(row, column) else text


def _latex_text(text: str) -> str:
    return text.replace(" ± ", "\\,$\\pm$\\,").replace(ABSENT, "--")


_LATEX = str.maketrans(
    {sign: f"\\{sign}" for sign in "_#$%&{}"} | {"\\": "\\textbackslash{}", "^": "\\textasciicircum{}", "~": "\\textasciitilde{}"}
)


def _escaped(text: str) -> str:
    return text.translate(_LATEX)
