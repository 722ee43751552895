"""Rows that the ML cycle writes.

Belongs here: from results of `model_zoo` to rows of its tables. Does not belong here: writing them.
"""

import json
from datetime import datetime
from typing import Any

import polars as pl

from backtester.evaluation.standard_metrics import stored_of_model
from blofin_assets.ml_cycle.stage import ACTIVE_ENSEMBLES
from blofin_assets.shared.backtest_rows import pooled_of, row_id
from blofin_assets.shared.vocabulary import Kind, LifecycleState
from features.bars import TS
from model_zoo.ensembles import Tried
from model_zoo.models.base import Regressor
from model_zoo.serving.artifacts import Artifact, folder_name
from model_zoo.serving.ensemble_artifacts import full_definition
from model_zoo.training.trainer import Trained


def ensemble_row(tried: Tried, rank: int, as_of: datetime, snapshot: int) -> dict[str, Any]:
    """Return the row of `ml.ml_ensembles` of one evaluated combination.

    Parameters
    ----------
    tried : Tried
        The combination and its results.
    rank : int
        Its rank, from 1.
    as_of : datetime
        As-of of the cycle.
    snapshot : int
        Snapshot that the cycle read.

    Returns
    -------
    dict
        Values by column.
    """
    ensemble, measured, pooled = tried.ensemble, tried.metrics, pooled_of(tried.evaluation)
    names = (
        "accuracy", "precision", "recall", "f1", "log_loss", "baseline_accuracy", "baseline_log_loss", "log_loss_gain",
        "log_loss_gain_low", "log_loss_gain_high", "better",
    )  # fmt: skip
    return {
        "id": row_id(Kind.ENSEMBLE, as_of, ensemble.name),
        "ensemble_name": ensemble.name,
        "timestamp": as_of,
        "as_of": as_of,
        "model_list": json.dumps([folder_name(member.model.spec) for member in ensemble.members]),
        "members": json.dumps([member.name for member in ensemble.members]),
        "member_versions": json.dumps([member.version for member in ensemble.members]),
        "weights": json.dumps(ensemble.rule.weights),
        "combination_method": ensemble.rule.method,
        "timeframe": ensemble.timeframe,
        "version": ensemble.version,
        "rank": rank,
        "status": LifecycleState.ACTIVE if rank <= ACTIVE_ENSEMBLES else LifecycleState.ARCHIVED,
        "artifact": f"ensembles/ensemble_{rank:03d}.json" if rank <= ACTIVE_ENSEMBLES else None,
        "definition": json.dumps(full_definition(ensemble), sort_keys=True),
        **{name: getattr(measured, name) for name in names},
        "validation_log_loss_gain": tried.validation.log_loss_gain,
        "backtest_sharpe": pooled.sharpe,
        **stored_of_model(pooled),
        "total_trades": pooled.trades,
        "score": pooled.score,
        "holdout_start": pooled.start,
        "holdout_end": pooled.end,
        "rows_holdout": measured.rows,
        "snapshot_id": snapshot,
    }


def joint_prediction_rows(tried: Tried, as_of: datetime) -> pl.DataFrame:
    """Return rows of `ml.predictions`: predictions of an ensemble on the holdout."""
    return tried.predictions.select(
        pl.lit(tried.ensemble.name).alias("model_name"),
        pl.lit(tried.ensemble.version).alias("version"),
        pl.lit(as_of).cast(TS).alias("as_of"),
        "symbol",
        pl.lit(tried.ensemble.timeframe).alias("timeframe"),
        "ts",
        "probability",
        pl.col("label_event").cast(pl.Float64).alias("label"),
        pl.lit(None, pl.Float64).alias("value"),
        pl.lit(None, pl.Float64).alias("label_value"),
    )


def rank_rows(table: pl.DataFrame, kind: Kind, as_of: datetime, active: int) -> pl.DataFrame:
    """Return the rows of `research.ranking_history`.

    Parameters
    ----------
    table : DataFrame
        Ranked models or ensembles, best first.
    kind : Kind
        model or ensemble.
    as_of : datetime
        As-of of the cycle.
    active : int
        How many of the first are active.

    Returns
    -------
    DataFrame
        In order of ranks.
    """
    return table.select(
        pl.lit(as_of).cast(TS).alias("as_of"),
        pl.lit(kind).alias("kind"),
        "rank",
        "name",
        "version",
        "score",
        pl.col("total_trades").alias("trades"),
        pl.when(pl.col("rank") <= active)
        .then(pl.lit(LifecycleState.ACTIVE))
        .otherwise(pl.lit(LifecycleState.ARCHIVED))
        .alias("status"),
    )


def result_row(trained: Trained, artifact: Artifact, snapshot: int) -> pl.DataFrame:
    """Return the row of `ml.ml_model_results` of one trained model.

    Parameters
    ----------
    trained : Trained
        The model and its results.
    artifact : Artifact
        Where it is saved.
    snapshot : int
        Snapshot that the cycle read.

    Returns
    -------
    DataFrame
        One row.
    """
    spec, measured, pooled = trained.model.spec, trained.metrics, pooled_of(trained.evaluation)
    row = {
        "id": row_id(Kind.MODEL, trained.as_of, spec.name),
        "model_name": spec.name,
        "model_type": spec.type,
        "timestamp": trained.as_of,
        "as_of": trained.as_of,
        "timeframe": spec.timeframe,
        "version": trained.version,
        "accuracy": measured.accuracy,
        "precision": measured.precision,
        "recall": measured.recall,
        "f1": measured.f1,
        "log_loss": measured.log_loss,
        "baseline_accuracy": measured.baseline_accuracy,
        "baseline_log_loss": measured.baseline_log_loss,
        "log_loss_gain": measured.log_loss_gain,
        "log_loss_gain_low": measured.log_loss_gain_low,
        "log_loss_gain_high": measured.log_loss_gain_high,
        "better": measured.better,
        "base_rate": trained.base_rate,
        "calibration_error": trained.reliability.error,
        "calibration_slope": trained.reliability.slope,
        "calibration_intercept": trained.reliability.intercept,
        "event": trained.model.event,
        "value_unit": trained.model.unit if isinstance(trained.model, Regressor) else None,
        **validation_numbers(trained),
        "features_used": ",".join(spec.inputs),
        "hyperparams": str(spec.to_json()),
        "status": trained.status,
        "reason": None if trained.sound else "; ".join(str(check) for check in trained.checks if not check.passed),
        "train_loss": trained.train_loss,
        "train_start": trained.train.start,
        "train_end": trained.train.end,
        "holdout_start": trained.holdout.start,
        "holdout_end": trained.holdout.end,
        "rows_train": trained.rows_train,
        "rows_holdout": trained.rows_holdout,
        "total_trades": pooled.trades,
        "score": pooled.score,
        "artifact": f"{artifact.path.parent.name}/{artifact.version}",
        "fingerprint": artifact.fingerprint,
        "snapshot_id": snapshot,
        "sharpe": pooled.sharpe,
        **stored_of_model(pooled),
    }
    frame = pl.DataFrame([row], infer_schema_length=None)
    times = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    return frame.with_columns(pl.col(times).cast(TS))


def importance_rows(trained: Trained) -> pl.DataFrame:
    """Return rows of `ml.feature_importance`."""
    return trained.importance.select(
        pl.lit(trained.model.spec.name).alias("model_name"),
        pl.lit(trained.version).alias("version"),
        pl.lit(trained.as_of).cast(TS).alias("as_of"),
        pl.all(),
    )


def validation_numbers(trained: Trained) -> dict[str, float | None]:
    """Return the metrics of regressors and gates; null for other models."""
    names = ("r2", "mae", "baseline_r2", "baseline_mae", "skill", "skill_low", "skill_high")
    measured = {name: getattr(trained.values, name, None) for name in names}
    score = pooled_of(trained.evaluation).score
    ungated = None if trained.ungated is None else pooled_of(trained.ungated).score
    difference = None if score is None or ungated is None else score - ungated
    return {**measured, "ungated_score": ungated, "ungated_difference": difference}


def validation_rows(trained: Trained) -> pl.DataFrame:
    """Return rows of `ml.validation_predictions`: out-of-fold predictions of a model."""
    return trained.out_of_fold.select(
        pl.lit(trained.model.spec.name).alias("model_name"),
        pl.lit(trained.version).alias("version"),
        pl.lit(trained.as_of).cast(TS).alias("as_of"),
        "symbol",
        pl.lit(trained.model.spec.timeframe).alias("timeframe"),
        "ts",
        "probability",
        pl.col("label_event").alias("event"),
        pl.col("label_return").alias("forward_return"),
    )


def prediction_rows(trained: Trained) -> pl.DataFrame:
    """Return rows of `ml.predictions`: predictions of a model on the holdout."""
    return trained.predictions.select(
        pl.lit(trained.model.spec.name).alias("model_name"),
        pl.lit(trained.version).alias("version"),
        pl.lit(trained.as_of).cast(TS).alias("as_of"),
        "symbol",
        pl.lit(trained.model.spec.timeframe).alias("timeframe"),
        "ts",
        "probability",
        pl.col("label_event").cast(pl.Float64).alias("label"),
        "value",
        "label_value",
    )
