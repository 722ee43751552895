"""Since when stored market data differs from what a replay read: candles of any base, positioning data."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from support.warehouses import new_warehouse

from blofin_assets.forward.revisions import first_change
from blofin_resources.warehouse import Warehouse

pytestmark = pytest.mark.slow

START = datetime(2026, 3, 1, tzinfo=UTC)
END = START + timedelta(days=1)
SYMBOL = "BTC-USDT"


@pytest.fixture
def store(tmp_path: Path) -> Warehouse:
    """Return a warehouse with a day of hourly bars, which are its shortest."""
    store = new_warehouse(tmp_path / "warehouse")
    hours = pl.datetime_range(START, END, "1h", closed="left", time_zone="UTC", eager=True)
    bars = pl.DataFrame({"symbol": SYMBOL, "ts": hours}).with_columns(
        open=1.0, high=2.0, low=0.5, close=1.0, volume=9.0, minutes=60, origin=pl.lit("archive")
    )
    stored = {"dataset": "candles_60m", "symbol": SYMBOL, "day": START.date(), "through": END, "rows": 24}
    with store.transaction("r") as tx:
        tx.append("market.candles_60m", bars)
        tx.append("market.coverage", pl.DataFrame([stored]))
    return store


def _positioning(hour: int, interest: float) -> pl.DataFrame:
    row = {"symbol": SYMBOL, "ts": START + timedelta(hours=hour), "open_interest": interest, "origin": "archive"}
    return pl.DataFrame([row])


def test_a_changed_hour_of_an_hourly_base_is_found(store: Warehouse) -> None:
    before = store.snapshot_id()
    assert first_change(store, before, [SYMBOL], START, END) is None
    moment = START + timedelta(hours=5)
    changed = store.read("SELECT * EXCLUDE (run_id) FROM market.candles_60m WHERE ts = ?", [moment])
    with store.transaction("r2") as tx:
        tx.replace(
            "market.candles_60m", changed.with_columns(close=pl.lit(1.5)), moment, moment + timedelta(hours=1),
            symbol=SYMBOL,
        )  # fmt: skip
    assert first_change(store, before, [SYMBOL], START, END) == moment
    assert first_change(store, before, ["ETH-USDT"], START, END) is None


def test_new_and_changed_positioning_data_is_found(store: Warehouse) -> None:
    empty = store.snapshot_id()
    with store.transaction("r2") as tx:
        tx.append("market.positioning", _positioning(7, 5.0))
    assert first_change(store, empty, [SYMBOL], START, END) == START + timedelta(hours=7)
    known = store.snapshot_id()
    assert first_change(store, known, [SYMBOL], START, END) is None
    with store.transaction("r3") as tx:
        tx.replace("market.positioning", _positioning(7, 6.0), START, END, symbol=SYMBOL)
    assert first_change(store, known, [SYMBOL], START, END) == START + timedelta(hours=7)
    assert first_change(store, known, [SYMBOL], START + timedelta(hours=8), END) is None
