"""Names of the overlays that a run was made with. What each does: tests/whole_pipeline/test_as_published.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sourcetracing.settings.as_published import overlays, overlays_of
from sourcetracing.settings.reading import load_settings
from tests.support.overlays import ALL
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


def test_every_overlay_has_its_test():
    whole, detection = (ROOT / "tests" / folder / "test_as_published.py" for folder in ("whole_pipeline", "detection/experiments"))
    files = [whole, detection]
    here = [file.read_text(encoding="utf-8") for file in files]
    tested = {name for name in overlays() if any(f'alone_and_in_all("{name}"' in text for text in here)}
    assert tested == set(overlays()) - {"as_published"}
