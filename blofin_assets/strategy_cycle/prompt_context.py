"""The context of prompts: lessons, the market, existing strategies; nothing from a holdout that is still current.

Belongs here: choosing and shaping material from the warehouse. Does not belong here: the words around it
(`strategies.llm.prompts`).

No look-ahead: candles end where the holdout starts, lessons carry the first as-of at which they may be used, and of
strategies only the name and purpose are given, never a state that resulted from a holdout.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from backtester.statistics.windows import HOLDOUT_LENGTH
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse
from features import FeatureManager
from features.bars import Timeframe, bar_length
from strategies.language.strategy import Strategy
from strategies.llm.prompts import Lesson
from strategies.search.map_elites.sampling_weights import Outcome, emphasis_of
from strategies.search.objective import Scored
from strategies.search.panel import Panel

LESSONS: Final = 40
"""Most lessons that a prompt is given, the newest first."""

OUTCOMES: Final = 200
"""Largest number of holdout outcomes that the search uses, the newest first."""

TIMEFRAMES: Final[tuple[Timeframe, ...]] = ("5m", "60m")
STATE: Final = ("is_trending_up", "is_trending_down", "is_ranging", "volatility_regime", "rsi_14", "adx_14", "natr_14")

_OUTCOMES: Final = (
    "SELECT metadata FROM research.knowledge_entries WHERE category = 'change' AND metadata IS NOT NULL "
    "AND as_of < $1 AND usable_from <= $1 ORDER BY as_of DESC, id LIMIT $2"
)


class Taught(BaseModel):
    """The outcome of a finalist for the search, as JSON in `research.knowledge_entries.metadata`.

    Attributes
    ----------
    families : tuple of str
        Feature families that the finalist reads.
    earned : bool
        Whether it made money on that holdout after costs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    families: tuple[str, ...]
    earned: bool


def lessons(store: Warehouse, as_of: datetime, strategy: str = "", most: int = LESSONS) -> list[Lesson]:
    """Return lessons from earlier cycles that may be used now: those about `strategy` first, then the newest.

    Lessons of the same cycle are left out, so that repeating a cycle gives the same prompts.

    Parameters
    ----------
    store : Warehouse
        Where lessons are stored.
    as_of : datetime
        As-of of the cycle.
    strategy : str, optional
        Name of the strategy that the prompt is about.
    most : int, optional
        Largest number of lessons.

    Returns
    -------
    list of Lesson
        At most `most` lessons.
    """
    chosen = {"as_of": as_of, "old": as_of - HOLDOUT_LENGTH, "strategy": strategy, "most": most}
    rows = store.read(query("strategy_cycle/lessons"), chosen)
    return [Lesson(*row) for row in rows.iter_rows()]


def emphasis(store: Warehouse, as_of: datetime) -> dict[str, float]:
    """Return the sampling weight of each feature family, learnt from holdouts before the current one.

    Metadata of another form, which other systems write, is ignored. As with lessons, those of the same cycle are left
    out.
    """
    outcomes = map(_outcome, store.read(_OUTCOMES, [as_of, OUTCOMES])["metadata"])
    return emphasis_of(outcome for outcome in outcomes if outcome is not None)


def _outcome(metadata: str) -> Outcome | None:
    try:
        taught = Taught.model_validate_json(metadata, strict=True)
    except ValidationError:
        return None
    return Outcome(frozenset(taught.families), taught.earned)


def market_state(store: Warehouse, symbols: Sequence[str], until: datetime) -> list[dict[str, Any]]:
    """Return the regime of each symbol and timeframe at the end of the search window.

    Parameters
    ----------
    store : Warehouse
        Where candles are stored.
    symbols : sequence of str
        Symbols of the cycle.
    until : datetime
        End of the search window (UTC); nothing later is read.

    Returns
    -------
    list of dict
        One per symbol and timeframe.
    """
    manager = FeatureManager(store, as_of=until)
    states = []
    for timeframe in TIMEFRAMES:
        start = until - bar_length(timeframe)
        frame = manager.window(list(symbols), timeframe, STATE, start, until)
        week = manager.source.candles(list(symbols), timeframe, until - timedelta(days=7), until)
        moves = week.group_by("symbol", maintain_order=True).agg(
            ((pl.col("close").last() / pl.col("open").first() - 1) * 100).round(2).alias("change_7d_pct")
        )
        last = frame.sort("symbol", "ts").group_by("symbol", maintain_order=True).last().join(moves, on="symbol")
        for row in last.iter_rows(named=True):
            values = {name: _short(row[name]) for name in (*STATE, "change_7d_pct")}
            states.append({"symbol": row["symbol"], "timeframe": timeframe, **values})
    return states


def purposes(strategies: Iterable[Strategy]) -> list[dict[str, Any]]:
    """Return the name, timeframes and purpose of strategies, each name once."""
    named = {strategy.name: strategy for strategy in strategies}
    return [
        {"name": name, "timeframes": list(strategy.timeframes), "purpose": strategy.description.split("\n\n")[0]}
        for name, strategy in sorted(named.items())
    ]


def search_results(panel: Panel, scored: Scored) -> list[dict[str, Any]]:
    """Return a version's results in the search window: pooled, by fold, and the trades of each lane."""
    pooled, run = scored.pooled, panel.run(scored.strategy)
    names = (
        "score",
        "trades",
        "win_rate",
        "avg_pnl_pct",
        "sharpe",
        "max_drawdown",
        "total_pnl_pct",
        "fees_pct",
        "exposure",
    )
    whole = {name: _short(getattr(pooled, name)) for name in names}
    lanes = {f"{symbol} {timeframe}": count for (symbol, timeframe), count in run.lane_trades.items()}
    return [
        {"window": "all", **whole},
        {"window": "folds, oldest first", "scores": [_short(value) for value in scored.folds]},
        {"window": "all", "trades_by_lane": lanes, "held_hours": _short(run.held_hours)},
    ]


def usable_from(window_end: datetime) -> datetime:
    """Return the first as-of whose holdout begins at or after the end of a window."""
    return window_end + HOLDOUT_LENGTH


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
