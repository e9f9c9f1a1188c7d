"""Whose tables lie where: those of other settings are never replaced (`Layout.tables`)."""

from __future__ import annotations

from sourcetracing.layout import Layout, recipe_in
from sourcetracing.runtime.files import write_json
from sourcetracing.runtime.locks import held
from sourcetracing.settings.recorded import differences, in_words, table_recipe, with_lines_of_systems
from sourcetracing.settings.schema import Settings

NUM_NAMED = 3  # settings


def claim_tables(settings: Settings) -> None:
    """Notes the settings in the folder of their tables, before the first of these is written."""
    with held(Layout.of(settings).tables_lock, f"another process is writing tables of {settings.name}", wait=True):
        if not (record := Layout.of(settings).tables_record).is_file():
            write_json(record, {"settings": table_recipe(settings)})


def tables_of_others(settings: Settings) -> str:
    """A line on the tables of other settings that stay, where those of these settings are not the first ones; "" elsewhere."""
    layout = Layout.of(settings)
    first, own = layout.first_tables, layout.tables
    if own == first:
        return ""
    record, said = Layout(layout.root).tables_record, table_recipe(settings)
    made = recipe_in(record) if record.is_file() else None
    if made is None:
        return f"{first} was made before its settings were noted, and stays; the tables of these settings lie in {own}"
    made, said = with_lines_of_systems(made, said)
    names = differences(made, said)
    more = f" and {len(names) - NUM_NAMED} more settings" if len(names) > NUM_NAMED else ""
    was, now = (in_words(recipe, names[:NUM_NAMED]) for recipe in (made, said))
    return f"{first} was made with {was}{more}, and stays; the tables of these settings ({now}) lie in {own}"
