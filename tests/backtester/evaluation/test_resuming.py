"""A replay that is taken up again goes on as one from the beginning, wherever it was cut."""

from datetime import timedelta

import polars as pl
import pytest
from toy import START, SYMBOLS, Momentum, Oracle, ToyManager, toy_source

from backtester import StrategyLike, evaluate
from backtester.evaluation.evaluate import read_market
from backtester.evaluation.resuming import resume
from features.bars import MINUTES

DAY = timedelta(days=1)
END = START + 3 * DAY
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("strategy", [Momentum(), Oracle()])
def test_wherever_it_is_cut_the_rest_is_as_in_one_replay_from_the_beginning(strategy: StrategyLike) -> None:
    manager = ToyManager(toy_source())
    names = {timeframe: strategy.features(timeframe) for timeframe in strategy.timeframes}
    begin = START + 6 * HOUR
    whole = evaluate([strategy], manager, SYMBOLS, begin, END, timeframes=strategy.timeframes)[0]
    assert whole.pooled is not None
    curve = whole.pooled.equity_frame().tail(len(whole.pooled.returns)).with_columns(gained=whole.pooled.returns)
    held_once = False
    for hour in range(7, 60, 9):
        cut = START + hour * HOUR
        trades = whole.trades.filter(pl.col("entry_ts") < cut)
        bar = pl.duration(minutes=pl.col("timeframe").replace_strict(MINUTES, return_dtype=pl.Int64))
        still = trades.filter((pl.col("exit_reason") == "open") | (pl.col("exit_ts") + bar > cut))
        held = {row[:2]: row[2] for row in still.select("symbol", "timeframe", "entry_ts").iter_rows()}
        held_once |= bool(held)
        from_when = min([cut, *held.values()]) - 2 * HOUR
        market = read_market(manager, SYMBOLS, max(from_when, START), END, features=names, source=manager.source)
        found = resume(strategy, market, cut, held, largest=whole.largest)
        hours = found.pooled.equity_frame().tail(len(found.pooled.returns)).with_columns(gained=found.pooled.returns)
        after = pl.col("ts") > cut
        assert hours.filter(after)["ts"].equals(curve.filter(after)["ts"])
        assert hours.filter(after)["gained"].to_list() == pytest.approx(
            curve.filter(after)["gained"].to_list(), abs=1e-12
        )
        later = pl.col("entry_ts") >= cut
        columns = ("symbol", "timeframe", "side", "entry_ts", "exit_ts", "exit_reason")
        assert found.trades.filter(later).select(columns).equals(whole.trades.filter(later).select(columns))
        closed = still.join(found.trades, on=["symbol", "timeframe", "entry_ts"], how="left", suffix="_again")
        assert closed["exit_ts_again"].equals(closed["exit_ts"]), "an open position is closed as it would have been"
    assert held_once
