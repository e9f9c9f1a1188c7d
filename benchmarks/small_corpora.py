"""Systems x small corpora x seeds: the table of docs/log.md. The demo, and the five corpora of configs/small, which are harder.

A seed is another split, other crops and noises, and other initial weights; the audio of a corpus is made once. Each system is trained on
each language alone and tested on all of them, as in Table 4: mono is the mean over the tests on its own language, cross that over all
others. Nothing is chosen here, neither systems nor settings. Differences are from one system (against=), with 95 % intervals over
utterances and seeds.

Run     python benchmarks/small_corpora.py --write
        python benchmarks/small_corpora.py systems=stats_logreg,knn_stats corpora=demo,twins seeds=1,2
        python benchmarks/small_corpora.py systems=none     # prints the table of what has been run
        (systems= corpora= seeds=: what to run, default all; against=stats_logreg; other key=value words are settings of all experiments)
        --delete-stores     features are deleted when a seed of a corpus is done: 100 MB each
        --write             the table goes into docs/log.md, its figures into benchmarks/results/small_corpora.csv
Costs   on two cores: a corpus 1 to 3 minutes, once; then for each seed of a corpus half a minute for features and fitted systems, and 4
        to 10 minutes for each network. The predictions of a system on a seed of a corpus are kept in exp/small_corpora: what is there is
        not made again, so an interrupted call goes on
Prints  the tables
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path

import pandas as pd
from _documents import with_table
from _small_figures import CELL_COLUMNS, FIGURE_COLUMNS, MARKERS, figures_of, table_lines, written

from sourcetracing.corpora.availability import download_all
from sourcetracing.errors import UserError
from sourcetracing.features.extracting import extract_features
from sourcetracing.layout import Layout
from sourcetracing.protocols.building import build_protocols
from sourcetracing.protocols.table import load_protocol
from sourcetracing.runtime.cli import run_tool
from sourcetracing.runtime.files import atomic_path, write_text
from sourcetracing.scoring.matrix import score_runs
from sourcetracing.settings.backends import BACKENDS
from sourcetracing.settings.checking import did_you_mean
from sourcetracing.settings.places import PROJECT_ROOT
from sourcetracing.settings.reading import ConfigSources, read_config
from sourcetracing.settings.recorded import name_of_recipe, protocol_recipe, value_of
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.systems import lineage
from sourcetracing.tables.scored_runs import scored_runs
from sourcetracing.training.matrix import train_runs
from sourcetracing.training.runs import front_ends, load_runs, settings_of_recipe

CORPORA = {"demo": "configs/demo.yaml"}
CORPORA |= {name: f"configs/small/{name}.yaml" for name in ("levels", "channels", "shared", "languages", "twins")}
SYSTEMS = ("stats_logreg", "knn_stats", "long_term", "long_term_envelope", "lfcc_ecapa_tdnn")
SEEDS = (1, 2, 3, 4, 5)
FLOOR = "stats_logreg"
AUDIO_SEED = 688
DOCUMENT, FIGURES = PROJECT_ROOT / "docs" / "log.md", PROJECT_ROOT / "benchmarks" / "results" / "small_corpora.csv"
FLAGS = {
    "--delete-stores": "delete the features of a seed of a corpus when its systems are done",
    "--write": "write the table into docs/log.md, its figures into benchmarks/results/small_corpora.csv",
}


@dataclass(frozen=True)
class Asked:
    """What the words ask for. words: settings of all experiments."""

    systems: tuple[str, ...]
    corpora: tuple[str, ...]
    seeds: tuple[int, ...]
    against: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One system on one seed of one corpus: an experiment of its own settings, whose predictions are kept in one file."""

    corpus: str
    seed: int
    system: str
    config: ConfigSources

    @cached_property
    def settings(self) -> Settings:
        return self.config.resolve(system=self.system)

    @cached_property
    def path(self) -> Path:
        """Its name holds what decides the predictions and is not the default: with other settings it is another file."""
        settings, defaults = self.settings, Settings()
        named = {
            name: value_of(settings, name) for name in [*settings_of_recipe(settings), *protocol_recipe(settings), "frontend", "backend"]
        }
        named = {name: value for name, value in named.items() if value != value_of(defaults, name)}
        place = Path(settings.paths.exp) / "small_corpora" / self.corpus
        return place / f"{self.system}-seed{self.seed}-{name_of_recipe(named)}.parquet"


def asked_for(words: Sequence[str]) -> Asked:
    """Raises `UserError` for a name that there is not."""
    said = dict(word.split("=", 1) for word in words)
    systems = _names(said.pop("systems", ""), SYSTEMS)
    systems = () if systems == ("none",) else systems
    against = said.pop("against", FLOOR)
    for system in (*systems, against):
        lineage(system, {})
    corpora = _names(said.pop("corpora", ""), tuple(CORPORA))
    for corpus in corpora:
        if corpus not in CORPORA:
            raise UserError(f"corpora={corpus}: there is no such small corpus{did_you_mean(corpus, CORPORA)}")
    seeds = _names(said.pop("seeds", ""), tuple(map(str, SEEDS)))
    if strange := [seed for seed in seeds if not seed.isdecimal()]:
        raise UserError(f"seeds={strange[0]}: a whole number is expected, several joined by commas")
    return Asked(systems, corpora, tuple(map(int, seeds)), against, tuple(f"{key}={value}" for key, value in said.items()))


def _names(text: str, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, text.strip("[]").replace(" ", "").split(",")))) or otherwise


def config_of(corpus: str, seed: int, systems: Sequence[str], words: Sequence[str]) -> ConfigSources:
    """The experiment of some systems on a seed of a corpus: the corpus's file, then this seed, then the words."""
    name = read_config([CORPORA[corpus]]).resolve(system=systems[0]).name
    own = [f"name={name}_seed{seed}", f"seed={seed}", f"demo.seed={AUDIO_SEED}"]
    own += [f"experiment.seeds=[{seed}]", f"experiment.systems=[{','.join(systems)}]"]
    return read_config([CORPORA[corpus], *own, *words])


def cell_of(corpus: str, seed: int, system: str, words: Sequence[str]) -> Cell:
    """A system in the experiment of its own."""
    return Cell(corpus, seed, system, config_of(corpus, seed, [system], words))


def run_cells(asked: Asked, delete_stores: bool) -> None:
    """Makes what is missing of systems x corpora x seeds; of each seed of a corpus what is fitted in one go comes first."""
    for corpus in asked.corpora:
        for seed in asked.seeds:
            cells = [cell_of(corpus, seed, system, asked.words) for system in asked.systems]
            missing = [cell for cell in cells if not cell.path.exists()]
            for is_fitted in (True, False):
                if together := [cell for cell in missing if BACKENDS[cell.settings.backend].fitted == is_fitted]:
                    _run(together, asked.words)
            if missing and delete_stores:
                shutil.rmtree(Layout.of(missing[0].settings).features, ignore_errors=True)


def _run(cells: Sequence[Cell], words: Sequence[str]) -> None:
    """Scripts 01 to 06 for some systems on one seed of one corpus; each system's predictions are kept."""
    corpus, seed, systems = cells[0].corpus, cells[0].seed, [cell.system for cell in cells]
    print(f"{corpus}, seed {seed}: {', '.join(systems)}", flush=True)
    config = config_of(corpus, seed, systems, words)
    settings = config.resolve(system=systems[0])
    download_all(settings)
    build_protocols(settings, settings.corpus.languages, settings.corpus.languages)
    for front_end in front_ends(config):
        extract_features(front_end, *load_protocol(front_end, unknown=True))
    runs = load_runs(config)
    train_runs(runs)
    score_runs(runs)
    for cell in cells:
        own = scored_runs([run for run in runs if run.settings.system == cell.system])
        tables = [run.scores.assign(system=cell.system, seed=seed, train=run.train_set) for run in own]
        with atomic_path(cell.path) as partial:
            pd.concat(tables, ignore_index=True)[CELL_COLUMNS].to_parquet(partial, index=False)


def kept_figures(asked: Asked) -> Iterator[pd.DataFrame]:
    """Figures of each corpus, from all seeds and systems that are kept, whatever was asked for."""
    systems = dict.fromkeys([*SYSTEMS, asked.against, *asked.systems])
    for corpus in CORPORA:
        cells = [cell_of(corpus, seed, system, asked.words) for system in systems for seed in sorted({*SEEDS, *asked.seeds})]
        kept = [pd.read_parquet(cell.path) for cell in cells if cell.path.exists()]
        if kept:
            num_classes = len(cells[0].settings.corpus.sources)
            yield figures_of(corpus, pd.concat(kept, ignore_index=True), num_classes, asked.against)


def main(others: list[str], flags: dict[str, str], words: list[str]) -> None:
    """Runs what is missing, prints the table of all that is there."""
    if others:
        raise UserError(f"{others[0]}: only key=value words and flags are taken here; see --help")
    asked = asked_for(words)
    run_cells(asked, "--delete-stores" in flags)
    figures = list(kept_figures(asked))
    text = written(pd.concat(figures)) if figures else ",".join(FIGURE_COLUMNS) + "\n"
    systems = tuple(dict.fromkeys([*SYSTEMS, asked.against, *asked.systems]))
    lines = table_lines(pd.read_csv(StringIO(text)), tuple(CORPORA), systems)
    print("\n".join(lines))
    if "--write" in flags:
        document = with_table(DOCUMENT.read_text(encoding="utf-8"), lines, MARKERS)
        write_text(FIGURES, text)
        write_text(DOCUMENT, document)
        print(f"wrote {FIGURES.relative_to(PROJECT_ROOT)} and the table of {DOCUMENT.relative_to(PROJECT_ROOT)}")


if __name__ == "__main__":
    run_tool(main, doc=__doc__, uses=[], things="", flags=FLAGS)
