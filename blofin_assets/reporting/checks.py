"""Checks that belong to the report, the last of the assets.

Belongs here: checks of the whole warehouse, once a day. Does not belong here: checks of a stage.
"""

import dagster as dg

from blofin_assets.reporting.assets import daily_report
from blofin_resources.dagster_resources import WarehouseResource


@dg.asset_check(asset=daily_report, description="No table of the warehouse holds duplicate keys.")
def unique_keys(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Fail if a table holds a duplicate key."""
    broken = warehouse.open().integrity()
    return dg.AssetCheckResult(passed=not broken, metadata={"broken": "; ".join(broken) or "none"})
