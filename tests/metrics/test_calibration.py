"""Temperature, expected calibration error and reliability: by hand, and by SciPy over a grid."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from sourcetracing.errors import UserError
from sourcetracing.metrics.calibration import Calibration, calibration_error, confidence_bins, fit_temperature, reliability


def rows_that_claim(confidence: float, num_right: int, num_wrong: int, num_classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, C) of one confidence for class 0, and labels."""
    rest = (1 - confidence) / (num_classes - 1)
    probabilities = np.full((num_right + num_wrong, num_classes), rest)
    probabilities[:, 0] = confidence
    return probabilities, np.repeat([0, 1], [num_right, num_wrong])


def test_bins_have_their_rows_their_mean_confidence_and_their_accuracy():
    parts = [rows_that_claim(0.62, 3, 1), rows_that_claim(0.68, 1, 1), rows_that_claim(0.9, 2, 0), rows_that_claim(1.0, 1, 1)]
    probabilities, labels = (np.concatenate([part[number] for part in parts]) for number in (0, 1))
    bins = confidence_bins(probabilities, labels, 10)
    assert bins["low"].tolist() == pytest.approx([0.6, 0.9])  # 1.0 belongs to the last bin
    assert bins["rows"].tolist() == [6, 4]
    assert bins["confidence"].tolist() == pytest.approx([(4 * 0.62 + 2 * 0.68) / 6, (2 * 0.9 + 2 * 1.0) / 4])
    assert bins["accuracy"].tolist() == pytest.approx([4 / 6, 3 / 4])
    by_hand = (6 * abs(4 / 6 - 0.64) + 4 * abs(0.75 - 0.95)) / 10
    assert calibration_error(probabilities, labels, 10) == pytest.approx(by_hand)
    assert len(confidence_bins(probabilities, labels, 100)) == 4


def test_errors_of_bins_do_not_cancel():
    parts = [rows_that_claim(0.65, 10, 0), rows_that_claim(0.95, 6, 4)]  # one claims 35 points too little, one 35 too much
    probabilities, labels = (np.concatenate([part[number] for part in parts]) for number in (0, 1))
    assert calibration_error(probabilities, labels, 10) == pytest.approx(0.35)


def test_reliability_by_hand():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.5, 0.4, 0.1], [0.25, 0.25, 0.5]])
    found = reliability(np.log(probabilities), np.array([0, 1, 1, 2]), 10)
    assert (found.rows, found.accuracy) == (4, 0.75)
    assert found.nll == pytest.approx(-np.log([0.7, 0.6, 0.4, 0.5]).mean())
    # bins: 0.5 to 0.6 holds rows 3 (wrong) and 4 (right); 0.6 to 0.7 row 2; 0.7 to 0.8 row 1
    assert found.ece == pytest.approx((2 * abs(0.5 - 0.5) + abs(1 - 0.6) + abs(1 - 0.7)) / 4)


@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("stretch", [0.3, 1.0, 3.0])
def test_the_temperature_is_the_likeliest_of_a_fine_grid(num_classes, stretch):
    generator = np.random.default_rng(3)
    plain = generator.normal(0, 2, (400, num_classes))
    labels = np.array([generator.choice(num_classes, p=row) for row in softmax(plain, axis=1)])
    found = fit_temperature((stretch * plain).astype(np.float32), labels)
    grid = np.exp(np.linspace(np.log(found / 1.5), np.log(found * 1.5), 401))
    doubt = 1 / (len(labels) + 2)
    targets = np.full((len(labels), num_classes), doubt / (num_classes - 1))
    targets[np.arange(len(labels)), labels] = 1 - doubt
    losses = [-(targets * np.log(softmax(stretch * plain / temperature, axis=1))).sum(axis=1).mean() for temperature in grid]
    assert found == pytest.approx(grid[np.argmin(losses)], rel=3e-3)
    assert found == pytest.approx(stretch, rel=0.25)  # the logits were stretched by that much


def test_rows_that_are_all_right_do_not_end_in_certainty():
    logits = np.tile([[2.0, 0.0]], (8, 1))
    found = fit_temperature(logits, np.zeros(8, dtype=int))
    assert softmax(logits[0] / found)[0] == pytest.approx(9 / 10, abs=1e-4)  # (N + 1) / (N + 2)


def test_without_rows_there_is_no_temperature():
    with pytest.raises(UserError, match="no rows"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=int))


def test_a_calibration_divides_by_its_temperature():
    calibration = Calibration("digest", 2.0, ["en"], 10, {}, {})
    logits = np.array([[4.0, 0.0, -2.0]], dtype=np.float32)
    np.testing.assert_allclose(np.exp(calibration.log_probabilities(logits)), softmax([[2.0, 0.0, -1.0]], axis=1), rtol=1e-12)
