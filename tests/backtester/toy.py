"""A small market and strategies for tests of whole evaluations; no features needed beyond the candles."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from backtester import aggregate
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, TIMEFRAMES, FrameSource, Timeframe

START = datetime(2025, 6, 1, tzinfo=UTC)
SYMBOLS = ("A-USDT", "B-USDT")


def toy_source(days: int = 3, seed: int = 7, gap: tuple[datetime, datetime] = (START, START)) -> FrameSource:
    """Return some days of two symbols; there is no bar of either in the gap."""
    rng = np.random.default_rng(seed)
    frames = []
    count = days * 1440
    for number, symbol in enumerate(SYMBOLS):
        close = 100.0 * (number + 1) * np.exp(np.cumsum(rng.normal(0.0, 1e-3, count)))
        start = np.concatenate([[close[0]], close[:-1]])
        spread = np.abs(rng.normal(0.0, 4e-4, (2, count)))
        frames.append(
            pl.DataFrame(
                {
                    "symbol": [symbol] * count,
                    "ts": pl.datetime_range(START, START + timedelta(days=days), "1m", closed="left", eager=True),
                    "open": start,
                    "high": np.maximum(start, close) * (1 + spread[0]),
                    "low": np.minimum(start, close) * (1 - spread[1]),
                    "close": close,
                    "volume": rng.uniform(1.0, 20.0, count),
                    "quote_volume": pl.Series([None] * count, dtype=pl.Float64),
                    "contracts": pl.Series([None] * count, dtype=pl.Float64),
                    "minutes": [1] * count,
                    "origin": ["sample"] * count,
                    "flag": pl.Series([None] * count, dtype=pl.String),
                }
            ).cast(CANDLE_SCHEMA)
        )
    minutes = pl.concat(frames).filter(pl.col("ts").is_between(*gap, closed="left").not_())
    times = pl.datetime_range(START, START + timedelta(days=days), "8h", eager=True)
    funding = pl.concat([pl.DataFrame({"symbol": s, "ts": times, "rate": 1e-4}).cast(FUNDING_SCHEMA) for s in SYMBOLS])
    return FrameSource({timeframe: aggregate(minutes, timeframe) for timeframe in TIMEFRAMES}, funding)


class ToyManager:
    """Candles without features, as `FeatureManager.window` would give them."""

    def __init__(self, source: FrameSource) -> None:
        self.source = source

    def window(
        self, symbols: Sequence[str], timeframe: Timeframe, feature_list: Sequence[str], start: datetime, end: datetime
    ) -> pl.DataFrame:
        assert not feature_list
        return self.source.candles(symbols, timeframe, start, end)


class Momentum:
    """Follows the last few bars."""

    lookback = 20
    version = "1"

    def __init__(
        self, name: str = "momentum", timeframes: tuple[Timeframe, ...] = ("5m", "60m"), length: int = 12
    ) -> None:
        self.name, self.timeframes, self.length = name, timeframes, length

    def features(self, timeframe: Timeframe) -> list[str]:  # noqa: ARG002 - the protocol's argument
        return []

    def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
        assert frame["symbol"].n_unique() <= 1
        change = pl.col("close") / pl.col("close").shift(self.length) - 1.0
        return frame.select(
            "symbol",
            "ts",
            long_entry=change > 0.002,
            short_entry=change < -0.002,
            stop=pl.lit(0.01),
            target=pl.lit(0.02),
        )


class Oracle(Momentum):
    """Knows the next bar: what look-ahead would look like."""

    def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
        ahead = pl.col("close").shift(-2) / pl.col("open").shift(-1) - 1.0
        return frame.select(
            "symbol", "ts", long_entry=ahead > 0.002, short_entry=ahead < -0.002, time_stop=pl.lit(1, pl.Int32)
        )


class Broken(Momentum):
    """Asks for a stop of nothing."""

    def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
        return super().signals(frame).with_columns(stop=pl.lit(0.0))
