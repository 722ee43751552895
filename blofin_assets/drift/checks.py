"""Asset checks of drift; a failure triggers re-tuning.

Belongs here: turning stored results into check results. Does not belong here: computing them (the assets).

Each model has its own check. Strategies and ensembles change from cycle to cycle, while Dagster needs to know its
checks in advance: they share one check per kind, whose result has a row for each of them. `drifted` lists, as JSON,
those that failed, the most significant first.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester.statistics.drift import Decision
from blofin_assets.drift.assets import drift_tests
from blofin_assets.shared.asset import table_preview
from blofin_assets.shared.cadences import DRIFT
from blofin_assets.shared.cycle_events import mark_done
from blofin_assets.shared.json_values import plain
from blofin_assets.shared.partitions import day_key, day_start
from blofin_assets.shared.vocabulary import Kind
from blofin_assets.shared.windows import partition_key
from blofin_resources.dagster_resources import WarehouseResource
from model_zoo.models.catalog import names

DRIFTED: Final = "drifted"
"""Metadata of a failed drift check: the tests that failed, as a JSON list of objects."""

CHECKED: Final[dict[str, tuple[Kind, str | None]]] = {
    "strategy_drift": (Kind.STRATEGY, None),
    **{f"model_drift_{name}": (Kind.MODEL, name) for name in names()},
    "ensemble_drift": (Kind.ENSEMBLE, None),
    "book_drift": (Kind.BOOK, None),
}
"""Kind and name that each drift check covers, by its own name; None covers all names of the kind."""

_TOLD: Final = (
    "kind", "name", "version", "metric", "decision", "expected", "expected_se", "forward", "difference", "effect",
    "low", "high", "p", "q", "trades", "rows", "days", "expected_days", "minimum_detectable", "reason",
)  # fmt: skip


@dg.multi_asset_check(
    name="performance_drift",
    specs=[
        dg.AssetCheckSpec(
            check,
            asset=drift_tests,
            description=f"{name or f'Each deployed {kind}'} performs as expected, or has too little data.",
        )
        for check, (kind, name) in CHECKED.items()
    ],
    can_subset=True,
)
def performance_drift(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> Iterator[dg.AssetCheckResult]:
    """Fail where forward performance or inputs differ from expectations.

    A drift run is marked as done after all its checks: if it is killed between its rows and its checks, it is
    repeated, and no alarm is lost.

    Yields
    ------
    AssetCheckResult
        One per selected check.
    """
    as_of = day_start(partition_key(context))
    rows = load_drift_run(warehouse, as_of)
    selected = {key.name for key in context.selected_asset_check_keys}
    for check, (kind, name) in CHECKED.items():
        if check in selected:
            of_kind = rows.filter(pl.col("kind") == kind)
            yield _result(check, of_kind if name is None else of_kind.filter(pl.col("name") == name))
    if selected == CHECKED.keys():
        with warehouse.open().transaction(context.run.run_id) as tx:
            mark_done(tx, DRIFT, day_key(as_of), as_of)


def load_drift_run(warehouse: WarehouseResource, as_of: datetime) -> pl.DataFrame:
    """Return the stored results of a drift run."""
    query = f"SELECT {', '.join(_TOLD)} FROM research.drift_tests WHERE as_of = ? ORDER BY kind, name, version, metric"  # noqa: S608 - constant columns
    return warehouse.open().read(query, [as_of])


def _result(check: str, rows: pl.DataFrame) -> dg.AssetCheckResult:
    """Return the result of a check from its rows; it passes without rows."""
    failed = rows.filter(pl.col("decision") == Decision.DRIFT).sort("q", "p", "name")
    counts = {str(name): rows.filter(pl.col("decision") == name).height for name in Decision}
    details: dict[str, Any] = {"tests": table_preview(rows, rows=60)} if rows.height else {}
    if failed.height:
        rows_told = [{name: plain(value) for name, value in row.items()} for row in failed.to_dicts()]
        details[DRIFTED] = dg.MetadataValue.json(rows_told)  # JSON in a browser has no infinite number
    return dg.AssetCheckResult(
        check_name=check,
        asset_key=drift_tests.key,
        passed=failed.is_empty(),
        severity=dg.AssetCheckSeverity.ERROR,
        description=_sentence(failed),
        metadata={**counts, **details},
    )


def _sentence(failed: pl.DataFrame) -> str | None:
    if failed.is_empty():
        return None
    return "; ".join(
        f"{name}: {metric} {forward:.3g}, expected {expected:.3g} ({reason})"
        for name, metric, forward, expected, reason in failed.select(
            "name", "metric", "forward", "expected", "reason"
        ).iter_rows()
    )
