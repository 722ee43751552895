"""Which strategies there are, and whether each may be ranked.

Belongs here: the assets that turn files into rows and judge every version once. Does not belong here: the checks
themselves (`strategies.validation`), generated strategies before they are finalists (`tuning`, `designs`).
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import dagster as dg
import polars as pl

from blofin_assets.assets.common import cycle_as_of, require_market_data, stage_asset
from blofin_assets.evolution.windows import validation_market
from blofin_assets.partitions import day_start, two_days
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.errors import BlofinError
from blofin_resources.warehouse import Warehouse
from features.bars import TS
from features.market import Market
from strategies.base import Strategy
from strategies.registry import load_library
from strategies.validation import validate_all

GROUP: Final = "strategies"
KIND: Final = "strategy"

EXAM: Final = timedelta(days=7)
"""The last days before a cycle's as-of, on which every strategy is run once."""

CUTS: Final = 4
"""Moments at which the future is taken away from a strategy, beside the telling ones."""

_JUDGED: Final = (
    "SELECT DISTINCT name, version, event FROM research.strategy_events "
    "WHERE event IN ('validated', 'refused') AND \"at\" <= ?"
)


@stage_asset(group=GROUP, table="research.strategies", partitions=two_days)
def strategy_library(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Every strategy that has code, one row a version: the row is made from the code, so that there are no ghosts."""
    as_of = cycle_as_of(context, clock, day_start)
    found = load_library()
    rows = pl.DataFrame(
        {
            "name": [strategy.name for strategy in found],
            "version": [strategy.version for strategy in found],
            "source": ["library"] * len(found),
            "author": ["library"] * len(found),
            "code": [strategy.source() for strategy in found],
            "parameters": [json.dumps(strategy.parameters, sort_keys=True) for strategy in found],
        }
    )
    events = rows.select("name", "version", pl.lit("candidate").alias("event"))
    with warehouse.open().transaction(context.run.run_id) as tx:
        tx.append("research.strategies", rows.with_columns(pl.lit(as_of).alias("created_at")), key=["name", "version"])
        tx.append(
            "research.strategy_events",
            events.with_columns(pl.lit(as_of).alias("at")),
            key=["name", "version", "event"],
        )
    return dg.MaterializeResult(
        metadata={"dagster/row_count": rows.height, "as_of": as_of.isoformat(), "snapshot": tx.snapshot}
    )


@stage_asset(
    group=GROUP,
    table="research.strategy_events",
    partitions=two_days,
    deps=[strategy_library],
    kinds=("polars", "duckdb"),
)
def strategy_validation(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Whether each version may be ranked: signals that do not change with the future, nor know prices by heart."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    require_market_data(store, market.symbols, as_of - EXAM, as_of)
    judged = verdicts(store, as_of)
    waiting = [strategy for strategy in load_library() if (strategy.name, strategy.version) not in judged]
    data = validation_market(store, market.symbols, as_of, waiting) if waiting else None
    rows = judged_rows(waiting, data, as_of, market.seed)
    with store.transaction(context.run.run_id) as tx:
        tx.append("research.strategy_events", rows, key=["name", "version", "event"])
    refused = rows.filter(pl.col("event") == "refused").select("name", "reason")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "refused": ", ".join(f"{name} ({reason})" for name, reason in refused.iter_rows()) or "none",
            "snapshot": tx.snapshot,
        }
    )


def judged_rows(waiting: Sequence[Strategy], data: Market | None, as_of: datetime, seed: int) -> pl.DataFrame:
    """Return an event for each version that is judged now: `validated`, or `refused` with the reason."""
    found = [] if data is None else zip(waiting, validate_all(waiting, data, cuts=CUTS, seed=seed), strict=True)
    rows = [
        {
            "name": each.name,
            "version": each.version,
            "event": "refused" if findings else "validated",
            "reason": "; ".join(f"{one.check} on {one.timeframe}: {one.detail}" for one in findings),
        }
        for each, findings in found
    ]
    schema = dict.fromkeys(("name", "version", "event", "reason"), pl.String)
    return pl.DataFrame(rows, schema=schema).with_columns(pl.lit(as_of).cast(TS).alias("at"))


def verdicts(store: Warehouse, as_of: datetime) -> dict[tuple[str, str], str]:
    """Return what validation found of each (name, version) up to an as-of: `validated` or `refused`."""
    return {(name, version): event for name, version, event in store.read(_JUDGED, [as_of]).iter_rows()}


def validated(library: Sequence[Strategy], judged: Mapping[tuple[str, str], str]) -> list[Strategy]:
    """Return the strategies that may be ranked.

    Raises
    ------
    BlofinError
        If one has not been judged: what was never validated is never ranked.
    """
    unjudged = [each.name for each in library if (each.name, each.version) not in judged]
    if unjudged:
        msg = f"{', '.join(unjudged)}: not validated yet; materialise strategy_validation of this cycle first"
        raise BlofinError(msg)
    return [each for each in library if judged[each.name, each.version] == "validated"]
