"""Asset checks of the forward ledger and of drift: what fails here sets off re-tuning, or stops belief in the ledger.

Belongs here: turning stored findings into check results. Does not belong here: finding them (the assets).

Each model has a check of its own. Which strategies and ensembles there are changes from cycle to cycle, while Dagster
wants to know its checks beforehand: these share one check for each kind, and its result carries a row for every one of
them. `drifted` names, as JSON, those that failed, the surest first.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from blofin_assets.assets.common import table_preview
from blofin_assets.assets.drift import drift_tests
from blofin_assets.assets.forward import forward_ledger
from blofin_assets.partitions import day_key, day_start, half_day_start
from blofin_assets.plan import DRIFT
from blofin_assets.progress import say_done
from blofin_assets.reporting.document.plain import plain
from blofin_resources.dagster_resources import WarehouseResource
from model_zoo.catalog import names

DRIFTED: Final = "drifted"
"""Metadata of a failed drift check: what failed, as a JSON list of objects."""

CHECKED: Final[dict[str, tuple[str, str | None]]] = {
    "strategy_drift": ("strategy", None),
    **{f"model_drift_{name}": ("model", name) for name in names()},
    "ensemble_drift": ("ensemble", None),
}
"""Names of the drift checks, and of which kind each is, and of which name (None: of all of that kind)."""

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


@dg.multi_asset_check(
    name="promises_kept",
    specs=[
        dg.AssetCheckSpec(
            check,
            asset=drift_tests,
            description=f"{name or f'Each {kind} that is followed'} keeps its promise, or has run too little to tell.",
        )
        for check, (kind, name) in CHECKED.items()
    ],
    can_subset=True,
)
def promises_kept(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> Iterator[dg.AssetCheckResult]:
    """Fail where what is followed does not keep what was promised of it.

    A night is done once all has been said of it: killed between its rows and its checks, it is made again, and no alarm
    is lost.
    """
    night = day_start(_key(context))
    rows = night_rows(warehouse, night)
    asked = {key.name for key in context.selected_asset_check_keys}
    for check, (kind, name) in CHECKED.items():
        if check in asked:
            of_kind = rows.filter(pl.col("kind") == kind)
            yield _result(check, of_kind if name is None else of_kind.filter(pl.col("name") == name))
    if asked == CHECKED.keys():
        with warehouse.open().transaction(context.run.run_id) as tx:
            say_done(tx, DRIFT, day_key(night), night)


FORWARD_CHECKS: Final[list[Any]] = [no_look_ahead, promises_kept]


def night_rows(warehouse: WarehouseResource, night: datetime) -> pl.DataFrame:
    """Return what a night found."""
    query = f"SELECT {', '.join(_TOLD)} FROM research.drift WHERE as_of = ? ORDER BY kind, name, version, metric"  # noqa: S608 - constant columns
    return warehouse.open().read(query, [night])


def _result(check: str, rows: pl.DataFrame) -> dg.AssetCheckResult:
    """Return what a check says of its rows; none of them is a pass."""
    failed = rows.filter(pl.col("decision") == "drift").sort("q", "p", "name")
    counts = {name: rows.filter(pl.col("decision") == name).height for name in ("drift", "steady", "insufficient")}
    told: dict[str, Any] = {"tests": table_preview(rows, rows=60)} if rows.height else {}
    if failed.height:
        rows_told = [{name: plain(value) for name, value in row.items()} for row in failed.to_dicts()]
        told[DRIFTED] = dg.MetadataValue.json(rows_told)  # a browser reads no infinite number
    return dg.AssetCheckResult(
        check_name=check,
        asset_key=drift_tests.key,
        passed=failed.is_empty(),
        severity=dg.AssetCheckSeverity.ERROR,
        description=_sentence(failed),
        metadata={**counts, **told},
    )


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
