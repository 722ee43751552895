"""Candles and funding of several timeframes together, which can be cut at a moment or changed after it.

Belongs here: `Market`, a small invented one, and two ways of removing its future. Does not belong here: the comparison
that uses them (`causality`), realistic synthetic data (`blofin_resources`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from features.array_types import FloatArray
from features.bars import (
    CANDLE_SCHEMA,
    FUNDING_SCHEMA,
    MARK_SCHEMA,
    MINUTES,
    POSITIONING_SCHEMA,
    TIMEFRAMES,
    TS,
    FrameSource,
    Timeframe,
    bar_length,
)

EPOCH: Final = datetime(2025, 1, 6, tzinfo=UTC)
SYMBOLS: Final = ("AAA-USDT", "BBB-USDT")
_POSITIONS: Final = tuple(POSITIONING_SCHEMA)[2:]


@dataclass(frozen=True)
class Market:
    """Candles by timeframe and funding; predictions of models, mark prices and positioning data, if any.

    Schemas are in `features.bars`.
    """

    candles: Mapping[Timeframe, pl.DataFrame]
    funding: pl.DataFrame
    predictions: Mapping[Timeframe, pl.DataFrame] = field(default_factory=dict)
    marks: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=MARK_SCHEMA))
    positioning: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=POSITIONING_SCHEMA))

    def source(self) -> FrameSource:
        """Return the market as a `CandleSource`."""
        return FrameSource(
            dict(self.candles), self.funding, dict(self.predictions), self.marks, positioning=self.positioning
        )

    def cut(self, moment: datetime) -> "Market":
        """Return what was closed or paid at or before `moment`."""
        candles = {key: frame.filter(pl.col("ts") <= moment - bar_length(key)) for key, frame in self.candles.items()}
        said = {key: frame.filter(pl.col("ts") <= moment - bar_length(key)) for key, frame in self.predictions.items()}
        marks = self.marks.filter(pl.col("ts") <= moment - bar_length("1m"))
        held = self.positioning.filter(pl.col("ts") <= moment)
        return Market(candles, self.funding.filter(pl.col("ts") <= moment), said, marks, held)

    def noised(self, moment: datetime, seed: int) -> "Market":
        """Return the market with everything that closed or was paid after `moment` replaced by noise."""
        rng = np.random.default_rng(seed)
        candles = {key: _noised(frame, moment - bar_length(key), rng) for key, frame in self.candles.items()}
        rate = pl.Series(rng.normal(0, 0.01, self.funding.height))
        later = pl.when(pl.col("ts") > moment)
        funding = self.funding.with_columns(later.then(rate).otherwise(pl.col("rate")).alias("rate"))
        said = {key: _said(frame, moment - bar_length(key), rng) for key, frame in self.predictions.items()}
        marks = _noised(self.marks, moment - bar_length("1m"), rng)
        values = [pl.Series(name, rng.lognormal(0, 2, self.positioning.height)) for name in _POSITIONS]
        held = self.positioning.with_columns(later.then(noise).otherwise(pl.col(noise.name)) for noise in values)
        return Market(candles, funding, said, marks, held)


def example_market(bars: int = 3000, seed: int = 7) -> Market:
    """Return an invented market of two symbols with every peculiarity that a feature must handle.

    Parameters
    ----------
    bars : int
        Minutes.
    seed : int
        Seed of the random walk.

    Returns
    -------
    Market
        Candles of every timeframe, with missing and flagged bars, unknown and zero volumes, and constant prices.

    Examples
    --------
    >>> market = example_market(bars=600)
    >>> market.candles["5m"].height < market.candles["1m"].height / 4
    True
    """
    rng = np.random.default_rng(seed)
    minutes = pl.concat([_minutes(symbol, bars, rng) for symbol in SYMBOLS])
    candles: dict[Timeframe, pl.DataFrame] = {"1m": minutes}
    for timeframe in TIMEFRAMES[1:]:
        candles[timeframe] = _grouped(minutes, timeframe)
    times = [EPOCH + timedelta(hours=8 * i) for i in range(1 + bars // 480)]
    funding = pl.concat(
        pl.DataFrame({"symbol": symbol, "ts": times, "rate": rng.normal(0, 1e-4, len(times))}, schema=FUNDING_SCHEMA)
        for symbol in SYMBOLS
    )
    positioning = pl.concat(_positioning(symbol, bars, rng) for symbol in SYMBOLS)
    return Market(candles, funding, positioning=positioning)


def _positioning(symbol: str, bars: int, rng: np.random.Generator) -> pl.DataFrame:
    """Return values every five minutes, some unknown, a few hours missing."""
    count = bars // 5
    times = [EPOCH + timedelta(minutes=5 * i) for i in range(count)]
    values = {name: np.exp(np.cumsum(rng.normal(0, 0.01, count))) for name in _POSITIONS}
    frame = pl.DataFrame({"symbol": [symbol] * count, "ts": times, **values}, schema=POSITIONING_SCHEMA)
    known = [
        pl.when(pl.Series(rng.random(count) > 0.01)).then(pl.col(name)).alias(name)  # noqa: PLR2004 - a few unknown values
        for name in _POSITIONS
    ]
    hole = EPOCH + timedelta(minutes=bars // 2)
    silent = pl.col("ts").is_between(hole, hole + timedelta(hours=3))
    return frame.with_columns(known).filter(~silent | (pl.lit(bars) < 1000))  # noqa: PLR2004 - where there is room for a hole


def _minutes(symbol: str, bars: int, rng: np.random.Generator) -> pl.DataFrame:
    steps = rng.normal(0, 1e-3, (bars, 8)) * np.exp(rng.normal(0, 0.3, (bars, 1)))
    still = rng.integers(0, bars - 40)
    steps[still : still + 40] = 0.0
    path = 100 * np.exp(np.cumsum(steps.ravel())).reshape(bars, 8)
    volume = rng.lognormal(2, 1, bars)
    volume[rng.random(bars) < 0.01] = 0.0  # noqa: PLR2004 - a few bars without trades
    known = rng.random(bars) > 0.002  # noqa: PLR2004 - a few unknown volumes
    frame = pl.DataFrame(
        {
            "symbol": [symbol] * bars,
            "ts": [EPOCH + timedelta(minutes=i) for i in range(bars)],
            "open": np.concatenate([[path[0, 0]], path[:-1, -1]]),
            "close": path[:, -1],
            "volume": volume,
            "known": known,
            "flagged": rng.random(bars) < 0.004,  # noqa: PLR2004 - a few flagged bars
            "present": rng.random(bars) > 0.003,  # noqa: PLR2004 - a few missing bars
        },
        schema_overrides={"ts": TS},
    )
    return (
        frame.with_columns(
            high=pl.max_horizontal("open", pl.Series(path.max(axis=1))),
            low=pl.min_horizontal("open", pl.Series(path.min(axis=1))),
            volume=pl.when("known").then("volume"),
            contracts=pl.lit(None, pl.Float64),
            minutes=pl.lit(1, pl.Int32),
            origin=pl.lit("example"),
            flag=pl.when("flagged").then(pl.lit("single_price")),
        )
        .with_columns(quote_volume=pl.col("volume") * pl.col("close"))
        .filter("present")
        .select(CANDLE_SCHEMA.names())
    )


def _grouped(minutes: pl.DataFrame, timeframe: Timeframe) -> pl.DataFrame:
    """Resample bars to a higher timeframe, without those that are not closed by the last minute."""
    full = MINUTES[timeframe]
    last = minutes["ts"].max()
    assert isinstance(last, datetime)  # noqa: S101 - there are minutes
    grouped = minutes.group_by_dynamic("ts", every=f"{full}m", group_by="symbol").agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.when(pl.col("volume").null_count() == 0).then(pl.col("volume").sum()),
        pl.when(pl.col("quote_volume").null_count() == 0).then(pl.col("quote_volume").sum()),
        contracts=pl.lit(None, pl.Float64),
        minutes=pl.len().cast(pl.Int32),
        origin=pl.lit("example"),
        # laxer than the real rule, so that long windows see sound bars too
        flag=pl.when(pl.len() < 0.95 * full).then(pl.lit("incomplete")),
    )
    closed = grouped.filter(pl.col("ts") + bar_length(timeframe) <= last + bar_length("1m"))
    return closed.select(CANDLE_SCHEMA.names()).sort("symbol", "ts")


def _noised(frame: pl.DataFrame, last: datetime, rng: np.random.Generator) -> pl.DataFrame:
    """Return the frame with prices, volumes and flags after `last` replaced."""
    size = frame.height
    price = 100 * np.exp(rng.normal(0, 0.5, size))
    up, down = 1 + rng.random((2, size))
    noise: dict[str, Sequence[float | str | None] | FloatArray] = {
        "open": price,
        "high": price * up,
        "low": price / down,
        "close": price * (1 + (up - 1) * rng.random(size)),
        "volume": rng.lognormal(5, 2, size),
        "quote_volume": rng.lognormal(9, 2, size),
        "flag": ["repaired" if drawn < 0.05 else None for drawn in rng.random(size)],  # noqa: PLR2004 - one in twenty
    }
    later = pl.when(pl.col("ts") > last)
    known = [name for name in noise if name in frame.columns]
    series = {name: pl.Series(noise[name], dtype=CANDLE_SCHEMA[name]) for name in known}
    return frame.with_columns(later.then(values).otherwise(pl.col(name)).alias(name) for name, values in series.items())


def _said(frame: pl.DataFrame, last: datetime, rng: np.random.Generator) -> pl.DataFrame:
    """Return predictions with those of bars after `last` replaced."""
    later = pl.when(pl.col("ts") > last)
    names = [name for name in frame.columns if name not in {"symbol", "ts"}]
    return frame.with_columns(
        later.then(pl.Series(rng.random(frame.height))).otherwise(pl.col(name)).alias(name) for name in names
    )
