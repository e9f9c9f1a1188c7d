"""Training rows that are changed afresh in every epoch: what each change does, what it depends on, and that none is the default."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch

from sourcetracing.errors import UserError
from sourcetracing.features.rows import select_rows
from sourcetracing.runtime.seeding import rng
from sourcetracing.settings.training import Train
from sourcetracing.training.loop import train_run
from sourcetracing.training.perturbation import Perturbation, perturbed
from sourcetracing.training.runs import run_of, run_recipe
from tests.support.interrupted_training import CPU, weights_of
from tests.support.small_store import small_settings

F, T, FILTERS = 12, 100, 20


def row() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(5).normal(3, 2, size=(F, T))).float()


def changed(seed: int = 1, **rules) -> torch.Tensor:
    return Perturbation(Train(**rules), F, FILTERS)(row(), rng(seed))


def test_a_channel_is_one_vector_at_every_frame_and_has_the_strength_that_is_asked_for():
    offsets = np.stack([(changed(seed, channel_db=2.0) - row()).numpy() for seed in range(1500)])
    np.testing.assert_allclose(offsets, offsets[:, :, :1].repeat(T, axis=2), atol=1e-5)
    offsets = offsets[:, :, 0]
    spectra = scipy.fft.idct(np.pad(offsets, ((0, 0), (0, FILTERS - F))), norm="ortho")
    assert np.sqrt(np.mean(spectra.mean(axis=1) ** 2)) == pytest.approx(2.0, rel=0.1)  # the level, in dB
    np.testing.assert_allclose(offsets.std(axis=0), 2 * np.sqrt(FILTERS) / (1 + np.arange(F) / 4), rtol=0.1)


def test_masked_bands_stay_at_their_mean():
    square = Perturbation(Train(band_masks=1), FILTERS, FILTERS)  # as many coefficients as filters: the DCT can be undone
    before = torch.from_numpy(np.random.default_rng(5).normal(3, 2, size=(FILTERS, T))).float()
    for seed in range(20):
        spectra = [scipy.fft.idct(each.numpy(), axis=0, norm="ortho") for each in (before, square(before, rng(seed)))]
        is_flat = spectra[1].std(axis=1) < 1e-4
        assert is_flat.sum() <= 4 and np.abs(np.diff(is_flat.astype(int))).sum() <= 2
        np.testing.assert_allclose(spectra[1][is_flat], spectra[0][is_flat].mean(axis=1, keepdims=True).repeat(T, axis=1), atol=1e-4)
        np.testing.assert_allclose(spectra[1][~is_flat], spectra[0][~is_flat], atol=1e-4)
    assert any((square(before, rng(seed)) != before).any() for seed in range(5))


def test_masked_stretches_are_the_rows_mean():
    found, mean = changed(time_masks=3), row().mean(dim=1, keepdim=True)
    is_masked = (found - mean).abs().amax(dim=0) < 1e-5
    assert 0 < is_masked.sum() <= 30
    assert torch.equal(found[:, ~is_masked], row()[:, ~is_masked])


def test_a_stretch_is_cut_out():
    starts = set()
    for seed in range(50):
        found = changed(seed, crop_share=0.4)
        start = int((row()[0] == found[0, 0]).nonzero()[0])
        assert torch.equal(found, row()[:, start : start + 40])
        starts.add(start)
    assert min(starts) < 10 and max(starts) > 50


def test_it_depends_on_seed_epoch_and_row_alone(store, tmp_path):
    settings = small_settings(tmp_path, "train.channel_db=3", "train.time_masks=1", "train.languages=[en]")
    rows = select_rows(store, settings, "train", ["en"], CPU)
    together, _ = perturbed(rows, settings, 0).batch(np.array([4, 2, 7]))
    alone, labels = perturbed(rows, settings, 0).batch(np.array([7]))
    assert torch.equal(together[2:], alone) and labels == rows.labels[7]
    assert not torch.equal(perturbed(rows, settings, 1).batch(np.array([7]))[0], alone)


def test_without_settings_rows_are_themselves_and_runs_keep_their_names(store, tmp_path):
    settings = small_settings(tmp_path, "train.languages=[en]")
    rows = select_rows(store, settings, "train", ["en"], CPU)
    assert perturbed(rows, settings, 0) is rows
    assert not {"crop_share", "time_masks", "band_masks", "channel_db"} & set(run_recipe(settings)["train"])
    other = small_settings(tmp_path, "train.languages=[en]", "train.band_masks=1")
    assert run_recipe(other)["train"]["band_masks"] == 1
    assert run_of(other, "a").folder != run_of(settings, "a").folder


def test_a_run_learns_from_changed_rows(store, tmp_path):
    words = ["train.languages=[en]", "backend=delta_tdnn", "delta_tdnn.channels=4", "delta_tdnn.statistics=[log_std]", "train.mixup=none"]
    runs = [
        run_of(small_settings(tmp_path / name, *words, *more), store.folder.name)
        for name, more in (("plain", []), ("changed", ["train.crop_share=0.5"]), ("again", ["train.crop_share=0.5"]))
    ]
    for run in runs:
        train_run(run, store, CPU)
    plain, first, second = map(weights_of, runs)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(plain[name], first[name]) for name in plain)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["train.crop_share=0.5", "backend=aasist"], "train.crop_share=0.5: backend=aasist takes rows of one length only"),
        (["train.time_masks=1", "backend=statistics"], "backend=statistics has none"),
        (["train.channel_db=1", "frontend=ssl"], "reads them from LFCC alone"),
        (["train.time_masks=1", "frontend=ssl", "ssl.mode=finetune", "store.dtype=float32"], "stored rows of features x frames"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, words, complaint):
    with pytest.raises(UserError, match=complaint):
        small_settings(tmp_path, *words)
