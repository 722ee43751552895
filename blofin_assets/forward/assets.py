"""The asset of the forward ledger: every twelve hours everything active is replayed from its activation.

Belongs here: the ledger's asset. Does not belong here: its arithmetic (`backtester.forward_ledger`), what is tracked
(`blofin_assets.forward.tracked`), whether it performs as expected (`drift`).

New entries, trades and hours are appended. For the period that is stored already, the replay validates the ledger: it
must give the same rows. At midnight, what was archived is followed for its evidence (`archived`).
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import dagster as dg
import polars as pl

from blofin_assets.forward.archived import replay_archived
from blofin_assets.forward.replays import Found, common_inputs, replayed, stamped
from blofin_assets.forward.tracked import TrackedRun, tracked_runs
from blofin_assets.forward.written import read_written
from blofin_assets.ml_cycle.ensembles import ensembles
from blofin_assets.ml_cycle.ranking import model_ranking
from blofin_assets.shared.asset import lineage, stage_asset, table_preview
from blofin_assets.shared.cadences import FORWARD
from blofin_assets.shared.coverage import require_market_data
from blofin_assets.shared.cycle_events import mark_done
from blofin_assets.shared.fence import each_alone
from blofin_assets.shared.partitions import half_day_key, half_day_start, half_days
from blofin_assets.shared.windows import cycle_as_of
from blofin_assets.strategy_cycle.book_ranking import book_ranking
from blofin_assets.strategy_cycle.ranking import strategy_ranking
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.warehouse import Warehouse
from features.bars import TS

GROUP: Final = "forward"
HALF_DAY: Final = timedelta(hours=12)

_COUNTED: Final = ("compared", "data_revisions", "version_changes", "look_ahead")
_RUN_TYPES: Final[dict[str, Any]] = {
    "activated_at": TS, "ends_at": TS, "as_of": TS, "detail": pl.String, "total_pnl_pct": pl.Float64,
}  # fmt: skip
_LAST: Final = "SELECT max(as_of) AS as_of FROM research.forward_runs WHERE as_of < ?"


@stage_asset(
    group=GROUP,
    table="research.forward_trades",
    partitions=half_days,
    deps=[lineage(strategy_ranking, steps_back=4), lineage(book_ranking, steps_back=4), model_ranking, ensembles],
    kinds=("polars", "duckdb", "numba"),
)
def forward_ledger(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Paper trades of everything active, on data after its activation. Append-only."""
    as_of = cycle_as_of(context, clock, half_day_start)
    store = warehouse.open()
    require_market_data(store, market.symbols, as_of - HALF_DAY, as_of)
    snapshot = store.snapshot_id()
    found = added(store, Path(warehouse.folder) / "models", market.symbols, as_of)
    parts = found.parts
    stamp = {"as_of": as_of, "snapshot_id": snapshot}
    runs = pl.DataFrame([part.row | stamp for part in parts], schema_overrides=_RUN_TYPES, infer_schema_length=None)
    with store.transaction(context.run.run_id) as tx:
        for name, part in (("entries", "entries"), ("trades", "trades"), ("equity", "hours")):
            rows = [getattr(run_part, part) for run_part in parts if getattr(run_part, part).height]
            if rows:
                tx.append(f"research.forward_{name}", stamped(pl.concat(rows), stamp))
        noted = [part.differences for part in parts if part.differences.height]
        if noted:
            tx.append("research.forward_validation", stamped(pl.concat(noted), {"as_of": as_of}))
        if runs.height:
            tx.replace("research.forward_runs", runs, as_of=as_of)
        mark_done(tx, FORWARD, half_day_key(as_of), as_of)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(part.trades.height for part in parts),
            "tracked": runs.height,
            "archived": sum(part.row["archived"] for part in parts),
            "new_entries": sum(part.entries.height for part in parts),
            **{name: int(runs[name].sum()) if runs.height else 0 for name in _COUNTED},
            "failed": "; ".join(f"{run.kind} {run.name}: {why}" for run, why in found.failed) or "none",
            **({"runs": table_preview(runs.drop(*stamp, "engine"), rows=60)} if runs.height else {}),
            "snapshot": tx.snapshot,
        }
    )


class Added(NamedTuple):
    """What a key adds, by run; and what could not be replayed, with the reason."""

    parts: list[Found]
    failed: list[tuple[TrackedRun, str]]


def added(store: Warehouse, models: Path, symbols: Sequence[str], as_of: datetime) -> Added:
    """Replay everything that is tracked at a key.

    Parameters
    ----------
    store : Warehouse
        Where everything is read.
    models : Path
        Folder of all models.
    symbols : sequence of str
        Symbols traded by strategies and models.
    as_of : datetime
        The key (UTC); nothing later is read.

    Returns
    -------
    Added
        Rows to be written.
    """
    tracked = tracked_runs(store, models, as_of, store.read(_LAST, [as_of])["as_of"][0])
    current = [run for run in tracked if not run.past_grace(as_of)]
    written, common = read_written(store, current), common_inputs(store, symbols, as_of, current)
    found = each_alone(current, lambda run: replayed(run, common, written, as_of))
    lost = [replace(run, tradable=None, detail=reason) for run, reason in found.failed]
    recorded = each_alone(lost, lambda run: replayed(run, common, written, as_of))
    followed = replay_archived([run for run in tracked if run.past_grace(as_of)], common, as_of)
    return Added([part for _, part in (*found.done, *recorded.done, *followed)], found.failed)
