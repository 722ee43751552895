"""The asset of ensembles: several models combined into one prediction.

Belongs here: which models may be members, and the row of each method that was tried. Does not belong here: combining
(`model_zoo.ensembles`).
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from backtester import Costs, ranked
from backtester.statistics.windows import Window
from blofin_assets.ml_cycle.models import MODEL_ASSETS
from blofin_assets.ml_cycle.rows import (
    ensemble_row,
    joint_prediction_rows,
    rank_rows,
)
from blofin_assets.ml_cycle.stage import ACTIVE_ENSEMBLES, GROUP, read_once
from blofin_assets.shared.asset import stage_asset, table_preview
from blofin_assets.shared.backtest_rows import equity_rows, pooled_of, trade_rows, trial_rows
from blofin_assets.shared.fence import Failed, each_alone, fenced
from blofin_assets.shared.partitions import half_day_start, half_days
from blofin_assets.shared.stored_models import StoredModels
from blofin_assets.shared.vocabulary import Author, Kind
from blofin_assets.shared.windows import cycle_as_of
from blofin_resources.dagster_resources import ClockResource, MarketResource, WarehouseResource
from blofin_resources.errors import BlofinError
from blofin_resources.warehouse import Warehouse
from features import FeatureManager
from features.bars import TS
from model_zoo.ensembles import Member, Tried, candidates, fit, most_promising, run_on_holdout
from model_zoo.serving.ensemble_artifacts import save_ensembles


@stage_asset(group=GROUP, table="ml.ml_ensembles", partitions=half_days, deps=MODEL_ASSETS)
def ensembles(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, clock: ClockResource
) -> dg.MaterializeResult[Any]:
    """Ensembles of direction, price and momentum models: weighted, voting or stacked. The best three stay active."""
    as_of = cycle_as_of(context, clock, half_day_start)
    store = warehouse.open()
    snapshot = store.snapshot_id()
    root = Path(warehouse.folder) / "models"
    members, holdout, failed = _members(store, StoredModels(store, root), as_of)
    manager = read_once(store, tuple(market.symbols), as_of, context.run.run_id).manager
    tried, unfit = searched(manager, market.symbols, holdout, members, market.seed)
    failed |= unfit
    read_once.cache_clear()  # the candles are not used again
    evaluations = [combination.evaluation for combination in tried]
    scores = pl.DataFrame(
        [
            {
                "name": combination.ensemble.name,
                "version": combination.ensemble.version,
                "score": pooled_of(combination.evaluation).score,
                "total_trades": pooled_of(combination.evaluation).trades,
                "ruined": pooled_of(combination.evaluation).ruined,
            }
            for combination in tried
        ],
        schema={
            "name": pl.String,
            "version": pl.String,
            "score": pl.Float64,
            "total_trades": pl.Int64,
            "ruined": pl.Int64,
        },
    )
    if scores.is_empty():
        why = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        msg = f"no two directional models of a timeframe passed their leakage checks in {as_of:%Y-%m-%dT%H:%MZ}"
        msg = f"{msg}; {why}" if why else msg
        raise BlofinError(msg)
    table = ranked(scores)
    order = {name: place for place, name in enumerate(table["name"], 1)}
    best = sorted(tried, key=lambda combination: order[combination.ensemble.name])
    newest = store.read("SELECT max(as_of) AS as_of FROM ml.ml_ensembles")["as_of"][0]
    if newest is None or as_of >= newest:
        save_ensembles(root, best[:ACTIVE_ENSEMBLES], as_of)
    rows = pl.DataFrame(
        [ensemble_row(combination, order[combination.ensemble.name], as_of, snapshot) for combination in best],
        infer_schema_length=None,
    ).with_columns(pl.col("timestamp", "as_of", "holdout_start", "holdout_end").cast(TS))
    with store.transaction(context.run.run_id) as tx:
        tx.replace("ml.ml_ensembles", rows, as_of=as_of)
        for combination in best:  # predictions of the best three only would bias the drift tests: they show good days
            tx.replace(
                "ml.predictions",
                joint_prediction_rows(combination, as_of),
                as_of=as_of,
                model_name=combination.ensemble.name,
            )
        tx.replace(
            "research.ranking_history",
            rank_rows(table, Kind.ENSEMBLE, as_of, ACTIVE_ENSEMBLES),
            as_of=as_of,
            kind=Kind.ENSEMBLE,
        )
        tx.replace("research.trades", trade_rows(evaluations, Kind.ENSEMBLE, as_of), as_of=as_of, kind=Kind.ENSEMBLE)
        tx.replace("research.equity", equity_rows(evaluations, Kind.ENSEMBLE, as_of), as_of=as_of, kind=Kind.ENSEMBLE)
        tx.append(
            "research.trials", trial_rows(evaluations, Kind.ENSEMBLE, Author.ML_CYCLE, as_of, snapshot), key=["id"]
        )
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "ranking": table_preview(table),
            "members": ", ".join(member.name for member in members),
            "failed": "; ".join(f"{name}: {reason}" for name, reason in failed.items()) or "none",
            "snapshot": tx.snapshot,
        }
    )


def _members(store: Warehouse, stored: StoredModels, as_of: datetime) -> tuple[list[Member], Window, dict[str, str]]:
    """Return the cycle's sound directional models with out-of-fold predictions, the shared holdout, and load errors.

    Raises
    ------
    BlofinError
        If too few models are left.
    """
    results = store.read(
        "SELECT model_name, version, artifact, holdout_start, holdout_end FROM ml.ml_model_results "
        "WHERE as_of = ? AND status <> 'rejected' ORDER BY model_name",
        [as_of],
    )

    def member(row: tuple[Any, ...]) -> Member | None:
        name, version, artifact, *_ = row
        saved = stored.named(artifact)
        if not saved.model.directional:
            return None
        predictions = store.read(
            "SELECT symbol, ts, probability, event AS label_event, forward_return AS label_return "
            "FROM ml.validation_predictions WHERE as_of = ? AND model_name = ? AND version = ? ORDER BY ts, symbol",
            [as_of, name, version],
        )
        return Member(saved.model, saved.threshold, version, saved.metadata["base_rate"], predictions)

    loaded = each_alone(results.iter_rows(), member)
    members = [member for _, member in loaded.done if member is not None]
    failed = {str(row[0]): why for row, why in loaded.failed}
    if not members:
        why = "; ".join(failed.values()) or "materialise the models first"
        msg = f"no directional model of the cycle {as_of:%Y-%m-%dT%H:%MZ} is stored; {why}"
        raise BlofinError(msg)
    return members, Window(results["holdout_start"].max(), as_of), failed  # type: ignore[arg-type]  # a column of times


def searched(
    manager: FeatureManager, symbols: Sequence[str], holdout: Window, members: Sequence[Member], seed: int
) -> tuple[list[Tried], dict[str, str]]:
    """Run `model_zoo.ensembles.search`, isolating ensembles that fail.

    Parameters
    ----------
    manager : FeatureManager
        Features as of the cycle.
    symbols : sequence of str
        Symbols to trade.
    holdout : Window
        The holdout of the cycle.
    members : sequence of Member
        Models to combine.
    seed : int
        Seed of the search.

    Returns
    -------
    tuple of list of Tried and dict
        The evaluated combinations, and by name why others failed.
    """
    costs = Costs()
    fitted = each_alone(candidates(members), lambda candidate: fit(*candidate, costs.round_trip, seed))
    failed = {f"{method} of {', '.join(x.name for x in group)}": why for (group, method), why in fitted.failed}
    best = most_promising([ensemble for _, ensemble in fitted.done])
    tried = fenced(run_on_holdout, manager, symbols, holdout, best, costs=costs, seed=seed)
    if not isinstance(tried, Failed):
        return tried, failed
    alone = each_alone(best, lambda one: run_on_holdout(manager, symbols, holdout, [one], costs=costs, seed=seed)[0])
    return [combination for _, combination in alone.done], failed | {of.name: why for (of, _), why in alone.failed}
