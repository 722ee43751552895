"""Asset checks of the forward ledger and of drift: what fails here sets off re-tuning, or stops belief in the ledger.

Belongs here: turning stored findings into check results. Does not belong here: finding them (the assets).

Which strategies there are changes from cycle to cycle, while Dagster wants to know its checks beforehand. So there is
one check for each kind, and each result carries a row for every strategy, model or ensemble; `drifted` names, as JSON,
those that failed, the surest first.
"""

from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from blofin_assets.assets.common import table_preview
from blofin_assets.assets.drift import drift_tests
from blofin_assets.assets.forward import forward_ledger
from blofin_assets.partitions import day_start, half_day_start
from blofin_assets.reporting.document.plain import plain
from blofin_resources.dagster_resources import WarehouseResource

DRIFTED: Final = "drifted"
"""Metadata of a failed drift check: what failed, as a JSON list of objects."""

KINDS: Final = ("strategy", "model", "ensemble")

_TOLD: Final = (
    "kind", "name", "version", "metric", "decision", "promise", "promise_se", "forward", "difference", "effect", "low",
    "high", "p", "q", "trades", "rows", "days", "promise_days", "minimum_detectable", "reason",
)  # fmt: skip


@dg.asset_check(
    asset=forward_ledger,
    name="no_look_ahead",
    description="A replay of the whole period says what was written at the time, but for revised data and other code.",
)
def no_look_ahead(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Fail where a replay knows something that the ledger did not, and nothing explains it."""
    as_of = half_day_start(_key(context))
    runs = warehouse.open().read("SELECT * FROM research.forward_runs WHERE as_of = ? ORDER BY kind, name", [as_of])
    totals = {name: int(runs[name].sum()) for name in ("compared", "data_revisions", "version_changes", "look_ahead")}
    guilty = runs.filter(pl.col("look_ahead") > 0)
    names = ", ".join(f"{kind} {name}" for kind, name in guilty.select("kind", "name").iter_rows())
    return dg.AssetCheckResult(
        passed=guilty.is_empty(),
        severity=dg.AssetCheckSeverity.ERROR,
        description=None if guilty.is_empty() else f"look-ahead in {names}; see research.forward_validation",
        metadata={"followed": runs.height, **totals},
    )


def _promise_kept(kind: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=drift_tests,
        name=f"{kind}_drift",
        description=f"Each {kind} that is followed keeps its promise, or has run too little to tell.",
    )
    def check(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> dg.AssetCheckResult:
        rows = night_rows(warehouse, day_start(_key(context)), kind)
        failed = rows.filter(pl.col("decision") == "drift").sort("q", "name")
        counts = {name: rows.filter(pl.col("decision") == name).height for name in ("drift", "steady", "insufficient")}
        told: dict[str, Any] = {"tests": table_preview(rows, rows=60)} if rows.height else {}
        if failed.height:
            rows_told = [{name: plain(value) for name, value in row.items()} for row in failed.to_dicts()]
            told[DRIFTED] = dg.MetadataValue.json(rows_told)  # a browser reads no infinite number
        return dg.AssetCheckResult(
            passed=failed.is_empty(),
            severity=dg.AssetCheckSeverity.ERROR,
            description=_sentence(failed),
            metadata={**counts, **told},
        )

    return check


FORWARD_CHECKS: Final[list[Any]] = [no_look_ahead, *(_promise_kept(kind) for kind in KINDS)]


def night_rows(warehouse: WarehouseResource, night: datetime, kind: str) -> pl.DataFrame:
    """Return what a night found of one kind."""
    query = f"SELECT {', '.join(_TOLD)} FROM research.drift WHERE as_of = ? AND kind = ? ORDER BY name, version, metric"  # noqa: S608 - constant columns
    return warehouse.open().read(query, [night, kind])


def _sentence(failed: pl.DataFrame) -> str | None:
    if failed.is_empty():
        return None
    return "; ".join(
        f"{name}: {metric} {forward:.3g}, {promise:.3g} were promised ({reason})"
        for name, metric, forward, promise, reason in failed.select(
            "name", "metric", "forward", "promise", "reason"
        ).iter_rows()
    )


def _key(context: dg.AssetCheckExecutionContext) -> str:
    """Return the key of the run: these assets are never run over a range."""
    return context.run.tags["dagster/partition"]
