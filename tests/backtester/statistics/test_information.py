"""Rank correlations and their errors against SciPy, statsmodels and plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.regression.linear_model import OLS

from backtester.statistics.information import (
    FEWEST_TIMES,
    autocorrelations,
    correlation_in_time,
    estimate,
    influence_in_time,
    lags_of,
    quantile_shares,
    rank_correlations,
)
from features.array_types import FloatArray

ROW = arrays(np.float64, 9, elements=st.one_of(st.integers(-3, 3).map(float), st.just(np.nan)))


def sticky(seed: int, count: int, memory: float = 0.9) -> FloatArray:
    noise = np.random.default_rng(seed).normal(0.1, 1.0, count)
    series = noise.copy()
    for place in range(1, count):
        series[place] += memory * series[place - 1]
    return series


@given(ROW, ROW)
def test_each_row_has_the_correlation_of_scipy(one: FloatArray, other: FloatArray) -> None:
    (found,) = rank_correlations(one[None, :], other[None, :], fewest=3)
    known = ~(np.isnan(one) | np.isnan(other))
    x, y = one[known], other[known]
    if len(x) < 3 or np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize("horizon", [1, 24])
def test_the_error_of_a_mean_is_that_of_statsmodels(horizon: int) -> None:
    series = sticky(1, 800)
    whole = np.insert(series, [100, 300], np.nan)
    found = estimate(whole, horizon)
    kinds = {"maxlags": lags_of(horizon, len(series)), "use_correction": True}
    fitted = OLS(series, np.ones(len(series))).fit(cov_type="HAC", cov_kwds=kinds)
    assert (found.known, found.value) == (800, pytest.approx(fitted.params[0], rel=1e-12))
    assert found.error == pytest.approx(fitted.bse[0], rel=1e-10)
    assert found.t == pytest.approx(fitted.tvalues[0], rel=1e-10)


def test_the_error_in_time_is_that_of_a_slope_of_statsmodels() -> None:
    returns = sticky(3, 600)
    values = np.round(0.3 * returns + sticky(2, 600), 1)
    values[[5, 6, 400]] = np.nan
    known = ~np.isnan(values)
    x, y = (stats.rankdata(each[known]) for each in (values, returns))
    x, y = ((each - each.mean()) / each.std() for each in (x, y))
    lags = lags_of(12, len(x))
    fitted = OLS(y, np.column_stack([np.ones(len(x)), x])).fit(
        cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False}
    )
    found = correlation_in_time(values[:, None], returns[:, None], 12)
    assert found.value == pytest.approx(stats.spearmanr(values[known], returns[known]).statistic, abs=1e-12)
    assert found.error == pytest.approx(fitted.bse[1] * math.sqrt(len(x) / (len(x) - 1)), rel=1e-10)


def test_symbols_that_move_together_are_no_more_evidence_than_one() -> None:
    one = np.column_stack([sticky(1, 400), sticky(2, 400)])
    alone = correlation_in_time(one[:, :1], one[:, 1:], 4)
    same = correlation_in_time(np.repeat(one[:, :1], 5, axis=1), np.repeat(one[:, 1:], 5, axis=1), 4)
    assert same == pytest.approx(alone, rel=1e-12)
    # a symbol known for half of the time alone says what it says on that half
    half = one.copy()
    half[:200] = np.nan
    part = correlation_in_time(np.column_stack([half[:, 0]]), one[:, 1:], 4)
    assert part == pytest.approx(correlation_in_time(one[200:, :1], one[200:, 1:], 4), rel=1e-12)


def test_few_times_and_constants_have_no_error() -> None:
    assert estimate(np.full(5, np.nan)) == (0, None, None)
    assert estimate(np.arange(FEWEST_TIMES - 1.0)).error is None
    assert estimate(np.full(100, 0.5)).t is None
    assert influence_in_time(np.ones(100), np.arange(100.0)) is None


@given(ROW, st.integers(2, 5))
def test_shares_of_quantiles_are_those_of_a_plain_loop(row: FloatArray, quantiles: int) -> None:
    found = quantile_shares(row[None, :], quantiles)[:, 0]
    known = sorted(value for value in row if not np.isnan(value))
    for place, value in enumerate(row):
        expected = [0.0] * quantiles
        if not np.isnan(value):
            same = [at for at, other in enumerate(known) if other == value]
            for at in same:  # a place of the order belongs to the quantiles that it lies in, shared by equal values
                for quantile in range(quantiles):
                    low, high = len(known) * quantile / quantiles, len(known) * (quantile + 1) / quantiles
                    expected[quantile] += max(0.0, min(at + 1, high) - max(at, low)) / len(same)
        assert found[:, place].tolist() == pytest.approx(expected, abs=1e-12)
    assert found.sum(axis=1).tolist() == pytest.approx([len(known) / quantiles] * quantiles)


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_autocorrelations_are_those_of_pairs(seed: int) -> None:
    values = np.column_stack([sticky(seed, 120), np.full(120, 0.1), sticky(seed + 1, 120, 0.0)])
    values[np.random.default_rng(seed).random(values.shape) < 0.1] = np.nan
    found = autocorrelations(values, (1, 7, 110))
    assert np.isnan(found[:, 1]).all(), "a constant has none"
    assert np.isnan(found[2]).all(), "nor have ten pairs"
    for row, lag in enumerate((1, 7)):
        for column in (0, 2):
            now, before = values[lag:, column], values[:-lag, column]
            known = ~(np.isnan(now) | np.isnan(before))
            assert found[row, column] == pytest.approx(np.corrcoef(now[known], before[known])[0, 1], abs=1e-12)
