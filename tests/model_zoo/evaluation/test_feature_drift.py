"""Inputs that have moved: the distance against plain arithmetic, how often it is wrong, how often it finds a shift."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest, norm

from backtester.statistics.drift import BLOCK, FALSE_DISCOVERY, DriftTest, decide
from calibration.run_input_drift import HISTORY, NAMES, STRICT, TRAIN, compared, inputs, p_values
from features.bars import TS
from model_zoo.evaluation.feature_drift import (
    LEAST_HISTORY,
    LEVELS,
    _autocorrelation,
    _hidden,
    _mean_variance,
    compare_inputs,
    levels_of,
    scores_of,
)
from tests.model_zoo.conftest import T


def values(seed: int, decay: float = 0.5, days: int = 8) -> np.ndarray:
    return inputs(np.random.default_rng(seed), HISTORY + days * BLOCK, decay)


def test_the_distance_is_that_of_the_shares_below_the_training_deciles() -> None:
    given = values(1)
    given[HISTORY:, 3] += 1.0
    found = compared(given, 1)
    assert found is not None
    assert found.name == NAMES[3]
    train, forward = given[HISTORY - TRAIN : HISTORY, 3], given[HISTORY:, 3]
    levels = np.quantile(train, LEVELS)
    plain = [np.mean(forward <= level) - np.mean(train <= level) for level in levels]
    assert found.forward == pytest.approx(np.sqrt(np.mean(np.square(plain))))
    assert found.difference == pytest.approx(found.forward - found.expected)
    assert found.low < found.difference < found.high
    assert found.low > 0.0
    normal = norm.ppf(LEVELS)
    assert found.forward == pytest.approx(np.sqrt(np.mean((norm.cdf(normal - 1.0) - np.array(LEVELS)) ** 2)), abs=0.08)
    assert compared(given, 1) == found
    assert compared(given, 2) != found


@pytest.mark.parametrize(
    ("decay", "noise", "tests"),
    [
        (0.8, 0.0, 60),
        pytest.param(0.0, 0.0, 200, marks=pytest.mark.slow),
        pytest.param(0.9, 0.5, 200, marks=pytest.mark.slow),
        pytest.param(0.95, 0.0, 200, marks=pytest.mark.slow),
    ],
)
def test_still_inputs_raise_no_more_false_alarms_than_named(decay: float, noise: float, tests: int) -> None:
    found = p_values(tests, decay, noise=noise)
    wrong = int((found <= FALSE_DISCOVERY).sum())
    assert binomtest(wrong, len(found), FALSE_DISCOVERY, alternative="greater").pvalue > 0.01


def test_a_shift_of_one_standard_deviation_is_found() -> None:
    assert (p_values(30, 0.5, shift=1.0) <= STRICT).mean() >= 0.9
    assert (p_values(30, 0.7, days=14, shift=1.0) <= FALSE_DISCOVERY).mean() >= 0.8


def test_what_it_could_have_found_is_found_about_as_often_as_it_says() -> None:
    given = values(4, 0.7)
    found = compared(given, 4, draws=1_999)
    assert found is not None
    few, many = (found.minimum_detectable(tests) for tests in (1, 50))
    assert 0.0 < few < many < 1.0
    # one standard deviation is a distance of 0.27: near what 8 days at this decay find in four of five cases
    assert few + found.expected == pytest.approx(0.27, abs=0.09)


def test_a_night_judges_it_beside_the_others() -> None:
    still, moved = values(5), values(5)
    moved[HISTORY:, 0] += 2.0
    tests = [DriftTest(compared(each, 1), 8.0, None) for each in (still, moved)]
    verdicts = decide([*tests, DriftTest(None, 8.0, None, "too young")])
    assert [each.decision for each in verdicts] == ["steady", "drift", "insufficient"]
    assert verdicts[2].reason == "insufficient: too young"


def test_short_histories_and_inputs_that_never_vary_are_not_judged() -> None:
    given = values(6)
    assert compared(given, 1, LEAST_HISTORY * BLOCK - 1) is None
    scores = np.ones((HISTORY, 1, len(LEVELS)))
    assert compare_inputs(["same"], scores, scores[:TRAIN], scores[:TRAIN], seed=1) is None
    unknown = np.full_like(scores, np.nan)
    assert compare_inputs(["none"], unknown, unknown[:TRAIN], unknown[:TRAIN], seed=1) is None


def test_an_input_that_is_hardly_known_does_not_hide_the_others() -> None:
    given = values(7)
    given[HISTORY:, 2] += 2.0
    levels = np.quantile(given[HISTORY - TRAIN : HISTORY], LEVELS, axis=0).T
    scores = (given[:, :, np.newaxis] <= levels).astype(np.float64)
    scores[:, 0] = np.nan
    scores[::5, 2] = np.nan
    found = compare_inputs(NAMES, scores[:HISTORY], scores[HISTORY - TRAIN : HISTORY], scores[HISTORY:], seed=1)
    assert found is not None
    assert found.name == NAMES[2]
    assert found.p < STRICT


def test_the_variance_of_a_mean_is_that_of_the_autocorrelation() -> None:
    for share, decay in ((1.0, 0.8), (0.5, 0.95)):
        lags = np.abs(np.subtract.outer(np.arange(48), np.arange(48)))
        covariance = np.where(lags == 0, 1.0, share * decay**lags)
        assert _mean_variance(share, decay, 48) == pytest.approx(covariance.mean())
    assert _hidden(0.0, 0.0, 168, 672) == pytest.approx(1.0 / (1.0 - BLOCK / 672))


def test_the_autocorrelation_is_found_through_noise_and_the_hours_of_the_day() -> None:
    fitted = []
    for seed in range(10):
        given = inputs(np.random.default_rng(seed), HISTORY, 0.9)[:, :1]
        given = given + 2.0 * np.sin(np.arange(HISTORY) * 2 * np.pi / BLOCK)[:, np.newaxis]
        fitted.append(_autocorrelation(given))
    share, decay = np.mean(fitted, axis=0)
    assert share == pytest.approx(1.0, abs=0.1)
    assert decay == pytest.approx(0.9, abs=0.05)


def test_scores_are_shares_over_all_sound_bars_of_an_hour() -> None:
    hour = T.replace(hour=3)
    frame = pl.DataFrame(
        {
            "ts": [hour, hour + timedelta(minutes=5), hour + timedelta(minutes=10), hour + timedelta(hours=2)],
            "flag": [None, None, "gap", None],
            "a": [1.0, 3.0, 9.0, 2.0],
            "b": [True, False, True, None],
        }
    ).with_columns(pl.col("ts").cast(TS))
    levels = levels_of(frame, ["a", "b"])
    assert levels[0] == pytest.approx(np.quantile([1.0, 2.0, 3.0], LEVELS))
    assert levels[1] == pytest.approx(np.quantile([0.0, 1.0], LEVELS))
    scores = scores_of(frame, ["a", "b"], np.array([[2.0] * 9, [0.0] * 9]), hour, 3)
    assert scores.shape == (3, 2, 9)
    assert scores[0, :, 0].tolist() == [0.5, 0.5]
    assert np.isnan(scores[1]).all()
    assert scores[2, 0, 0] == 1.0
    assert np.isnan(scores[2, 1]).all()
