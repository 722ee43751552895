"""The asset of the response to models that drift.

Belongs here: the asset. Does not belong here: searching (`ml_cycle.tuning`), the drift tests (`drift`).
"""

from typing import Any

import dagster as dg
import polars as pl

from blofin_assets.ml_cycle.ensembles import ensembles
from blofin_assets.ml_cycle.llm_features import written_rows
from blofin_assets.ml_cycle.models import MODEL_ASSETS
from blofin_assets.ml_cycle.stage import GROUP
from blofin_assets.ml_cycle.tuning import NO_DRIFT, answer_drift, search_trials, specs_in_force, tuning_rows
from blofin_assets.shared.asset import stage_asset, table_preview
from blofin_assets.shared.feature_registry import known_features
from blofin_assets.shared.llm_session import LlmSession
from blofin_assets.shared.partitions import half_day_start, half_days
from blofin_assets.shared.vocabulary import Choice, ProposalState
from blofin_assets.shared.windows import cycle_as_of
from blofin_resources.dagster_resources import ClaudeResource, ClockResource, MarketResource, WarehouseResource
from features.bars import DEFAULT_TIMEFRAMES
from model_zoo.models.catalog import MODELS
from model_zoo.training.trainer import default_spec


@stage_asset(group=GROUP, table="ml.model_tuning", partitions=half_days, deps=[*MODEL_ASSETS, ensembles])
def model_tuning(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    market: MarketResource,
    clock: ClockResource,
    claude: ClaudeResource,
) -> dg.MaterializeResult[Any]:
    """Response to drifting models: retraining, then a search. A champion stays until it loses on unseen data."""
    as_of = cycle_as_of(context, clock, half_day_start)
    store = warehouse.open()
    snapshot = store.snapshot_id()
    defaults = [default_spec(name, timeframe, market.seed) for name in MODELS for timeframe in DEFAULT_TIMEFRAMES]
    specs = specs_in_force(store, defaults, as_of, known_features(store))
    asker = LlmSession(claude.open(store, clock), as_of, context.run.run_id)
    done = answer_drift(store, market.symbols, specs, as_of, asker=asker)
    rows = tuning_rows(done, store, as_of, snapshot)
    inputs = written_rows(
        [answer.redesign for answer in done if answer.redesign is not None],
        {answer.name: answer.outcome for answer in done},
        as_of,
        snapshot,
    )
    shown = rows.select("model_name", "action", "decision", "reason")
    with store.transaction(context.run.run_id) as tx:
        tx.replace("ml.model_tuning", rows, as_of=as_of)
        tx.replace("ml.written_inputs", inputs, as_of=as_of)
        tx.append("research.trials", search_trials(done, as_of, snapshot), key=["id"])
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": rows.height,
            "drifting": rows.height,
            "adopted": rows.filter(pl.col("decision") == Choice.ADOPTED).height,
            "answers": table_preview(shown) if shown.height else NO_DRIFT,
            "inputs_asked_for": inputs.height,
            "inputs_sound": inputs.filter(pl.col("state") == ProposalState.SOUND).height,
            "cost_usd": asker.cost_usd,
            "snapshot": tx.snapshot,
        }
    )
