"""What choosing added: errors against a plain loop, intervals that hold the truth, ranks against SciPy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from backtester.statistics.choosing import BLOCK, FEWEST_STRETCHES, added, mean_errors, rank_correlation
from features.array_types import FloatArray

SERIES = arrays(np.float64, st.integers(FEWEST_STRETCHES, 40), elements=st.floats(-5.0, 5.0, width=32))


def newey_west(values: FloatArray) -> float:
    """Return the error by the definition, one product after the other; never below that of independent values."""
    count, mean = len(values), sum(values) / len(values)
    covariances = [
        sum((values[t] - mean) * (values[t - lag] - mean) for t in range(lag, count)) / count
        for lag in range(BLOCK + 1)
    ]
    weighted = sum(2 * (1 - lag / (BLOCK + 1)) * covariances[lag] for lag in range(1, BLOCK + 1))
    return math.sqrt(max(covariances[0] + weighted, covariances[0]) / (count - 1))


@given(SERIES)
def test_the_error_is_that_of_a_plain_loop(values: FloatArray) -> None:
    assert float(mean_errors(values[None, :])[0]) == pytest.approx(newey_west(values), rel=1e-9, abs=1e-9)


@settings(max_examples=20)
@given(SERIES.filter(lambda values: values.std() > 0.1), st.floats(-3.0, 3.0), st.floats(0.1, 10.0))
def test_an_interval_moves_and_grows_with_its_series(values: FloatArray, shift: float, factor: float) -> None:
    one, other = added(values, seed=3), added(factor * values + shift, seed=3)
    assert one.low is not None
    assert one.high is not None
    assert one.mean is not None
    assert one.low < one.mean < one.high
    assert other.low == pytest.approx(factor * one.low + shift, rel=1e-6, abs=1e-6)
    assert other.high == pytest.approx(factor * one.high + shift, rel=1e-6, abs=1e-6)


def test_intervals_hold_the_truth_and_probabilities_are_small_as_often_as_they_say() -> None:
    rng = np.random.default_rng(11)
    found = [added(rng.standard_t(4, 26), seed=number) for number in range(120)]
    held = sum(each.low <= 0.0 <= each.high for each in found if each.low is not None and each.high is not None)
    small = sum(each.p_value < 0.05 for each in found if each.p_value is not None)
    assert held >= 0.9 * len(found)
    assert small <= 0.08 * len(found)


def test_something_that_was_added_is_found() -> None:
    rng = np.random.default_rng(12)
    found = [added(rng.normal(0.8, 1.0, 26), seed=number) for number in range(60)]
    assert sum(each.low is not None and each.low > 0.0 for each in found) >= 50


def test_few_stretches_have_a_mean_and_nothing_else() -> None:
    few = added(np.arange(FEWEST_STRETCHES - 1.0), seed=1)
    assert few.mean == (FEWEST_STRETCHES - 2) / 2
    assert (few.error, few.low, few.high, few.p_value) == (None, None, None, None)
    assert added(np.empty(0), seed=1) == (0, None, None, None, None, None)
    assert added(np.full(20, 0.3), seed=1).error is None


def test_the_same_seed_gives_the_same_interval_and_unknown_values_are_refused() -> None:
    values = np.random.default_rng(13).normal(size=30)
    assert added(values, seed=5) == added(values, seed=5)
    with pytest.raises(ValueError, match="1 of 2 differences are not finite"):
        added(np.array([0.1, np.nan]), seed=1)


def test_the_correlation_of_ranks_is_scipys_on_known_pairs() -> None:
    rng = np.random.default_rng(14)
    scores, results = rng.normal(size=20), rng.normal(size=20)
    expected = stats.spearmanr(scores[2:], results[2:]).statistic
    scores[0], results[1] = np.nan, np.nan
    assert rank_correlation(scores, results) == pytest.approx(expected)
    assert rank_correlation(np.arange(6.0), np.arange(6.0)) == pytest.approx(1.0)
    assert rank_correlation(np.arange(4.0), np.arange(4.0)) is None
    assert rank_correlation(np.ones(9), np.arange(9.0)) is None
