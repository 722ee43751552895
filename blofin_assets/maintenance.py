"""Daily maintenance of the warehouse: merging small files, expiring unreferenced snapshots, measuring the disk usage.

Belongs here: the asset. Does not belong here: the work itself (`Warehouse.maintain`).

It is no step of the plan: no step waits for it, it waits for none, and a day without it costs only disk space.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from blofin_assets.shared.asset import stage_asset, table_preview
from blofin_resources.dagster_resources import WarehouseResource
from features.bars import TS

GROUP: Final = "maintenance"


@stage_asset(group=GROUP, table="meta.storage_history", kinds=("duckdb",))
def warehouse_maintenance(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult[Any]:
    """Disk usage of the warehouse after merging small files and deleting unreferenced data."""
    store = warehouse.open()
    now = datetime.now(UTC)
    before = store.storage()
    done = store.maintain(now=now)
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
            "tables": table_preview(largest.select("table_name", "files", "bytes", "delete_files"), rows=50),
        }
    )
