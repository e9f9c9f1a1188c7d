"""From audio to verification figures on a very small corpus: what scripts 02, 04, 05 and 10 do, and a list of one's own."""

from __future__ import annotations

import pandas as pd
import pytest

from sourcetracing.errors import UserError
from sourcetracing.features.extracting import extract_features
from sourcetracing.layout import Layout
from sourcetracing.protocols.building import build_protocols
from sourcetracing.protocols.table import load_protocol
from sourcetracing.settings.reading import ConfigSources, load_settings, read_config
from sourcetracing.training.matrix import train_runs
from sourcetracing.training.runs import load_runs
from sourcetracing.verification.experiment import verify_runs
from tests.support.finished_street import write_audio


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> list[str]:
    root = tmp_path_factory.mktemp("verification-street")
    write_audio(root)
    paths = [f"paths.corpus={root}/corpus", f"paths.musan={root}/musan", f"paths.rirs={root}/rirs", f"paths.exp={root}/exp", "name=street"]
    corpus = ["corpus.reader=folder", "corpus.languages=[en,de]", "corpus.sources=[quiet,loud]", "corpus.unknown_sources=[all]"]
    sizes = ["audio.crop_seconds=0.4", "ecapa_tdnn.channels=8", "train.epochs=1", "evaluation.bootstrap_samples=20", "compute.workers=1"]
    return [*paths, *corpus, *sizes, "augment.variants=[original,noise]", "compute.device=cpu", "experiment.train_sets=[en+de]"]


@pytest.fixture(scope="module")
def config(words) -> ConfigSources:
    config = read_config(words)
    settings = config.resolve()
    build_protocols(settings)
    extract_features(settings, *load_protocol(settings, unknown=True))
    train_runs(load_runs(config))
    return config


@pytest.mark.slow
def test_the_whole_street(config, words, tmp_path):
    layout = Layout.of(config.resolve())
    text = verify_runs(load_runs(config))
    table = pd.read_csv(layout.verification_table)
    assert set(table["system"]) == {"lfcc_ecapa_tdnn", "stats_logreg"}
    assert "stats_logreg (floor)" in text and "no row of speakers" in text
    assert table.loc[table["condition"] == "all", "eer"].between(0, 1).all()
    counts = pd.read_csv(layout.trials("eval").with_name("eval_counts.csv")).set_index("condition")["trials"]
    assert counts.to_dict() == pd.read_csv(layout.trials("eval"))["condition"].value_counts().to_dict()
    before = {path: path.stat().st_mtime_ns for path in layout.verification.rglob("*") if path.is_file()}
    verify_runs(load_runs(config))
    assert before == {path: path.stat().st_mtime_ns for path in layout.verification.rglob("*") if path.is_file()}
    own = tmp_path / "own.csv"
    eval_ids = [utt_id for utt_id, split in pd.read_csv(layout.protocol).to_numpy() if split == "eval"]
    pairs = [(a, b, int(a.split("/")[1] == b.split("/")[1])) for a in eval_ids for b in eval_ids if a < b]
    pd.DataFrame(pairs, columns=["enrol", "test", "label"]).to_csv(own, index=False)
    verify_runs(load_runs(read_config([*words, f"verification.trials={own}"])))
    given = pd.read_csv(layout.verification_table).query("split == 'eval' and condition == 'all'")
    assert set(given["targets"]) == {sum(label for *_, label in pairs)}
    assert set(given["targets"] + given["nontargets"]) == {len(pairs)}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("verification.scoring=[cosin]", "cosine"),
        ("verification.scoring=[]", "verification.scoring"),
        ("verification.score_norm=z_norm", "as_norm"),
        ("verification.cohort_size=1", "verification.cohort_size"),
        ("verification.priors=[0]", "verification.priors"),
        ("verification.priors=[0.1,0.1]", "verification.priors"),
    ],
)
def test_wrong_settings_are_named(word, message):
    with pytest.raises(UserError, match=message):
        load_settings([word])
