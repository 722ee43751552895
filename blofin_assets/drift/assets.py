"""The asset of drift tests: every midnight, everything deployed is tested against its expected performance.

Belongs here: the asset and its rows. Does not belong here: what is compared (`blofin_assets.drift.performance`,
`blofin_assets.drift.inputs`), how (`backtester.statistics.drift`, `model_zoo.evaluation.feature_drift`), the checks
(`blofin_assets.drift.checks`), the response to a failure (`blofin_assets.drift.sensor`).
"""

from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester.statistics.drift import Decision, Verdict, decide
from blofin_assets.drift.inputs import build_input_tests
from blofin_assets.drift.performance import RunTest, build_tests
from blofin_assets.forward.assets import forward_ledger
from blofin_assets.shared.asset import lineage, stage_asset, table_preview
from blofin_assets.shared.partitions import day_start, days
from blofin_assets.shared.windows import cycle_as_of
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from features.bars import TS

GROUP: Final = "drift"

_TYPES: Final[dict[str, Any]] = {
    "activated_at": TS, "expected": pl.Float64, "expected_se": pl.Float64, "forward": pl.Float64,
    "difference": pl.Float64, "effect": pl.Float64, "low": pl.Float64, "high": pl.Float64, "p": pl.Float64,
    "q": pl.Float64, "trades": pl.Int64, "rows": pl.Int64, "days": pl.Float64, "expected_days": pl.Float64,
    "minimum_detectable": pl.Float64,
}  # fmt: skip


@stage_asset(
    group=GROUP,
    table="research.drift_tests",
    partitions=days,
    deps=[lineage(forward_ledger, steps_back=1)],
    kinds=("polars", "duckdb"),
)
def drift_tests(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Drift tests of everything deployed: forward results against expected ones, model inputs against training."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    snapshot = store.snapshot_id()
    tests = [*build_tests(store, as_of, market.seed), *build_input_tests(store, market.symbols, as_of, market.seed)]
    rows = drift_rows(tests, as_of)
    with store.transaction(context.run.run_id) as tx:
        tx.replace(
            "research.drift_tests", rows.with_columns(pl.lit(snapshot).alias("snapshot_id")), as_of=as_of,
        )  # fmt: skip
    counts = dict(rows.group_by("decision").len().iter_rows())
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            **{str(decision): int(counts.get(decision, 0)) for decision in Decision},
            **({"tests": table_preview(rows.drop("as_of", "activated_at"), rows=80)} if rows.height else {}),
            "snapshot": tx.snapshot,
        }
    )


def drift_rows(tests: list[RunTest], as_of: datetime) -> pl.DataFrame:
    """Return the rows of `research.drift_tests` of a drift run, without its snapshot."""
    verdicts = decide([test.test for test in tests])
    rows = [_row(question, verdict) for question, verdict in zip(tests, verdicts, strict=True)]
    schema = {name: _TYPES.get(name, pl.String) for name in _COLUMNS}
    return pl.DataFrame(rows, schema=schema).with_columns(pl.lit(as_of).cast(TS).alias("as_of"))


_COLUMNS: Final = (
    "kind", "name", "version", "activated_at", "metric", "expected", "expected_se", "forward", "difference", "effect",
    "low", "high", "p", "q", "trades", "rows", "days", "expected_days", "minimum_detectable", "decision", "reason",
)  # fmt: skip


def _row(question: RunTest, verdict: Verdict) -> dict[str, Any]:
    comparison = question.test.comparison
    sign = (
        -1.0 if question.metric == "log_loss" else 1.0
    )  # compared with its sign reversed, so that higher is better; stored as usual
    conclusive = verdict.decision != Decision.INSUFFICIENT
    compared = {
        "expected": None if comparison is None else sign * comparison.expected,
        "expected_se": None if comparison is None else comparison.expected_se,
        "forward": None if comparison is None else sign * comparison.forward,
        **{
            name: None if comparison is None else getattr(comparison, name)
            for name in ("difference", "effect", "low", "high")
        },
        "p": comparison.p if comparison is not None and conclusive else None,
    }
    return {
        "kind": question.kind,
        "name": question.name,
        "version": question.version,
        "activated_at": question.activated_at,
        "metric": question.metric,
        **compared,
        "q": verdict.q,
        "trades": question.test.trades,
        "rows": question.rows,
        "days": question.test.days,
        "expected_days": question.expected_days,
        "minimum_detectable": verdict.minimum_detectable,
        "decision": verdict.decision,
        "reason": f"{question.about}: {verdict.reason}" if question.about else verdict.reason,
    }
