"""Draws are those of stored results, and say what they should of series whose truth is known."""

import numpy as np
import pytest

from backtester.statistics import bootstrap
from backtester.statistics.drift import compare


def test_a_comparison_of_hourly_series_is_as_it_was_stored() -> None:
    rng = np.random.default_rng(1)
    expected, forward = rng.normal(1e-4, 1e-3, 672).cumsum() * 0.01, rng.normal(0, 1e-3, 200)
    found = compare(expected, forward, seed=3)
    assert found is not None
    assert found.p == 0.0354
    assert found.low == pytest.approx(2.1420880401864362e-05, rel=1e-12)
    assert found.high == pytest.approx(0.00039978037649087924, rel=1e-12)


def test_clusters_are_drawn_whole() -> None:
    values = np.array([1.0, 1.0, 1.0, 4.0])
    clusters = np.array([0, 0, 0, 1])
    means = bootstrap.clustered_means(values, clusters, seed=0, draws=500)
    assert set(np.unique(means)) == {1.0, (3 * 1.0 + 4.0) / 4, 4.0}
    assert means.tolist() == bootstrap.clustered_means(values, clusters, seed=0, draws=500).tolist()


def test_blocks_go_around_the_circle() -> None:
    series = np.arange(6.0)
    blocks = bootstrap.circular_blocks(series, 3)
    expected = [np.take(series, range(first, first + 3), mode="wrap").mean() - series.mean() for first in range(6)]
    np.testing.assert_allclose(blocks, expected, atol=1e-12)
    means = bootstrap.means_of_blocks(blocks, 2, draws=300, rng=np.random.default_rng(0))
    sums = {round((one + other) / 2, 9) for one in blocks for other in blocks}
    assert {round(value, 9) for value in means} == sums


def test_the_spread_of_draws_is_that_of_the_mean() -> None:
    # of an AR(1) with a half-life of about two hours, 60 days long
    rng = np.random.default_rng(5)
    noise = rng.normal(size=1440)
    series = np.empty(1440)
    series[0] = noise[0]
    for place in range(1, 1440):
        series[place] = 0.7 * series[place - 1] + noise[place]
    true = 1 / (1 - 0.7) / np.sqrt(1440)
    away, variance = bootstrap.circular_means(series, 24, draws=2000, rng=np.random.default_rng(0))
    blocks = bootstrap.circular_blocks(series, 24)
    means = bootstrap.means_of_blocks(blocks, 60, draws=2000, rng=np.random.default_rng(0))
    spreads = [away.std(), np.sqrt(variance.mean()), means.std()]
    np.testing.assert_allclose(spreads, true, rtol=0.25)


def test_the_interval_holds_its_share() -> None:
    assert bootstrap.interval(np.arange(101.0), 0.9) == pytest.approx((5.0, 95.0))
