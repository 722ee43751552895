"""What was read once is read again as it is, and asking for nothing gives nothing."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.warehouses import new_warehouse

from blofin_assets.shared.candle_cache import CachedCandleSource
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA

NOW = datetime(2026, 3, 3, tzinfo=UTC)


def test_no_symbols_are_no_rows_with_all_columns(tmp_path: Path) -> None:
    # a day before an archive begins has bars of no symbol
    with new_warehouse(tmp_path / "warehouse") as store:
        source = CachedCandleSource(store, NOW)
        for _ in range(2):
            assert source.candles([], "60m", NOW - timedelta(days=1), NOW).schema == CANDLE_SCHEMA
            assert source.funding([], NOW - timedelta(days=1), NOW).schema == FUNDING_SCHEMA
