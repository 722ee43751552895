"""Kernels against the plain definition on every window, with unknown and equal values among them."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import kernels
from features.market import EPOCH, example_market

Window = Callable[[np.ndarray], float]


def rank(window: np.ndarray) -> float:
    return float(np.mean((window[:-1] < window[-1]) + 0.5 * (window[:-1] == window[-1])))


def slope(window: np.ndarray) -> float:
    return float(np.polyfit(np.arange(len(window)), window, 1)[0])


PLAIN: dict[str, tuple[Callable[..., np.ndarray], Window]] = {
    "sum": (kernels.moving_sum, np.sum),
    "average": (kernels.moving_average, np.mean),
    "deviation": (kernels.moving_deviation, np.std),
    "maximum": (kernels.moving_maximum, np.max),
    "minimum": (kernels.moving_minimum, np.min),
    "rank": (kernels.moving_rank, rank),
    "bars since maximum": (kernels.bars_since_maximum, lambda window: float(np.argmax(window[::-1]))),
    "weighted average": (kernels.weighted_average, lambda w: float(np.average(w, weights=np.arange(1, len(w) + 1)))),
    "slope": (kernels.regression_slope, slope),
    "absolute deviation": (kernels.mean_absolute_deviation, lambda w: float(np.mean(np.abs(w - w.mean())))),
}
BEARS_UNKNOWN = ["sum", "average", "deviation", "maximum", "minimum", "rank"]


def check(name: str, x: np.ndarray, n: int) -> None:
    kernel, plain = PLAIN[name]
    expected = np.full(len(x), np.nan)
    for i in range(n - 1, len(x)):
        window = x[i - n + 1 : i + 1]
        expected[i] = np.nan if np.isnan(window).any() else plain(window)
    np.testing.assert_allclose(kernel(x, n), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("n", [2, 7, 64, 300])
def test_equals_the_plain_definition_over_many_blocks(name: str, n: int) -> None:
    check(name, 100 + np.random.default_rng(n).normal(0, 1, 2600).cumsum(), n)


@pytest.mark.parametrize("name", BEARS_UNKNOWN)
@given(
    values=st.lists(st.sampled_from([1.0, 1.0, 1.0, 2.5, -3.0, float("nan")]), max_size=60),
    n=st.integers(2, 9),
)
@settings(max_examples=40)
def test_unknown_and_equal_values(name: str, values: list[float], n: int) -> None:
    check(name, np.array(values), n)


@pytest.mark.parametrize("name", BEARS_UNKNOWN)
def test_an_unknown_value_in_a_long_series_is_forgotten_after_its_window(name: str) -> None:
    x = np.random.default_rng(3).normal(0, 1, 3000)
    x[[0, 700, 701, 2047, 2999]] = np.nan
    check(name, x, 20)


def test_recursions_begin_anew_after_an_unknown_value() -> None:
    x = np.arange(1.0, 41.0)
    x[15] = np.nan
    for kernel in (kernels.exponential_average, kernels.wilder_average):
        after = kernel(x, 5)[16:]
        np.testing.assert_array_equal(after, kernel(x[16:].copy(), 5))


def test_rounding_does_not_pile_up() -> None:
    """A moment of enormous volume leaves no trace in the sums that follow."""
    x = np.random.default_rng(4).random(200_000)
    x[1000] = 1e15
    expected = np.convolve(x[-1000:], np.ones(20), "valid")
    np.testing.assert_allclose(kernels.moving_sum(x, 20)[-len(expected) :], expected, rtol=1e-12)


def test_noise_changes_all_that_follows_and_nothing_before() -> None:
    market = example_market(600)
    cut = EPOCH.replace(hour=5)
    noised = market.noised(cut, seed=1)
    for timeframe, frame in market.candles.items():
        known = market.cut(cut).candles[timeframe]
        again = noised.cut(cut).candles[timeframe]
        assert again.equals(known)
        assert noised.candles[timeframe].select("symbol", "ts").equals(frame.select("symbol", "ts"))
        later = frame.join(known, on=["symbol", "ts"], how="anti")
        if later.height:
            joined = later.join(noised.candles[timeframe], on=["symbol", "ts"])
            assert not (joined["close"] == joined["close_right"]).any()


@pytest.mark.parametrize("name", PLAIN)
def test_what_comes_later_does_not_change_a_single_bit(name: str) -> None:
    rng = np.random.default_rng(6)
    x = 1e5 + rng.normal(0, 1, 1500).cumsum()
    x[900:960] = x[899]
    if name in BEARS_UNKNOWN:
        x[[400, 1200]] = np.nan
    kernel, _ = PLAIN[name]
    whole = kernel(x, 20)
    for cut in (19, 399, 410, 905, 925, 1100, 1201, 1499):
        np.testing.assert_array_equal(kernel(x[:cut].copy(), 20), whole[:cut])
