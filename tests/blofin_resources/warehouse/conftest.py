"""Warehouses for tests."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from support.warehouses import new_warehouse

from blofin_resources.warehouse import Warehouse

START = datetime(2025, 5, 30, tzinfo=UTC)
"""A start whose days cross the end of a month, so that writes touch two partitions."""


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    """An empty warehouse."""
    with new_warehouse(tmp_path / "warehouse") as opened:
        yield opened


@pytest.fixture(scope="session")
def bars() -> Callable[..., pl.DataFrame]:
    """A function that makes sound 1-minute bars, from minute `first` after the start."""

    def make(count: int, symbol: str = "BTC-USDT", first: int = 0, close: float = 100.0) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "symbol": [symbol] * count,
                "ts": [START + timedelta(minutes=first + minute) for minute in range(count)],
                "open": 100.0,
                "high": max(101.0, close),
                "low": min(99.0, close),
                "close": close,
                "volume": [float(first + minute) for minute in range(count)],
                "minutes": 1,
                "origin": "sample",
            },
            schema_overrides={"symbol": pl.String, "ts": pl.Datetime("us", "UTC"), "volume": pl.Float64},
        )

    return make


@pytest.fixture(scope="session")
def start() -> datetime:
    """The time of the first bar that `bars` makes."""
    return START
