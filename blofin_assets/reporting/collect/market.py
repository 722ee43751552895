"""Which bars there are and which are missing, for each lane.

Belongs here: coverage, gaps, flagged and revised bars. Does not belong here: filling anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from blofin_resources.warehouse import Warehouse
from features.bars import MINUTES, TRADED_TIMEFRAMES

RECENT: Final = timedelta(days=7)
"""Length of the exam, for which coverage is shown apart."""

_COVERAGE: Final = (
    "SELECT dataset, symbol, min(day) AS first_day, max(through) AS through, sum(rows)::BIGINT AS bars, "
    "coalesce(sum(rows) FILTER (WHERE day >= $2), 0)::BIGINT AS recent_bars, count(*) AS days "
    "FROM market.coverage WHERE through <= $1 AND symbol IN (SELECT unnest($3)) GROUP BY ALL"
)
_GAPS: Final = (
    "SELECT symbol, from_ts, to_ts, bars, kind, found_at FROM market.gaps WHERE found_at <= $1 AND from_ts < $1 "
    "AND (closed_at IS NULL OR closed_at > $1) AND symbol IN (SELECT unnest($2)) ORDER BY bars DESC, symbol, from_ts"
)
_FLAGGED: Final = (
    "SELECT symbol, count(*) AS flagged FROM market.candles_1m WHERE flag IS NOT NULL AND ts < ? GROUP BY symbol"
)
_REVISED: Final = (
    "SELECT count(*) AS n FROM (SELECT DISTINCT symbol, ts FROM market.candle_revisions WHERE seen_at > ? "
    "AND seen_at <= ?)"
)


@dataclass(frozen=True)
class MarketData:
    """The data behind everything.

    Attributes
    ----------
    lanes : DataFrame
        symbol, timeframe, first_day, through, bars, expected, missing, recent_bars, recent_expected, flagged (1m only).
    gaps : DataFrame
        Open gaps, longest first.
    revised : int
        1-minute bars whose values the source changed within the day.
    """

    lanes: pl.DataFrame
    gaps: pl.DataFrame
    revised: int


def collect_market(warehouse: Warehouse, as_of: datetime, symbols: Sequence[str]) -> MarketData:
    """Return coverage, gaps and revisions of the symbols as of the report."""
    recent = as_of - RECENT
    stored = warehouse.read(_COVERAGE, [as_of, recent.date(), list(symbols)])
    flagged = dict(warehouse.read(_FLAGGED, [as_of]).iter_rows())
    rows = [
        {
            "symbol": row["symbol"],
            "timeframe": timeframe,
            "first_day": row["first_day"],
            "through": row["through"],
            "bars": row["bars"],
            "expected": row["days"] * 1440 // MINUTES[timeframe],
            "missing": row["days"] * 1440 // MINUTES[timeframe] - row["bars"],
            "recent_bars": row["recent_bars"],
            "recent_expected": int(RECENT / timedelta(minutes=MINUTES[timeframe])),
            "flagged": flagged.get(row["symbol"], 0) if timeframe == "1m" else None,
        }
        for timeframe in TRADED_TIMEFRAMES
        for row in stored.filter(pl.col("dataset") == f"candles_{timeframe}").sort("symbol").iter_rows(named=True)
    ]
    return MarketData(
        lanes=pl.DataFrame(rows, infer_schema_length=None).sort("symbol", maintain_order=True) if rows else _NO_LANES,
        gaps=warehouse.read(_GAPS, [as_of, list(symbols)]),
        revised=int(warehouse.read(_REVISED, [as_of - timedelta(days=1), as_of]).item()),
    )


_NO_LANES: Final = pl.DataFrame(
    schema={
        "symbol": pl.String, "timeframe": pl.String, "first_day": pl.Date, "through": pl.Datetime("us", "UTC"),
        "bars": pl.Int64, "expected": pl.Int64, "missing": pl.Int64, "recent_bars": pl.Int64,
        "recent_expected": pl.Int64, "flagged": pl.Int64,
    }
)  # fmt: skip
