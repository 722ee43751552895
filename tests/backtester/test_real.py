"""The kernel, the reference loop and the aggregation on real candles."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from reference import Bar, Replay, Signal

from backtester import Bars, Costs, Lane, MarginRules, Signals, aggregate, run_lanes
from backtester.simulation.bar_arrays import Minutes
from features.bars import CANDLE_SCHEMA, MINUTES


@pytest.fixture(scope="module")
def minutes(real_market: Path) -> pl.DataFrame:
    frame = pl.read_parquet(real_market / "SOL-USDT_1m.parquet").head(1440 * 3)
    return (
        frame.with_columns(
            symbol=pl.lit("SOL-USDT"), quote_volume=None, contracts=None, minutes=1, origin=pl.lit("archive"), flag=None
        )
        .select(CANDLE_SCHEMA.names())
        .cast(CANDLE_SCHEMA)
    )


def plain(frame: pl.DataFrame) -> list[Bar]:
    stamped = frame.with_columns(pl.col("ts").dt.epoch("us"), sound=pl.col("flag").is_null())
    return [Bar(*row) for row in stamped.select("ts", "open", "high", "low", "close", "sound").rows()]


@pytest.mark.parametrize("timeframe", ["5m", "60m"])
@pytest.mark.parametrize("levels", [(0.004, 0.006, None), (None, None, 0.005), (0.006, 0.01, 0.004)])
def test_real_lanes_agree_and_minutes_settle_nearly_everything(
    minutes: pl.DataFrame, real_market: Path, timeframe: str, levels: tuple[float | None, float | None, float | None]
) -> None:
    frame = aggregate(minutes, timeframe)  # type: ignore[arg-type]
    funding = pl.read_parquet(real_market / "SOL-USDT_funding.parquet")
    coarse = Bars.from_frame(frame, timeframe, funding=funding)  # type: ignore[arg-type]
    fine = replace(coarse, minutes=Minutes.from_frame(minutes))
    rng = np.random.default_rng(3)
    bits = rng.choice([0, 1, 2, 4, 8], len(frame), p=[0.6, 0.15, 0.15, 0.05, 0.05]).astype(np.uint8)
    given = dict(zip(("stop", "target", "trail"), levels, strict=True))
    lanes = [Lane(bars, Signals.from_arrays(bits, bars, **given)) for bars in (coarse, fine)]
    results = run_lanes(lanes, trades=True, equity=True)
    stop, target, trail = levels
    signals = [Signal(*(bool(b & bit) for bit in (1, 2, 4, 8)), stop=stop, target=target, trail=trail) for b in bits]
    payments = [(int(when), rate) for when, rate in funding.select(pl.col("ts").dt.epoch("us"), "rate").rows()]
    for result, finer in zip(results, (None, plain(minutes)), strict=True):
        step = MINUTES[timeframe] * 60_000_000  # type: ignore[index]
        expected = Replay(plain(frame), signals, payments, step, Costs(), MarginRules(), 1e4, minutes=finer).run()
        assert [(int(r[0]), int(r[1])) for r in result.trade_rows] == [
            (t.entry_row, t.exit_row) for t in expected.trades
        ]
        assert result.equity == pytest.approx(expected.equity, rel=1e-12)
        assert result.trades > 5
        assert result.funding_known == 1.0
    assert results[0].unresolved == results[0].ambiguous
    assert trail is None or results[0].ambiguous > 0
    assert results[1].unresolved <= 0.5 * results[0].unresolved


def test_a_lane_without_bars_is_idle(minutes: pl.DataFrame) -> None:
    start = minutes["ts"][0]
    empty = Bars.from_frame(minutes.clear(), "5m", start=start, end=start + timedelta(days=1), symbol="SOL-USDT")
    result = run_lanes([Lane(empty, Signals(np.zeros(0, dtype=np.uint8)))], trades=True, equity=True)[0]
    assert (result.trades, result.bars, result.coverage, result.sharpe) == (0, 0, 0.0, None)
    assert result.hourly.tolist() == [1.0] * 25
    assert result.trades_frame().is_empty()
