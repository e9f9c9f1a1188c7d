"""Answers as people and programs want them: lines for the terminal, JSON, CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sourcetracing.protocols.relatives import SOURCE_LEVEL
from sourcetracing.runtime.files import atomic_path, write_json
from sourcetracing.settings.corpora import SOURCE
from sourcetracing.settings.names import printable
from sourcetracing.settings.recorded import sound_recipe
from sourcetracing.tracing.enrolled import COLUMNS
from sourcetracing.tracing.levels import lines_of
from sourcetracing.tracing.phrases import about, limits
from sourcetracing.tracing.tracer import FileTrace, Tracer

FORMAT = 2  # raise it when the JSON changes
_DECISIONS = {True: "unknown", False: "known", None: "not decided"}


@dataclass(frozen=True)
class Failure:
    """A file that could not be traced, and why."""

    path: str
    reason: str


def text_of(result: FileTrace | Failure, tracer: Tracer) -> str:
    """A few lines for the terminal."""
    path = printable(result.path)
    if isinstance(result, Failure):
        return f"{path}: NOT TRACED: {result.reason}"
    silent = f", {result.num_silent} silent ones left out" if result.num_silent else ""
    lines = [f"{path}: {result.duration_s:.1f} s, {len(result.starts_s)} windows{silent}"]
    if tracer.rule:
        side = "above" if result.is_unknown else "not above"
        verdict = "UNKNOWN source; its nearest known ones below" if result.is_unknown else "known source"
        lines.append(f"  {verdict}  ({tracer.rule.name} {result.unknown_score:.4g}, {side} the threshold {tracer.rule.threshold:.4g})")
    width = max(map(len, tracer.system.classes))
    lines += [f"    {name:<{width}}  {probability:.3f}" for name, probability in top_sources(result, tracer)]
    if levels := tracer.levels_of(result):
        lines += [f"  named from {tracer.levels.confidence:g} on:", *(f"    {line}" for line in lines_of(levels))]
    return "\n".join([*lines, *(f"  note: {note}" for note in result.notes)])


def top_sources(result: FileTrace, tracer: Tracer) -> list[tuple[str, float]]:
    """The `trace.top_k` likeliest sources with their probabilities."""
    order = np.argsort(-result.probabilities, kind="stable")[: tracer.trace.top_k]
    return [(tracer.system.classes[number], float(result.probabilities[number])) for number in order]


def header_of(tracer: Tracer) -> dict[str, Any]:
    """What all answers have in common: the system, its calibration, the rule, the settings, and when not to believe them."""
    system, rule = tracer.system, tracer.rule
    return {
        "format": FORMAT,
        "system": {
            "run": str(system.run.folder),
            "about": about(system),
            "weights": system.weights,
            "classes": system.classes,
            **({} if system.settings.corpus.label == SOURCE else {"label": system.settings.corpus.label}),
            "languages": tracer.calibration.languages,
            "corpus": system.settings.name,
        },
        "calibration": asdict(tracer.calibration),
        "unknown": {"detector": rule.name, "threshold": rule.threshold, "origin": rule.origin, "dev_eer": rule.eer} if rule else None,
        "levels": tracer.levels.header() if tracer.levels else [],
        "settings": {
            **asdict(tracer.trace),
            "window_seconds": tracer.audio.crop_seconds,
            "sample_rate": tracer.audio.sample_rate,
            **sound_recipe(tracer.audio),
            **({"on_truncated": "keep"} if tracer.audio.on_truncated == "keep" else {}),
        },
        "when_not_to_believe": limits(system, tracer.calibration, rule),
    }


def entry_of(result: FileTrace | Failure, tracer: Tracer) -> dict[str, Any]:
    """One file of the JSON."""
    if isinstance(result, Failure):
        return {"path": result.path, "status": "failed", "reason": result.reason}
    classes = tracer.system.classes
    return {
        "path": result.path,
        "status": "traced",
        "decision": _DECISIONS[result.is_unknown],
        "unknown_score": result.unknown_score,
        "top": [{"source": name, "probability": round(probability, 6)} for name, probability in top_sources(result, tracer)],
        "probabilities": _named(classes, result.probabilities),
        "levels": [answer.entry() for answer in tracer.levels_of(result)],
        "duration_s": round(result.duration_s, 4),
        "num_windows": len(result.starts_s),
        "num_silent": result.num_silent,
        "notes": result.notes,
        "windows": [
            {
                "start_s": round(float(start), 4),
                "unknown_score": None if result.window_scores is None else float(result.window_scores[number]),
                "probabilities": _named(classes, result.window_probabilities[number]),
            }
            for number, start in enumerate(result.starts_s)
        ],
    }


def _named(classes: Sequence[str], probabilities: np.ndarray) -> dict[str, float]:
    return {name: round(float(probability), 6) for name, probability in zip(classes, probabilities, strict=True)}


def write_results_json(path: Path, header: dict[str, Any], entries: list[dict[str, Any]]) -> None:
    """All answers with all windows."""
    write_json(path, {**header, "files": entries})


def write_results_csv(path: Path, tracer: Tracer, entries: list[dict[str, Any]], *, with_enrolled: bool = False) -> None:
    """One row per file; p_<source> are the probabilities. Empty runs where a file was not traced.

    Where sources have labels: each coarser level with what is named there (empty where nothing is), the probability of its likeliest label,
    and `named`, the levels that are named, joined by +.

    with_enrolled: the nearest enrolled source, and the final answer, as the last columns.
    """
    columns = [
        "path",
        "status",
        "source",
        "probability",
        "decision",
        "unknown_score",
        "unknown_threshold",
        "duration_s",
        "num_windows",
        "num_silent",
    ]
    rows = [{**_row(entry, tracer), "path": printable(entry["path"])} for entry in entries]
    coarse = [record.level for record in tracer.levels.records if record.level != SOURCE_LEVEL] if tracer.levels else []
    levels = [*(name for level in coarse for name in (f"level_{level}", f"level_{level}_probability")), "named"] if coarse else []
    named = [f"p_{name}" for name in tracer.system.classes]
    last = [*(f"enrolled_{name}" for name in COLUMNS), "final_decision", "final_source"] if with_enrolled else []
    with atomic_path(path) as partial:
        table = pd.DataFrame(rows, columns=[*columns, *levels, *named, "notes", "reason", *last])
        counts = ("num_windows", "num_silent", *(["enrolled_files"] if with_enrolled else []))
        table.astype(dict.fromkeys(counts, "Int64")).to_csv(partial, index=False)


def _row(entry: dict[str, Any], tracer: Tracer) -> dict[str, Any]:
    if entry["status"] == "failed":
        return entry
    best = entry["top"][0]
    return {
        **{key: entry[key] for key in ("path", "status", "decision", "unknown_score", "duration_s", "num_windows", "num_silent")},
        "source": best["source"],
        "probability": best["probability"],
        "unknown_threshold": tracer.rule.threshold if tracer.rule else None,
        **{f"level_{one['level']}": one["label"] if one["named"] else "" for one in entry["levels"]},
        **{f"level_{one['level']}_probability": one["probability"] for one in entry["levels"]},
        "named": "+".join(one["level"] for one in entry["levels"] if one["named"]),
        **{f"p_{name}": probability for name, probability in entry["probabilities"].items()},
        "notes": "; ".join(entry["notes"]),
        **{f"enrolled_{name}": value for name, value in (entry.get("enrolled") or {}).items()},
        **{key: entry[key] for key in ("final_decision", "final_source") if key in entry},
    }
