"""The context of prompts: lessons, the market, existing strategies; nothing from a holdout that is still current.

Belongs here: choosing and shaping material from the warehouse. Does not belong here: the words around it
(`strategies.llm.prompts`).

No look-ahead: candles end where the holdout starts, lessons carry the first as-of at which they may be used, and of
strategies only the name and purpose are given, never a state that resulted from a holdout.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from backtester.statistics.windows import HOLDOUT_LENGTH
from blofin_assets.shared.deep_market import DeepMarket
from blofin_assets.shared.vocabulary import Kind
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse
from features import FeatureManager
from features.bars import Timeframe, bar_length
from strategies.language.book import Book
from strategies.language.strategy import Strategy
from strategies.llm.prompts import Lesson
from strategies.search.books import ScoredBook
from strategies.search.books.vocabulary import SCORE_TERMS
from strategies.search.map_elites.sampling_weights import Outcome, emphasis_of
from strategies.search.map_elites.vocabulary import TERMS
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
    "AND coalesce(kind, 'strategy') = $3 AND as_of < $1 AND usable_from <= $1 ORDER BY as_of DESC, id LIMIT $2"
)
_SPANS: Final = (7, 30, 90)
"""Days over which the moves of a universe are described."""
_LEAST: Final = 5
"""Members without which they are not."""


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


def lessons(
    store: Warehouse, as_of: datetime, strategy: str = "", most: int = LESSONS, kind: Kind = Kind.STRATEGY
) -> list[Lesson]:
    """Return lessons from earlier cycles that may be used now: those about `strategy` first, then the newest.

    Lessons of the same cycle are left out, so that repeating a cycle gives the same prompts.

    Parameters
    ----------
    store : Warehouse
        Where lessons are stored.
    as_of : datetime
        As-of of the cycle.
    strategy : str, optional
        Name of the strategy or book that the prompt is about.
    most : int, optional
        Largest number of lessons.
    kind : Kind, optional
        Whose lessons. Those of the desk as a whole are read for strategies alone: they tell of days in the longer
        holdout of books.

    Returns
    -------
    list of Lesson
        At most `most` lessons.
    """
    chosen = {"as_of": as_of, "old": as_of - HOLDOUT_LENGTH, "strategy": strategy, "most": most, "kind": kind}
    rows = store.read(query("strategy_cycle/lessons"), chosen)
    return [Lesson(*row) for row in rows.iter_rows()]


def emphasis(store: Warehouse, as_of: datetime, kind: Kind = Kind.STRATEGY) -> dict[str, float]:
    """Return the sampling weight of each family of features, or of a book's scores, learnt from earlier holdouts.

    Metadata of another form, which other systems write, is ignored. As with lessons, those of the same cycle are left
    out.

    Parameters
    ----------
    store : Warehouse
        Where lessons are stored.
    as_of : datetime
        As-of of the cycle (UTC).
    kind : Kind
        Whose lessons: of strategies or of books.

    Returns
    -------
    dict of str to float
        Factor of the usual share, for each family with an outcome.
    """
    outcomes = map(_outcome, store.read(_OUTCOMES, [as_of, OUTCOMES, kind])["metadata"])
    vocabulary = SCORE_TERMS if kind == Kind.BOOK else TERMS
    return emphasis_of((outcome for outcome in outcomes if outcome is not None), vocabulary.keys())


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


def universe_state(market: DeepMarket) -> list[dict[str, Any]]:
    """Return what the members of a universe did up to the end of a market, a row for each span of days.

    Parameters
    ----------
    market : DeepMarket
        Nothing later than its end is read; spans that begin before its bars are left out.

    Returns
    -------
    list of dict
        `days`, `members`; the median move, its tenth and ninetieth percentiles over symbols and the share that rose;
        the median funding of a payment. In percent, null where unknown.
    """
    bars = market.prepared.market
    states: list[dict[str, Any]] = []
    for days in _SPANS:
        first = bars.row_at(market.end - timedelta(days=days))
        if first < 1:
            continue
        with np.errstate(all="ignore"):
            moves = 100.0 * (bars.mark[-1] / bars.mark[first - 1] - 1.0)
        moves = moves[bars.member[-1] & np.isfinite(moves)]
        if len(moves) < _LEAST:
            continue
        low, middle, high = np.quantile(moves, [0.1, 0.5, 0.9])
        paid = market.funding.filter(pl.col("ts") > market.end - timedelta(days=days))["rate"].to_numpy()
        state = {
            "days": days, "members": len(moves), "median_move_pct": middle, "tenth_pct": low, "ninetieth_pct": high,
            "share_that_rose": float((moves > 0).mean()),
            "median_funding_pct": 100.0 * float(np.median(paid)) if len(paid) else None,
        }  # fmt: skip
        states.append({name: _short(value) for name, value in state.items()})
    return states


def purposes(strategies: Iterable[Strategy | Book]) -> list[dict[str, Any]]:
    """Return the name, bars and purpose of strategies or books, each name once."""
    named = {strategy.name: strategy for strategy in strategies}
    return [
        {"name": name, **_bars_of(strategy), "purpose": strategy.description.split("\n\n")[0]}
        for name, strategy in sorted(named.items())
    ]


def _bars_of(strategy: Strategy | Book) -> dict[str, Any]:
    if isinstance(strategy, Book):
        return {"timeframe": strategy.timeframe, "rebalance": strategy.rebalance}
    return {"timeframes": list(strategy.timeframes)}


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


def book_search_results(scored: ScoredBook) -> list[dict[str, Any]]:
    """Return a book's results in the search window: of the whole, and the scores of its folds."""
    metrics = scored.evaluation.metrics()
    names = (
        "score", "trades", "win_rate", "avg_pnl_pct", "sharpe", "max_drawdown", "total_pnl_pct", "pnl_before_costs_pct",
        "fees_pct", "slippage_pct", "funding_pct", "turnover_year", "net_exposure", "beta",
    )  # fmt: skip
    return [
        {"window": "all", **{name: _short(metrics[name]) for name in names}},
        {"window": "folds, oldest first", "scores": [_short(value) for value in scored.folds]},
    ]


def usable_from(window_end: datetime) -> datetime:
    """Return the first as-of whose holdout begins at or after the end of a window."""
    return window_end + HOLDOUT_LENGTH


def _short(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}") if np.isfinite(value) else None
