"""The tear sheet of a feature: forward returns and the quantile book against plain loops, and what it says of noise."""

import math
from functools import cache

import numpy as np
import pytest
from book_cases import Universe, universe

from backtester.evaluation.feature_sheet import (
    FeatureSheet,
    ForwardReturns,
    alike,
    feature_sheet,
    forward_returns,
    horizons_in,
    sampled,
)
from backtester.simulation.book_market import BookMarket
from backtester.simulation.costs import Costs
from features.array_types import FloatArray

COSTS = Costs(taker_fee=0.001, slippage=0.0005)
HORIZON = 6


@cache
def drawn(seed: int, symbols: int = 12, **more: float) -> Universe:
    settings: dict[str, float] = {"leaves": 0.2, "silences": 0.3, "ties": 0.5, **more}
    return universe(seed, 400, symbols, **settings)


def looped(market: BookMarket, row: int, column: int, horizon: int) -> tuple[float, float] | None:
    """Return price and funding of holding one symbol from the open after a bar, one payment after the other."""
    if row + 1 + horizon >= len(market.ts) or math.isnan(market.open[row + 1, column]):
        return None
    entry = market.open[row + 1, column]

    def last_close(before: int) -> float:
        while math.isnan(market.close[before, column]):
            before -= 1
        return float(market.close[before, column])

    leave = market.open[row + 1 + horizon, column]
    leave = last_close(row + horizon) if math.isnan(leave) else leave
    paid = 0.0
    for at in range(row + 2, row + 2 + horizon):
        price = market.open[at, column]
        paid += market.funding[at, column] * (last_close(at - 1) if math.isnan(price) else price)
    return leave / entry - 1.0, paid / entry


@pytest.mark.parametrize("seed", range(2))
def test_forward_returns_are_those_of_a_plain_loop(seed: int) -> None:
    market = drawn(seed).market
    found = forward_returns(market, HORIZON)
    for row in range(len(market.ts)):
        for column in range(len(market.symbols)):
            told = looped(market, row, column, HORIZON)
            pair = found.price[row, column], found.funding[row, column]
            assert np.isnan(pair).all() if told is None else pair == pytest.approx(told, abs=1e-12)


def test_a_forward_return_depends_on_later_bars_alone() -> None:
    market = drawn(1, gaps=0.0, silences=0.0, ends=0.0).market
    row = 200
    past = {name: getattr(market, name).copy() for name in ("open", "high", "low", "close", "funding")}
    for array in past.values():
        array[: row + 1] *= 3.0
    rest = {name: getattr(market, name) for name in ("quote_volume", "member", "contracts")}
    other = BookMarket(market.symbols, market.timeframe, market.ts, **past, **rest)
    for one, two in zip(forward_returns(market, 5), forward_returns(other, 5), strict=True):
        np.testing.assert_allclose(one[row:], two[row:], rtol=1e-9, atol=1e-12)
        assert not np.allclose(one[row - 3 : row], two[row - 3 : row], equal_nan=True), "an entry before is another"


def quantile_book(values: FloatArray, market: BookMarket, returns: ForwardReturns, groups: int) -> list[float]:
    """Return what the long and short book earned at each bar before the side is chosen, net, by sorting each bar."""
    weights: list[dict[int, float]] = []
    earned = []
    rate = COSTS.taker_fee + COSTS.slippage
    for row in range(len(market.ts)):
        known = [
            (values[row, column], column)
            for column in range(len(market.symbols))
            if market.member[row, column]
            and not math.isnan(market.open[row, column])
            and not math.isnan(values[row, column])
        ]
        own: dict[int, float] = {}
        if len(known) >= 5 and min(known)[0] < max(known)[0]:
            size = len(known) / groups
            for value, column in known:
                same = [at for at, (other, _) in enumerate(sorted(known)) if other == value]
                low = sum(max(0.0, min(at + 1, size) - at) for at in same if at < size)
                high = sum(max(0.0, at + 1 - max(at, len(known) - size)) for at in same if at + 1 > len(known) - size)
                own[column] = (high - low) / len(same) / size
        weights.append(own)
        there = [column for _, column in known if not math.isnan(returns.price[row, column])]
        if not there:
            earned.append(math.nan)
            continue
        ended = weights[row - HORIZON] if row >= HORIZON else {}
        traded = sum(abs(own.get(column, 0.0) - ended.get(column, 0.0)) for column in {*own, *ended})
        held = sum(own.get(c, 0.0) * (returns.price[row, c] - returns.funding[row, c]) for c in there)
        earned += [(held, traded * rate)]
    side = 1.0 if sum(each[0] for each in earned if isinstance(each, tuple)) >= 0.0 else -1.0
    return [side * each[0] - each[1] if isinstance(each, tuple) else math.nan for each in earned]


@pytest.mark.parametrize("seed", range(4))
def test_the_quantile_book_is_that_of_a_plain_loop(seed: int) -> None:
    case = drawn(seed)
    returns = forward_returns(case.market, HORIZON)
    sheet = feature_sheet("drawn", case.values, case.market, {HORIZON: returns}, COSTS)
    assert (sheet.across, sheet.quantiles) == (True, 5)
    nets = np.array(quantile_book(case.values, case.market, returns, sheet.quantiles))
    row = sheet.horizons.row(0, named=True)
    scale = 100.0 * 24 / HORIZON
    assert row["net_pct"] == pytest.approx(scale * np.nanmean(nets), rel=1e-9)
    assert row["net_pct"] == pytest.approx(row["gross_pct"] - row["funding_pct"] - row["costs_pct"], abs=1e-9)
    assert row["costs_pct"] == pytest.approx(100.0 * row["turnover"] * (COSTS.taker_fee + COSTS.slippage))
    spread = sheet.groups["day_pct"]
    assert (spread[4] - spread[0]) * (1 if row["long"] == "high" else -1) == pytest.approx(
        row["gross_pct"] - row["funding_pct"], abs=1e-9
    )
    assert sum(spread) == pytest.approx(0.0, abs=1e-9)


def test_one_symbol_is_measured_in_time() -> None:
    case = drawn(2, 1, gaps=0.0, silences=0.0, leaves=0.0, stays=1.0, nulls=0.0, ends=0.0, ties=0.0)
    returns = forward_returns(case.market, HORIZON)
    sheet = feature_sheet("drawn", case.values, case.market, {HORIZON: returns}, Costs.free())
    assert not sheet.across
    values, total = case.values[:, 0], returns.total[:, 0]
    order = np.argsort(values, kind="stable")
    size = len(values) // 5
    low, high = (np.nanmean(total[part]) * np.mean(~np.isnan(total[part])) for part in (order[:size], order[-size:]))
    row = sheet.horizons.row(0, named=True)
    expected = 100.0 * 24 / HORIZON * abs(high - low) * len(values) / np.sum(~np.isnan(total))
    assert row["net_pct"] == pytest.approx(expected, rel=1e-9)
    assert sheet.symbols["ic"][0] == pytest.approx(row["ic"])
    assert row["positive"] is None


def test_what_is_the_same_for_every_symbol_is_measured_in_time() -> None:
    case = drawn(3)
    hours = np.repeat((np.arange(400) % 24.0)[:, None], 12, axis=1)
    sheet = feature_sheet("hour", hours, case.market, {1: forward_returns(case.market, 1)})
    assert not sheet.across
    assert sheet.autocorrelation["lag"].to_list() == [1, 2, 4, 12, 24, 72, 168]
    assert sheet.autocorrelation["mean"][4] == pytest.approx(1.0, abs=0.05)


def test_coverage_distribution_and_quarters_are_of_what_a_member_could_trade() -> None:
    case = drawn(1)
    market = case.market
    there = market.member & ~np.isnan(market.open)
    known = case.values[there & ~np.isnan(case.values)]
    sheet = feature_sheet("drawn", case.values, market, {1: forward_returns(market, 1)})
    assert sheet.coverage == pytest.approx(len(known) / there.sum())
    assert (sheet.mean, sheet.deviation) == pytest.approx((known.mean(), known.std()))
    assert sheet.distribution["value"].to_list() == pytest.approx(np.quantile(known, sheet.distribution["quantile"]))
    assert sheet.quarters["period"].to_list() == ["2025 Q2"]
    assert sheet.quarters["ic"][0] == pytest.approx(sheet.horizons["ic"][0])
    assert sheet.quarters["net_pct"][0] == pytest.approx(sheet.horizons["net_pct"][0])


def test_what_is_never_known_is_refused() -> None:
    market = drawn(1).market
    with pytest.raises(ValueError, match="lost is known on no bar"):
        feature_sheet("lost", np.full(market.open.shape, np.nan), market, {1: forward_returns(market, 1)})


def test_knowing_the_future_shows_and_noise_does_not() -> None:
    market = drawn(5, 30, ends=0.0).market
    forward = {each: forward_returns(market, each) for each in (1, 4)}
    known = feature_sheet("oracle", forward[4].total, market, forward, Costs())
    assert known.horizons["ic"][1] == pytest.approx(1.0)
    assert known.strongest is not None
    assert known.strongest["horizon"] in {1, 4}
    assert known.horizons["net_pct"].min() > 0.0
    noise = feature_sheet("noise", np.random.default_rng(1).normal(size=market.open.shape), market, forward)
    assert noise.horizons["t"].abs().max() < 3.0
    assert noise.horizons["net_pct"].max() < 0.0, "it pays its costs for nothing"


def test_alike_is_one_for_itself_and_for_what_rises_with_it() -> None:
    values = np.random.default_rng(1).normal(size=(300, 8))
    found = alike(values, {"itself": values, "cube": values**3, "against": -values, "none": values * 0}, across=True)
    assert dict(found.iter_rows()) == {"itself": 1.0, "cube": 1.0, "against": -1.0, "none": None}
    in_time = alike(values[:, :1], {"cube": values[:, :1] ** 3}, across=False)
    assert in_time["correlation"][0] == pytest.approx(1.0)


def test_horizons_and_samples_fit_their_window() -> None:
    assert horizons_in(8760) == (1, 4, 12, 24, 72, 168)
    assert horizons_in(100) == (1, 4)
    assert horizons_in(3) == (1,)
    assert sampled(drawn(1).market) == (slice(0, 400, 1), drawn(1).market.symbols)
    rows, symbols = sampled(drawn(5, 30, ends=0.0).market)
    assert (rows, symbols[:2], len(symbols)) == (slice(0, 400, 1), ("S00-USDT", "S03-USDT"), 10)


def noise_sheet(seed: int) -> FeatureSheet:
    """Measure a slow feature that says nothing, on returns with a common factor."""
    rng = np.random.default_rng(seed)
    bars, symbols = 1500, 10
    moves = rng.standard_t(4, (bars, symbols)) * 0.005 + rng.normal(0, 0.005, (bars, 1))
    close = np.exp(np.cumsum(moves, axis=0))
    opens = np.vstack([np.ones((1, symbols)), close[:-1]])
    market = BookMarket(
        tuple(f"S{each}-USDT" for each in range(symbols)),
        "60m",
        3_600_000_000 * np.arange(bars, dtype=np.int64),
        open=opens,
        high=np.maximum(opens, close),
        low=np.minimum(opens, close),
        close=close,
        quote_volume=np.ones_like(close),
        member=np.ones(close.shape, dtype=np.bool_),
        funding=np.zeros_like(close),
        contracts=drawn(1).market.contracts[:1] * symbols,
    )
    values = rng.normal(size=(bars, symbols))
    for row in range(1, bars):
        values[row] += 0.95 * values[row - 1]
    return feature_sheet("noise", values, market, {each: forward_returns(market, each) for each in (1, 24)})


@pytest.mark.slow
def test_a_feature_that_says_nothing_is_seldom_significant() -> None:
    found = np.array([noise_sheet(seed).horizons["t"].to_list() for seed in range(200)])
    false = (np.abs(found) > 1.96).mean(axis=0)
    assert false[0] <= 0.09, false
    assert false[1] <= 0.13, "overlapping horizons of a slow feature: few independent times"
