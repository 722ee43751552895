"""The ML cycle: an asset for each model, then the ensembles of them and the rankings.

Belongs here: the assets of the 12-hour cycle. Does not belong here: training and validation (`model_zoo`), the order
of ranks (`model_zoo.ranking`).
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import dagster as dg
import polars as pl

from blofin_assets.assets.common import cycle_as_of, lineage, require_market_data, stage_asset, table_preview
from blofin_assets.assets.features import ASSETS as FEATURE_ASSETS
from blofin_assets.assets.results import equity_rows, metrics, pooled_of, row_id, trade_rows, trial_rows
from blofin_assets.evolution.asking import Asker
from blofin_assets.evolution.inputs import written_rows
from blofin_assets.evolution.rows import SOUND
from blofin_assets.model_drift import NO_DRIFT, answer_drift, search_trials, specs_in_force, tuning_rows
from blofin_assets.model_plots import model_figure
from blofin_assets.partitions import half_day_start, half_days
from blofin_assets.reporting.plots import curve_names, equity_figure, markdown_png
from blofin_assets.sources import RememberedSource
from blofin_assets.written_inputs import known_features
from blofin_resources.dagster_resources import ClaudeResource, ClockResource, MarketResource, WarehouseResource
from blofin_resources.errors import BlofinError
from blofin_resources.warehouse import Warehouse
from features import FeatureManager
from features.bars import TRADED_TIMEFRAMES, TS, Timeframe
from model_zoo.artifacts import Artifact, folder_name, load_artifact, save_artifact
from model_zoo.base import Regressor
from model_zoo.catalog import MODELS
from model_zoo.ensemble_files import full_definition, save_ensembles
from model_zoo.ensembles import Member, Tried, search
from model_zoo.folds import Window
from model_zoo.ranking import ModelRanker
from model_zoo.trainer import Trained, default_spec, train_cycle

GROUP: Final = "models"
KIND: Final = "model"

WINDOW: Final = timedelta(days=8)
"""Training and holdout together."""

ACTIVE: Final = 5
"""How many models stay active, by rank alone."""

ENSEMBLE: Final = "ensemble"
ACTIVE_ENSEMBLES: Final = 3
"""How many ensembles stay active, by rank alone."""

_TRADED: Final = ("win_rate", "avg_pnl_pct", "max_drawdown")

STEPS_BACK: Final = 16
"""The window's eight days, in steps of the 12-hour grid."""


@dataclass(frozen=True, eq=False)
class _Begun:
    """What all models of a cycle begin with, read once: they follow each other in one process."""

    snapshot: int
    manager: FeatureManager


@lru_cache(maxsize=1)
def _begun(store: Warehouse, symbols: tuple[str, ...], as_of: datetime, _run_id: str) -> _Begun:
    """Return what a run begins with, or refuse it where market data lacks."""
    require_market_data(store, symbols, as_of - WINDOW, as_of)
    snapshot = store.snapshot_id()
    return _Begun(snapshot, FeatureManager(RememberedSource(store, as_of), as_of, known_features(store)))


def _model(type_name: str, timeframe: Timeframe) -> dg.AssetsDefinition:
    name = f"{type_name}_{timeframe}"

    def model(
        context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
    ) -> dg.MaterializeResult[Any]:
        as_of = cycle_as_of(context, clock, half_day_start)
        store = warehouse.open()
        begun = _begun(store, tuple(market.symbols), as_of, context.run.run_id)
        default = default_spec(type_name, timeframe, market.seed)
        spec = specs_in_force(store, [default], as_of, begun.manager.registry)[name]
        trained = train_cycle(begun.manager, market.symbols, as_of, spec)
        artifact = _save(Path(warehouse.folder) / "models", trained, store)
        return _write(store, trained, artifact, context.run.run_id, begun.snapshot)

    model.__doc__ = (
        f"The {type_name} model on {timeframe} bars, all symbols pooled: trained on the seven days before the holdout "
        "day, validated and traded on that day, which it has never seen."
    )
    return stage_asset(
        group=GROUP,
        table="ml.ml_model_results",
        partitions=half_days,
        deps=[lineage(asset, steps_back=STEPS_BACK) for asset in FEATURE_ASSETS],
        kinds=(MODELS[type_name].library, "polars", "duckdb"),
        name=name,
    )(model)


MODEL_ASSETS: Final = [_model(type_name, timeframe) for type_name in MODELS for timeframe in TRADED_TIMEFRAMES]


@stage_asset(group=GROUP, table="ml.ml_ensembles", partitions=half_days, deps=MODEL_ASSETS)
def ensembles(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Models of direction, price and momentum joined: weighted, by vote or stacked. The best three stay active."""
    as_of = cycle_as_of(context, clock, half_day_start)
    store = warehouse.open()
    snapshot = store.snapshot_id()
    root = Path(warehouse.folder) / "models"
    members, holdout = _members(store, root, as_of)
    manager = _begun(store, tuple(market.symbols), as_of, context.run.run_id).manager
    tried = search(manager, market.symbols, holdout, members, seed=market.seed)
    _begun.cache_clear()  # the candles are not used again
    found = [each.evaluation for each in tried]
    scores = pl.DataFrame(
        [
            {
                "name": each.ensemble.name,
                "version": each.ensemble.version,
                "score": pooled_of(each.evaluation).score,
                "total_trades": pooled_of(each.evaluation).trades,
            }
            for each in tried
        ],
        schema={"name": pl.String, "version": pl.String, "score": pl.Float64, "total_trades": pl.Int64},
    )
    if scores.is_empty():
        msg = f"no two directional models of a timeframe passed their leakage checks in {as_of:%Y-%m-%dT%H:%MZ}"
        raise BlofinError(msg)
    ranker = ModelRanker(scores)
    order = {name: place for place, name in enumerate(ranker.table["name"], 1)}
    best = sorted(tried, key=lambda each: order[each.ensemble.name])
    newest = store.read("SELECT max(as_of) AS as_of FROM ml.ml_ensembles")["as_of"][0]
    if newest is None or as_of >= newest:
        save_ensembles(root, best[:ACTIVE_ENSEMBLES], as_of)
    rows = pl.DataFrame(
        [_ensemble_row(each, order[each.ensemble.name], as_of, snapshot) for each in best], infer_schema_length=None
    ).with_columns(pl.col("timestamp", "as_of", "holdout_start", "holdout_end").cast(TS))
    with store.transaction(context.run.run_id) as tx:
        tx.replace("ml.ml_ensembles", rows, as_of=as_of, ignore=["snapshot_id"])
        for each in best:  # of the winners alone, a night would see an ensemble on its good days only
            tx.replace("ml.predictions", _joint_predictions(each, as_of), as_of=as_of, model_name=each.ensemble.name)
        tx.replace(
            "research.ranking_history", _ranks(ranker, ENSEMBLE, as_of, ACTIVE_ENSEMBLES), as_of=as_of, kind=ENSEMBLE
        )
        tx.replace("research.trades", trade_rows(found, ENSEMBLE, as_of), as_of=as_of, kind=ENSEMBLE)
        tx.replace("research.equity", equity_rows(found, ENSEMBLE, as_of), as_of=as_of, kind=ENSEMBLE)
        tx.append("research.trials", trial_rows(found, ENSEMBLE, "ml_cycle", as_of, snapshot), key=["id"])
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "ranking": table_preview(ranker.table),
            "members": ", ".join(each.name for each in members),
            "snapshot": tx.snapshot,
        }
    )


@stage_asset(group=GROUP, table="ml.model_tuning", partitions=half_days, deps=[*MODEL_ASSETS, ensembles])
def model_tuning(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    market: MarketResource,
    clock: ClockResource,
    claude: ClaudeResource,
) -> dg.MaterializeResult[Any]:
    """What was done about models that drift: trained anew, then searched for. A champion stays until beaten unseen."""
    as_of = cycle_as_of(context, clock, half_day_start)
    store = warehouse.open()
    snapshot = store.snapshot_id()
    defaults = [default_spec(name, timeframe, market.seed) for name in MODELS for timeframe in TRADED_TIMEFRAMES]
    specs = specs_in_force(store, defaults, as_of, known_features(store))
    asker = Asker(claude.open(store, clock), as_of, context.run.run_id)
    done = answer_drift(store, market.symbols, specs, as_of, asker=asker)
    rows = tuning_rows(done, store, as_of, snapshot)
    inputs = written_rows(
        [each.redesign for each in done if each.redesign is not None],
        {each.name: each.outcome for each in done},
        as_of,
        snapshot,
    )
    told = rows.select("model_name", "action", "decision", "reason")
    with store.transaction(context.run.run_id) as tx:
        tx.replace("ml.model_tuning", rows, as_of=as_of, ignore=["snapshot_id"])
        tx.replace("ml.written_inputs", inputs, as_of=as_of, ignore=["snapshot_id"])
        tx.append("research.trials", search_trials(done, as_of, snapshot), key=["id"])
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "drifting": rows.height,
            "adopted": rows.filter(pl.col("decision") == "adopted").height,
            "answers": table_preview(told) if told.height else NO_DRIFT,
            "inputs_asked_for": inputs.height,
            "inputs_sound": inputs.filter(pl.col("state") == SOUND).height,
            "cost_usd": asker.cost_usd,
            "snapshot": tx.snapshot,
        }
    )


@stage_asset(group=GROUP, table="research.ranking_history", partitions=half_days, deps=[*MODEL_ASSETS, model_tuning])
def model_ranking(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """The models by the same score as the strategies: the best five stay active. A leaking one is never ranked."""
    as_of = cycle_as_of(context, clock, half_day_start)
    store = warehouse.open()
    results = store.read(
        "SELECT model_name AS name, version, score, total_trades, accuracy, baseline_accuracy, log_loss, "
        "baseline_log_loss, status FROM ml.ml_model_results WHERE as_of = ? ORDER BY model_name",
        [as_of],
    )
    absent = sorted({asset.key.to_user_string() for asset in MODEL_ASSETS} - set(results["name"]))
    if absent:
        msg = f"{', '.join(absent)}: not trained as of {as_of:%Y-%m-%dT%H:%MZ}; materialise this cycle's models first"
        raise BlofinError(msg)
    ranker = ModelRanker(results.filter(pl.col("status") != "rejected").drop("status"))
    rows = _ranks(ranker, KIND, as_of, ACTIVE)
    if rows.is_empty():
        msg = f"no model of the cycle {as_of:%Y-%m-%dT%H:%MZ} passed its leakage checks; see the models' metadata"
        raise BlofinError(msg)
    with store.transaction(context.run.run_id) as tx:
        tx.replace("research.ranking_history", rows, as_of=as_of, kind=KIND)
    equity = store.read("SELECT name, ts, equity FROM research.equity WHERE kind = ? AND as_of = ?", [KIND, as_of])
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "ranking": table_preview(ranker.table),
            "equity": dg.MetadataValue.md(
                markdown_png(equity_figure(equity, curve_names(equity, rows, ACTIVE)), "equity on the holdout")
            ),
            "snapshot": tx.snapshot,
        }
    )


ASSETS: Final = [*MODEL_ASSETS, ensembles, model_tuning, model_ranking]


def _members(store: Warehouse, root: Path, as_of: datetime) -> tuple[list[Member], Window]:
    """Return the cycle's sound directional models with what they said out of fold, and the holdout they share."""
    results = store.read(
        "SELECT model_name, version, artifact, holdout_start, holdout_end FROM ml.ml_model_results "
        "WHERE as_of = ? AND status <> 'rejected' ORDER BY model_name",
        [as_of],
    )
    members = []
    for name, version, artifact, *_ in results.iter_rows():
        loaded = load_artifact(root / ".versions" / artifact)
        if not loaded.model.directional:
            continue
        said = store.read(
            "SELECT symbol, ts, probability, event AS label_event, forward_return AS label_return "
            "FROM ml.validation_predictions WHERE as_of = ? AND model_name = ? AND version = ? ORDER BY ts, symbol",
            [as_of, name, version],
        )
        members.append(Member(loaded.model, loaded.threshold, version, loaded.metadata["base_rate"], said))
    if not members:
        msg = f"no directional model of the cycle {as_of:%Y-%m-%dT%H:%MZ} is stored; materialise the models first"
        raise BlofinError(msg)
    return members, Window(results["holdout_start"].max(), as_of)  # type: ignore[arg-type]  # a column of times


def _ensemble_row(tried: Tried, rank: int, as_of: datetime, snapshot: int) -> dict[str, Any]:
    ensemble, measured, pooled = tried.ensemble, tried.metrics, pooled_of(tried.evaluation)
    traded = {key: value for key, value in metrics(pooled).items() if key in _TRADED or key.startswith("score_")}
    names = (
        "accuracy", "precision", "recall", "f1", "log_loss", "baseline_accuracy", "baseline_log_loss", "log_loss_gain",
        "log_loss_gain_low", "log_loss_gain_high", "better",
    )  # fmt: skip
    return {
        "id": row_id("ensemble", as_of, ensemble.name),
        "ensemble_name": ensemble.name,
        "timestamp": as_of,
        "as_of": as_of,
        "model_list": json.dumps([folder_name(each.model.spec) for each in ensemble.members]),
        "members": json.dumps([each.name for each in ensemble.members]),
        "member_versions": json.dumps([each.version for each in ensemble.members]),
        "weights": json.dumps(ensemble.rule.weights),
        "combination_method": ensemble.rule.method,
        "timeframe": ensemble.timeframe,
        "version": ensemble.version,
        "rank": rank,
        "status": "active" if rank <= ACTIVE_ENSEMBLES else "archived",
        "artifact": f"ensembles/ensemble_{rank:03d}.json" if rank <= ACTIVE_ENSEMBLES else None,
        "definition": json.dumps(full_definition(ensemble), sort_keys=True),
        **{name: getattr(measured, name) for name in names},
        "validation_log_loss_gain": tried.validation.log_loss_gain,
        "backtest_sharpe": pooled.sharpe,
        **traded,
        "total_trades": pooled.trades,
        "score": pooled.score,
        "holdout_start": pooled.start,
        "holdout_end": pooled.end,
        "rows_holdout": measured.rows,
        "snapshot_id": snapshot,
    }


def _joint_predictions(tried: Tried, as_of: datetime) -> pl.DataFrame:
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


def _ranks(ranker: ModelRanker, kind: str, as_of: datetime, active: int) -> pl.DataFrame:
    """Return `research.ranking_history`: the first so many are active."""
    return ranker.table.select(
        pl.lit(as_of).cast(TS).alias("as_of"),
        pl.lit(kind).alias("kind"),
        "rank",
        "name",
        "version",
        "score",
        pl.col("total_trades").alias("trades"),
        pl.when(pl.col("name").is_in(ranker.get_top_models(active)))
        .then(pl.lit("active"))
        .otherwise(pl.lit("archived"))
        .alias("status"),
    )


def _save(root: Path, trained: Trained, store: Warehouse) -> Artifact:
    """Write the model's folder; an older cycle made again does not take the current version's place."""
    newest = store.read(
        "SELECT max(as_of) AS as_of FROM ml.ml_model_results WHERE model_name = ?", [trained.model.spec.name]
    )["as_of"][0]
    current = newest is None or trained.as_of >= newest
    return save_artifact(root, trained.model, trained.threshold, trained.metadata(), current=current)


def _write(
    store: Warehouse, trained: Trained, artifact: Artifact, run_id: str, snapshot: int
) -> dg.MaterializeResult[Any]:
    """Store results, predictions, trades, equity and the trial in one commit."""
    name, as_of, found = trained.model.spec.name, trained.as_of, [trained.evaluation]
    with store.transaction(run_id) as tx:
        tx.replace(
            "ml.ml_model_results",
            _result(trained, artifact, snapshot),
            as_of=as_of,
            model_name=name,
            ignore=["snapshot_id"],
        )
        tx.replace("ml.predictions", _predictions(trained), as_of=as_of, model_name=name)
        tx.replace("ml.feature_importance", _importance(trained), as_of=as_of, model_name=name)
        if trained.model.directional:
            tx.replace("ml.validation_predictions", _validation(trained), as_of=as_of, model_name=name)
        tx.replace("research.trades", trade_rows(found, KIND, as_of), as_of=as_of, kind=KIND, name=name)
        tx.replace("research.equity", equity_rows(found, KIND, as_of), as_of=as_of, kind=KIND, name=name)
        tx.append("research.trials", trial_rows(found, KIND, "ml_cycle", as_of, snapshot), key=["id"])
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
        **_values(trained),
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


def _result(trained: Trained, artifact: Artifact, snapshot: int) -> pl.DataFrame:
    spec, measured, pooled = trained.model.spec, trained.metrics, pooled_of(trained.evaluation)
    traded = {
        key: value for key, value in metrics(pooled).items() if key in (*_TRADED, "sharpe") or key.startswith("score_")
    }
    row = {
        "id": row_id("model", trained.as_of, spec.name),
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
        **_values(trained),
        "features_used": ",".join(spec.inputs),
        "hyperparams": str(spec.to_json()),
        "status": "candidate" if trained.sound else "rejected",
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
        "snapshot_id": snapshot,
        **traded,
    }
    frame = pl.DataFrame([row], infer_schema_length=None)
    times = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    return frame.with_columns(pl.col(times).cast(TS))


def _importance(trained: Trained) -> pl.DataFrame:
    return trained.importance.select(
        pl.lit(trained.model.spec.name).alias("model_name"),
        pl.lit(trained.version).alias("version"),
        pl.lit(trained.as_of).cast(TS).alias("as_of"),
        pl.all(),
    )


def _values(trained: Trained) -> dict[str, float | None]:
    """Return what only regressors and gates have; null for the others."""
    names = ("r2", "mae", "baseline_r2", "baseline_mae", "skill", "skill_low", "skill_high")
    measured = {name: getattr(trained.values, name, None) for name in names}
    score = pooled_of(trained.evaluation).score
    ungated = None if trained.ungated is None else pooled_of(trained.ungated).score
    difference = None if score is None or ungated is None else score - ungated
    return {**measured, "ungated_score": ungated, "ungated_difference": difference}


def _validation(trained: Trained) -> pl.DataFrame:
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


def _predictions(trained: Trained) -> pl.DataFrame:
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
