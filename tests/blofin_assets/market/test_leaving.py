"""A symbol that leaves BLOFIN_SYMBOLS and comes back: its tables are those of a fresh warehouse, its hole is known."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from support.platform import Make, content, differing

from blofin_assets.shared.cadences import MARKET_DATA

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HOLE = START + 3 * DAY + timedelta(hours=5)
"""Two hours that the source lacks, while the symbol was away."""
TABLES = (
    "market.candles_60m", "market.candles_4h", "market.candles_1d", "market.funding_rates", "market.coverage",
    "features.features_60m",
)  # fmt: skip


def write(folder: Path) -> Path:
    folder.mkdir()
    ts = pl.datetime_range(START, START + 8 * DAY, "1h", closed="left", eager=True)
    level = pl.int_range(len(ts), eager=True) * 17 % 29
    for symbol, price in (("BTC-USDT", 900.0), ("ETH-USDT", 90.0)):
        close = price + level
        bars = pl.DataFrame(
            {"ts": ts, "open": close - 1, "high": close + 2, "low": close - 3, "close": close, "volume": 5.0 + level}
        )
        here = bars["ts"].is_between(HOLE, HOLE + timedelta(hours=2), closed="left").not_() | (symbol == "BTC-USDT")
        bars.filter(here).write_parquet(folder / f"{symbol}_60m.parquet")
        paid = pl.DataFrame({"ts": ts.gather_every(8), "rate": 1e-4})
        paid.write_parquet(folder / f"{symbol}_funding.parquet")
    return folder


@pytest.mark.long
def test_a_symbol_that_is_away_for_two_cycles_has_the_tables_of_a_fresh_warehouse(
    make_platform: Make, tmp_path: Path
) -> None:
    given = {"market": "archive", "archive": write(tmp_path / "archive"), "start": START.date().isoformat()}
    make_platform("left", **given).run(START + 2 * DAY, (MARKET_DATA,))
    for days in (4, 6):
        away = make_platform("left", symbols="BTC-USDT", **given)
        away.run(START + days * DAY, (MARKET_DATA,))
    returned, fresh = make_platform("left", **given), make_platform("fresh", **given)
    last = away.warehouse.read("SELECT max(ts) AS ts FROM market.candles_60m WHERE symbol = 'ETH-USDT'").item()
    assert last == START + 2 * DAY - timedelta(hours=1)
    for platform in (returned, fresh):
        platform.run(START + 8 * DAY, (MARKET_DATA,))
    for table in TABLES:
        assert differing(content(returned.warehouse, table), content(fresh.warehouse, table)) == [], table
    gaps = "SELECT symbol, from_ts, to_ts, bars, found_at, closed_at FROM market.gaps ORDER BY symbol"
    expected = [("ETH-USDT", HOLE, HOLE + timedelta(hours=2), 2, START + 8 * DAY, None)]
    assert returned.warehouse.read(gaps).rows() == fresh.warehouse.read(gaps).rows() == expected
