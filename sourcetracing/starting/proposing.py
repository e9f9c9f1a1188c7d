"""Which sources of a corpus are known, which are unknown in dev and in eval, and which languages are held out: drawn by architecture.

What script 02 --propose does: it writes the choice as settings, beside the configuration that it was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sourcetracing.corpora.components import with_components
from sourcetracing.corpora.corpus import corpus_of
from sourcetracing.corpora.labels import refuse_other_labels
from sourcetracing.errors import UserError
from sourcetracing.protocols.architectures import architectures_of
from sourcetracing.protocols.coverage import count_cells
from sourcetracing.protocols.open_split import draw_open_set
from sourcetracing.runtime.files import write_text
from sourcetracing.runtime.seeding import seed_of
from sourcetracing.settings.names import require_usable_names
from sourcetracing.settings.open_split import ARCHITECTURE, OpenSplit
from sourcetracing.settings.schema import Settings
from sourcetracing.starting.writing import comment, languages_in_words, text


@dataclass(frozen=True)
class Proposal:
    """known, dev, evaluation: sources by what they are. left_out: source -> why. counts: `count_cells` of the draw."""

    known: list[str]
    dev: list[str]
    evaluation: list[str]
    left_out: dict[str, str]
    languages: list[str]
    heldout_languages: list[str]
    architecture: pd.Series
    counts: pd.DataFrame
    lines: list[str]


def write_proposal(settings: Settings, out: Path) -> list[str]:
    """Draws, writes the YAML, returns what a terminal shows. Raises `UserError` where the file is there already, or nothing fits."""
    if out.suffix not in (".yaml", ".yml"):
        raise UserError(f"--propose {out}: settings are read from .yaml files. Call it {out.with_suffix('.yaml')}")
    if out.exists():
        raise UserError(f"{out} exists already and is not overwritten. Choose another file for --propose")
    refuse_other_labels(settings, "--propose")
    proposal = propose(with_components(corpus_of(settings).of_every_source(), settings), settings)
    write_text(out, "\n".join(yaml_of(proposal, settings)) + "\n")
    per_split = proposal.counts.sum()
    return [
        *proposal.lines,
        f"{len(proposal.known)} known sources, {len(proposal.dev)} unknown ones in dev, {len(proposal.evaluation)} in eval; of "
        f"{proposal.architecture.nunique()} architectures; {languages_in_words(len(proposal.languages))}, held out: "
        f"{', '.join(proposal.heldout_languages) or 'none'}",
        f"utterances: train {per_split['train']}, dev {per_split['dev']}, eval {per_split['eval']}",
        *(f"left out {name}: {why}" for name, why in proposal.left_out.items()),
        f"wrote {out}",
    ]


def propose(utterances: pd.DataFrame, settings: Settings) -> Proposal:
    """Depends on the seed and the utterances alone. Raises `UserError`, saying what to relax, where no protocol can be drawn."""
    rules, seed = settings.open_split, settings.seed
    languages = sorted(utterances["language"].unique())
    require_usable_names(languages, sorted(utterances["source"].unique()))
    counts = pd.crosstab(utterances["source"], utterances["language"])
    architecture = architectures_of(utterances)
    groups = architecture if ARCHITECTURE in rules.disjoint else pd.Series(counts.index, index=counts.index)
    evaluation, dev = _unknown(groups, rules, seed)
    least = math.ceil(rules.least_per_source / (settings.split.train or 1))
    rest = [name for name in counts.index if name not in {*evaluation, *dev}]
    total = counts.loc[rest].sum(axis=1)
    left_out = {name: f"{total[name]} utterances, too few for a known source" for name in rest if total[name] < least}
    known = _at_least_two([name for name in rest if name not in left_out], rules.least_per_source)
    heldout = _heldout(counts.loc[known], counts.loc[dev].sum(), least, rules.num_heldout_languages, seed)
    lines = []
    if len(heldout) < rules.num_heldout_languages:
        lines.append(f"held out {len(heldout)} of {rules.num_heldout_languages} languages: without more, too few sources stay known")
    rest = counts.loc[known].drop(columns=heldout).sum(axis=1)
    lost = {name: f"{rest[name]} utterances outside of the held-out languages" for name in known if rest[name] < least}
    left_out, known = left_out | lost, [name for name in known if name not in lost]
    final = OpenSplit(**{**vars(rules), "dev_sources": dev, "heldout_languages": heldout})
    while True:
        chosen = utterances[utterances["source"].isin({*known, *dev, *evaluation})]
        draw = draw_open_set(chosen, known, settings.split, OpenSplit(**{**vars(final), "least_per_source": 1}), seed)
        cells = count_cells(chosen, draw.protocol)
        in_train = cells["train"].groupby(level="source").sum().reindex(known, fill_value=0)
        few = in_train[in_train < rules.least_per_source]
        if few.empty:
            return Proposal(known, dev, evaluation, left_out, languages, heldout, architecture, cells, lines + draw.lines)
        left_out |= {name: f"{count} training utterances in this draw" for name, count in few.items()}
        known = _at_least_two([name for name in known if name not in few.index], rules.least_per_source)


def _at_least_two(known: list[str], least: int) -> list[str]:
    if len(known) < 2:
        raise UserError(
            f"only {len(known)} known source{'s' * (len(known) != 1)} would have {least} training utterances: lower "
            "open_split.least_per_source, or open_split.unknown_dev and unknown_eval"
        )
    return known


def _unknown(groups: pd.Series, rules: OpenSplit, seed: int) -> tuple[list[str], list[str]]:
    """(unknown sources of eval, of dev): whole groups (source -> its group) in the order of their lots, as they fit the fractions."""
    sizes = groups.value_counts()
    if len(sizes) < 3:
        raise UserError(
            f"{len(groups)} sources of {len(sizes)} architecture{'s' * (len(sizes) != 1)} ({', '.join(sorted(sizes.index))}): three are "
            "needed, for known sources and for unknown ones in dev and in eval. Take architecture out of open_split.disjoint"
            if len(groups) > 2
            else f"{len(groups)} sources are too few for known ones and unknown ones in dev and in eval"
        )
    order = sorted(sizes.index, key=lambda name: seed_of(seed, "open set", "group", name))
    found: list[list[str]] = []
    for fraction in (rules.unknown_eval, rules.unknown_dev):
        wanted, taken = fraction * len(groups), []
        for name in order:
            if sum(sizes[taken]) + sizes[name] <= wanted and len(order) - len(taken) > 2 - len(found):
                taken.append(name)
        taken = taken or [min(order, key=lambda name: (sizes[name], order.index(name)))]
        order = [name for name in order if name not in taken]
        found.append(sorted(groups.index[groups.isin(taken)]))
    return found[0], found[1]


def _heldout(counts: pd.DataFrame, of_dev: pd.Series, least: int, wanted: int, seed: int) -> list[str]:
    """Languages to be held out: those first without which the fewest known sources lose too much, in the order of their lots.

    counts: known sources x languages; of_dev: of dev's unknown sources, by language. Two sources at least stay known, each language held
    out has one of those that do, and dev's unknown sources keep something.
    """
    lots = {name: seed_of(seed, "open set", "language", name) for name in counts.columns}
    chosen: list[str] = []
    while len(chosen) < wanted:
        possible = []
        for name in counts.columns.drop(chosen):
            stay = counts.drop(columns=[*chosen, name]).sum(axis=1) >= least
            of_dev_stays = of_dev.drop([*chosen, name]).sum() >= least
            if of_dev_stays and stay.sum() >= 2 and (counts.loc[stay, [*chosen, name]] > 0).any().all():
                possible.append((int((~stay).sum()), lots[name], name))
        if not possible:
            break
        chosen.append(min(possible)[2])
    return sorted(chosen)


def yaml_of(proposal: Proposal, settings: Settings) -> list[str]:
    """The lines of the file: every source with its architecture and its numbers of utterances."""
    facts = f"Known and unknown sources, drawn by script 02 --propose with seed={settings.seed}. Written once; it is yours to change."
    lines = [
        *comment(facts),
        "corpus:",
        f"  languages: {_flow(proposal.languages)}",
        "  sources: # architecture, utterances (train/dev/eval)",
    ]
    lines += _listed(proposal.known, proposal)
    lines.append("  unknown_sources:")
    lines += [*_listed(proposal.dev, proposal), *_listed(proposal.evaluation, proposal)]
    if proposal.left_out:
        why = ", ".join(f"{name} ({reason})" for name, reason in proposal.left_out.items())
        lines += comment(f"left out: {why}", "  ")
    trained = [name for name in proposal.languages if name not in proposal.heldout_languages and _has_train(proposal, name)]
    tested = ["+".join(trained), *(["+".join(proposal.heldout_languages)] if proposal.heldout_languages else [])]
    return [
        *lines,
        "split: {assignment: openset}",
        "open_split:",
        f"  heldout_languages: {_flow(proposal.heldout_languages)} # in eval only",
        f"  dev_sources: {_flow(proposal.dev)} # the other unknown sources are in eval",
        "experiment:",
        f"  train_sets: {_flow(tested[:1])}",
        f"  test_sets: {_flow(tested)}",
    ]


def _listed(names: Sequence[str], proposal: Proposal) -> list[str]:
    counts = proposal.counts.groupby(level="source").sum().reindex(proposal.architecture.index, fill_value=0)
    return [f"    - {text(name)} # {proposal.architecture[name]}, {'/'.join(map(str, counts.loc[name]))}" for name in names]


def _has_train(proposal: Proposal, language: str) -> bool:
    own = proposal.counts[proposal.counts.index.get_level_values("language") == language]
    return bool(own["train"].any())


def _flow(names: Sequence[str]) -> str:
    return f"[{', '.join(text(name) for name in names)}]"
