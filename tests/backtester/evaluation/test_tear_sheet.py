"""Months, the rolling ratio and drawdowns of a series of returns, against pandas and plain loops."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtester.evaluation.tear_sheet import ROLLING, WORST, TearSheet, tear_sheet
from backtester.statistics.metrics import Moments, fall, max_drawdown
from features.array_types import BoolArray, FloatArray, IntArray
from features.bars import HOUR_US

BEGIN = datetime(2025, 11, 20, 5, tzinfo=UTC)


def series(hours: int, seed: int = 1) -> tuple[IntArray, FloatArray, BoolArray]:
    rng = np.random.default_rng(seed)
    ends = int(BEGIN.timestamp() * 1e6) + HOUR_US * np.arange(1, hours + 1)
    there = rng.random(hours) > 0.05
    return ends, np.where(there, rng.normal(1e-4, 0.005, hours), 0.0), there


def sheet(hours: int, seed: int = 1, *, compounded: bool = False) -> TearSheet:
    return tear_sheet(*series(hours, seed), compounded=compounded)


@pytest.mark.parametrize("compounded", [False, True])
def test_months_and_days_are_those_of_pandas(compounded: bool) -> None:
    ends, returns, _ = series(24 * 100)
    index = pd.to_datetime(ends - HOUR_US, unit="us", utc=True)
    told = pd.Series(returns, index=index)
    joined = (lambda part: (1.0 + part).prod() - 1.0) if compounded else (lambda part: part.sum())
    found = sheet(24 * 100, compounded=compounded)
    assert found.days["return"].to_list() == pytest.approx(told.resample("D").apply(joined).to_list())
    monthly = told.resample("MS").apply(joined)
    assert found.months["return_pct"].to_list() == pytest.approx((100.0 * monthly).to_list())
    assert found.months.select("year", "month").rows() == [(each.year, each.month) for each in monthly.index]
    years = found.years(compounded=compounded)
    assert [year for year, _, _ in years] == [2025, 2026]
    assert [month is None for month in years[0][1]] == [True] * 10 + [False] * 2
    assert [whole for _, _, whole in years] == pytest.approx((100.0 * told.resample("YS").apply(joined)).to_list())


def test_the_rolling_ratio_is_that_of_the_days_before() -> None:
    ends, returns, there = series(24 * 50 + 7)
    found = sheet(24 * 50 + 7)
    hours = ROLLING // timedelta(hours=1)
    assert found.rolling.height == 21
    assert found.rolling["ts"][-1] == datetime.fromtimestamp(ends[-1] / 1e6, tz=UTC)
    for row, end in ((-1, len(returns)), (0, len(returns) - 20 * 24)):
        own = returns[end - hours : end][there[end - hours : end]]
        ratio = Moments.of(own).annual_sharpe(8760.0)
        assert found.rolling["sharpe"][row] == pytest.approx(ratio, rel=1e-12)
        error = np.sqrt((8760.0 + ratio**2 / 2.0) / len(own))
        assert found.rolling["sharpe_se"][row] == pytest.approx(error, rel=1e-12)


def test_a_short_or_flat_series_has_no_rolling_ratio() -> None:
    assert sheet(24 * 29).rolling.is_empty()
    ends, _, there = series(24 * 40)
    flat = tear_sheet(ends, np.zeros(24 * 40), there, compounded=False)
    assert flat.rolling["sharpe"].null_count() == flat.rolling.height > 0
    assert flat.drawdowns.is_empty()


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.booleans())
def test_drawdowns_are_those_of_a_plain_loop(seed: int, compounded: bool) -> None:
    ends, returns, _ = series(300, seed)
    found = sheet(300, seed, compounded=compounded)
    level = peak = 1.0
    at = begin = int(ends[0]) - HOUR_US
    depth, bottom, told = 0.0, 0, []
    for end, value in zip(ends.tolist(), returns.tolist(), strict=True):
        level = level * (1.0 + value) if compounded else level + value
        if level >= peak - 1e-12:
            if depth > 0.0:
                told.append((depth, begin, bottom, end))
            peak, at, depth = max(peak, level), end, 0.0
            continue
        begin = at
        deep = (peak - level) / (peak if compounded else 1.0)
        if deep > depth:
            depth, bottom = deep, end
    if depth > 0.0:
        told.append((depth, begin, bottom, None))
    told.sort(key=lambda each: (-each[0], each[1]))
    rows = found.drawdowns.with_columns(found.drawdowns.select("begin", "bottom", "recovered").cast(int)).rows()
    assert len(rows) == min(len(told), WORST)
    for (start, low, recovered, depth_pct, days), (deep, *times) in zip(rows, told, strict=False):
        assert (start, low, recovered) == tuple(times)
        assert depth_pct == pytest.approx(100.0 * deep)
        assert days == pytest.approx(((ends[-1] if recovered is None else recovered) - start) / (24 * HOUR_US))
    curve = np.cumprod(1.0 + returns) if compounded else 1.0 + np.cumsum(returns)
    worst = max_drawdown(np.concatenate([[1.0], curve])) if compounded else fall(curve)
    assert rows[0][3] == pytest.approx(100.0 * worst)
