"""The newest strategy cycle and the newest ML cycle.

Belongs here: rankings, results, evidence, equity. Does not belong here: data of a single section (`sections`).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from backtester.statistics.windows import HOLDOUT_LENGTH
from blofin_assets.shared.cadences import CADENCES
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse

_RANKING: Final = (
    "SELECT as_of, rank, name, version, score, trades, status, reason FROM research.ranking_history "
    "WHERE kind = ? AND as_of <= ? QUALIFY as_of = max(as_of) OVER () ORDER BY rank NULLS LAST, name, version"
)
_PREVIOUS: Final = (
    "SELECT name, rank AS previous_rank FROM research.ranking_history WHERE kind = ? AND as_of < ? "
    "QUALIFY as_of = max(as_of) OVER () ORDER BY rank NULLS LAST, name"
)
_EVIDENCE: Final = (
    "SELECT * EXCLUDE (run_id, as_of, kind) FROM research.evidence WHERE as_of = ? AND kind = ? ORDER BY name, version"
)
_MODELS: Final = "SELECT * EXCLUDE (run_id) FROM ml.ml_model_results WHERE as_of = ? ORDER BY model_name"
_ENSEMBLES: Final = "SELECT * EXCLUDE (run_id) FROM ml.ml_ensembles WHERE as_of = ? ORDER BY rank, ensemble_name"
_EQUITY: Final = (
    "SELECT name, version, ts, equity, with_bars FROM research.equity WHERE kind = ? AND as_of = ? "
    "ORDER BY name, version, ts"
)
_TRADED: Final = "SELECT DISTINCT symbol FROM ml.predictions WHERE as_of = ?"


@dataclass(frozen=True)
class Cycles:
    """The newest cycles as of the report.

    Attributes
    ----------
    strategy_time, model_time : datetime or None
        As-of of each; None if none has run.
    symbols : frozenset of str
        Symbols of the strategy cycle, else of the ML cycle.
    strategy_ranking, strategies, evidence, lanes, strategy_equity : DataFrame
        Ranks, pooled results with authors, evidence, results by lane, hourly equity.
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
    lanes = warehouse.read(query("reporting/lanes"), {"as_of": strategy_time})
    traded = lanes["symbol"] if lanes.height else warehouse.read(_TRADED, [model_time])["symbol"]
    return Cycles(
        strategy_time=strategy_time,
        model_time=model_time,
        symbols=frozenset(traded),
        strategy_ranking=strategies,
        strategies=warehouse.read(query("reporting/strategies"), {"as_of": strategy_time}),
        evidence=warehouse.read(_EVIDENCE, [strategy_time, "strategy"]),
        lanes=lanes,
        strategy_equity=warehouse.read(_EQUITY, ["strategy", strategy_time]),
        model_ranking=models,
        models=warehouse.read(_MODELS, [model_time]),
        model_equity=warehouse.read(_EQUITY, ["model", model_time]),
        ensembles=warehouse.read(_ENSEMBLES, [model_time]),
    )


def ran_within(job: str, newest: datetime | None, since: datetime, as_of: datetime) -> bool:
    """Return whether the newest cycle of a job is the one that was due, and was due within the day.

    Parameters
    ----------
    job : str
        Job of the cycle.
    newest : datetime or None
        As-of of its newest cycle; None if there is none.
    since : datetime
        Start of the day; a cycle of that time belongs to the day before.
    as_of : datetime
        End of the day.

    Returns
    -------
    bool
        Whether the report shows the cycle as one of this day.
    """
    due = next(cadence for cadence in CADENCES if cadence.job == job).floor(as_of)
    return newest == due and due > since


def strategy_table(cycles: Cycles) -> pl.DataFrame:
    """Return the strategies in order of rank, each with its results and their evidence."""
    with_results = _ranked(cycles.strategy_ranking, cycles.strategies, "strategy_name")
    return _ranked(with_results, cycles.evidence, "name")


def holdout_words(table: pl.DataFrame) -> str:
    """Return how long the holdouts of strategies were, such as `7 days, or 90 days for 3 that trade on 4h and 1d`.

    Parameters
    ----------
    table : DataFrame
        As `strategy_table` gives it; what has no result does not count.

    Returns
    -------
    str
        The usual length alone where no other was run.
    """
    usual = HOLDOUT_LENGTH.days
    days = (
        table["backtest_period"].drop_nulls().str.strip_suffix("d").cast(pl.Int64, strict=False).drop_nulls().to_list()
    )
    longer = sorted(length for length in days if length != usual)
    if not longer:
        return f"{usual} days"
    told = f"{longer[0]}" if longer[0] == longer[-1] else f"{longer[0]} to {longer[-1]}"
    some = f"{told} days for {len(longer)} that {'trades' if len(longer) == 1 else 'trade'} on 4h and 1d"
    return some if len(longer) == len(days) else f"{usual} days, or {some}"


def model_table(cycles: Cycles) -> pl.DataFrame:
    """Return the models in order of rank, each with its results."""
    return _ranked(cycles.model_ranking, cycles.models, "model_name")


def _ranked(ranking: pl.DataFrame, results: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return the ranking in order, each row with the results of its version."""
    here = set(ranking.columns) - {"name", "version"}
    extra = results.rename({name: "name"}).drop([column for column in results.columns if column in here])
    return ranking.join(extra, on=["name", "version"], how="left", maintain_order="left")


def _ranking(warehouse: Warehouse, kind: str, as_of: datetime) -> pl.DataFrame:
    """Return a ranking with the rank of each name in the previous ranking."""
    ranking = warehouse.read(_RANKING, [kind, as_of])
    previous = warehouse.read(_PREVIOUS, [kind, _time(ranking)]).unique("name", keep="first", maintain_order=True)
    return ranking.join(previous, on="name", how="left", maintain_order="left")


def _time(ranking: pl.DataFrame) -> datetime | None:
    return ranking["as_of"][0] if ranking.height else None
