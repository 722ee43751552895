"""A small invented market on which a model has something to learn, or nothing."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from features.bars import CANDLE_SCHEMA, FrameSource
from features.feature_manager import FeatureManager

T = datetime(2025, 6, 12, tzinfo=UTC)
SYMBOLS = ("AAA-USDT", "BBB-USDT")

MakeManager = Callable[[float], FeatureManager]


def candles(reversal: float, days: int, seed: int = 3) -> pl.DataFrame:
    """5-minute bars up to T; `reversal` is the share of a bar's surprise that the next hour takes back."""
    rng = np.random.default_rng(seed)
    bars = days * 288
    frames = []
    for symbol in SYMBOLS:
        shocks = rng.normal(0, 0.002, bars)
        returns = shocks.copy()
        for lag in range(1, 13):
            returns[lag:] -= reversal / 12 * shocks[:-lag]
        close = 100 * np.exp(np.cumsum(returns))
        opening = np.concatenate([[100.0], close[:-1]])
        wick = np.abs(rng.normal(0, 0.0005, (2, bars)))
        volume = rng.lognormal(3, 0.5, bars)
        frames.append(
            pl.DataFrame(
                {
                    "symbol": [symbol] * bars,
                    "ts": [T - timedelta(days=days) + timedelta(minutes=5 * i) for i in range(bars)],
                    "open": opening,
                    "high": np.maximum(opening, close) * (1 + wick[0]),
                    "low": np.minimum(opening, close) * (1 - wick[1]),
                    "close": close,
                    "volume": volume,
                    "quote_volume": volume * close,
                    "contracts": volume,
                    "minutes": [5] * bars,
                    "origin": ["test"] * bars,
                    "flag": pl.Series([None] * bars, dtype=pl.String),
                },
                schema=dict(CANDLE_SCHEMA),
            )
        )
    return pl.concat(frames)


@pytest.fixture(scope="session")
def manager_of() -> MakeManager:
    """Return a manager as of T of a market with this much reversal."""

    def make(reversal: float) -> FeatureManager:
        return FeatureManager(FrameSource({"5m": candles(reversal, 10)}), T)

    return make
