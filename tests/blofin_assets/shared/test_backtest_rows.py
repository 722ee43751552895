"""Rows of the tables from evaluations: which lanes count, and which hours had bars."""

from datetime import timedelta

import polars as pl

from backtester import evaluate
from blofin_assets.shared.backtest_rows import backtest_rows, equity_rows, trade_rows
from tests.backtester.toy import START, SYMBOLS, Momentum, ToyManager, toy_source

BEGIN, END = START + timedelta(days=1), START + timedelta(days=3)
NIGHT = (BEGIN + timedelta(hours=6), BEGIN + timedelta(hours=9))


def test_lanes_and_trades_say_whether_they_are_scored() -> None:
    strategy = Momentum(timeframes=("5m",), length=3)
    found = evaluate([strategy], ToyManager(toy_source()), SYMBOLS, BEGIN, END, timeframes=("5m", "60m"))
    rows = backtest_rows(found, END, 1)
    scored = {(row["symbol"], row["timeframe"]) for row in rows.filter("scored").iter_rows(named=True)}
    assert scored == {("*", "*"), ("A-USDT", "5m"), ("B-USDT", "5m")}
    trades = trade_rows(found, "strategy", END)
    assert set(trades.filter("scored")["timeframe"]) == {"5m"}
    assert set(trades.filter(pl.col("scored").not_())["timeframe"]) == {"60m"}
    assert trades["scored"].sum() == rows.filter(symbol="*")["total_trades"].item()


def test_hours_say_whether_they_had_bars() -> None:
    found = evaluate([Momentum()], ToyManager(toy_source(gap=NIGHT)), SYMBOLS, BEGIN, END)
    rows = equity_rows(found, "strategy", END)
    assert rows.filter(pl.col("with_bars").not_())["ts"].to_list() == [
        NIGHT[0] + timedelta(hours=hour) for hour in (1, 2, 3)
    ]
    assert rows["with_bars"].null_count() == 1
