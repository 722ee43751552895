"""The checks that set off re-tuning: what they say of a night's stored tests."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import dagster as dg
import polars as pl
from support.platform import Platform

from backtester import drift
from blofin_assets.assets.drift import drift_rows
from blofin_assets.definitions import build_resources
from blofin_assets.drift_checks import DRIFTED, FORWARD_CHECKS
from blofin_assets.promises import Question

NIGHT = datetime(2026, 3, 12, tzinfo=UTC)


def checked(platform: Platform, name: str) -> dg.AssetCheckResult:
    found = next(check for check in FORWARD_CHECKS if {key.name for key in check.check_keys} == {name})
    context: Any = SimpleNamespace(run=SimpleNamespace(tags={"dagster/partition": f"{NIGHT:%Y-%m-%d}"}))
    warehouse = build_resources(platform.settings)["warehouse"]
    result: dg.AssetCheckResult = found.op.compute_fn.decorated_fn(context, warehouse=warehouse)
    return result


def test_a_failed_check_names_what_drifted_in_what_a_browser_reads(platform: Platform) -> None:
    sure = drift.Comparison(1.0, 0.1, -1.0, 2.0, 0.2, 1.0, float("inf"), 1e-6, 12.0)
    kept = drift.Comparison(1.0, 0.1, 1.0, 0.0, 0.2, -0.3, 0.3, 0.5, 12.0)
    start = NIGHT - timedelta(days=8)
    asked = [
        Question("strategy", name, "1", start, "net_return", drift.Test(found, 8.0, 99), None, 7.0)
        for name, found in (("reversed", sure), ("steady", kept))
    ]
    with platform.warehouse.transaction("test") as tx:
        tx.append("research.drift", drift_rows(asked, NIGHT).with_columns(pl.lit(1).alias("snapshot_id")))
    result = checked(platform, "strategy_drift")
    assert not result.passed
    rows: Any = result.metadata[DRIFTED].value
    assert [row["name"] for row in rows] == ["reversed"]
    assert rows[0]["high"] is None
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert checked(platform, "model_drift").passed
