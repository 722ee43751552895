"""The newest strategy cycle and the newest ML cycle.

Belongs here: rankings, results, evidence, equity. Does not belong here: what changed (`changes`).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from blofin_resources.warehouse import Warehouse

_RANKING: Final = (
    "SELECT as_of, rank, name, version, score, trades, status, reason FROM research.ranking_history "
    "WHERE kind = ? AND as_of <= ? QUALIFY as_of = max(as_of) OVER () ORDER BY rank NULLS LAST, name, version"
)
_PREVIOUS: Final = (
    "SELECT name, rank AS previous_rank FROM research.ranking_history WHERE kind = ? AND as_of < ? "
    "QUALIFY as_of = max(as_of) OVER () ORDER BY rank NULLS LAST, name"
)
_STRATEGIES: Final = (
    "SELECT r.* EXCLUDE (run_id), s.author, s.source FROM research.strategy_backtest_results AS r "
    "LEFT JOIN (SELECT name, version, any_value(author) AS author, any_value(source) AS source "
    "FROM research.strategies GROUP BY ALL) AS s ON s.name = r.strategy_name AND s.version = r.version "
    "WHERE as_of = ? AND symbol = '*' AND timeframe = '*' ORDER BY strategy_name, r.version"
)
_EVIDENCE: Final = (
    "SELECT * EXCLUDE (run_id, as_of, kind) FROM research.evidence WHERE as_of = ? AND kind = ? ORDER BY name, version"
)
_LANES: Final = (
    "SELECT strategy_name, version, symbol, timeframe, total_trades, win_rate, avg_pnl_pct, total_pnl_pct, sharpe, "
    "max_drawdown FROM research.strategy_backtest_results WHERE as_of = ? AND symbol <> '*' "
    "AND (as_of, strategy_name, version) IN (SELECT (as_of, name, version) FROM research.ranking_history) "
    "ORDER BY strategy_name, version, timeframe, symbol"
)
_MODELS: Final = "SELECT * EXCLUDE (run_id) FROM ml.ml_model_results WHERE as_of = ? ORDER BY model_name"
_ENSEMBLES: Final = "SELECT * EXCLUDE (run_id) FROM ml.ml_ensembles WHERE as_of = ? ORDER BY rank, ensemble_name"
_EQUITY: Final = (
    "SELECT name, version, ts, equity FROM research.equity WHERE kind = ? AND as_of = ? ORDER BY name, version, ts"
)
_TRADED: Final = "SELECT DISTINCT symbol FROM ml.predictions WHERE as_of = ?"


@dataclass(frozen=True)
class Cycles:
    """The newest cycles as of the report.

    Attributes
    ----------
    strategy_time, model_time : datetime or None
        As-of of each; None where none has run.
    symbols : frozenset of str
        What the strategy cycle traded, else what the ML cycle predicted.
    strategy_ranking, strategies, evidence, lanes, strategy_equity : DataFrame
        Ranks, pooled results with authors, what stands beside them, results by lane, hourly equity.
    model_ranking, models, model_equity, ensembles : DataFrame
        The same of the ML cycle.
    """

    strategy_time: datetime | None
    model_time: datetime | None
    symbols: frozenset[str]
    strategy_ranking: pl.DataFrame
    strategies: pl.DataFrame
    evidence: pl.DataFrame
    lanes: pl.DataFrame
    strategy_equity: pl.DataFrame
    model_ranking: pl.DataFrame
    models: pl.DataFrame
    model_equity: pl.DataFrame
    ensembles: pl.DataFrame


def collect_cycles(warehouse: Warehouse, as_of: datetime) -> Cycles:
    """Return the newest cycles at or before `as_of`."""
    strategies = _ranking(warehouse, "strategy", as_of)
    models = _ranking(warehouse, "model", as_of)
    strategy_time, model_time = _time(strategies), _time(models)
    lanes = warehouse.read(_LANES, [strategy_time])
    traded = lanes["symbol"] if lanes.height else warehouse.read(_TRADED, [model_time])["symbol"]
    return Cycles(
        strategy_time=strategy_time,
        model_time=model_time,
        symbols=frozenset(traded),
        strategy_ranking=strategies,
        strategies=warehouse.read(_STRATEGIES, [strategy_time]),
        evidence=warehouse.read(_EVIDENCE, [strategy_time, "strategy"]),
        lanes=lanes,
        strategy_equity=warehouse.read(_EQUITY, ["strategy", strategy_time]),
        model_ranking=models,
        models=warehouse.read(_MODELS, [model_time]),
        model_equity=warehouse.read(_EQUITY, ["model", model_time]),
        ensembles=warehouse.read(_ENSEMBLES, [model_time]),
    )


def _ranking(warehouse: Warehouse, kind: str, as_of: datetime) -> pl.DataFrame:
    """Return a ranking with each name's rank in the ranking before."""
    ranking = warehouse.read(_RANKING, [kind, as_of])
    previous = warehouse.read(_PREVIOUS, [kind, _time(ranking)]).unique("name", keep="first", maintain_order=True)
    return ranking.join(previous, on="name", how="left", maintain_order="left")


def _time(ranking: pl.DataFrame) -> datetime | None:
    return ranking["as_of"][0] if ranking.height else None
