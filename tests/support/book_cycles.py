"""A warehouse with some months of a small invented universe, and the stages of books run on it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from support.invented_universe import START, invented
from support.platform import Platform, platforms

from backtester import aggregate
from blofin_assets.definitions import build_defs
from blofin_assets.scheduling.runner import _errors
from blofin_assets.shared.cadences import STRATEGY_CYCLE
from blofin_assets.shared.cycle_events import mark_deep_done

FIRST = datetime(2025, 8, 18, tzinfo=UTC)
"""As-of of the first cycle."""
SECOND = FIRST + timedelta(days=2)
END = FIRST + timedelta(days=4)
SYMBOLS = 7
UNIVERSE = f"top:{SYMBOLS}"

BOOK_STAGES = (
    "book_library",
    "book_validation",
    "book_scores",
    "book_tuning",
    "book_designs",
    "book_finalists",
    "book_backtests",
    "book_ranking",
    "book_knowledge",
)


def store_universe(platform: Platform) -> None:
    """Store days, hours, funding and a universe of all symbols, as the job of deep history would."""
    market = invented(hours=(END - START) // timedelta(hours=1), symbols=SYMBOLS)
    hours, symbols = market.candles["60m"], market.candles["60m"]["symbol"].unique().sort().to_list()
    days = [START.date() + timedelta(days=day) for day in range((END - START).days + 1)]
    members = pl.DataFrame({"day": days}).join(pl.DataFrame({"symbol": symbols}), how="cross")
    listings = {"list_time": START, "as_of": START, "state": "live", "origin": "test"}
    with platform.warehouse.transaction("test") as tx:
        tx.append("market.listings", pl.DataFrame([{"symbol": symbol, **listings} for symbol in symbols]))
        tx.append("market.deep_60m", hours)
        tx.append("market.deep_1d", aggregate(hours, "1d", END))
        tx.append("market.deep_funding", market.funding.with_columns(origin=pl.lit("test")))
        tx.append("market.universe", members.with_columns(member=pl.lit(value=True), reason=pl.lit("member")))
    mark_deep_done(platform.warehouse, END, platform.settings.universe, platform.settings.deep_start, "test")


@contextmanager
def book_platform(root: Path, **settings: Any) -> Iterator[Platform]:
    """Give a platform on such a warehouse."""
    with platforms(root) as make:
        platform = make(universe=UNIVERSE, **settings)
        store_universe(platform)
        yield platform


def run_books(
    platform: Platform, as_of: datetime, *assets: str, resources: Mapping[str, Any] | None = None
) -> dg.ExecuteInProcessResult:
    """Run the stages of books in a cycle, or some of them."""
    defs = build_defs(platform.settings, resources=dict(resources)) if resources else platform.defs
    result = defs.resolve_job_def(STRATEGY_CYCLE).execute_in_process(
        instance=platform.instance,
        partition_key=f"{as_of:%Y-%m-%d}",
        asset_selection=[dg.AssetKey(name) for name in assets or BOOK_STAGES],
        raise_on_error=False,
    )
    assert result.success, _errors(result)
    return result
