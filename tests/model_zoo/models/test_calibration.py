"""Calibration says what happened, is silent where the scores say nothing, and is drawn towards a coin."""

import numpy as np
import pytest

from model_zoo.models.calibration import LEAST_SLOPE, SLOPE_PRIOR, base_rate, fit_calibration


def drawn(slope: float, rows: int = 20_000, intercept: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    score = rng.normal(0, 1, rows)
    return score, rng.random(rows) < 1 / (1 + np.exp(-(slope * score + intercept)))


@pytest.mark.parametrize("slope", [0.2, 1.0, 2.0])
def test_the_slope_is_found(slope: float) -> None:
    score, up = drawn(slope)
    assert fit_calibration(score, up).slope == pytest.approx(slope, abs=0.06)
    said = fit_calibration(score, up).apply(score)
    for low, high in [(0.2, 0.4), (0.4, 0.6), (0.6, 0.8)]:
        inside = (said >= low) & (said < high)
        assert up[inside].mean() == pytest.approx(said[inside].mean(), abs=0.03)


def test_a_model_that_is_wrong_is_nearly_silenced_not_turned_round() -> None:
    score, up = drawn(-1.0)
    found = fit_calibration(score, up)
    assert found.slope == LEAST_SLOPE
    assert np.ptp(found.apply(score)) < 0.12


def test_overlapping_rows_count_less() -> None:
    score, up = drawn(1.5, 600)
    assert SLOPE_PRIOR < fit_calibration(score, up, overlap=60).slope < fit_calibration(score, up).slope
    assert fit_calibration(score[:0], up[:0]).slope == pytest.approx(SLOPE_PRIOR)


def test_the_base_rate_of_one_week_is_drawn_towards_a_half() -> None:
    up = np.arange(500) < 300
    assert base_rate(up) == pytest.approx(0.505, abs=0.002)
    assert base_rate(np.tile(up, 12), overlap=12) == pytest.approx(base_rate(up))
    assert base_rate(np.tile(up, 1_000)) == pytest.approx(0.6, abs=0.003)
