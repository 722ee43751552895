"""Drift: each night, what is followed is held against what was promised of it.

Belongs here: the asset and its rows. Does not belong here: what is compared (`blofin_assets.promises`,
`blofin_assets.input_promises`), how (`backtester.drift`, `model_zoo.input_drift`), the checks
(`blofin_assets.drift_checks`), what a failure sets off (`blofin_assets.retuning`).
"""

from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from backtester.drift import Verdict, night
from blofin_assets.assets.common import cycle_as_of, lineage, stage_asset, table_preview
from blofin_assets.assets.forward import forward_ledger
from blofin_assets.input_promises import input_questions
from blofin_assets.partitions import day_start, days
from blofin_assets.promises import Question, questions
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from features.bars import TS

GROUP: Final = "drift"

_TYPES: Final[dict[str, Any]] = {
    "activated_at": TS, "promise": pl.Float64, "promise_se": pl.Float64, "forward": pl.Float64,
    "difference": pl.Float64, "effect": pl.Float64, "low": pl.Float64, "high": pl.Float64, "p": pl.Float64,
    "q": pl.Float64, "trades": pl.Int64, "rows": pl.Int64, "minimum_detectable": pl.Float64,
}  # fmt: skip


@stage_asset(
    group=GROUP,
    table="research.drift",
    partitions=days,
    deps=[lineage(forward_ledger, steps_back=1)],
    kinds=("polars", "duckdb"),
)
def drift_tests(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Whether all that is followed keeps what it promised, and models still see what they learned from."""
    as_of = cycle_as_of(context, clock, day_start)
    store = warehouse.open()
    snapshot = store.snapshot_id()
    asked = [*questions(store, as_of, market.seed), *input_questions(store, market.symbols, as_of, market.seed)]
    rows = drift_rows(asked, as_of)
    with store.transaction(context.run.run_id) as tx:
        tx.replace(
            "research.drift", rows.with_columns(pl.lit(snapshot).alias("snapshot_id")), as_of=as_of,
            ignore=["snapshot_id"],
        )  # fmt: skip
    counts = dict(rows.group_by("decision").len().iter_rows())
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            **{decision: int(counts.get(decision, 0)) for decision in ("drift", "steady", "insufficient")},
            **({"tests": table_preview(rows.drop("as_of", "activated_at"), rows=80)} if rows.height else {}),
            "snapshot": tx.snapshot,
        }
    )


ASSETS: Final = [drift_tests]


def drift_rows(asked: list[Question], as_of: datetime) -> pl.DataFrame:
    """Return `research.drift` of a night, without its snapshot."""
    verdicts = night([each.test for each in asked])
    rows = [_row(question, verdict) for question, verdict in zip(asked, verdicts, strict=True)]
    schema = {name: _TYPES.get(name, pl.String) for name in _COLUMNS} | {"days": pl.Float64, "promise_days": pl.Float64}
    return pl.DataFrame(rows, schema=schema).with_columns(pl.lit(as_of).cast(TS).alias("as_of"))


_COLUMNS: Final = (
    "kind", "name", "version", "activated_at", "metric", "promise", "promise_se", "forward", "difference", "effect",
    "low", "high", "p", "q", "trades", "rows", "days", "promise_days", "minimum_detectable", "decision", "reason",
)  # fmt: skip


def _row(question: Question, verdict: Verdict) -> dict[str, Any]:
    found = question.test.comparison
    sign = -1.0 if question.metric == "log_loss" else 1.0  # compared as 'more is better', stored as everybody knows it
    told = verdict.decision != "insufficient"
    compared = {
        "promise": None if found is None else sign * found.promise,
        "promise_se": None if found is None else found.promise_se,
        "forward": None if found is None else sign * found.forward,
        **{name: None if found is None else getattr(found, name) for name in ("difference", "effect", "low", "high")},
        "p": found.p if found is not None and told else None,
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
        "promise_days": question.promise_days,
        "minimum_detectable": verdict.minimum_detectable,
        "decision": verdict.decision,
        "reason": f"{question.about}: {verdict.reason}" if question.about else verdict.reason,
    }
