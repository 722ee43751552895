"""The assets of models, one each.

Belongs here: the assets of the 12-hour cycle. Does not belong here: training and validation (`model_zoo`), the order
of ranks (`backtester.evaluation.ranking`).
"""

from datetime import datetime
from pathlib import Path
from typing import Any, Final

import dagster as dg
import polars as pl

from blofin_assets.features.assets import FEATURE_ASSETS
from blofin_assets.ml_cycle.plots import model_figure
from blofin_assets.ml_cycle.rows import (
    importance_rows,
    prediction_rows,
    result_row,
    validation_numbers,
    validation_rows,
)
from blofin_assets.ml_cycle.stage import GROUP, STEPS_BACK, read_once
from blofin_assets.ml_cycle.tuning import specs_in_force
from blofin_assets.shared.asset import lineage, stage_asset, table_preview
from blofin_assets.shared.backtest_rows import equity_rows, pooled_of, row_id, trade_rows, trial_rows
from blofin_assets.shared.fence import Failed, fenced
from blofin_assets.shared.partitions import half_day_start, half_days
from blofin_assets.shared.plots import markdown_png
from blofin_assets.shared.vocabulary import Author, Kind
from blofin_assets.shared.windows import cycle_as_of
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.warehouse import Warehouse
from features.bars import DEFAULT_TIMEFRAMES, TS, Timeframe
from model_zoo.models.base import ModelSpec
from model_zoo.models.catalog import MODELS
from model_zoo.serving.artifacts import Artifact, save_artifact
from model_zoo.training.trainer import ModelStatus, Trained, default_spec, train_cycle


def _model(type_name: str, timeframe: Timeframe) -> dg.AssetsDefinition:
    name = f"{type_name}_{timeframe}"

    def model(
        context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
    ) -> dg.MaterializeResult[Any]:
        as_of = cycle_as_of(context, clock, half_day_start)
        store = warehouse.open()
        inputs = read_once(store, tuple(market.symbols), as_of, context.run.run_id)
        default = default_spec(type_name, timeframe, market.seed)
        spec = specs_in_force(store, [default], as_of, inputs.manager.registry)[name]
        trained = fenced(train_cycle, inputs.manager, market.symbols, as_of, spec)
        if isinstance(trained, Failed):  # stored all the same: the ensembles and the ranking run without it
            return _untrained(store, spec, as_of, trained.reason, context.run.run_id, inputs.snapshot)
        artifact = _save(Path(warehouse.folder) / "models", trained, store)
        return _write(store, trained, artifact, context.run.run_id, inputs.snapshot)

    model.__doc__ = (
        f"The {type_name} model on {timeframe} bars, all symbols pooled: trained on the seven days before the holdout "
        "day, validated and traded on that unseen day."
    )
    return stage_asset(
        group=GROUP,
        table="ml.ml_model_results",
        partitions=half_days,
        deps=[lineage(asset, steps_back=STEPS_BACK) for asset in FEATURE_ASSETS],
        kinds=(MODELS[type_name].library, "polars", "duckdb"),
        name=name,
    )(model)


MODEL_ASSETS: Final = [_model(type_name, timeframe) for type_name in MODELS for timeframe in DEFAULT_TIMEFRAMES]


def _save(root: Path, trained: Trained, store: Warehouse) -> Artifact:
    """Write the model's folder; repeating an older cycle does not replace the current version."""
    newest = store.read(
        "SELECT max(as_of) AS as_of FROM ml.ml_model_results WHERE model_name = ?", [trained.model.spec.name]
    )["as_of"][0]
    current = newest is None or trained.as_of >= newest
    return save_artifact(root, trained.model, trained.threshold, trained.metadata(), current=current)


def _untrained(
    store: Warehouse, spec: ModelSpec, as_of: datetime, reason: str, run_id: str, snapshot: int
) -> dg.MaterializeResult[Any]:
    """Store that a model could not be trained: rejected, without numbers."""
    row = {
        "id": row_id(Kind.MODEL, as_of, spec.name), "model_name": spec.name, "model_type": spec.type,
        "timestamp": as_of, "as_of": as_of, "timeframe": spec.timeframe, "version": "",
        "status": ModelStatus.REJECTED, "reason": reason, "snapshot_id": snapshot,
    }  # fmt: skip
    rows = pl.DataFrame([row]).with_columns(pl.col("timestamp", "as_of").cast(TS))
    with store.transaction(run_id) as tx:
        tx.replace("ml.ml_model_results", rows, as_of=as_of, model_name=spec.name)
    return dg.MaterializeResult(metadata={"dagster/row_count": 1, "failed": reason, "snapshot": tx.snapshot})


def _write(
    store: Warehouse, trained: Trained, artifact: Artifact, run_id: str, snapshot: int
) -> dg.MaterializeResult[Any]:
    """Store results, predictions, trades, equity and the trial in one commit."""
    name, as_of, evaluations = trained.model.spec.name, trained.as_of, [trained.evaluation]
    with store.transaction(run_id) as tx:
        tx.replace(
            "ml.ml_model_results",
            result_row(trained, artifact, snapshot),
            as_of=as_of,
            model_name=name,
        )
        tx.replace("ml.predictions", prediction_rows(trained), as_of=as_of, model_name=name)
        tx.replace("ml.feature_importance", importance_rows(trained), as_of=as_of, model_name=name)
        if trained.model.directional:
            tx.replace("ml.validation_predictions", validation_rows(trained), as_of=as_of, model_name=name)
        tx.replace(
            "research.trades", trade_rows(evaluations, Kind.MODEL, as_of), as_of=as_of, kind=Kind.MODEL, name=name
        )
        tx.replace(
            "research.equity", equity_rows(evaluations, Kind.MODEL, as_of), as_of=as_of, kind=Kind.MODEL, name=name
        )
        tx.append("research.trials", trial_rows(evaluations, Kind.MODEL, Author.ML_CYCLE, as_of, snapshot), key=["id"])
    failed = [check for check in trained.checks if not check.passed]
    measured = {
        "accuracy": trained.metrics.accuracy,
        "baseline_accuracy": trained.metrics.baseline_accuracy,
        "log_loss": trained.metrics.log_loss,
        "baseline_log_loss": trained.metrics.baseline_log_loss,
        "log_loss_gain": trained.metrics.log_loss_gain,
        "f1": trained.metrics.f1,
        "calibration_error": trained.reliability.error,
        "calibration_slope": trained.reliability.slope,
        **validation_numbers(trained),
        "score": pooled_of(trained.evaluation).score,
    }
    figure = model_figure(trained.predictions, trained.reliability, trained.model.event)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": 1,
            "artifact": dg.MetadataValue.path(str(artifact.path)),
            "version": artifact.version,
            "trades": pooled_of(trained.evaluation).trades,
            "leakage_checks": "passed" if not failed else "; ".join(str(check) for check in failed),
            "snapshot": tx.snapshot,
            "confusion_and_calibration": dg.MetadataValue.md(markdown_png(figure, "confusion matrix, calibration")),
            "importance": table_preview(trained.importance),
            **{key: value for key, value in measured.items() if value is not None},
        }
    )
