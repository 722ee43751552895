"""The assets of the strategy library and of validation.

Belongs here: storing every version with its code, and validating each version once. Does not belong here: the checks
themselves (`strategies.validation.checks`), proposals before they are finalists (`tuning`, `design`).
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester.statistics.windows import HOLDOUT_LENGTH
from blofin_assets.shared.asset import stage_asset
from blofin_assets.shared.cadences import STRATEGY_CYCLE
from blofin_assets.shared.coverage import require_market_data
from blofin_assets.shared.cycle_events import require_cycle_order
from blofin_assets.shared.fence import Failed, each_alone, fenced
from blofin_assets.shared.partitions import day_start, two_days
from blofin_assets.shared.vocabulary import Author, LifecycleNote, LifecycleState, Source
from blofin_assets.shared.windows import cycle_as_of
from blofin_assets.strategy_cycle.population import STRATEGIES, Key, Versions, W, loaded_library
from blofin_assets.strategy_cycle.search_window import validation_market
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.errors import BlofinError
from blofin_resources.warehouse import Warehouse
from features.bars import TS
from features.market import Market
from strategies.language.strategy import Strategy
from strategies.validation.checks import validate_all

GROUP: Final = "strategies"

CUTS: Final = 4
"""Random times at which the causality test cuts the data, in addition to the critical ones."""

_JUDGED: Final = (
    "SELECT DISTINCT name, version, event FROM {} WHERE event IN ('validated', 'refused') AND begins_at <= ?"
)


@stage_asset(group=GROUP, table="research.strategies", partitions=two_days)
def strategy_library(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """All strategies with code, one row per version, generated from the code itself."""
    as_of = cycle_as_of(context, clock, day_start)
    require_cycle_order(warehouse.open(), STRATEGY_CYCLE, as_of)
    strategies, broken = loaded_library()
    rows = pl.DataFrame(
        {
            "name": [strategy.name for strategy in strategies],
            "version": [strategy.version for strategy in strategies],
            "code": [strategy.source() for strategy in strategies],
            "parameters": [json.dumps(strategy.parameters, sort_keys=True) for strategy in strategies],
        }
    ).with_columns(pl.lit(Source.LIBRARY).alias("source"), pl.lit(Author.LIBRARY).alias("author"))
    events = rows.select("name", "version", pl.lit(LifecycleState.CANDIDATE).alias("event"))
    with warehouse.open().transaction(context.run.run_id) as tx:
        tx.append("research.strategies", rows.with_columns(pl.lit(as_of).alias("created_at")), key=["name", "version"])
        tx.append(
            "research.strategy_lifecycle",
            events.with_columns(pl.lit(as_of).alias("begins_at")),
            key=["name", "version", "event"],
        )
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "as_of": as_of.isoformat(),
            "left_out": "; ".join(f"{name}: {why}" for name, why in broken.items()) or "none",
            "snapshot": tx.snapshot,
        }
    )


@stage_asset(
    group=GROUP,
    table="research.strategy_lifecycle",
    partitions=two_days,
    deps=[strategy_library],
    kinds=("polars", "duckdb"),
)
def strategy_validation(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Validation of each version: no look-ahead, and signals that do not depend on the price level."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    require_market_data(store, market.symbols, as_of - HOLDOUT_LENGTH, as_of)
    judged = verdicts(store, as_of)
    waiting = [strategy for strategy in loaded_library()[0] if (strategy.name, strategy.version) not in judged]
    data = validation_market(store, market.symbols, as_of, waiting) if waiting else None
    rows = judged_rows(waiting, data, as_of, market.seed)
    with store.transaction(context.run.run_id) as tx:
        tx.append("research.strategy_lifecycle", rows, key=["name", "version", "event"])
    refused = rows.filter(pl.col("event") == LifecycleState.REFUSED).select("name", "reason")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "refused": ", ".join(f"{name} ({reason})" for name, reason in refused.iter_rows()) or "none",
            "snapshot": tx.snapshot,
        }
    )


def judged_rows(waiting: Sequence[Strategy], data: Market | None, as_of: datetime, seed: int) -> pl.DataFrame:
    """Validate strategies and return an event for each: `validated`, or `refused` with the reason.

    Parameters
    ----------
    waiting : sequence of Strategy
        Versions without a verdict.
    data : Market or None
        Data of the checks.
    as_of : datetime
        As-of of the cycle.
    seed : int
        Seed of the checks.

    Returns
    -------
    DataFrame
        Rows of `research.strategy_lifecycle`.
    """
    reasons = [] if data is None else _findings(waiting, data, seed)
    rows = [
        {
            "name": strategy.name,
            "version": strategy.version,
            "event": LifecycleState.REFUSED if reason else LifecycleNote.VALIDATED,
            "reason": reason,
        }
        for strategy, reason in reasons
    ]
    schema = dict.fromkeys(("name", "version", "event", "reason"), pl.String)
    return pl.DataFrame(rows, schema=schema).with_columns(pl.lit(as_of).cast(TS).alias("begins_at"))


def _findings(waiting: Sequence[Strategy], data: Market, seed: int) -> list[tuple[Strategy, str]]:
    """Return each version with the reason why it may not be ranked, or ''. If one fails, each is validated alone."""

    def judged(some: Sequence[Strategy]) -> list[tuple[Strategy, str]]:
        checked = zip(some, validate_all(some, data, cuts=CUTS, seed=seed), strict=True)
        return [
            (one, "; ".join(f"{x.check} on {x.timeframe}: {x.detail}" for x in findings)) for one, findings in checked
        ]

    together = fenced(judged, waiting)
    if not isinstance(together, Failed):
        return together
    alone = each_alone(waiting, lambda one: judged([one])[0])
    return [*(row for _, row in alone.done), *((one, f"it cannot be validated: {why}") for one, why in alone.failed)]


def verdicts(store: Warehouse, as_of: datetime, of: Versions[Any] = STRATEGIES) -> dict[Key, str]:
    """Return the verdict on each version of a kind.

    Parameters
    ----------
    store : Warehouse
        Where events are read.
    as_of : datetime
        Later verdicts are ignored (UTC).
    of : Versions
        The kind.

    Returns
    -------
    dict of Key to str
        `validated` or `refused`.
    """
    rows = store.read(_JUDGED.format(of.lifecycle), [as_of]).iter_rows()
    return {(name, version): event for name, version, event in rows}


def noted_events(event: LifecycleNote, reasons: Mapping[Key, str], as_of: datetime) -> pl.DataFrame:
    """Return lifecycle rows that note the same of several versions.

    Parameters
    ----------
    event : LifecycleNote
        What is noted.
    reasons : mapping of Key to str
        Why, for each version.
    as_of : datetime
        As-of of the cycle (UTC).

    Returns
    -------
    DataFrame
        Rows of a lifecycle.
    """
    rows = [(*key, event, reason) for key, reason in reasons.items()]
    schema = dict.fromkeys(("name", "version", "event", "reason"), pl.String)
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.lit(as_of).cast(TS).alias("begins_at"))


def validated(library: Sequence[W], judged: Mapping[Key, str]) -> list[W]:
    """Return the versions that may be ranked.

    Raises
    ------
    BlofinError
        If one has not been validated.
    """
    unjudged = [strategy.name for strategy in library if (strategy.name, strategy.version) not in judged]
    if unjudged:
        msg = f"{', '.join(unjudged)}: not validated yet; materialise the validation of this cycle first"
        raise BlofinError(msg)
    return [strategy for strategy in library if judged[strategy.name, strategy.version] == LifecycleNote.VALIDATED]
