"""Reads what a report says from the warehouse, as of its time.

Belongs here: the report's queries. Does not belong here: wording (`document`), looks (`page`).

No look-ahead: every query takes the report's as-of and returns nothing that was decided later.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from blofin_assets.partitions import DAY
from blofin_assets.plan import CADENCES, Cadence
from blofin_assets.reporting.evolution import Evolution, collect_evolution, stage_state
from blofin_resources.warehouse import Warehouse

HOUR: Final = timedelta(hours=1)

TOP: Final = 5
"""How many of each kind a report shows in full."""

_RANKING: Final = (
    "SELECT as_of, rank, name, version, score, trades, status FROM research.ranking_history "
    "WHERE kind = ? AND as_of <= ? QUALIFY as_of = max(as_of) OVER () ORDER BY rank"
)
_STRATEGIES: Final = (
    "SELECT * EXCLUDE (run_id) FROM research.strategy_backtest_results "
    "WHERE as_of = ? AND symbol = '*' AND timeframe = '*' "
    "AND (as_of, strategy_name, version) IN (SELECT (as_of, name, version) FROM research.ranking_history) "
    "ORDER BY strategy_name"
)
_EVIDENCE: Final = (
    "SELECT * EXCLUDE (run_id, as_of, kind) FROM research.evidence WHERE as_of = ? AND kind = ? "
    "AND (as_of, kind, name, version) IN (SELECT (as_of, kind, name, version) FROM research.ranking_history)"
)
_LANES: Final = (
    "SELECT strategy_name, symbol, timeframe, total_trades, win_rate, avg_pnl_pct, total_pnl_pct, sharpe, "
    "max_drawdown FROM research.strategy_backtest_results WHERE as_of = ? AND symbol <> '*' "
    "AND (as_of, strategy_name, version) IN (SELECT (as_of, name, version) FROM research.ranking_history) "
    "ORDER BY strategy_name, timeframe, symbol"
)
_MODELS: Final = "SELECT * EXCLUDE (run_id) FROM ml.ml_model_results WHERE as_of = ? ORDER BY model_name"
_ENSEMBLES: Final = "SELECT * EXCLUDE (run_id) FROM ml.ml_ensembles WHERE as_of = ? ORDER BY rank"
_EQUITY: Final = (
    "SELECT kind, name, ts, equity FROM research.equity WHERE kind = ? AND as_of = ? "
    "AND (as_of, kind, name, version) IN (SELECT (as_of, kind, name, version) FROM research.ranking_history) "
    "ORDER BY name, ts"
)
_COVERAGE: Final = (
    "SELECT symbol, min(day) AS first_day, max(through) AS through, sum(rows)::BIGINT AS minutes, "
    "count(*) * 1440 - sum(rows)::BIGINT AS missing FROM market.coverage "
    "WHERE dataset = 'candles_1m' AND through <= ? GROUP BY symbol ORDER BY symbol"
)
_FLAGGED: Final = (
    "SELECT symbol, count(*) AS flagged FROM market.candles_1m WHERE flag IS NOT NULL AND ts < ? GROUP BY symbol"
)


@dataclass(frozen=True)
class Stage:
    """Whether a stage of the day ran: `done` or `not run`, and what there is to say about it."""

    name: str
    state: str
    detail: str


@dataclass(frozen=True)
class ReportData:
    """Everything that one report says.

    Attributes
    ----------
    as_of
        End of the day that is reported; nothing later is in here.
    market, synthetic, symbols, seed
        Which market the numbers come from.
    strategy_ranking, strategies, evidence, lanes, strategy_equity
        The newest strategy cycle: ranks, pooled results, what stands beside them, results by lane, hourly equity.
    model_ranking, models, model_equity, ensembles
        The newest ML cycle.
    evolution
        What the newest strategy cycle designed, tuned and archived.
    coverage
        Stored minutes, missing minutes and flagged bars by symbol.
    stages
        What ran and what did not.
    """

    as_of: datetime
    market: str
    synthetic: bool
    symbols: tuple[str, ...]
    seed: int
    strategy_ranking: pl.DataFrame
    strategies: pl.DataFrame
    evidence: pl.DataFrame
    lanes: pl.DataFrame
    strategy_equity: pl.DataFrame
    model_ranking: pl.DataFrame
    models: pl.DataFrame
    model_equity: pl.DataFrame
    ensembles: pl.DataFrame
    evolution: Evolution
    coverage: pl.DataFrame
    stages: tuple[Stage, ...]


def collect(
    warehouse: Warehouse, as_of: datetime, *, market: str, synthetic: bool, symbols: tuple[str, ...], seed: int
) -> ReportData:
    """Return everything that the report made at `as_of` says."""
    strategies = warehouse.read(_RANKING, ["strategy", as_of])
    models = warehouse.read(_RANKING, ["model", as_of])
    coverage = warehouse.read(_COVERAGE, [as_of]).join(warehouse.read(_FLAGGED, [as_of]), on="symbol", how="left")
    strategy_time, model_time = _cycle_time(strategies), _cycle_time(models)
    evolution = collect_evolution(warehouse, strategy_time)
    return ReportData(
        as_of=as_of,
        market=market,
        synthetic=synthetic,
        symbols=symbols,
        seed=seed,
        strategy_ranking=strategies,
        strategies=warehouse.read(_STRATEGIES, [strategy_time]),
        evidence=warehouse.read(_EVIDENCE, [strategy_time, "strategy"]),
        lanes=warehouse.read(_LANES, [strategy_time]),
        strategy_equity=warehouse.read(_EQUITY, ["strategy", strategy_time]),
        model_ranking=models,
        models=warehouse.read(_MODELS, [model_time]),
        model_equity=warehouse.read(_EQUITY, ["model", model_time]),
        ensembles=warehouse.read(_ENSEMBLES, [model_time]),
        evolution=evolution,
        coverage=coverage.with_columns(pl.col("flagged").fill_null(0)),
        stages=_stages(as_of, strategy_time, model_time, evolution),
    )


def _cycle_time(ranking: pl.DataFrame) -> datetime | None:
    return ranking["as_of"][0] if ranking.height else None


def _stages(
    as_of: datetime, strategies: datetime | None, models: datetime | None, evolution: Evolution
) -> tuple[Stage, ...]:
    """Return what ran within the day and what did not; a stage that does not exist yet is 'not run'."""
    cycle = _cycle_stage("strategy scores and ranking", strategies, as_of, CADENCES[0])
    return (
        cycle,
        _evolution_stage("strategy tuning", "tuning", cycle, evolution),
        _evolution_stage("strategy design", "design", cycle, evolution),
        _cycle_stage("models: training, validation and ranking", models, as_of, CADENCES[1]),
        _cycle_stage("ensembles", models, as_of, CADENCES[1]),
        Stage("forward ledger and drift", "not run", "there is no forward ledger yet"),
        Stage("AI review", "not run", "there is no reviewer yet"),
    )


def _evolution_stage(name: str, stage: str, cycle: Stage, evolution: Evolution) -> Stage:
    """Return what became of a stage of the strategy cycle, which did not run where the cycle did not."""
    return (
        Stage(name, *stage_state(evolution, stage)) if cycle.state == "done" else Stage(name, "not run", cycle.detail)
    )


def _cycle_stage(name: str, made: datetime | None, as_of: datetime, cadence: Cadence) -> Stage:
    """Return what became of a cycle: done, not due, or due and not there."""
    due = cadence.floor(as_of)
    if made == due and due > as_of - DAY:
        return Stage(name, "done", f"as of {made:%Y-%m-%d %H:%M} UTC")
    shown = f"shown as of {made:%Y-%m-%d %H:%M} UTC" if made else "nothing to show"
    if made == due:
        return Stage(name, "not run", f"not due this day (every {cadence.every / HOUR:.0f} hours); {shown}")
    return Stage(name, "not run", f"was due at {due:%Y-%m-%d %H:%M} UTC but has not succeeded; {shown}")
