"""Residual spectra against scipy, fingerprints against numpy and scikit-learn; a weak pattern at high frequencies is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import signal
from sklearn.covariance import EmpiricalCovariance

from sourcetracing.models.backends.fingerprints import CORRELATION_LOGIT, FingerprintBackEnd
from sourcetracing.models.backends.statistics import ABSENT_MARGIN
from sourcetracing.models.frontends.residual import ResidualFrontEnd

RATE = 16000


def voiced(num_rows: int, seed: int, num_samples: int = 4000) -> np.ndarray:
    """(rows, samples): a buzz below 3 kHz with the slope of a voice, of random pitch and level, with faint noise."""
    generator, times = np.random.default_rng(seed), np.arange(num_samples) / RATE
    rows = []
    for _ in range(num_rows):
        partials = np.arange(1, 30) * generator.uniform(90, 250)
        partials = partials[partials < 3000]
        buzz = sum(np.sin(2 * np.pi * f * times + generator.uniform(0, 6)) / (1 + (f / 400) ** 2) for f in partials)
        rows.append(generator.uniform(0.05, 0.3) * buzz / np.abs(buzz).max() + 1e-3 * generator.normal(size=num_samples))
    return np.stack(rows).astype(np.float32)


def by_scipy(x: np.ndarray, spectrum: str, hop: int, taps: int = 257, n_fft: int = 128) -> np.ndarray:
    """The residual of one waveform (samples,) in double precision."""
    beta = signal.kaiser_beta(80.0)
    low = np.convolve(x.astype(np.float64), signal.firwin(taps, 1000, window=("kaiser", beta), fs=RATE), mode="valid")
    x = x[taps // 2 : len(x) - taps // 2].astype(np.float64)

    def level(wave: np.ndarray) -> np.ndarray:
        frames = np.lib.stride_tricks.sliding_window_view(wave, n_fft)[::hop] * signal.get_window("hann", n_fft)
        return (10 * np.log10(np.abs(np.fft.rfft(frames)) ** 2 + 1e-10)).mean(axis=0)

    return level(x - low) if spectrum == "residual" else level(x) - level(low)


@pytest.mark.parametrize("spectrum", ["difference", "residual"])
@pytest.mark.parametrize("hop", [2, 7])
def test_it_is_scipy_s_filter_and_spectrum(spectrum, hop):
    waveforms = voiced(3, seed=1, num_samples=2001)
    waveforms[2] = 0  # digital silence lies at the floor
    found = ResidualFrontEnd(hop_length=hop, spectrum=spectrum)(torch.from_numpy(waveforms))
    assert found.shape == (3, 65, 1)
    expected = np.stack([by_scipy(row, spectrum, hop) for row in waveforms])
    np.testing.assert_allclose(found[..., 0], expected, atol=0.02)
    assert np.ptp(expected[0]) > 10


def test_the_filter_keeps_what_is_below_and_takes_what_is_above():
    response = np.abs(np.fft.rfft(ResidualFrontEnd().taps.numpy().ravel().astype(np.float64), 16000))
    np.testing.assert_allclose(response[:800], 1, atol=1e-3)
    assert response[1000] == pytest.approx(0.5, abs=1e-3)
    assert response[1250:].max() < 1.2e-4  # 80 dB, with the rounding of float32


def test_rows_do_not_depend_on_their_neighbours_and_short_ones_are_refused():
    front_end = ResidualFrontEnd(hop_length=16)
    waveforms = torch.from_numpy(voiced(3, seed=2, num_samples=2000))
    torch.testing.assert_close(front_end(waveforms)[1:2], front_end(waveforms[1:2]), rtol=0, atol=0)
    torch.testing.assert_close(front_end.of_rows(waveforms), front_end(waveforms), rtol=0, atol=0.01)
    assert front_end(torch.randn(1, 384)).isfinite().all()
    for wrong in (torch.randn(1, 383), torch.randn(1, 1, 2000)):
        with pytest.raises(ValueError, match="at least 384 samples"):
            front_end(wrong)
    with pytest.raises(ValueError, match="'quotient' is neither"):
        ResidualFrontEnd(spectrum="quotient")


def clouds(num_classes: int, rows_per_class: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N, width) float32, each class with its own mean and its own covariance; labels (N,)."""
    generator = np.random.default_rng(seed)
    mixing, means = np.random.default_rng(0).normal(size=(num_classes, width, width)), 3 * np.random.default_rng(1).normal(size=(9, width))
    labels = np.repeat(np.arange(num_classes), rows_per_class)
    rows = np.einsum("nw,nwv->nv", generator.normal(size=(len(labels), width)), mixing[labels]) + means[labels] + 40
    return rows.astype(np.float32), labels


def scored(model: FingerprintBackEnd, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return tuple(made.numpy() for made in model(torch.from_numpy(rows).unsqueeze(-1)))


def test_mahalanobis_is_scikit_learn_s_for_each_source():
    (train, labels), (test, _) = (clouds(3, 60, 9, seed) for seed in (1, 2))
    model = FingerprintBackEnd(9, 3)
    model.fit(train, labels)
    embedding, logits = scored(model, test)
    for number in range(3):
        covariance = EmpiricalCovariance().fit(train[labels == number].astype(np.float64))  # divides by n, ours by n - 1
        np.testing.assert_allclose(-logits[:, number], np.sqrt(covariance.mahalanobis(test) * 59 / 60), rtol=2e-4)
    np.testing.assert_allclose(embedding, test - train.mean(axis=0, dtype=np.float64), atol=1e-4)


def test_correlation_is_numpy_s():
    (train, labels), (test, _) = (clouds(4, 5, 9, seed) for seed in (1, 2))
    model = FingerprintBackEnd(9, 4, score="correlation")
    model.fit(train, labels)
    means = np.stack([train[labels == number].mean(axis=0) for number in range(4)])
    expected = np.corrcoef(test, means)[: len(test), len(test) :]
    np.testing.assert_allclose(scored(model, test)[1], CORRELATION_LOGIT * expected, atol=1e-2)


def test_too_few_rows_for_a_covariance_name_the_other_score():
    rows, labels = clouds(2, 64, 65, seed=1)
    FingerprintBackEnd(65, 2).fit(rows, labels)  # 2 * 64 = 128, the samples of a transform
    with pytest.raises(ValueError, match="at least 64 training rows of each source, and one has 63; take fingerprints.score=correlation"):
        FingerprintBackEnd(65, 2).fit(rows[1:], labels[1:])
    FingerprintBackEnd(65, 2, score="correlation").fit(rows[1:], labels[1:])
    with pytest.raises(ValueError, match="'cosine' is neither"):
        FingerprintBackEnd(65, 2, score="cosine")


@pytest.mark.parametrize("score", ["mahalanobis", "correlation"])
def test_a_source_without_rows_never_wins_and_constant_features_are_no_obstacle(score):
    rows, labels = clouds(2, 20, 6, seed=1)
    rows[:, 2] = -3.0
    model = FingerprintBackEnd(6, 3, score=score)
    model.fit(rows, labels * 2)
    _, logits = scored(model, np.concatenate([rows, 1e3 * rows, np.zeros_like(rows)]))
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(logits[:, 1], logits[:, [0, 2]].min(axis=1) - ABSENT_MARGIN, rtol=1e-4)
    same = np.ones((18, 6), np.float32)
    model.fit(same, np.arange(18) % 3)
    assert all(np.isfinite(made).all() for made in scored(model, same))


@pytest.mark.parametrize("score", ["mahalanobis", "correlation"])
def test_two_sources_that_differ_in_a_weak_pattern_at_high_frequencies_are_told_apart(score):
    """The same voices and levels; one of the sources adds noise between 5 and 5.5 kHz, 30 dB below the quietest voice."""
    front_end, spectra = ResidualFrontEnd(hop_length=16), []
    band = signal.firwin(129, [5000, 5500], pass_zero=False, fs=RATE)
    for seed in (1, 2):
        waveforms, labels = voiced(2 * 140, seed), np.arange(2 * 140) % 2
        pattern = signal.lfilter(band, 1, np.random.default_rng(seed + 9).normal(size=waveforms.shape), axis=1)
        assert waveforms.std(axis=1).min() > 10**1.5 * (2e-3 * pattern).std()
        waveforms += (2e-3 * labels[:, None] * pattern).astype(np.float32)
        spectra.append(front_end(torch.from_numpy(waveforms)))
    model = FingerprintBackEnd(65, 2, score=score)
    model.fit(model.statistics(spectra[0]).numpy(), labels)
    assert (model(spectra[1])[1].argmax(dim=1).numpy() == labels).mean() > 0.95
    for spectrum in spectra:
        spectrum[:, 40:46] = spectrum[:, 48:54]  # without the band: chance
    model.fit(model.statistics(spectra[0]).numpy(), labels)
    assert (model(spectra[1])[1].argmax(dim=1).numpy() == labels).mean() < 0.65
