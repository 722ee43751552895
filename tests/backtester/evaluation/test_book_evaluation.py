"""Statistics of a book against NumPy, and books on frames."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from book_cases import book_of, universe

from backtester import Beside, BookEvaluation, BookMarket, BookRules, PreparedMarket, backtest_book
from backtester.simulation import book_kernel as kernel
from features.array_types import FloatArray, IntArray
from features.bars import CANDLE_SCHEMA, POSITIONING_SCHEMA, TS

DAILY = timedelta(days=1)


def evaluation(seed: int = 3, **rules: object) -> BookEvaluation:
    drawn = universe(seed, 600, 12, move=0.01, begin=30)
    return BookEvaluation("toy", book_of(drawn, BookRules(**{"rebalance": DAILY, **rules})))  # type: ignore[arg-type]


def test_metrics_are_those_of_numpy() -> None:
    found = evaluation()
    result, metrics = found.result, found.metrics()
    returns = np.diff(np.concatenate([[result.capital], result.equity])) / np.concatenate(
        [[result.capital], result.equity[:-1]]
    )
    np.testing.assert_allclose(result.returns, returns, atol=1e-15)
    assert metrics["sharpe"] == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(8760))
    curve = np.concatenate([[result.capital], result.equity])
    assert metrics["max_drawdown"] == pytest.approx(max(1 - curve[i:].min() / curve[i] for i in range(len(curve))))
    net = result.trades["net"].to_numpy()
    assert metrics["win_rate"] == pytest.approx((net > 0).mean())
    assert metrics["avg_pnl_pct"] == pytest.approx((100 * net / result.trades["notional"].to_numpy()).mean())
    assert metrics["total_pnl_pct"] == pytest.approx(100 * (result.equity[-1] / result.capital - 1))
    average = result.market.average[result.begin :]
    known = ~np.isnan(average)
    slope, level = np.polyfit(average[known], returns[known], 1)
    assert metrics["beta"] == pytest.approx(slope)
    assert metrics["alpha"] == pytest.approx(level * 8760)
    score = 40 * metrics["win_rate"] + 30 * metrics["avg_pnl_pct"] + 20 * metrics["sharpe"]  # type: ignore[operator]
    assert metrics["score"] == pytest.approx(score - 10 * metrics["max_drawdown"])  # type: ignore[operator]


def test_pnl_before_costs_less_all_costs_is_the_total() -> None:
    metrics = evaluation().metrics()
    result = evaluation().result
    held = np.abs(result.tranches[0].quantities) * np.nan_to_num(result.market.mark[-1])
    closing = 100 * float((held * (0.0002 + 0.0006)).sum()) / result.capital
    costs = metrics["fees_pct"] + metrics["slippage_pct"] + metrics["funding_pct"]  # type: ignore[operator]
    total = metrics["pnl_before_costs_pct"] - costs  # type: ignore[operator]
    assert total == pytest.approx(metrics["total_pnl_pct"], abs=1.01 * closing)


def test_symbols_and_sides_add_up_to_all_trades() -> None:
    result = evaluation().result
    for table in (result.by_symbol(), result.by_side()):
        assert table["net"].sum() == pytest.approx(result.trades["net"].sum())
        assert table["trades"].sum() == result.trades.height


def test_capacity_is_the_share_of_the_bars_volume() -> None:
    found = evaluation()
    fills = found.result.fills.drop_nulls("bar_volume")
    shares = (fills["quantity"].abs() * fills["price"] / fills["equity"] * 1e6 / fills["bar_volume"]).to_numpy()
    million = found.capacity()[-1]
    assert million.capital == 1e6
    assert million.median == pytest.approx(np.median(shares))
    assert million.largest == pytest.approx(shares.max())
    assert million.above_limit == pytest.approx((shares > 0.01).mean())
    assert million.without_volume == 0


def test_fills_in_bars_without_trading_are_counted_apart() -> None:
    candles = frames(4)
    empty = pl.col("symbol") == "S00-USDT"
    quiet = candles.with_columns(quote_volume=pl.when(empty).then(0.0).otherwise("quote_volume"))
    before, found = backtest_book(ByClose(), candles), backtest_book(ByClose(), quiet)
    fills = before.result.fills.filter(symbol="S00-USDT").height
    assert 0 < fills < before.result.fills.height
    assert [each.without_volume for each in found.capacity()] == [fills] * 3
    assert all(each.largest is not None and np.isfinite(each.largest) for each in found.capacity())
    all_quiet = backtest_book(ByClose(), candles.with_columns(quote_volume=0.0)).capacity()[0]
    assert (all_quiet.median, all_quiet.largest, all_quiet.above_limit) == (None, None, None)


def test_hours_without_any_bar_have_no_return() -> None:
    candles = frames(4)
    day = pl.col("ts").dt.truncate("1d")
    days = candles.select(day.unique().sort()).to_series()
    holes = candles.filter(day != days[6])
    found = backtest_book(ByClose(), holes)
    assert len(found.result.returns) == found.there.sum() + 24
    held = found.result.returns[found.there]
    assert found.metrics()["sharpe"] == pytest.approx(held.mean() / held.std(ddof=1) * np.sqrt(8760))
    assert (found.result.returns[~found.there] == 0.0).all()


def test_a_price_step_is_named_until_it_is_called_real(caplog: pytest.LogCaptureFixture) -> None:
    candles = frames(4)
    middle = candles["ts"].min() + timedelta(hours=150)  # type: ignore[operator]
    later = (pl.col("symbol") == "S00-USDT") & (pl.col("ts") >= middle)
    names = ("open", "high", "low", "close")
    stepped = candles.with_columns(
        pl.when(later).then(1000 * pl.col(name)).otherwise(name).alias(name) for name in names
    )
    step = stepped.filter(later)["ts"].min()
    found = backtest_book(ByClose(), stepped)
    assert "traded as given, a crash or another unit: S00-USDT steps by 1,00" in caplog.text
    caplog.clear()
    real = backtest_book(ByClose(), stepped, real_steps=[("S00-USDT", step)])  # type: ignore[list-item]
    assert not caplog.text
    assert np.array_equal(found.result.equity, real.result.equity)
    before = backtest_book(ByClose(), stepped, end=step)  # type: ignore[arg-type]
    assert np.array_equal(before.result.equity, found.result.equity[: len(before.result.equity)])


def test_a_payment_of_nothing_is_a_payment() -> None:
    candles = frames(4)
    times = candles["ts"].unique().sort()[::8]
    paid = pl.DataFrame({"ts": times, "rate": 0.0}).join(candles.select("symbol").unique(), how="cross")
    assert backtest_book(ByClose(), candles, paid.select("symbol", "ts", "rate")).funding_known() == 1.0
    assert backtest_book(ByClose(), candles).funding_known() == 0.0


def test_turnover_counts_each_fill_against_the_equity_before_it() -> None:
    found = evaluation()
    fills = found.result.fills
    assert found.turnover() == pytest.approx((fills["quantity"].abs() * fills["price"] / fills["equity"]).sum())


def test_funding_is_known_where_it_was_paid_within_a_day() -> None:
    found = evaluation()
    market, fills = found.result.market, found.result.tranches[0].fills
    known = total = 0.0
    for fill in fills:
        row, column = int(fill[kernel.F_ROW]), int(fill[kernel.F_SYMBOL])
        notional = abs(fill[kernel.F_QUANTITY]) * fill[kernel.F_PRICE]
        total += notional
        known += notional * bool((market.funding[max(0, row - 23) : row + 1, column] != 0.0).any())
    assert 0.0 < known < total
    assert found.funding_known() == pytest.approx(known / total)


def test_tranches_are_shown_apart_and_make_up_the_whole() -> None:
    found = evaluation(rebalance=timedelta(days=3))
    table = found.by_tranche()
    assert table["days"].to_list() == [0.0, 1.0, 2.0]
    assert table["total_pnl_pct"].mean() == pytest.approx(found.metrics()["total_pnl_pct"])
    assert table["trades"].sum() == found.result.trades.height
    assert table["sharpe"].n_unique() == 3


def test_exposure_and_decisions_show_what_rounding_does_to_neutrality() -> None:
    result = evaluation().result
    exposure = result.exposure()
    assert exposure.height == len(result.equity)
    assert (exposure["long"] > 0.3).any()
    assert result.decisions.height == len(result.tranches[0].decisions)
    assert (result.decisions["net"].abs() < 0.2).all()
    assert result.weights().select(pl.sum_horizontal(pl.exclude("ts", "tranche")).abs().max()).item() < 1e-12


def test_the_bound_is_never_above_the_equity() -> None:
    result = evaluation().result
    assert (result.adverse <= result.equity * (1 + 1e-12)).all()
    assert evaluation().adverse_drawdown() >= evaluation().metrics()["max_drawdown"]  # type: ignore[operator]


@dataclass(frozen=True)
class ByClose:
    """Buys what is dear: a book without the language."""

    name: str = "by_close"
    timeframe: str = "60m"
    rules: BookRules = field(default_factory=lambda: BookRules(DAILY))

    def features(self) -> list[str]:
        return ["close", "returns_24"]

    def values_at(self, market: BookMarket, columns: Mapping[str, FloatArray], rows: IntArray) -> FloatArray:
        return market.values_at(columns["returns_24"] + 0 * columns["close"], rows, self.rules.rebalance)


def frames(seed: int) -> pl.DataFrame:
    market = universe(seed, 300, 8, leaves=1.0, ends=0.0).market
    parts = []
    for column, symbol in enumerate(market.symbols):
        rows = market.fillable[:, column]
        parts.append(
            pl.DataFrame(
                {
                    "symbol": [symbol] * int(rows.sum()),
                    "ts": pl.Series(market.ts[rows]).cast(TS),
                    **{name: getattr(market, name)[rows, column] for name in ("open", "high", "low", "close")},
                    "volume": 1.0,
                    "quote_volume": market.quote_volume[rows, column],
                    "contracts": None,
                    "minutes": 60,
                    "origin": "test",
                    "flag": None,
                },
                schema=CANDLE_SCHEMA,
            )
        )
    return pl.concat(parts)


def test_a_book_runs_on_frames_and_on_a_prepared_market_alike() -> None:
    candles = frames(4)
    one = backtest_book(ByClose(), candles)
    prepared = PreparedMarket.of("60m", candles)
    two = prepared.backtest(ByClose())
    assert one.result.trades.height > 10
    assert np.array_equal(one.result.equity, two.result.equity)


@dataclass(frozen=True)
class Reads(ByClose):
    """Ranks by one feature."""

    read: str = "close"

    def features(self) -> list[str]:
        return [self.read]

    def values_at(self, market: BookMarket, columns: Mapping[str, FloatArray], rows: IntArray) -> FloatArray:
        return market.values_at(columns[self.read], rows, self.rules.rebalance)


@pytest.mark.parametrize("read", ["open_interest_change_3", "1d:close", "BTC-USDT:returns_4", "model:direction"])
def test_features_read_what_is_given_beside_the_bars(read: str) -> None:
    candles = frames(4)
    keys = candles.select("symbol", "ts")
    rng = np.random.default_rng(1)
    nothing = rng.uniform(1, 2, candles.height)
    held = dict.fromkeys(list(POSITIONING_SCHEMA)[2:], nothing)
    bitcoin = candles.filter(pl.col("symbol") == "S00-USDT").with_columns(symbol=pl.lit("BTC-USDT"))
    whole = candles.group_by("symbol", pl.col("ts").dt.truncate("1d"), maintain_order=True)
    daily = whole.agg(pl.exclude("minutes").last()).with_columns(minutes=1440).select(CANDLE_SCHEMA.names())
    beside = Beside(
        {"60m": bitcoin, "1d": daily},
        keys.with_columns(**{name: pl.Series(values) for name, values in held.items()}).cast(POSITIONING_SCHEMA),
        {"60m": keys.with_columns(pl.Series("model:direction", nothing))},
    )
    column = PreparedMarket.of("60m", candles, beside=beside).columns([read])[read]
    known = np.isfinite(column[100:])
    assert known.mean() > 0.4
    if read == "BTC-USDT:returns_4":
        return  # the same for all symbols
    found = backtest_book(Reads(read=read), candles, beside=beside)
    assert found.result.trades.height > 2
    if read in {"open_interest_change_3", "model:direction"}:
        assert backtest_book(Reads(read=read), candles).result.trades.is_empty(), "unknown without it"


def test_features_that_are_kept_take_a_stated_number_of_bytes() -> None:
    candles = frames(4)
    one = PreparedMarket.of("60m", candles).columns(["close"])["close"].nbytes
    prepared = PreparedMarket.of("60m", candles)
    prepared = PreparedMarket(prepared.market, candles, most_bytes=2 * one)
    names = ["open", "high", "low", "close"]
    whole = prepared.columns(names)
    assert sorted(whole) == sorted(names), "one book may ask for more than is kept"
    assert prepared.held_bytes == 2 * one
    kept = prepared.columns(["close"])["close"]
    assert kept is whole["close"]
    prepared.columns(["open"])
    assert prepared.columns(["close"])["close"] is kept, "what was asked for longest ago goes first"
    assert prepared.columns(["low"])["low"] is not whole["low"]


def test_a_later_start_and_an_earlier_end_cut_the_window() -> None:
    candles = frames(4)
    first = candles["ts"].min() + timedelta(hours=100)  # type: ignore[operator]
    found = backtest_book(ByClose(), candles, start=first, end=first + timedelta(hours=50))
    assert len(found.result.equity) == 50
    assert found.result.market.time_of(found.result.begin) == first
    whole = backtest_book(ByClose(), candles, start=first)
    assert np.array_equal(whole.result.equity[:50], found.result.equity)


def test_a_book_on_other_bars_is_refused() -> None:
    with pytest.raises(ValueError, match="a book on 1d"):
        PreparedMarket.of("60m", frames(4)).backtest(ByClose(timeframe="1d"))
    with pytest.raises(ValueError, match="begins at row"):
        backtest_book(ByClose(), frames(4), start=frames(4)["ts"].max() + DAILY)  # type: ignore[operator]


def test_a_ruined_book_has_a_return_of_minus_one_once() -> None:
    drawn = universe(11, 200, 8, move=0.2, jumps=0.2, maintenance=0.05)
    result = book_of(drawn, BookRules(timedelta(hours=6), gross=4.0, cap=2.0))
    found = BookEvaluation("ruined", result)
    assert result.tranches[0].outcome[kernel.RUINED_AT] >= 0
    assert (result.returns == -1.0).sum() == 1
    assert found.metrics()["ruined"] == found.metrics()["ruined_by_extremes"] == 1
    assert found.metrics()["total_pnl_pct"] == -100.0
    assert found.metrics()["max_drawdown"] == 1.0


@pytest.mark.parametrize("seed", [2, 3])
def test_what_a_liquidation_takes_is_counted(seed: int) -> None:
    drawn = universe(seed, 200, 8, move=0.02)
    result = book_of(drawn, BookRules(timedelta(hours=6), gross=10.0, cap=5.0))
    metrics = {name: value or 0.0 for name, value in BookEvaluation("ruined", result).metrics().items()}
    assert (metrics["lost_pct"] > 0.0) != (metrics["shortfall_pct"] > 0.0)
    assert metrics["lost_pct"] == pytest.approx(100.0 * result.trades["lost"].sum() / result.capital)
    paid = sum(metrics[f"{name}_pct"] for name in ("fees", "slippage", "funding", "lost"))
    assert metrics["pnl_before_costs_pct"] - paid == pytest.approx(-100.0 - metrics["shortfall_pct"])
