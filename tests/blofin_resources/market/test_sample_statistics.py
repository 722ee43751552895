"""What the synthetic markets are like: lively as real ones, empty where they must be, paying where they say."""

import math
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from blofin_resources.market.sample import SampleMarket, Variant
from blofin_resources.market.sample._path import Prints, bars
from blofin_resources.market.sample._process import NULL, first_state, walk, world
from blofin_resources.market.sample._random import key

pytestmark = pytest.mark.slow

Floats = npt.NDArray[np.float64]

START = datetime(2020, 1, 10, tzinfo=UTC)
YEAR_ON = datetime(2021, 1, 10, tzinfo=UTC)
THREE = ["BTC-USDT", "ETH-USDT", "SOL-USDT"]


@pytest.fixture(scope="module")
def plain() -> dict[str, pl.DataFrame]:
    frame = SampleMarket(7).candles(THREE, "1m", START, YEAR_ON)
    return {symbol: frame.filter(pl.col("symbol") == symbol) for symbol in THREE}


@pytest.fixture(scope="module")
def null() -> list[pl.DataFrame]:
    return [_with_total_return("null", seed, symbol) for seed in (1, 2) for symbol in THREE]


@pytest.fixture(scope="module")
def edge() -> list[pl.DataFrame]:
    return [_with_total_return("edge", 1, symbol) for symbol in THREE]


def _with_total_return(variant: Variant, seed: int, symbol: str) -> pl.DataFrame:
    """Give candles with `gain`: what one unit long from this open to the next gains, funding paid."""
    market = SampleMarket(seed, variant)
    candles = market.candles([symbol], "1m", START, YEAR_ON)
    rates = market.funding([symbol], START, YEAR_ON).select("ts", "rate")
    following = pl.col("open").shift(-1) * (1 - pl.col("rate").shift(-1))
    return (
        candles.join(rates, on="ts", how="left")
        .with_columns(pl.col("rate").fill_null(0.0))
        .with_columns(gain=following / pl.col("open") - 1)
    )


def _log_returns(candles: pl.DataFrame) -> Floats:
    return np.diff(np.log(candles["close"].to_numpy()))


def _t_statistic(values: Floats, block: int = 1440) -> float:
    """Give the t statistic of a mean, from sums over blocks, which keep volatility clusters together."""
    values = values[np.isfinite(values)]
    sums = values[: len(values) // block * block].reshape(-1, block).sum(axis=1)
    return float(sums.mean() / (sums.std(ddof=1) / math.sqrt(len(sums))))


def _autocorrelation(values: Floats, lag: int) -> float:
    centred = values - values.mean()
    return float((centred[lag:] * centred[:-lag]).mean() / centred.var())


def test_volatility_clusters_at_every_scale_but_returns_do_not(plain: dict[str, pl.DataFrame]) -> None:
    for candles in plain.values():
        returns = _log_returns(candles)
        size = np.abs(returns)
        assert _autocorrelation(size, 1) > 0.15
        assert _autocorrelation(size, 60) > 0.08
        assert 0.03 < _autocorrelation(size, 1440) < _autocorrelation(size, 5)
        assert all(abs(_autocorrelation(returns, lag)) < 0.01 for lag in (1, 2, 5, 60))


def test_tails_are_heavy_and_sizes_are_those_of_real_markets(
    plain: dict[str, pl.DataFrame],
) -> None:
    for symbol, low, high in (("BTC-USDT", 3e-4, 7e-4), ("ETH-USDT", 6e-4, 14e-4), ("SOL-USDT", 6e-4, 14e-4)):
        returns = _log_returns(plain[symbol])
        assert low < returns.std() < high
        assert 8 < float((returns**4).mean() / returns.var() ** 2) < 80


def test_symbols_move_together_but_not_as_one(plain: dict[str, pl.DataFrame]) -> None:
    correlation = np.corrcoef([_log_returns(candles) for candles in plain.values()])
    assert correlation[np.triu_indices(3, 1)].min() > 0.3
    assert correlation[np.triu_indices(3, 1)].max() < 0.95


def test_the_day_has_its_hours_and_the_week_its_end(plain: dict[str, pl.DataFrame]) -> None:
    sized = plain["BTC-USDT"].with_columns(size=pl.col("close").log().diff().abs())
    hours = sized.group_by(pl.col("ts").dt.hour()).agg(pl.col("size").mean()).sort("ts")["size"]
    assert hours[14] > 1.3 * hours[5]
    weekend = pl.col("ts").dt.weekday() > 5
    resting, working = sized.filter(weekend)["size"].mean(), sized.filter(~weekend)["size"].mean()
    assert resting < 0.9 * working  # type: ignore[operator]


def test_volume_follows_volatility(plain: dict[str, pl.DataFrame]) -> None:
    for candles in plain.values():
        span = np.log(np.log(candles["high"].to_numpy() / candles["low"].to_numpy()) + 1e-7)
        assert 0.5 < np.corrcoef(span, np.log(candles["volume"].to_numpy()))[0, 1] < 0.95


def test_funding_follows_the_trend_before_it() -> None:
    market = SampleMarket(7)
    rates = market.funding(["BTC-USDT"], START, YEAR_ON)
    closes = market.candles(["BTC-USDT"], "1m", START, YEAR_ON).select(
        ts=pl.col("ts").dt.offset_by("1m"), move=pl.col("close").log() - pl.col("close").log().shift(720)
    )
    both = rates.join(closes, on="ts").drop_nulls()
    assert both.select(pl.corr("rate", "move")).item() > 0.5
    assert 0 < float(both["rate"].mean()) < 1e-4  # type: ignore[arg-type]


def test_regimes_show_as_months_of_different_volatility(plain: dict[str, pl.DataFrame]) -> None:
    months = plain["BTC-USDT"].group_by_dynamic("ts", every="1w").agg(pl.col("close").log().diff().std())["close"]
    assert float(months.max()) > 1.8 * float(months.min())  # type: ignore[arg-type]


def test_the_null_market_pays_nothing_on_average(null: list[pl.DataFrame]) -> None:
    pooled = [_t_statistic(frame["gain"].to_numpy()) for frame in null]
    assert max(abs(t) for t in pooled) < 3.5
    assert abs(_t_statistic(np.concatenate([frame["gain"].to_numpy()[:-1] for frame in null]))) < 3


def test_returns_of_the_null_market_are_fair_in_price_not_in_log_price() -> None:
    # At real volatility half the variance hides in the noise of any sample, so this market is wilder.
    wild = world("BTC-USDT", 1, NULL)._replace(own_sd=0.03, beta=0.0)
    walked = np.empty((365 * 1440, 4))
    walk(first_state(wild)[0], wild, 0, walked, np.empty(365 * 3))
    change, variance = walked[:, 1], walked[:, 2]
    assert abs((change + variance / 2).sum()) < 3 * math.sqrt(variance.sum())
    assert abs(change.sum()) > 6 * math.sqrt(variance.sum())


def test_the_null_market_has_no_memory(null: list[pl.DataFrame]) -> None:
    for frame in null:
        gains = frame["gain"].to_numpy()[:-1]
        scaled = np.clip(gains / gains.std(), -4, 4)
        assert all(abs(_t_statistic(scaled[lag:] * scaled[:-lag])) < 4 for lag in (1, 2, 3, 10, 60, 1440))
        logs = np.cumsum(np.log1p(gains))
        for length in (5, 30, 240):
            steps = np.diff(logs[::length])
            kurtosis = ((steps - steps.mean()) ** 4).mean() / steps.var() ** 2
            noise = math.sqrt((kurtosis - 1) / len(steps))
            assert steps.var() / (length * gains.var()) == pytest.approx(1, abs=3 * noise)


def test_the_null_market_pays_nothing_around_funding(null: list[pl.DataFrame]) -> None:
    paying = np.concatenate([frame.filter(pl.col("rate").shift(-1) != 0)["gain"].to_numpy() for frame in null])
    assert abs(_t_statistic(paying, block=30)) < 3
    price = pl.col("open").shift(-1) / pl.col("close") - 1
    steps = pl.concat(frame.select(step=price, rate=pl.col("rate").shift(-1)) for frame in null).filter(
        pl.col("rate") != 0
    )
    assert (steps["step"] - steps["rate"]).abs().median() < 1e-6  # type: ignore[operator]


def _momentum() -> pl.Expr:
    return (pl.col("close") / pl.col("close").shift(60) - 1).sign()


def _reversal() -> pl.Expr:
    return -(pl.col("close") / pl.col("close").shift(5) - 1).sign()


def _average_cross() -> pl.Expr:
    return (pl.col("close").ewm_mean(span=20) - pl.col("close").ewm_mean(span=100)).sign()


def _breakout() -> pl.Expr:
    return (pl.col("close") >= pl.col("high").rolling_max(240).shift(1)).cast(pl.Int8)


def _loud() -> pl.Expr:
    return (pl.col("volume") > 3 * pl.col("volume").rolling_mean(240)).cast(pl.Int8)


def _close_to_low() -> pl.Expr:
    return ((pl.col("close") - pl.col("low")) < 0.2 * (pl.col("high") - pl.col("low"))).cast(pl.Int8)


def _positive_funding() -> pl.Expr:
    return -(pl.col("rate").replace(0.0, None).forward_fill() > 0.5e-4).cast(pl.Int8)


@pytest.mark.parametrize(
    "rule", [_momentum, _reversal, _average_cross, _breakout, _loud, _close_to_low, _positive_funding]
)
def test_no_rule_earns_on_the_null_market_even_without_costs(
    null: list[pl.DataFrame], rule: Callable[[], pl.Expr]
) -> None:
    earned = [
        frame.select((rule().shift(1) * pl.col("gain")).fill_null(0.0).fill_nan(0.0)).to_series().to_numpy()[:-1]
        for frame in null
    ]
    assert abs(_t_statistic(np.concatenate(earned))) < 3


@pytest.mark.parametrize(("stop", "hold"), [(0.001, 30), (0.003, 240)])
def test_a_stop_at_its_exact_level_is_no_free_lunch(null: list[pl.DataFrame], stop: float, hold: int) -> None:
    results = [_stopped_gains(frame, stop, hold) for frame in null]
    assert abs(_t_statistic(np.concatenate(results), block=20)) < 3


def _stopped_gains(frame: pl.DataFrame, stop: float, hold: int) -> Floats:
    """Give the gain of longs entered every `hold` minutes, out at the stop's level, at a worse open, or at the end."""
    opens, lows = frame["open"].to_numpy(), frame["low"].to_numpy()
    rates = frame["rate"].to_numpy()
    count = (len(opens) - 1) // hold
    grid = np.arange(count * hold).reshape(count, hold)
    entry, level = opens[grid[:, :1]], opens[grid[:, :1]] * (1 - stop)
    hit = lows[grid] <= level
    ends = grid[:, -1] + 1
    first = np.where(hit.any(axis=1), hit.argmax(axis=1), hold - 1)
    at = grid[np.arange(count), first]
    out = np.where(hit.any(axis=1), np.minimum(level[:, 0], opens[at]), opens[ends])
    held = (np.arange(1, hold)[None, :] <= first[:, None]) & (hold > 1)
    paid = (rates[grid][:, 1:] * opens[grid][:, 1:] * held).sum(axis=1)
    paid += np.where(hit.any(axis=1), 0.0, rates[ends] * opens[ends])
    gains: Floats = (out - paid) / entry[:, 0] - 1
    return gains


def test_open_high_low_and_close_are_jointly_those_of_a_brownian_motion() -> None:
    count, sd = 200_000, 0.001
    close = np.random.default_rng(1).normal(0, sd, count)
    walked = np.column_stack([np.zeros(count), close, np.full(count, sd**2), np.full(count, 1e12)])
    out = np.empty((7, count))
    bars(walked, np.full(count, 1e6), 0, Prints(key("path"), key("volume"), 0.001), 1, out)
    high, low = np.log(out[1]) / sd, np.log(out[2]) / sd
    scaled = close / sd
    assert high.mean() == pytest.approx(math.sqrt(2 / math.pi), rel=0.01)
    assert (high - low).mean() == pytest.approx(math.sqrt(8 / math.pi), rel=0.01)
    assert ((high - low) ** 2).mean() == pytest.approx(4 * math.log(2), rel=0.015)
    # Reflection: P(high >= a, close <= b) = P(close >= 2a - b).
    for a, b in ((1.0, 0.5), (0.5, 0.0), (1.5, 1.5)):
        expected = 0.5 * math.erfc((2 * a - b) / math.sqrt(2))
        assert np.mean((high >= a) & (scaled <= b)) == pytest.approx(expected, rel=0.04)
        assert np.mean((low <= -a) & (scaled >= -b)) == pytest.approx(expected, rel=0.04)
    # Rogers & Satchell (1991): an estimator of the variance that uses all four prices, unbiased for this law only.
    assert (high * (high - scaled) + low * (low - scaled)).mean() == pytest.approx(1, rel=0.02)


def _after(frame: pl.DataFrame, signal: pl.Expr, minutes: int) -> Floats:
    """Give the log gains over `minutes` after each signal, from the next open, in the signal's direction."""
    gains = pl.col("gain").log1p().cum_sum()
    ahead = gains.shift(-minutes) - gains
    measured = frame.select(side=signal, ahead=ahead).filter(pl.col("side") != 0).drop_nulls()
    return (measured["side"] * measured["ahead"]).to_numpy()


def _sigma() -> pl.Expr:
    return (pl.col("close").log().diff() ** 2).ewm_mean(half_life=720, adjust=False).sqrt()


def _fade_signal() -> pl.Expr:
    move = pl.col("close").log() - pl.col("close").log().shift(30)
    beyond = move.abs() > 2 * math.sqrt(30) * _sigma()
    # Only the first minute of an episode: within it the reversal is already under way.
    fresh = beyond & ~beyond.cast(pl.Int8).rolling_max(90).shift(1).cast(pl.Boolean).fill_null(value=True)
    return pl.when(fresh).then(-move.sign()).otherwise(0.0)


def _slow_signal() -> pl.Expr:
    move = pl.col("close").log().shift(120) - pl.col("close").log().shift(120 + 1440)
    full_hour = pl.col("ts").dt.minute() == 59
    beyond = move.abs() > math.sqrt(1440) * _sigma()
    return pl.when(full_hour & beyond).then(move.sign()).otherwise(0.0)


def _echo_signal() -> pl.Expr:
    move = pl.col("close").log() - pl.col("close").log().shift(60)
    return pl.when(pl.col("ts").dt.minute() == 59).then(move.sign()).otherwise(0.0)


@pytest.mark.parametrize(
    ("signal", "minutes", "planted", "tolerance"),
    [(_fade_signal, 60, 60e-4, 8e-4), (_echo_signal, 5, 5e-4, 1.5e-4)],
)
def test_the_planted_edges_pay_what_they_say(
    edge: list[pl.DataFrame], signal: Callable[[], pl.Expr], minutes: int, planted: float, tolerance: float
) -> None:
    for frame in edge:
        paid = _after(frame, signal(), minutes)
        assert len(paid) > 300
        assert paid.mean() == pytest.approx(planted, abs=tolerance)


def test_the_slow_edge_pays_after_costs_and_the_decoy_does_not(edge: list[pl.DataFrame]) -> None:
    held = np.concatenate([_after(frame, _slow_signal(), 600) for frame in edge])
    hourly = np.concatenate([_after(frame, _slow_signal(), 60) for frame in edge])
    assert _t_statistic(hourly, block=24) > 5
    assert 3e-4 < hourly.mean() < 12e-4
    costs = 2 * (0.0006 + 0.0002)
    assert held.mean() > costs
    assert 0 < np.concatenate([_after(frame, _echo_signal(), 5) for frame in edge]).mean() < costs / 2


@pytest.mark.parametrize(("signal", "minutes"), [(_fade_signal, 60), (_slow_signal, 60), (_echo_signal, 5)])
def test_the_null_market_has_none_of_the_planted_edges(
    null: list[pl.DataFrame], signal: Callable[[], pl.Expr], minutes: int
) -> None:
    paid = np.concatenate([_after(frame, signal(), minutes) for frame in null])
    assert abs(_t_statistic(paid, block=24)) < 3
