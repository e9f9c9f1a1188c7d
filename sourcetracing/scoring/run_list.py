"""Every run of an experiment, whatever settings it was trained with: how far it is, and what differs from the settings at hand."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from sourcetracing.errors import UserError
from sourcetracing.features.resolved import resolved
from sourcetracing.runtime.files import read_csv
from sourcetracing.scoring.scores import is_scored
from sourcetracing.settings.checking import check_piece
from sourcetracing.settings.names import printable
from sourcetracing.settings.reading import ConfigSources, load_settings, read_yaml
from sourcetracing.settings.recorded import in_words, value_of
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import SPLITS
from sourcetracing.training.checkpoints import require_whole
from sourcetracing.training.other_runs import run_folders, what_differs
from sourcetracing.training.rounds import num_rounds
from sourcetracing.training.run_folder import RunFolder
from sourcetracing.training.runs import TrainingRun, load_runs, set_name, settings_of_runs, system_label

Wanted = dict[tuple[str, str, int], Settings]  # (system, training set, seed) of a run that the settings at hand ask for -> its settings
WIDTH = 100  # columns of a terminal
_MOST_TRAIN_SET = 24  # letters of a training set
FINISHED, BEING_TRAINED, STOPPED = "finished", "being trained", "stopped"


@dataclass(frozen=True)
class ListedRun:
    """A row. epochs_done, epochs: 0 where nothing is known. dev_macro_f1: of the epoch that is kept, or of the best one so far.

    scored: the splits whose scores belong to its weights, joined by blanks. differs: from the settings at hand; "" = just what these ask
    for. problem: why it is no sound run; "" = it is one.
    """

    system: str
    train_set: str
    seed: str
    state: str
    epochs_done: int
    epochs: int
    dev_macro_f1: float
    scored: str
    differs: str
    problem: str
    folder: str


def list_runs(config: ConfigSources) -> list[ListedRun]:
    """Sorted by system, training set, seed and folder; what is no run comes last."""
    wanted = {(system_label(one), set_name(one.train.languages), one.train.seed): one for one in settings_of_runs(config)}
    try:
        found = {run.folder for run in load_runs(config)}
    except UserError:  # no protocol or features of these settings: then no run is theirs
        found = set()
    listed = [_listed(path, config, wanted, found) for path in run_folders(config.resolve())]
    return sorted(listed, key=lambda run: (bool(run.problem), run.system, run.train_set, run.seed, run.folder))


def _listed(path: Path, config: ConfigSources, wanted: Wanted, found: set[Path]) -> ListedRun:
    files, system = RunFolder(path), path.parent.name
    if not path.is_dir():
        return _broken(system, path, "is no run folder")
    train_set = seed = ""
    try:
        train_set, seed, epochs = _recorded(files)
        run = _run_of(files, system, train_set, seed)
        epochs = epochs if run is None else num_rounds(run.settings)
        state, dev = _state(files)
        epochs_done = files.num_epochs_done()
    except UserError as error:
        return _broken(system, path, str(error).replace(f"{path}/", ""), train_set, str(seed))
    except OSError as error:
        return _broken(system, path, f"cannot be read ({error.strerror})", train_set, str(seed))
    except ValueError:  # of bytes that are no text
        return _broken(system, path, "history.csv is damaged", train_set, str(seed))
    differs = "" if path in found else _differences(files, config, wanted, (system, train_set, seed))
    scored = " ".join(split for split in SPLITS if run is not None and _is_scored(run, split))
    return ListedRun(system, train_set, str(seed), state, epochs_done, epochs, dev, scored, differs, "", str(path))


def _broken(system: str, path: Path, problem: str, train_set: str = "", seed: str = "") -> ListedRun:
    return ListedRun(system, train_set, seed, "", 0, 0, float("nan"), "", "", problem, str(path))


def _recorded(files: RunFolder) -> tuple[str, int, int]:
    """Training set, seed and epochs of config.yaml, other settings unseen: there may be some that there are no more. Raises `UserError`."""
    recorded = read_yaml(files.config)
    try:
        train = {name: recorded["train"][name] for name in ("languages", "seed", "epochs")}
        languages = recorded["corpus"]["languages"]
    except (KeyError, TypeError):
        raise UserError("config.yaml lacks settings of a run") from None
    check_piece({"train": train, "corpus": {"languages": languages}}, Settings, "config.yaml")
    return set_name(train["languages"] or languages), train["seed"], train["epochs"]


def _state(files: RunFolder) -> tuple[str, float]:
    """(how far it is, dev macro-F1). Raises `UserError` for damaged files."""
    best = float("nan")
    if files.is_finished:
        require_whole(files.weights)
        try:
            return FINISHED, _share(files.read_outcome().get("dev_macro_f1", best))
        except (ValueError, AttributeError, TypeError):
            raise UserError("model.json is damaged") from None
    try:
        if files.history.is_file() and len(history := read_csv(files.history, texts=())):
            best = _share(history["dev_macro_f1"].max())
    except (ValueError, KeyError, TypeError):
        raise UserError("history.csv is damaged") from None
    return BEING_TRAINED if files.is_being_trained else STOPPED, best


def _share(number: float) -> float:
    if math.isinf(number):
        raise ValueError(number)
    return float(number)


def _run_of(files: RunFolder, system: str, train_set: str, seed: int) -> TrainingRun | None:
    """The run with its own settings; None where it has some that there are no more."""
    try:
        return TrainingRun(system, train_set, seed, load_settings([str(files.config)]), files.root)
    except UserError:
        return None


def _is_scored(run: TrainingRun, split: str) -> bool:
    try:
        return run.files.scores(split).is_file() and is_scored(run, split)
    except (ValueError, OSError, KeyError, AttributeError, TypeError):  # a file that was cut off: not to be used
        return False


def _differences(files: RunFolder, config: ConfigSources, wanted: Wanted, key: tuple[str, str, int]) -> str:
    """In words: `train.epochs=3 (now 6); seed not in experiment.seeds`."""
    unasked = ("system not in experiment.systems", "training set of no table of the experiment", "seed not in experiment.seeds")
    found = [words for place, words in enumerate(unasked) if key[place] not in {one[place] for one in wanted}]
    try:
        now = wanted.get(key) or config.resolve({"train.languages": key[1].split("+"), "train.seed": key[2]}, system=key[0])
    except UserError as error:  # no such system or language any more
        return "; ".join([*found, str(error)])
    now = resolved(now)
    own = what_differs(files, now)
    found = [f"{in_words(own, [name])} (now {in_words({name: value_of(now, name)}, [name]).partition('=')[2]})" for name in own] + found
    return "; ".join(found) or "its features or protocol"


def table_of(runs: Sequence[ListedRun]) -> pd.DataFrame:
    """For --csv: a row for each run."""
    return pd.DataFrame([asdict(run) for run in runs], columns=[field.name for field in fields(ListedRun)])


def text_of(runs: Sequence[ListedRun]) -> str:
    """For a terminal of WIDTH columns; what differs stands below its run."""
    sound = [run for run in runs if not run.problem]
    rows = [["system", "trained on", "seed", "state", "dev", "scored"], *(_cells(run) for run in sound)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row, run in zip(rows, [None, *sound], strict=True):
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()[:WIDTH])
        if run is not None:
            lines += _wrapped(f"differs: {run.differs}" if run.differs else "as asked for")
            lines += _wrapped(run.folder)
    for run in runs:
        if run.problem:
            lines += _wrapped(f"{run.folder}: {run.problem}", "")
    return "\n".join(lines)


def _cells(run: ListedRun) -> list[str]:
    done = f"{run.epochs_done} epoch{'' if run.epochs_done == 1 else 's'}"
    epochs = f"{run.state}, {done}" if run.state == FINISHED else f"{run.state}, epoch {run.epochs_done} of {run.epochs}"
    dev = "-" if run.dev_macro_f1 != run.dev_macro_f1 else f"{100 * run.dev_macro_f1:.1f}"
    name = run.train_set if len(run.train_set) <= _MOST_TRAIN_SET else f"{run.train_set[: _MOST_TRAIN_SET - 3]}..."
    return [run.system[:30], name, run.seed, epochs, dev, run.scored or "-"]


def _wrapped(text: str, indent: str = "    ") -> list[str]:
    return textwrap.wrap(printable(text), WIDTH, initial_indent=indent, subsequent_indent="    ", break_on_hyphens=False)
