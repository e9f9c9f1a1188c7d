"""Names of the overlays that a run was made with. What each does: tests/whole_pipeline/test_as_published.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sourcetracing.published.numbers import PAPER_SYSTEMS
from sourcetracing.settings.as_published import overlays, overlays_of
from sourcetracing.settings.reading import load_settings, read_config
from tests.support.overlays import ALL, FOLDER
from tests.support.places import ROOT


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("published_aasist", "system=lfcc_aasist aasist.random_pos_s=true"),
        ("published_ecapa_tdnn", "system=lfcc_ecapa_tdnn ecapa_tdnn.logit_bn=true"),
        ("published_crops", "audio.crop_eval=random"),
        ("published_split", "split.stratify=false"),
        ("published_selection", "train.select=dev_loss"),
        ("published_metrics", "evaluation.zero_division=1.0"),
        ("published_batches", "train.batch_size=4"),
        ("published_clean_ssl", "system=xlsr_aasist train.variants=[original]"),
        (
            "published_ssl",
            "system=w2v2_en_self_aasist ssl.normalize=false finetune.lr=5e-4 finetune.warmup_epochs=0 finetune.freeze_cnn=false "
            "finetune.regularization=checkpoint",
        ),
        ("published_ood", "openset.inverted_nsd=true openset.padded_batch=128 openset.eer_point=nearest"),
        ("published_speakers", "speakers.embedder=ecapa2 speakers.k=18 speakers.thresholds=published"),
        ("published_duplicates", "corpus.reader=mlaad_source_tracing mlaad.keep_duplicates=true"),
        ("published_duplicates", "corpus.reader=mcl_mlaad mlaad.keep_duplicates=true detection.keep_duplicates=true"),
        ("", "corpus.reader=mlaad_source_tracing detection.keep_duplicates=true"),
        ("", "corpus.reader=demo mlaad.keep_duplicates=true"),  # it has no lists
        ("", "logreg.layer=9 logreg.solver=published detection.keep_duplicates=true"),
        ("", "system=lfcc_resnet18 aasist.random_pos_s=true"),
        ("", "system=lfcc_aasist train.variants=[original]"),
        ("", "compute.precision=float32 store.dtype=float32"),
        (
            "",
            "system=xlsr_aasist ssl.normalize=false finetune.lr=5e-4 finetune.warmup_epochs=0 finetune.freeze_cnn=false "
            "finetune.regularization=checkpoint",
        ),  # the published path of XLSR-AASIST has no SpecAugment
    ],
)
def test_runs_are_named_by_what_they_do_not_by_the_file(name, words):
    assert overlays_of(load_settings(words.split())) == name


@pytest.mark.parametrize(
    "system", ["xlsr_aasist", "lfcc_aasist", "lfcc_ecapa_tdnn", "w2v2_base_aasist", "w2v2_base_ge2e", "w2v2_en_self_aasist"]
)
def test_everything_has_one_name(system):
    settings = load_settings([ALL, f"system={system}"])
    assert overlays_of(settings) == "as_published"
    assert overlays_of(replace(settings, audio=replace(settings.audio, crop_eval="head"))) != "as_published"


def lines_of(piece: dict, *above: str) -> dict[tuple[str, ...], object]:
    """`systems.x.ssl.normalize` as a tuple -> value."""
    found: dict[tuple[str, ...], object] = {}
    for key, value in piece.items():
        found |= lines_of(value, *above, key) if isinstance(value, dict) else {(*above, key): value}
    return found


@pytest.mark.parametrize("name", sorted(overlays().keys() - {"as_published", "published_batches"}))
def test_everything_says_what_each_overlay_says(name):
    """YAML files cannot share lines, so those of this overlay stand in two files."""
    assert lines_of(overlays()[name]).items() <= lines_of(overlays()["as_published"]).items()


def test_every_overlay_has_its_test():
    whole, detection = (ROOT / "tests" / folder / "test_as_published.py" for folder in ("whole_pipeline", "detection/experiments"))
    files = [whole, detection]
    here = [file.read_text(encoding="utf-8") for file in files]
    tested = {name for name in overlays() if any(f'alone_and_in_all("{name}"' in text for text in here)}
    assert tested == set(overlays()) - {"as_published"}


def compliance_rows() -> list[tuple[str, list[str]]]:
    """(table and row, words of its config) of the table in docs/fidelity.md."""
    text = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8").split("## Which config brings back")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")][1:]
    short = {"A": ALL, "B": f"{FOLDER}/published_batches.yaml"}
    return [
        (f"{table}, {row}", [short.get(word, word) for word in config.split("`")[1].split()])
        for table, row, config, _ in rows
        if config.startswith("`configs/") and " " in config.split("`")[1]
    ]


def test_the_compliance_table_has_every_table_of_the_paper_and_words_that_are_settings():
    rows = compliance_rows()
    assert len(rows) > 14
    text = "\n".join(name for name, _ in rows)
    systems = {*PAPER_SYSTEMS.values()}
    assert all(f"Table 4, {system.replace(' (', '(')}" in text for system in systems)
    for name, words in rows:
        settings = load_settings(words)
        assert settings.pruning.add_centroid and settings.metric_learning.clamp_cosines, name  # as_published.yaml is in it
        for system in settings.experiment.systems:
            batches = "+published_batches" if any("published_batches" in word for word in words) else ""
            assert overlays_of(read_config(words).resolve(system=system)) == f"as_published{batches}", name
