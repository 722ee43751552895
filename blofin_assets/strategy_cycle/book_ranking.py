"""The ranking of the books of a cycle.

Belongs here: the asset. Does not belong here: the rules of a ranking, which are those of strategies (`ranking`).
"""

from datetime import datetime
from typing import Any, Final

import dagster as dg

from blofin_assets.shared.asset import stage_asset, table_preview
from blofin_assets.shared.cadences import STRATEGY_CYCLE
from blofin_assets.shared.cycle_events import require_cycle_order
from blofin_assets.shared.partitions import day_start, two_days
from blofin_assets.shared.plots import curve_names, equity_figure, markdown_png
from blofin_assets.shared.vocabulary import Kind
from blofin_assets.shared.windows import cycle_as_of
from blofin_assets.strategy_cycle.book_evaluation import book_backtests
from blofin_assets.strategy_cycle.book_market import GROUP, book_windows, not_run
from blofin_assets.strategy_cycle.population import BOOKS
from blofin_assets.strategy_cycle.ranking import BEGUN, Ranking, best_numbers, rank_versions
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse

ACTIVE: Final = 10
"""Number of active books; the rank alone decides."""


@stage_asset(group=GROUP, table="research.ranking_history", partitions=two_days, deps=[book_backtests])
def book_ranking(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Books ranked by the strategies' score: the best ten stay active, the bottom 20 % are replaced."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    require_cycle_order(store, STRATEGY_CYCLE, as_of)
    windows = book_windows(store, market, as_of)
    if isinstance(windows, str):
        return not_run(windows)
    result = rank_books(store, as_of)
    with store.transaction(context.run.run_id) as tx:
        tx.replace("research.ranking_history", result.rows, as_of=as_of, kind=Kind.BOOK)
        tx.replace("research.holdout_outcomes", result.outcomes, as_of=as_of, stage=BOOKS.stages)
        tx.replace("research.book_lifecycle", result.events, begins_at=as_of, event=BEGUN)
    equity = store.read("SELECT name, ts, equity FROM research.equity WHERE kind = ? AND as_of = ?", [Kind.BOOK, as_of])
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": result.rows.height,
            "ranking": table_preview(result.table),
            "equity": dg.MetadataValue.md(
                markdown_png(equity_figure(equity, curve_names(equity, result.rows, 5)), "equity of the top five")
            ),
            "snapshot": tx.snapshot,
            **best_numbers(result.table),
        }
    )


def rank_books(store: Warehouse, as_of: datetime) -> Ranking:
    """Rank the books of a cycle by their holdout and return the rows that follow."""
    results = store.read(query("strategy_cycle/book_results"), {"as_of": as_of})
    return rank_versions(store, as_of, BOOKS, results, ACTIVE)
