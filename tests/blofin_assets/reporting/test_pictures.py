"""A forward curve stands where its backtest stood, whichever of the two began first."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blofin_assets.reporting.pictures import drawn_on

T = datetime(2026, 3, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MARKET = [0.03, -0.05, 0.01, 0.04, -0.02, 0.02, -0.03, 0.01, 0.05, -0.04]
"""Hourly returns from T on, whoever earns them."""


def equity(first: int, last: int) -> pl.DataFrame:
    """Return equity at the end of hours `first` to `last` of the market, 1 before the first."""
    grown = pl.Series(MARKET[first:last]).cum_sum() + 1.0
    return pl.DataFrame({"ts": [T + (hour + 1) * HOUR for hour in range(first, last)], "equity": grown})


def forward_curve(first: int, last: int) -> pl.DataFrame:
    return equity(first, last).with_columns(pl.lit(T + first * HOUR).alias("activated_at"))


def test_what_follows_the_backtest_goes_on_from_its_end_and_falls_from_its_peak() -> None:
    holdout, whole = equity(0, 4), equity(0, 8)
    ahead, peak = drawn_on(holdout, forward_curve(4, 8))
    assert ahead["ts"][0] == T + 4 * HOUR
    assert ahead["equity"].to_list() == pytest.approx(whole["equity"][3:].to_list())
    assert peak == holdout["equity"].max()


@given(st.integers(0, 8), st.integers(0, 8))
def test_two_that_earned_the_same_lie_upon_each_other(holdout_begins: int, activated: int) -> None:
    holdout = equity(holdout_begins, 9)
    ahead, peak = drawn_on(holdout, forward_curve(activated, 10).sample(fraction=1.0, shuffle=True, seed=1))
    both = holdout.join(ahead, on="ts", suffix="_ahead")
    assert both.height == 9 - max(holdout_begins, activated - 1)
    assert both["equity_ahead"].to_list() == pytest.approx(both["equity"].to_list())
    assert peak >= ahead["equity"][0]
    assert ahead["ts"].is_sorted()
