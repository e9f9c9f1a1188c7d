"""From audio to open-set figures and the report, on a very small corpus: what scripts 02, 04, 05, 07, 06 and 08 do."""

from __future__ import annotations

import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.features.extracting import extract_features
from sourcetracing.layout import Layout
from sourcetracing.openset.experiment import run_openset
from sourcetracing.protocols.building import build_protocols
from sourcetracing.protocols.table import load_protocol
from sourcetracing.report.experiment import report_experiment
from sourcetracing.scoring.matrix import score_runs
from sourcetracing.scoring.reports import write_reports
from sourcetracing.settings.reading import ConfigSources, load_settings, read_config
from sourcetracing.training.matrix import train_runs
from sourcetracing.training.runs import load_runs
from tests.support.finished_street import write_audio


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> ConfigSources:
    root = tmp_path_factory.mktemp("openset-street")
    write_audio(root)
    paths = [f"paths.corpus={root}/corpus", f"paths.musan={root}/musan", f"paths.rirs={root}/rirs", f"paths.exp={root}/exp", "name=street"]
    corpus = ["corpus.reader=folder", "corpus.languages=[en,de]", "corpus.sources=[quiet,loud]", "corpus.unknown_sources=[all]"]
    sizes = ["audio.crop_seconds=0.4", "ecapa_tdnn.channels=8", "train.epochs=1", "evaluation.bootstrap_samples=20", "compute.workers=1"]
    variants = ["augment.variants=[original,noise]", "train.dev_variants=[original]", "evaluation.variants=[original]"]
    return read_config([*paths, *corpus, *sizes, *variants, "compute.device=cpu", "experiment.train_sets=[en+de]"])


@pytest.mark.slow
def test_the_whole_street(config):
    settings = config.resolve()
    build_protocols(settings)
    extract_features(settings, *load_protocol(settings, unknown=True))
    runs = load_runs(config)
    train_runs(runs)
    text = run_openset(runs)
    layout = Layout.of(settings)
    table = pd.read_csv(layout.openset_table)
    assert set(table["detector"]) == set(settings.openset.detectors)
    assert set(table["variant"]) == {"pooled"}
    assert table["auroc"].between(0, 1).all()
    assert set(pd.read_csv(layout.openset_by_language)["language"]) == {"en", "de"}
    assert str(layout.openset_table) in text
    score_runs(runs)
    assert "eval: " in write_reports(runs)
    report_experiment(config)
    page = layout.report.read_text()
    assert "Known or unknown source" in page
    assert page.count("data:image/png") >= 3
    before = {path: path.stat().st_mtime_ns for path in layout.openset.rglob("*") if path.is_file()}
    run_openset(runs)
    assert before == {path: path.stat().st_mtime_ns for path in layout.openset.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("openset.detectors=[nsd,vmi]", "vim"),
        ("openset.neighbours=0", "openset.neighbours"),
        ("evaluation.variants=[clean]", "evaluation.variants"),
        ("openset.eer_point=middle", "crossing"),
    ],
)
def test_wrong_settings_are_named(word, message):
    with pytest.raises(UserError, match=message):
        load_settings([word])
