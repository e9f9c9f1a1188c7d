"""The trained runs of an experiment on post-processed eval utterances (script 12).

Below exp/<name>/robustness/<system>/<run>/ lie the kept answers (`sourcetracing.robustness.answers`), figures.csv, worst.csv and, written
last, robustness.json: what was fitted on clean dev, what was left out, and what all of it was made from. While that is unchanged, nothing
is made again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import pandas as pd

from sourcetracing.audio.codecs import ffmpeg_version
from sourcetracing.errors import UserError
from sourcetracing.features.noise_bank import ClipBank
from sourcetracing.features.rows import UNKNOWN_LABEL, label_ids
from sourcetracing.layout import Layout, RobustnessLayout
from sourcetracing.openset.detectors import Detector, make_detectors
from sourcetracing.openset.trials import load_trials
from sourcetracing.postprocessing.operations import at_hand, family_of
from sourcetracing.protocols.table import load_protocol
from sourcetracing.robustness.answers import Wanted, answers_of, made_of, make_answers
from sourcetracing.robustness.evaluation import Judged, Yardstick, figures_of, recalls
from sourcetracing.robustness.gains import PAIR, gains_of, pairs_of, write_gains
from sourcetracing.robustness.pictures import draw_heat_map
from sourcetracing.robustness.tables import TEXTS, WORST_TEXTS, write_tables
from sourcetracing.robustness.utterances import CLEAN, clips_for, drawn, eval_items
from sourcetracing.runtime.compute import prepare_device
from sourcetracing.runtime.files import digest_of_file, digest_of_json, is_whole, read_csv, write_frame, write_json, written_together
from sourcetracing.runtime.locks import held
from sourcetracing.scoring.scores import read_embeddings, read_scores, with_transcripts_as_units
from sourcetracing.settings.operations import steps_of
from sourcetracing.settings.reading import to_dict
from sourcetracing.settings.schema import Settings
from sourcetracing.settings.training import trained_variants
from sourcetracing.tracing.calibration import logits_of, train_languages
from sourcetracing.tracing.system import score_splits
from sourcetracing.training.matrix import those_trained
from sourcetracing.training.recorded import overlays_of_run, protocol_of_run
from sourcetracing.training.runs import TrainingRun

METHOD_VERSION = 1  # goes up when the same answers give other figures
ORIGINAL = "original"  # the variant of dev that is clean
SHORT = 8  # digits of a digest that a table shows


@dataclass(frozen=True)
class Plan:
    """What can be done here, and why the rest cannot. operations: CLEAN first."""

    operations: list[str]
    left_out: dict[str, str]
    clips: Mapping[str, ClipBank]


def robustness_of(runs: Sequence[TrainingRun]) -> str:
    """Makes what is missing for trained runs, then the tables over all of them; returns what a terminal shows. Raises `UserError`.

    runs: of one experiment, some of which may not be trained yet; they are left out and counted.
    """
    if not runs:
        raise UserError("experiment.systems and experiment.train_sets name no run")
    trained, lack = those_trained(runs)
    settings = trained[0].settings
    plan = plan_of(settings)
    items, device = eval_items(settings), prepare_device(settings.compute)
    wanted = [_wanted(run, items) for run in trained]
    layout = Layout.of(settings)
    with held(layout.robustness / ".lock", f"another process is writing {layout.robustness}", wait=True):
        for one in wanted:
            score_splits(one.run, ["train", "dev"], device)
        can_judge = [bool(_clean_dev(one.run)[1].any()) for one in wanted]
        if not any(can_judge):
            raise UserError(_without_dev(wanted[0].run))
        blind = [_without_dev(one.run) for one, can in zip(wanted, can_judge, strict=True) if not can]
        wanted = [one for one, can in zip(wanted, can_judge, strict=True) if can]
        make_answers(wanted, plan.operations, plan.clips, device)
        for one in wanted:
            if not _is_up_to_date(one, plan):
                _judge(one, plan)
        # Inside the lock, too: files of a run are those of the call that wrote last.
        table, worst = (_gathered(wanted, name, texts) for name, texts in (("figures", TEXTS), ("worst", WORST_TEXTS)))
        notes = [f"left out: {name}: {reason}" for name, reason in plan.left_out.items()]
        notes += [f"left out: {reason}" for reason in blind]
        notes += [f"{lack}; they stand in no table"] if lack else []
        draw_heat_map(table, settings, layout.robustness_picture)
        return write_tables(table, worst, settings, notes) + write_gains(_gains(wanted, plan), settings)


def plan_of(settings: Settings) -> Plan:
    """Raises `UserError` for a name that is no operation, or where nothing can be done here."""
    wanted = settings.robustness.operations
    try:
        for name in wanted:
            steps_of(name)
    except UserError as error:
        raise UserError(f"robustness.operations: {error}") from None
    clips = clips_for(wanted, settings)
    able, left_out = at_hand(wanted, clips)
    if not able:
        raise UserError(f"robustness.operations: none can be done here. {next(iter(left_out))}: {next(iter(left_out.values()))}")
    return Plan([CLEAN, *able], left_out, clips)


def _wanted(run: TrainingRun, items: pd.DataFrame) -> Wanted:
    """A run on the utterances of its training languages. Raises `UserError` where eval has none of its sources there."""
    settings, languages = run.settings, train_languages(run)
    own = drawn(items, languages, settings.robustness.utterances, settings.seed)
    if not own["source"].isin(settings.corpus.sources).any():
        spread = ", ".join(languages)
        if len(own) < items["language"].isin(languages).sum():
            raise UserError(f"robustness.utterances={len(own)}: none of those drawn in {spread} is of a known source; ask for more")
        raise UserError(f"{run.system} on {run.train_set}: eval has no utterance of a known source in {spread}")
    return Wanted(run, own)


def _files(run: TrainingRun) -> RobustnessLayout:
    return Layout.of(run.settings).robustness_of(run.system, run.folder.name)


def _recipe(wanted: Wanted, plan: Plan) -> str:
    """A digest of everything that decides the figures."""
    run = wanted.run
    made = [[name, item.utt_id, made_of(item, name, plan.clips)] for item in wanted.items.itertuples() for name in plan.operations]
    parts = {
        "method": METHOD_VERSION,
        "answers": [wanted.folder.name, digest_of_json(made)],
        "scores": {split: digest_of_file(run.files.scores(split)) for split in ("train", "dev")},
        "openset": to_dict(run.settings.openset),
        "detector": run.settings.robustness.detector,
        "evaluation": to_dict(run.settings.evaluation),
        "train_variants": run.settings.train.variants,
        "seed": run.settings.seed,
    }
    return digest_of_json(parts)


def _is_up_to_date(wanted: Wanted, plan: Plan) -> bool:
    record = _files(wanted.run).record
    try:
        return is_whole(record) and json.loads(record.read_text(encoding="utf-8"))["recipe"] == _recipe(wanted, plan)
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return False


def _judge(wanted: Wanted, plan: Plan) -> None:
    run, files = wanted.run, _files(wanted.run)
    settings = run.settings
    answers = answers_of(wanted, plan.operations, plan.clips)
    judged = Judged(_table(wanted), settings.corpus.sources, settings.evaluation.bootstrap_samples, settings.seed)
    yardstick = _yardstick(run)
    facts = {"system": run.system, "train_set": run.train_set, "seed": run.seed, "run": run.folder.name}
    facts |= {"compat": overlays_of_run(run), "protocol": protocol_of_run(run)["digest"][:SHORT], "detector": settings.robustness.detector}
    figures = figures_of(judged, answers, yardstick).assign(**facts)
    figures["family"] = ["" if name == CLEAN else family_of(name) for name in figures["operation"]]
    figures["in_training"] = [in_training(name, settings) for name in figures["operation"]]
    figures["low_pass"] = [_low_pass(name) for name in figures["operation"]]
    with written_together(files.record):
        write_frame(figures, files.figures)
        write_frame(
            recalls(judged, answers).assign(**{key: facts[key] for key in ("system", "train_set", "seed", "protocol")}), files.worst
        )
        said = {"recipe": _recipe(wanted, plan), "protocol": protocol_of_run(run)["digest"], "seed": settings.seed, "train_seed": run.seed}
        said |= {"weights": digest_of_file(run.files.weights), "ffmpeg": ffmpeg_version(), "left_out": plan.left_out}
        said |= {
            "settings": to_dict(settings.robustness),
            "from_clean_dev": {"llrs": asdict(yardstick.line), "threshold": yardstick.threshold},
        }
        write_json(files.record, {**said, "variants_in_training": list(trained_variants(settings)), "utterances": len(wanted.items)})


def _gains(wanted: Sequence[Wanted], plan: Plan) -> pd.DataFrame:
    """Of all pairs of runs that differ in the variants of training alone; without rows where there are none."""
    of_run, found = {one.run.folder: one for one in wanted}, []
    for pair in pairs_of([one.run for one in wanted]):
        both = [of_run[run.folder] for run in pair]
        settings, facts = pair[0].settings, dict(zip(PAIR, (*(run.system for run in pair), pair[0].train_set, pair[0].seed), strict=True))
        judged = Judged(_table(both[0]), settings.corpus.sources, settings.evaluation.bootstrap_samples, settings.seed)
        predicted = [
            {name: logits.argmax(axis=1) for name, (_, logits) in answers_of(one, plan.operations, plan.clips).items()} for one in both
        ]
        found.append(gains_of(judged, *predicted).assign(**facts, protocol=protocol_of_run(pair[0])["digest"][:SHORT]))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _table(wanted: Wanted) -> pd.DataFrame:
    settings = wanted.run.settings
    table = wanted.items.assign(label=label_ids(wanted.items["source"], settings.corpus.sources))
    if settings.evaluation.bootstrap_by == "transcript":
        return with_transcripts_as_units(table, load_protocol(settings, unknown=True)[0])
    return table.assign(unit=table["utt_id"])


def _clean_dev(run: TrainingRun) -> tuple[pd.DataFrame, pd.Series]:
    """The score rows of dev, and which of them LLRs and threshold come from: clean ones of known sources in the training languages."""
    rows = read_scores(_with_all_splits(run), "dev", unknown=True)
    return rows, rows["language"].isin(train_languages(run)) & (rows["label"] != UNKNOWN_LABEL) & (rows["variant"] == ORIGINAL)


def _with_all_splits(run: TrainingRun) -> TrainingRun:
    all_splits = replace(run.settings.evaluation, splits=["train", "dev"], embeddings=True)
    return replace(run, settings=replace(run.settings, evaluation=all_splits))


def _without_dev(run: TrainingRun) -> str:
    return (
        f"{run.system} on {run.train_set}: dev has no clean utterance of a known source in these languages to calibrate on. "
        f"{ORIGINAL} must be among augment.variants and evaluation.variants, and the languages must have dev rows"
    )


def _yardstick(run: TrainingRun) -> Yardstick:
    """Of a run with clean dev rows (`_clean_dev`)."""
    rows, kept = _clean_dev(run)
    run = _with_all_splits(run)
    embeddings, dev = read_embeddings(run, "dev"), rows[kept]
    return Yardstick.of(_detector(run), embeddings[kept.to_numpy()], logits_of(dev), dev["label"].to_numpy())


def _detector(run: TrainingRun) -> Detector:
    """Fitted on train, as script 07 does."""
    name, train = run.settings.robustness.detector, load_trials(run, "train")
    return make_detectors(replace(run.settings.openset, detectors=[name]))[name].fit(train.embeddings, train.logits, train.labels)


def in_training(operation: str, settings: Settings) -> str:
    """Which variants in training are of an operation's kind, joined by +; "" for none."""
    kinds = [] if operation == CLEAN else [step.variant for step in steps_of(operation)]
    return "+".join(kind for kind in dict.fromkeys(kinds) if kind in trained_variants(settings))


def _low_pass(operation: str) -> str:
    steps = [] if operation == CLEAN else steps_of(operation)
    return steps[0].low_pass if len(steps) == 1 else ""


def _gathered(wanted: Sequence[Wanted], name: str, texts: Sequence[str]) -> pd.DataFrame:
    return pd.concat([read_csv(getattr(_files(one.run), name), texts=texts) for one in wanted], ignore_index=True)
