"""Mark prices: on the rows of bars as a plain loop puts them, deciding liquidations, read only where they matter."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from toy import START, SYMBOLS, Momentum, ToyManager, toy_source

from backtester import BacktestEngine, BarError, Bars, Evaluation, evaluate
from backtester.simulation.kernel import FILLABLE
from backtester.simulation.mark_prices import with_marks
from features.bars import FUNDING_SCHEMA, MARK_SCHEMA, MINUTES, FrameSource, Timeframe
from features.market import Market, example_market

BEGIN, END = START + timedelta(days=1), START + timedelta(days=3)
TIMEFRAMES: tuple[Timeframe, ...] = ("1m", "5m", "60m")
MINUTE = timedelta(minutes=1)


class Levered(Momentum):
    """Follows the last few bars with borrowed money, without a stop."""

    def __init__(self, name: str = "levered", leverage: float | None = 40.0) -> None:
        super().__init__(name, TIMEFRAMES)
        self.leverage = leverage

    def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
        made = super().signals(frame).drop("stop", "target")
        return made if self.leverage is None else made.with_columns(leverage=pl.lit(self.leverage))


class LongOnly(Levered):
    """Never sells short."""

    def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
        return super().signals(frame).drop("short_entry")


class Held(Levered):
    """Is always on one side."""

    def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
        entry = pl.lit(value=True).alias(f"{self.name}_entry")
        return frame.select("symbol", "ts", entry, leverage=pl.lit(50.0), size=pl.lit(0.001))


class Counting(FrameSource):
    """Remembers what was asked of mark prices."""

    asked: list[tuple[datetime, datetime]]

    def mark_candles(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        self.asked.append((start, end))
        return super().mark_candles(symbols, start, end)


def marks_of(minutes: pl.DataFrame, up: float = 1.0, down: float = 1.0) -> pl.DataFrame:
    """Return mark prices that follow the candles, with wider or narrower extremes."""
    held = (
        pl.max_horizontal(pl.col("high") * up, "open", "close"),
        pl.min_horizontal(pl.col("low") * down, "open", "close"),
    )
    return minutes.select("symbol", "ts", "open", held[0].alias("high"), held[1].alias("low"), "close").cast(
        MARK_SCHEMA
    )


def source(marks: pl.DataFrame | None) -> Counting:
    plain = toy_source()
    candles = {timeframe: plain.candles(SYMBOLS, timeframe, None, END) for timeframe in TIMEFRAMES}
    made = Counting(candles, plain.funding(SYMBOLS, None, END), marks=marks)
    made.asked = []
    return made


def run(given: FrameSource, strategy: Levered | None = None, end: datetime = END) -> Evaluation:
    return evaluate([strategy or Levered()], ToyManager(given), SYMBOLS, BEGIN, end, timeframes=TIMEFRAMES)[0]


@pytest.fixture(scope="module")
def minutes() -> pl.DataFrame:
    return toy_source().candles(SYMBOLS, "1m", None, END)


def test_minutes_lie_on_the_bars_rows_as_a_plain_loop_puts_them() -> None:
    market = example_market(2000)
    rng = np.random.default_rng(3)
    all_minutes = market.candles["1m"].filter(pl.col("symbol") == "AAA-USDT")
    factor = rng.uniform(0.9, 1.1, len(all_minutes))
    prices = [(pl.col(name) * pl.Series(factor)).alias(name) for name in ("open", "high", "low", "close")]
    marks = all_minutes.select("symbol", "ts", *prices).filter(pl.Series(rng.random(len(all_minutes)) > 0.004))
    by_time = {row["ts"]: row for row in marks.iter_rows(named=True)}
    gaps = 0
    for timeframe in TIMEFRAMES:
        frame = market.candles[timeframe].filter(pl.col("symbol") == "AAA-USDT")
        bars = Bars.from_frame(frame, timeframe)
        found = with_marks(bars, marks)
        assert found.mark is not None
        expected, lacking = [], 0
        for row, ts in enumerate(frame["ts"]):
            inside = [by_time.get(ts + minute * MINUTE) for minute in range(MINUTES[timeframe])]
            whole = [each for each in inside if each is not None]
            if len(whole) == len(inside):
                highest, lowest = max(each["high"] for each in whole), min(each["low"] for each in whole)
                expected.append((whole[0]["open"], highest, lowest))
            else:
                expected.append((bars.open[row], bars.high[row], bars.low[row]))
                lacking += bool(bars.state[row] & FILLABLE)
        np.testing.assert_array_equal(np.stack(found.mark, axis=1), np.array(expected))
        assert found.mark_gaps == lacking
        assert found.liquidation_price == ("mixed" if lacking else "mark")
        gaps += lacking
    assert gaps > 0


def test_a_liquidation_goes_by_the_mark_price_and_not_by_the_last_one(minutes: pl.DataFrame) -> None:
    doubled = [(pl.col(name) * 2.0).alias(name) for name in ("open", "high", "low", "close")]
    by_last, by_mark = source(None), source(marks_of(minutes.with_columns(doubled)))

    def found(side: str, given: FrameSource) -> tuple[int, int, str]:
        result = run(given, Held(side))
        assert result.pooled is not None
        reasons = result.declared_trades["exit_reason"]
        assert (reasons == "liquidation").sum() == result.pooled.declared_liquidations
        return (reasons == "liquidation").sum(), reasons.len(), result.pooled.liquidation_price

    for side in ("long", "short"):
        liquidated, trades, price = found(side, by_last)
        assert 0 < liquidated < trades
        assert (price, found(side, by_mark)[2]) == ("last", "mark")
    assert found("long", by_mark)[0] == 0  # the mark is far above where a long loses anything
    liquidated, trades, _ = found("short", by_mark)
    assert liquidated == trades > 100


def test_marks_like_the_candles_change_nothing_but_the_label(minutes: pl.DataFrame) -> None:
    with_them, without = run(source(marks_of(minutes))), run(source(None))
    assert with_them.declared_trades.equals(without.declared_trades)
    assert {lane.liquidation_price for lane in with_them.lanes} == {"mark"}
    assert {lane.liquidation_price for lane in without.lanes} == {"last"}


@pytest.mark.parametrize("leverage", [None, 1.0])
def test_without_shorts_and_leverage_they_are_not_even_read(minutes: pl.DataFrame, leverage: float | None) -> None:
    given = source(marks_of(minutes, 1.2, 0.8))
    found = run(given, LongOnly(leverage=leverage))
    assert given.asked == []
    assert {lane.liquidation_price for lane in found.lanes} == {"last"}


@pytest.mark.parametrize("leverage", [None, 1.0])
def test_a_short_without_leverage_goes_by_them_as_well(minutes: pl.DataFrame, leverage: float | None) -> None:
    given = source(marks_of(minutes, 2.2, 0.8))
    found = run(given, Levered(leverage=leverage))
    assert len(given.asked) == 1
    assert {lane.liquidation_price for lane in found.lanes} == {"mark"}
    assert set(found.trades.filter(pl.col("exit_reason") == "liquidation")["side"]) == {"short"}


def test_they_are_read_once_for_a_window_and_not_beyond_it(minutes: pl.DataFrame) -> None:
    given = source(marks_of(minutes, 1.2, 0.8))
    both = evaluate(
        [Levered(), Levered("more", 45.0)], ToyManager(given), SYMBOLS, BEGIN, END - timedelta(hours=1),
        timeframes=TIMEFRAMES,
    )  # fmt: skip
    assert given.asked == [(BEGIN, END - timedelta(hours=1))]
    assert all(lane.liquidation_price == "mark" for found in both for lane in found.lanes)


def test_what_comes_later_changes_no_trade_before_it(minutes: pl.DataFrame) -> None:
    """Neither later mark prices nor their absence reach back; a shorter replay is a prefix of a longer one."""
    cut = END - timedelta(hours=17)
    market = Market({}, pl.DataFrame(schema=FUNDING_SCHEMA), marks=marks_of(minutes, 1.004, 0.996))
    noised, gone = market.noised(cut, 5).marks, market.cut(cut).marks
    assert not noised.equals(market.marks)

    def known(found: Evaluation) -> pl.DataFrame:
        closes = pl.col("exit_ts") + pl.duration(
            minutes=pl.col("timeframe").replace_strict(MINUTES, return_dtype=pl.Int64)
        )
        settled = found.declared_trades.filter(pl.col("exit_reason") != "open", closes <= cut)
        return settled.sort("symbol", "timeframe", "entry_ts")

    whole = known(run(source(market.marks)))
    assert (whole["exit_reason"] == "liquidation").sum() > 0
    for other in (noised, gone):
        assert known(run(source(other))).equals(whole)
    assert known(run(source(market.marks), end=cut)).equals(whole)
    assert {lane.liquidation_price for lane in run(source(gone)).lanes} == {"mixed"}


def test_the_engine_reads_them_too(minutes: pl.DataFrame) -> None:
    given = source(marks_of(minutes, 1.2, 0.8))
    engine = BacktestEngine("A-USDT", BEGIN, END).run_strategy(Levered(), ToyManager(given))
    metrics = engine.calculate_metrics()
    assert metrics["declared_liquidations"] == len(engine.evaluation.declared_trades) > 0
    assert {lane.liquidation_price for lane in engine.evaluation.lanes} == {"mark"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda frame: frame.with_columns(low=pl.lit(0.0)), "row 0 .* has low 0.0"),
        (lambda frame: frame.with_columns(high=pl.lit(float("nan"))), "row 0 .* has high"),
        (lambda frame: frame.with_columns(open=pl.lit(None, pl.Float64)), "row 0 .* has open None"),
        (lambda frame: frame.reverse(), "row 1 has a time not after the row above it"),
    ],
)
def test_prices_that_cannot_be_are_refused(minutes: pl.DataFrame, change: object, said: str) -> None:
    own = minutes.filter(pl.col("symbol") == "A-USDT")
    with pytest.raises(BarError, match=f"A-USDT mark prices: {said}"):
        with_marks(Bars.from_frame(own, "1m"), change(marks_of(own)))  # type: ignore[operator]
