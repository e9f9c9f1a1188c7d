"""Script 07 on a corpus without unknown sources scored everything for 80 s, and only then said that there is nothing to judge."""

from __future__ import annotations

import pytest

from sourcetracing.errors import UserError
from sourcetracing.openset import experiment
from sourcetracing.training.run_folder import RunFolder
from sourcetracing.training.runs import run_of
from tests.support.small_experiment import SmallExperiment


@pytest.mark.parametrize(
    ("known", "unknown", "message"),
    [
        (["source0", "source1"], [], r"^dev of plain has no row of an unknown source \(corpus.unknown_sources=\[\]\). Set it"),
        ([], ["source0", "source1"], "^dev of plain has no row of a known source"),
        (["source0"], ["source1"], "scored"),
    ],
)
def test_the_protocol_is_looked_at_before_anything_is_scored(tmp_path, monkeypatch, known, unknown, message):
    made = SmallExperiment.write(tmp_path, 12)
    settings = made.settings("plain")
    made.write_lists(settings)
    settings.corpus.sources, settings.corpus.unknown_sources = known, unknown

    def score(runs):
        raise UserError("scored")

    monkeypatch.setattr(experiment, "score_runs", score)
    monkeypatch.setattr(RunFolder, "is_finished", True)
    with pytest.raises(UserError, match=message):
        experiment.run_openset([run_of(settings, "a-store")])
