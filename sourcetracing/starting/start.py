"""From a folder or table of audio to a YAML file that every script runs with as it is: what start_corpus.py does."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pandas as pd

from sourcetracing.audio.formats import is_audio_name
from sourcetracing.corpora.corpus import corpus_of
from sourcetracing.corpora.found_files import FoundFiles, refuse_one_source
from sourcetracing.corpora.looking import look_at_folder
from sourcetracing.corpora.looking_at_tables import look_at_table
from sourcetracing.errors import UserError
from sourcetracing.layout import Layout
from sourcetracing.runtime.files import write_csv, write_text
from sourcetracing.runtime.words import in_users_words
from sourcetracing.settings.frontends import VARIANTS
from sourcetracing.settings.names import printable, require_folder_name
from sourcetracing.settings.places import IS_CHECKOUT, config_files
from sourcetracing.settings.reading import read_yaml
from sourcetracing.settings.schema import Settings
from sourcetracing.starting.estimates import estimate
from sourcetracing.starting.measuring import listen, time_this_machine
from sourcetracing.starting.noises import find_noises
from sourcetracing.starting.plans import FirstPlan, make_first_plan, settings_of
from sourcetracing.starting.splits import choose_split
from sourcetracing.starting.writing import Place, holes, languages_in_words, small_cells, table_of, yaml_of
from sourcetracing.training.other_runs import run_folders
from sourcetracing.training.run_folder import RunFolder

_MOST_COLUMNS = 8  # sources that a terminal shows side by side
_SAMPLES_TIMED = 11


def start(place: Path, out: Path | None = None, name: str = "") -> str:
    """Writes the YAML (and, where the reader `folder` would not see the same files, a table beside it); returns what a terminal shows.

    out: default NAME.yaml in the working folder. name: of the experiment; default: the folder's or the table's. Raises `UserError`: nothing
    there, no two sources, a file that would be overwritten.
    """
    if name in _shipped():
        raise UserError(f"--name {name}: an experiment of this project has that name, and its folder. Choose another, such as my_{name}")
    name = name or name_for(place)
    require_folder_name("--name", name)
    out = Path(f"{name}.yaml") if out is None else out
    if out.suffix not in (".yaml", ".yml"):
        raise UserError(f"--out {out}: settings are read from .yaml files. Call it {out.with_suffix('.yaml')}")
    _refuse_existing(out)
    if "${" in str(place):
        raise UserError(f"{place}: a path in settings cannot hold ${{. Rename that folder")
    if place.is_file() and is_audio_name(place.name):
        folder = place.parent if place.parent != Path() else Path.cwd()
        raise UserError(f"{place} is one audio file. Give the folder of all of them, such as {folder}, or a CSV that lists them")
    if not place.exists():
        raise UserError(f"{place} does not exist. Give a folder of audio, or a CSV with columns path, language, source")
    found = look_at_folder(place) if place.is_dir() else look_at_table(place)
    _refuse_other_corpus(name, found.root)
    heard = listen(found)
    refuse_one_source(found, place)
    utterances = _with_ids(found.rows)
    noises = find_noises(place)
    plan = make_first_plan(choose_split(utterances, Settings().seed), heard.median_s, list(VARIANTS) if noises else ["original"])
    table = _table_for(found, plan, out, noises)
    settings, batch = settings_of(plan), plan.schedule.batch_size
    paths = [found.root / path for path in found.rows["path"].iloc[:: max(1, len(found.rows) // _SAMPLES_TIMED)]]
    guess = estimate(plan, time_this_machine(paths, settings, batch))
    written = Place(name, str(place), str(found.root), str(table or ""), noises)
    _refuse_existing(out)  # another call may have been faster
    if table is not None and table != found.table:
        write_csv(table_of(found), table)
    write_text(out, yaml_of(plan, found, written, guess))
    return printable_lines(_summary(plan, found, heard.median_s, sorted({int(rate) for rate in heard.rates_hz}), guess.text, out, table))


def name_for(place: Path) -> str:
    """An experiment's name after a folder or table; that of a shipped one gets my_ before it."""
    stem = place.resolve().name if place.is_dir() else place.stem
    name = re.sub(r"[^\w-]+", "_", stem).strip("_-")[:40] or "mine"
    return f"my_{name}" if name in _shipped() else name


def _shipped() -> set[str]:
    return {"noise_bank", *(path.stem for path in config_files("").values())}


def _refuse_other_corpus(name: str, root: Path) -> None:
    """Raises `UserError` where exp/<name> holds runs on another corpus, by their own record."""
    settings = Settings()
    settings.name = name
    here = os.path.realpath(root)
    for folder in run_folders(settings):
        try:
            there = read_yaml(RunFolder(folder).config)["paths"]["corpus"]
        except (UserError, KeyError, TypeError):
            continue
        if isinstance(there, str) and os.path.commonpath([here, other := os.path.realpath(there)]) not in (here, other):
            raise UserError(
                f"{Layout.of(settings).root} holds an experiment on another corpus, {there}. Give this one another name with --name"
            )


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise UserError(f"{path} exists already and is not overwritten. Choose another file with --out")


def _with_ids(rows: pd.DataFrame) -> pd.DataFrame:
    """With the ids that the reader gives, which splits are drawn by; sorted by them."""
    ids = rows["path"].str.replace(r"([^/])\.[^./]+$", r"\1", regex=True).str.lstrip("/")
    return rows.assign(utt_id=ids).sort_values("utt_id", ignore_index=True)


def _table_for(found: FoundFiles, plan: FirstPlan, out: Path, noises: dict[str, str]) -> Path | None:
    """folder.table: none for a tree that is read as it is, the user's own, or one that is to be written beside the YAML."""
    if found.is_as_read and _reads_the_same(found, plan, noises):
        return found.table
    table = out.with_suffix(".csv")
    if table.exists():  # mostly the user's own list, which gave the YAML its name
        table = out.with_name(f"{out.stem}_files.csv")
    _refuse_existing(table)
    return table


def _reads_the_same(found: FoundFiles, plan: FirstPlan, noises: dict[str, str]) -> bool:
    settings = Settings()
    settings.corpus.reader, settings.paths.corpus = "folder", str(found.root)
    settings.corpus.languages, settings.corpus.sources = plan.languages, plan.sources
    settings.corpus.unknown_sources, settings.folder.table = plan.unknown_sources, str(found.table or "")
    settings.paths.musan, settings.paths.rirs = noises.get("musan", settings.paths.musan), noises.get("rirs", settings.paths.rirs)
    try:
        files = corpus_of(settings).files()
    except UserError:
        return False
    return bool(files["present"].all()) and set(found.rows["path"]) <= set(files["path"])


def _summary(
    plan: FirstPlan, found: FoundFiles, median_s: float, rates_hz: list[int], guess: str, out: Path, table: Path | None
) -> list[str]:
    total = int(plan.counts.to_numpy().sum())
    rates = ", ".join(map(str, rates_hz[:4])) + (" ..." if len(rates_hz) > 4 else "")
    lines = [
        f"{total} utterances from {found.layout}: {languages_in_words(len(plan.languages))}, {len(plan.sources)} sources; "
        f"median {median_s:.1f} s, {rates} Hz",
        *found.notes,
    ]
    if len(plan.sources) <= _MOST_COLUMNS:
        lines += ["", plan.counts.sum(axis=1).unstack("source", fill_value=0).to_string(), ""]
    lines += [f"missing: {hole}" for hole in holes(plan)[:_MOST_COLUMNS]]
    lines += [f"warning: {few}"] if (few := small_cells(plan)) else []
    lines += [f"size: {plan.size} ({plan.size_reason})", f"splits: {'; '.join(plan.split_reasons)}", f"training sets: {plan.set_reason}"]
    lines += [f"systems: {', '.join(plan.systems)}, {len(plan.seeds)} seeds", f"estimate for this machine: {guess}"]
    lines += [f"wrote {table}"] * (table is not None and table != found.table)
    first = in_users_words("python scripts/01_download_resources.py")
    at_once = f"   or all at once: make stages CONFIG={shlex.quote(str(out))}" if IS_CHECKOUT and os.path.isfile("Makefile") else ""
    return [*lines, f"wrote {out}", f"next: {first} {shlex.quote(str(out))}{at_once}"]


def printable_lines(lines: list[str]) -> str:
    """Each on a line of its own, whatever is in the names of files."""
    return "\n".join("\n".join(map(printable, line.split("\n"))) for line in lines)
