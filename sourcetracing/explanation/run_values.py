"""What the answers of a run rest on: drops by band of a seeded draw of eval utterances, kept utterance by utterance.

Below exp/<name>/explanation/<system>/ lies <run>.parquet, stamped with the weights and settings that it was made with. It is saved every
20 s: a killed run goes on with the utterances that are missing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr

from sourcetracing.audio.reading import crop, load_utterance
from sourcetracing.errors import UserError
from sourcetracing.explanation.bands import third_octaves
from sourcetracing.explanation.drops import Judge, Occluded, fillings_that_matter, importance
from sourcetracing.explanation.last_layer import with_shuffled_last_layer
from sourcetracing.layout import Layout
from sourcetracing.protocols.table import load_protocol
from sourcetracing.runtime.locks import held
from sourcetracing.runtime.progress import bar
from sourcetracing.runtime.seeding import rng
from sourcetracing.scoring.scores import read_scores
from sourcetracing.settings.recorded import sound_recipe
from sourcetracing.settings.schema import Settings
from sourcetracing.shortcuts.stamped_files import read_stamp, write_stamped
from sourcetracing.tables.scored_runs import REPORTED_SPLIT
from sourcetracing.tracing.calibration import calibrate
from sourcetracing.tracing.system import TracingSystem
from sourcetracing.training.runs import TrainingRun

VALUES_FORMAT = 1  # raise it when values change for the same utterances
SECONDS_BETWEEN_SAVES = 20.0
CLEAN = "original"
MOST_SHUFFLED = 2  # utterances of each source and language that the shuffled network hears as well
BAND, DELETION, SHUFFLED = "band", "deletion", "shuffled"  # kinds of rows
COLUMNS = ["utt_id", "language", "source", "decided", "right", "llr", "kind", "number", "first", "second"]


def drawn_utterances(scores: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """The clean rows of at most `explain.utterances` of each language and source, sorted by utt_id within them. Raises `UserError`.

    `rank`: the place of each in the drawn order, which is the same for any number: a larger draw holds a smaller one.
    """
    clean = scores[scores["variant"] == CLEAN]
    if clean.empty:
        raise UserError(f"{REPORTED_SPLIT} has no rows of the variant {CLEAN}, which explanations are of (evaluation.variants)")
    parts = []
    for (language, source), rows in clean.sort_values("utt_id").groupby(["language", "source"], sort=True):
        most = min(settings.explain.utterances, len(rows))
        places = rng(settings.seed, "explain", str(language), str(source)).permutation(len(rows))[:most]
        parts.append(rows.iloc[places].assign(rank=range(most)).sort_values("utt_id"))
    return pd.concat(parts, ignore_index=True)


def values_of(run: TrainingRun, device: torch.device) -> pd.DataFrame:
    """COLUMNS, one row for each fact of an utterance, by `kind`:

    band: of band `number` the drop left empty (first) and filled with noise (second), nan where absent. deletion: the drop without
    `number` bands, the most important ones (first) or drawn ones (second). shuffled: the rank correlation (first) of the map with that of
    the network whose last layer is shuffled. `decided`: the class that LLRs are of. Raises `UserError`.
    """
    settings = run.settings
    path = Layout.of(settings).explanation_of(run.system, run.folder.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with held(path.with_name(f".{path.name}.lock"), f"another process is explaining {run.folder}", wait=True):
        wanted = drawn_utterances(read_scores(run, REPORTED_SPLIT), settings)
        system = TracingSystem(run, device)
        if len(system.classes) < 2:
            raise UserError(f"{run.folder}: of a single source there is no alternative, and nothing that speaks for it")
        made_from = _made_from(run, system)
        known = pd.read_parquet(path) if read_stamp(path) == made_from else pd.DataFrame(columns=COLUMNS)
        known = known[known["utt_id"].isin(wanted["utt_id"])]
        missing = wanted[~wanted["utt_id"].isin(known["utt_id"])]
        if len(missing):
            known = _Explained(run, system, device, path, made_from).add(known, missing)
        order = {utt_id: place for place, utt_id in enumerate(wanted["utt_id"])}
        return known.sort_values("utt_id", key=lambda ids: ids.map(order), kind="stable").reset_index(drop=True)


def _made_from(run: TrainingRun, system: TracingSystem) -> dict:
    settings, audio = run.settings, run.settings.audio
    heard = [audio.sample_rate, audio.crop_seconds, audio.crop_eval, audio.channel, sound_recipe(audio)]
    return {
        "format": VALUES_FORMAT,
        "weights": system.weights,
        "seed": settings.seed,
        "lowest_hz": settings.explain.lowest_hz,
        "audio": heard,
        "shuffled": MOST_SHUFFLED,
    }


class _Explained:
    """Explains utterances of one run, and saves what is there now and then."""

    def __init__(self, run: TrainingRun, system: TracingSystem, device: torch.device, path: Path, made_from: dict):
        self.run, self.settings, self.system, self.path, self.made_from = run, run.settings, system, path, made_from
        calibration, batch = calibrate(run, device), run.settings.trace.batch_windows
        self.judge = Judge(system, calibration, batch)
        shuffled = with_shuffled_last_layer(system, run.settings.seed)
        self.shuffled = Judge(shuffled, calibration, batch) if shuffled else None
        self.bands = third_octaves(run.settings.explain.lowest_hz, run.settings.audio.sample_rate)
        self.utterances = load_protocol(run.settings, unknown=True)[0].set_index("utt_id")

    def add(self, known: pd.DataFrame, missing: pd.DataFrame) -> pd.DataFrame:
        """The values with those of more utterances (rows of scores)."""
        rows, saved_at = list[dict[str, Any]](), time.monotonic()
        try:
            for item in bar(list(missing.itertuples()), desc=f"explain {self.run.system}", unit="file"):
                rows += self._rows(item, with_shuffled=item.rank < MOST_SHUFFLED)
                if time.monotonic() - saved_at > SECONDS_BETWEEN_SAVES:
                    self._save(known, rows)
                    saved_at = time.monotonic()
        finally:
            known = self._save(known, rows)
        return known

    def _save(self, known: pd.DataFrame, rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
        more = pd.DataFrame(rows, columns=COLUMNS)
        together = pd.concat([known, more], ignore_index=True) if len(known) else more
        write_stamped(together, self.path, self.made_from)
        return together

    def _rows(self, item: Any, *, with_shuffled: bool) -> list[dict[str, Any]]:
        number = int(item.prediction)
        facts = {"utt_id": item.utt_id, "language": item.language, "source": item.source}
        facts |= {"decided": self.system.classes[number], "right": number == item.label}
        pieces = self._pieces(item.utt_id)
        whole = pieces.bands.window.astype(np.float32)
        llrs = self.judge([whole, *pieces.waveforms()], number)
        drops = pieces.drops(llrs[0], llrs[1:])
        facts["llr"] = float(llrs[0])
        rows = [{**facts, "kind": BAND, "number": n, "first": one, "second": two} for n, (one, two) in enumerate(drops.T.tolist())]
        rows += [{**facts, "kind": DELETION, **row} for row in self._deletions(pieces, drops, item.utt_id, number, float(llrs[0]))]
        if with_shuffled and self.shuffled:
            others = self.shuffled([whole, *pieces.waveforms()], number)
            alike = map_correlation(drops, pieces.drops(others[0], others[1:]))
            rows.append({**facts, "kind": SHUFFLED, "number": 0, "first": alike, "second": np.nan})
        return rows

    def _pieces(self, utt_id: str) -> Occluded:
        settings, row = self.settings, self.utterances.loc[utt_id]
        audio, path = settings.audio, Path(settings.paths.corpus) / str(row["path"])
        waveform = load_utterance(path, audio, row["digest"])
        window = crop(waveform, self.system.window_samples, audio.crop_eval, rng(settings.seed, utt_id, "crop"))
        rate = float(row["sample_rate"]) if "sample_rate" in row else float(audio.sample_rate)
        return Occluded.of(window, self.bands, min(rate / 2, audio.band_limit_hz or np.inf), utt_id, settings)

    def _deletions(self, pieces: Occluded, drops: np.ndarray, utt_id: str, number: int, llr: float) -> list[dict[str, Any]]:
        """Without 1, 2, 4, ... bands: the most important ones first, or in a drawn order; each with the filling that matters."""
        present, fillings = pieces.present, fillings_that_matter(drops)
        ordered = present[np.argsort(-importance(drops)[present], kind="stable")]
        drawn = rng(self.settings.seed, "explain", utt_id, "deletion").permutation(present)
        counts = [2**power for power in range(len(bin(len(present))) - 2)] if len(present) else []
        without = [pieces.bands.without(o[:k], [fillings[n] for n in o[:k]]) for o in (ordered, drawn) for k in counts]
        if not counts:
            return []
        fallen = (llr - self.judge(without, number)).reshape(2, len(counts))
        return [{"number": k, "first": float(one), "second": float(two)} for k, one, two in zip(counts, *fallen, strict=True)]


def map_correlation(drops_FB: np.ndarray, others_FB: np.ndarray) -> float:
    """Spearman's rank correlation of two maps over the bands that there are; nan of fewer than three, or of a flat one."""
    one, other = importance(drops_FB), importance(others_FB)
    known = np.isfinite(one) & np.isfinite(other)
    if known.sum() < 3 or not np.ptp(one[known]) or not np.ptp(other[known]):
        return float("nan")
    return float(spearmanr(one[known], other[known]).statistic)
