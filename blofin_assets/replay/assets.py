"""The assets of a replay, for the UI: started with times, on no schedule.

Belongs here: the assets and what a run may set. Does not belong here: replaying (`blofin_assets.replay.stages`), the
command (`blofin_assets.cli.replay`).
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import dagster as dg
from pydantic import Field

from blofin_assets.replay.desk import ReplayPlan, choice_times
from blofin_assets.replay.page import interval, verdict
from blofin_assets.replay.stages import replay
from blofin_assets.replay.summary import ACTIVE, EVERYTHING, ReplaySummary
from blofin_assets.shared.asset import stage_asset, time_text
from blofin_assets.shared.plots import equity_figure, markdown_png
from blofin_assets.strategy_cycle.portfolio import active_set
from blofin_resources.dagster_resources import EvolutionResource, MarketResource, WarehouseResource
from blofin_resources.errors import BlofinError

GROUP: Final = "replay"


class ReplayConfig(dg.Config):
    """When the desk is replayed; symbols and budgets are settings."""

    begin: str = Field(default="", description="First choice at or after this time (UTC), such as 2025-05-01.")
    end: str = Field(
        default="", description="End of the last stretch at or before this time (UTC), such as 2025-06-01."
    )
    every_days: int = Field(default=2, description="Days between two choices, a multiple of 2.")


@stage_asset(group=GROUP, table="replay.stretches", deps=[active_set], kinds=("polars", "duckdb", "numba"))
def desk_replay(
    context: dg.AssetExecutionContext,
    config: ReplayConfig,
    warehouse: WarehouseResource,
    market: MarketResource,
    evolution: EvolutionResource,
) -> dg.MaterializeResult[Any]:
    """The desk replayed: what following it would have made, choosing only by what was known."""
    every = timedelta(days=config.every_days)
    times = choice_times(_time("begin", config.begin), _time("end", config.end), every)
    plan = ReplayPlan(times, every, market, evolution)
    shown = replay(
        warehouse.open(), plan, warehouse.market_id, context.run.run_id,
        lambda as_of: context.log.info("stretch from %s UTC", time_text(as_of)),
    )  # fmt: skip
    metadata: dict[str, Any] = {"dagster/row_count": shown[0][0].stretches}
    for summary, page in shown:
        metadata |= {f"{name} of {summary.what}": value for name, value in _told(summary, page).items()}
    return dg.MaterializeResult(metadata=metadata)


def _told(summary: ReplaySummary, page: Path) -> dict[str, Any]:
    active = next((held for held in summary.sets if held.name == ACTIVE), None)
    figure = equity_figure(summary.curves, [ACTIVE, EVERYTHING])
    numbers = {
        "total_pct": None if active is None else active.total_pct,
        "sharpe": None if active is None else active.sharpe,
        "added_gross_pct": summary.gross.mean,
        "added_net_pct": summary.net.mean,
    }
    return {
        "verdict": verdict(summary),
        "what choosing added before costs": interval(summary.gross),
        "page": dg.MetadataValue.path(str(page)),
        "equity": dg.MetadataValue.md(markdown_png(figure, f"joined result of {summary.what}")),
        **{name: value for name, value in numbers.items() if value is not None},
    }


def _time(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        msg = f"{name} is {text!r}; set it in the run's configuration of desk_replay to a day such as 2025-05-01"
        raise BlofinError(msg) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
