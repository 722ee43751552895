"""Daily maintenance of the warehouse: dropping what is too old, merging small files, measuring the disk usage.

Belongs here: the asset, what `BLOFIN_KEEP` drops. Does not belong here: merging files and expiring snapshots
(`Warehouse.maintain`).

It is no step of the plan: no step waits for it, it waits for none, and a day without it costs only disk space.
"""

from dataclasses import asdict
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

import dagster as dg
import polars as pl

from blofin_assets.shared.asset import stage_asset, table_preview
from blofin_resources.dagster_resources import WarehouseResource
from blofin_resources.settings import HISTORY
from blofin_resources.warehouse import Warehouse
from features.bars import MINUTES, TS

GROUP: Final = "maintenance"

_SHORT: Final = tuple(timeframe for timeframe, minutes in MINUTES.items() if minutes < MINUTES["60m"])
"""Timeframes whose bars grow old: longer ones take little, and people look at them over years."""

_OLD: Final = ("market.mark_candles_1m", *(f"market.candles_{each}" for each in _SHORT))
_OLD_FEATURES: Final = tuple(f"features.features_{each}" for each in _SHORT)
_HAS: Final = "SELECT table_schema || '.' || table_name AS name FROM information_schema.tables"
_NEWEST: Final = "SELECT max(ts) AS ts FROM market.candles_{}"
_BEFORE: Final = "SELECT count(*) AS rows FROM {} WHERE ts < ?"
_NOTHING: Final = "SELECT * FROM {} LIMIT 0"
_FOLLOWED: Final = (
    "SELECT min(activated_at) AS ts FROM research.forward_runs "
    "WHERE as_of > (SELECT max(as_of) FROM research.forward_runs) - INTERVAL 1 DAY"
)


@stage_asset(group=GROUP, table="meta.storage_history", kinds=("duckdb",))
def warehouse_maintenance(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult[Any]:
    """Disk usage of the warehouse after merging small files and deleting unreferenced data."""
    store = warehouse.open()
    now = datetime.now(UTC)
    before = store.storage()
    keep = None if warehouse.keep_days is None else timedelta(days=warehouse.keep_days)
    dropped = {} if keep is None else drop_old(store, keep, context.run.run_id)
    runs = 0 if keep is None else delete_old_runs(context.instance, now - keep)
    done = store.maintain(now=now, keep_named=keep)
    after = store.storage()
    with store.transaction(context.run.run_id) as tx:
        tx.append("meta.storage_history", after.with_columns(pl.lit(now).cast(TS).alias("measured_at")))
    whole = after.row(0, named=True)
    largest = after.filter(pl.col("bytes") > 0, pl.col("table_name") != "*").sort("bytes", descending=True)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": after.height,
            "files": whole["files"],
            "bytes": whole["bytes"],
            "snapshots": whole["delete_files"],
            "inlined_rows": before.row(0, named=True)["inlined_rows"],
            **{f"bytes of {name}": size for name, size in largest.select("table_name", "bytes").iter_rows()},
            **{f"done: {name}": count for name, count in asdict(done).items()},
            **{f"dropped: {name}": count for name, count in dropped.items()},
            **({} if keep is None else {"dropped: runs of Dagster": runs}),
            "tables": table_preview(largest.select("table_name", "files", "bytes", "delete_files"), rows=50),
        }
    )


def drop_old(store: Warehouse, keep: timedelta, run_id: str) -> dict[str, int]:
    """Drop bars shorter than an hour, and the features stored for them, that are older than `keep`.

    The age is counted from the newest bar, not from the clock: an archive may have ended years ago. Bars that the
    forward ledger replays again are kept: those since the first activation of what it follows, and the `HISTORY`
    before it.

    Parameters
    ----------
    store : Warehouse
        The warehouse.
    keep : timedelta
        Age at which a bar goes; counted in whole days (UTC).
    run_id : str
        The run that drops them.

    Returns
    -------
    dict of str to int
        Rows dropped, by table; tables that are not there are left out.
    """
    newest = max((store.read(_NEWEST.format(each))["ts"][0] for each in _SHORT), key=_or_first)
    if newest is None:
        return {}
    cut = _midnight(newest - keep)
    followed = store.read(_FOLLOWED)["ts"][0]
    needed = cut if followed is None else min(cut, _midnight(followed - HISTORY))
    there = set(store.read(_HAS)["name"])
    ends = dict.fromkeys(_OLD, needed) | dict.fromkeys(_OLD_FEATURES, cut)
    dropped = {}
    with store.transaction(run_id) as tx:
        for table in (each for each in ends if each in there):
            dropped[table] = int(store.read(_BEFORE.format(table), [ends[table]])["rows"][0])
            if dropped[table]:
                tx.replace(table, store.read(_NOTHING.format(table)), end=ends[table])
    return dropped


def delete_old_runs(instance: dg.DagsterInstance, before: datetime) -> int:
    """Delete the finished runs of Dagster that were created before a time, with their logs, and return how many."""
    finished = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED],
        created_before=before,
    )
    records = instance.get_run_records(finished)
    for record in records:
        instance.delete_run(record.dagster_run.run_id)
    return len(records)


def _midnight(moment: datetime) -> datetime:
    return datetime.combine(moment.date(), time(), UTC)


def _or_first(moment: datetime | None) -> datetime:
    return moment or datetime.min.replace(tzinfo=UTC)
