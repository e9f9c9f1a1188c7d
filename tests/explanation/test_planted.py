"""A cue that is known: a source whose only mark is a notch at 3 kHz lights up there, one that beeps at its second; maps are learned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from sourcetracing.explanation.drops import importance
from sourcetracing.explanation.files import Explanation, explain_file
from sourcetracing.explanation.last_layer import with_shuffled_last_layer
from sourcetracing.explanation.run_tables import Resampling, check_table, deletion_table
from sourcetracing.explanation.run_values import map_correlation, values_of
from sourcetracing.shortcuts.stamped_files import read_stamp, write_stamped
from sourcetracing.tracing.tracer import Tracer
from sourcetracing.training.runs import TrainingRun
from tests.support.audio_files import RATE
from tests.support.planted import BEEP_S, MARKS, planted_run, speech_like
from tests.support.traced_runs import CPU

NEW_FILES = 4  # of each source, which no training heard


@dataclass
class Planted:
    run: TrainingRun
    tracer: Tracer
    found: dict[str, list[Explanation]]


def planted(root: Path, sources: list[str], num_files: int, system: str, *words: str) -> Planted:
    run = planted_run(root, sources, num_files, f"experiment.systems=[{system}]", "explain.utterances=4", *words)
    tracer = Tracer.load(run.folder, [])
    return Planted(run, tracer, {source: [explained(tracer, root, source, number) for number in range(NEW_FILES)] for source in sources})


def explained(tracer: Tracer, root: Path, source: str, number: int) -> Explanation:
    path = root / f"new_{source}_{number}.wav"
    sound = MARKS[source](speech_like(np.random.default_rng([77, len(source), number])))
    soundfile.write(path, np.clip(sound, -0.99, 0.99), RATE)
    return explain_file(tracer, tracer(path))


@pytest.fixture(scope="module", params=["stats_logreg", "lfcc_ecapa_tdnn"])
def notch(request, tmp_path_factory) -> Planted:
    return planted(tmp_path_factory.mktemp("notch"), ["plain", "notched"], 60, request.param)


@pytest.fixture(scope="module")
def beep(tmp_path_factory) -> Planted:
    return planted(tmp_path_factory.mktemp("beep"), ["plain", "beeping"], 60, "lfcc_ecapa_tdnn", "train.epochs=12")


def the_band(found: Explanation) -> int:
    return next(number for number, band in enumerate(found.bands) if band.low <= 3000 < band.high)


@pytest.mark.slow
@pytest.mark.parametrize("source, filling", [("plain", 0), ("notched", 1)])
def test_the_notch_lights_up_for_the_source_that_has_it_and_for_the_one_that_has_not(notch, source, filling):
    """Taking the band away makes a notch where there is none; noise fills the notch that there is. The other filling shows nothing."""
    for found in notch.found[source]:
        assert found.source == source
        assert found.importance.argmax() == the_band(found)
        assert found.band_drops[:, the_band(found)].argmax() == filling
        assert found.disagrees[the_band(found)]
    mean = np.mean([found.importance for found in notch.found[source]], axis=0)
    others = np.delete(mean, the_band(notch.found[source][0]))
    assert mean.max() > 1.3 * others.max() and mean.max() > 4 * np.median(np.abs(others))


@pytest.mark.slow
def test_noise_alone_leaves_no_doubt_about_the_notch(notch):
    """What is filled with noise is near to what was trained on: no other band moves the answer half as much, but for the notch's edge."""
    noise = np.mean([found.band_drops[1] for found in notch.found["notched"]], axis=0)
    place = the_band(notch.found["notched"][0])
    assert np.delete(noise, [place, place + 1]).max() < 0.35 * noise[place]


@pytest.mark.slow
def test_the_beep_lights_up_at_its_second(beep):
    for found in beep.found["beeping"]:
        assert found.source == "beeping"
        drops = found.windows[0].drops
        place = importance(drops.stretch_drops).argmax()
        start = drops.stretch_starts_s[place]
        assert start <= BEEP_S[0] and start + drops.stretch_s >= BEEP_S[1]
        outside = [n for n, s in enumerate(drops.stretch_starts_s) if s >= BEEP_S[1] or s + drops.stretch_s <= BEEP_S[0]]
        assert importance(drops.stretch_drops)[outside].max() < 0.6 * importance(drops.stretch_drops)[place]


@pytest.mark.slow
def test_a_network_whose_last_layer_is_shuffled_gives_another_map(notch):
    shuffled = with_shuffled_last_layer(notch.tracer.system, 1)
    assert shuffled is not None
    waveforms = np.random.default_rng(0).normal(0, 0.1, (2, shuffled.window_samples)).astype(np.float32)
    before, after = notch.tracer.system(waveforms), shuffled(waveforms)
    assert not np.allclose(before[1], after[1])
    other = Tracer(shuffled, notch.tracer.calibration, None, notch.tracer.audio)
    alike = []
    for source, files in notch.found.items():
        for found in files:
            result = notch.tracer(found.path)
            number = notch.tracer.system.classes.index(source)
            forced = replace(result, probabilities=np.eye(2)[number])
            alike.append(map_correlation(found.band_drops, explain_file(other, forced).band_drops))
    assert np.mean(alike) < 0.6
    again = notch.tracer.system(waveforms)
    np.testing.assert_array_equal(before[1], again[1])  # the system itself is untouched


@pytest.mark.slow
def test_deleting_by_importance_is_steeper_than_deleting_at_random(notch):
    values = values_of(notch.run, CPU)
    how = Resampling(200, 1)
    curve = deletion_table(values, how)
    assert (curve["by_importance"] > curve["drawn"])[:-1].all() and curve["bands"].tolist() == [1, 2, 4, 8, 16]
    checks = check_table(values, curve, how).iloc[0]
    assert checks["ci_low"] > 0 and checks["shuffled_correlation"] < 0.6
    rows = values[values["kind"] == "deletion"]
    by_hand = rows.groupby("utt_id").apply(lambda own: (own["first"] - own["second"]).mean(), include_groups=False)
    assert checks["difference"] == pytest.approx(by_hand.mean())
    assert pd.Series(curve["by_importance"]).mean() == pytest.approx(checks["by_importance"])


@pytest.mark.slow
def test_what_was_explained_is_kept_and_what_is_missing_is_added(notch):
    first = values_of(notch.run, CPU)
    path = Path(notch.run.settings.paths.exp) / "planted" / "explanation" / notch.run.system / f"{notch.run.folder.name}.parquet"
    changed = path.stat().st_mtime_ns
    pd.testing.assert_frame_equal(values_of(notch.run, CPU), first)
    assert path.stat().st_mtime_ns == changed
    some = first[first["utt_id"].isin(first["utt_id"].unique()[::2])]
    write_stamped(some, path, read_stamp(path))  # as a kill leaves it
    pd.testing.assert_frame_equal(values_of(notch.run, CPU), first, check_dtype=False)
    write_stamped(some.assign(first=99.0), path, {**read_stamp(path), "weights": "others"})
    pd.testing.assert_frame_equal(values_of(notch.run, CPU), first, check_dtype=False)
