"""Checks of the forward ledger.

Belongs here: whether the ledger agrees with a replay. Does not belong here: drift (`drift.checks`).
"""

import dagster as dg
import polars as pl

from blofin_assets.forward.assets import forward_ledger
from blofin_assets.shared.partitions import half_day_start
from blofin_assets.shared.windows import partition_key
from blofin_resources.dagster_resources import WarehouseResource


@dg.asset_check(
    asset=forward_ledger,
    name="no_look_ahead",
    description="A replay of the whole period agrees with the ledger, apart from revised data and changed code.",
)
def no_look_ahead(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Fail if a replay contains something that the ledger did not, and nothing explains it."""
    as_of = half_day_start(partition_key(context))
    runs = warehouse.open().read("SELECT * FROM research.forward_runs WHERE as_of = ? ORDER BY kind, name", [as_of])
    totals = {name: int(runs[name].sum()) for name in ("compared", "data_revisions", "version_changes", "look_ahead")}
    guilty = runs.filter(pl.col("look_ahead") > 0)
    names = ", ".join(f"{kind} {name}" for kind, name in guilty.select("kind", "name").iter_rows())
    return dg.AssetCheckResult(
        passed=guilty.is_empty(),
        severity=dg.AssetCheckSeverity.ERROR,
        description=None if guilty.is_empty() else f"look-ahead in {names}; see research.forward_validation",
        metadata={"tracked": runs.height, **totals},
    )
