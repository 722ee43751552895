"""The asset of the ranking of models and ensembles.

Belongs here: the asset. Does not belong here: the order of ranks (`backtester.evaluation.ranking`).
"""

from typing import Any

import dagster as dg
import polars as pl

from backtester import ranked
from blofin_assets.ml_cycle.drift_response import model_tuning
from blofin_assets.ml_cycle.models import MODEL_ASSETS
from blofin_assets.ml_cycle.rows import (
    rank_rows,
)
from blofin_assets.ml_cycle.stage import ACTIVE, GROUP
from blofin_assets.shared.asset import stage_asset, table_preview
from blofin_assets.shared.partitions import half_day_start, half_days
from blofin_assets.shared.plots import curve_names, equity_figure, markdown_png
from blofin_assets.shared.vocabulary import Kind
from blofin_assets.shared.windows import cycle_as_of
from blofin_resources.dagster_resources import ClockResource, WarehouseResource
from blofin_resources.errors import BlofinError
from model_zoo.training.trainer import ModelStatus


@stage_asset(group=GROUP, table="research.ranking_history", partitions=half_days, deps=[*MODEL_ASSETS, model_tuning])
def model_ranking(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Models ranked by the strategies' score; the best five stay active. Models with look-ahead are not ranked."""
    as_of = cycle_as_of(context, clock, half_day_start)
    store = warehouse.open()
    results = store.read(
        "SELECT model_name AS name, version, score, total_trades, ruined, accuracy, baseline_accuracy, log_loss, "
        "baseline_log_loss, status, reason FROM ml.ml_model_results WHERE as_of = ? ORDER BY model_name",
        [as_of],
    )
    absent = sorted({asset.key.to_user_string() for asset in MODEL_ASSETS} - set(results["name"]))
    if absent:
        msg = f"{', '.join(absent)}: not trained as of {as_of:%Y-%m-%dT%H:%MZ}; materialise this cycle's models first"
        raise BlofinError(msg)
    table = ranked(results.filter(pl.col("status") != ModelStatus.REJECTED).drop("status", "reason"))
    rows = rank_rows(table, Kind.MODEL, as_of, ACTIVE)
    if rows.is_empty():
        msg = f"no model of the cycle {as_of:%Y-%m-%dT%H:%MZ} passed its leakage checks; see the models' metadata"
        raise BlofinError(msg)
    with store.transaction(context.run.run_id) as tx:
        tx.replace("research.ranking_history", rows, as_of=as_of, kind=Kind.MODEL)
    rejected = results.filter(pl.col("status") == ModelStatus.REJECTED).select("name", "reason")
    equity = store.read(
        "SELECT name, ts, equity FROM research.equity WHERE kind = ? AND as_of = ?", [Kind.MODEL, as_of]
    )
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "ranking": table_preview(table),
            "rejected": "; ".join(f"{name}: {why}" for name, why in rejected.iter_rows()) or "none",
            "equity": dg.MetadataValue.md(
                markdown_png(equity_figure(equity, curve_names(equity, rows, ACTIVE)), "equity on the holdout")
            ),
            "snapshot": tx.snapshot,
        }
    )
