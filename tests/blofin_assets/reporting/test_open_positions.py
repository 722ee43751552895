"""Open positions of a report, on a market of hours and as of the report."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from support.warehouses import new_warehouse

from blofin_resources.queries import query
from features.bars import TS

AS_OF = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


def hours(*closes: float) -> pl.DataFrame:
    """Return hourly bars up to the as-of, and one after it."""
    count = len(closes)
    times = [AS_OF + (place - count + 1) * HOUR for place in range(count)]
    frame = pl.DataFrame({"symbol": "A-USDT", "ts": times, "close": closes}, schema_overrides={"ts": TS})
    prices = {name: pl.col("close") for name in ("open", "high", "low")}
    return frame.with_columns(**prices, volume=1.0, minutes=60, origin=pl.lit("archive"))


def test_a_market_of_hours_has_last_prices_and_a_later_trade_closes_nothing_before(tmp_path: Path) -> None:
    entry = {
        "kind": "strategy", "name": "one", "version": "1", "activated_at": AS_OF - timedelta(days=1),
        "symbol": "A-USDT", "timeframe": "60m", "signal_ts": AS_OF - 3 * HOUR, "side": "short",
        "entry_ts": AS_OF - 2 * HOUR, "entry_price": 100.0, "quantity": 0.01, "as_of": AS_OF - HOUR, "engine": "x",
    }  # fmt: skip
    trade = entry | {
        "exit_ts": AS_OF, "exit_price": 70.0, "pnl": 0.3, "fees": 0.0, "funding": 0.0, "slippage": 0.0,
        "pnl_pct": 30.0, "exit_reason": "signal", "as_of": AS_OF + HOUR,
    }  # fmt: skip
    times = dict.fromkeys(("activated_at", "signal_ts", "entry_ts", "as_of", "exit_ts"), TS)
    with new_warehouse(tmp_path / "w") as store:
        with store.transaction("test") as tx:
            tx.append("market.candles_60m", hours(90.0, 80.0, 70.0))
            tx.append("research.forward_entries", pl.DataFrame([entry], schema_overrides=times))
            tx.append("research.forward_trades", pl.DataFrame([trade], schema_overrides=times))
        (held,) = store.read(query("reporting/forward_open"), {"as_of": AS_OF}).to_dicts()
        assert held["last_price"] == 80.0, "the bar that had closed by then"
        assert held["move_pct"] == pytest.approx(20.0)
        assert store.read(query("reporting/forward_open"), {"as_of": AS_OF - 2 * HOUR}).is_empty(), "not known yet"
        assert store.read(query("reporting/forward_open"), {"as_of": AS_OF + HOUR}).is_empty(), "closed by then"
