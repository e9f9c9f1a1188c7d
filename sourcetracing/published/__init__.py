"""Published numbers, with their sources (README.md beside the CSV files) and their known errors; see `numbers`."""

from sourcetracing.published.numbers import (
    notes_of_cell,
    notes_of_mean,
    paper_system,
    published_cells,
    published_means,
    published_notes,
    published_reports,
    published_table,
    why_not_comparable,
)

__all__ = [
    "notes_of_cell",
    "notes_of_mean",
    "paper_system",
    "published_cells",
    "published_means",
    "published_notes",
    "published_reports",
    "published_table",
    "why_not_comparable",
]
