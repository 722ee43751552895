"""What designers are shown: lessons, the market, what exists; none of it rests on an exam that is still current.

Belongs here: choosing and shaping material from the warehouse. Does not belong here: the words around it
(`strategies.evolution.prompting`).

No look-ahead: candles end where the exam starts, lessons carry the first as-of at which they may be used, and of
strategies only name and purpose are told, never a state that an exam gave them.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from backtester.windows import EXAM_LENGTH
from blofin_resources.warehouse import Warehouse
from features import FeatureManager
from features.bars import Timeframe, bar_length
from strategies.base import Strategy
from strategies.evolution.emphasis import Outcome, emphasis_of
from strategies.evolution.judging import Judged
from strategies.evolution.panel import Panel
from strategies.evolution.prompting import Lesson

LESSONS: Final = 40
"""Most lessons that a prompt is given, the newest first."""

OUTCOMES: Final = 200
"""Most outcomes of exams that the search is told of, the newest first."""

TIMEFRAMES: Final[tuple[Timeframe, ...]] = ("5m", "60m")
STATE: Final = ("is_trending_up", "is_trending_down", "is_ranging", "volatility_regime", "rsi_14", "adx_14", "natr_14")

_LESSONS: Final = (
    "SELECT category, content, strategy, symbol FROM research.knowledge_entries "
    'WHERE coalesce(as_of, "timestamp") < $1 AND coalesce(usable_from, "timestamp" + INTERVAL 7 DAY) <= $1 '
    "AND content IS NOT NULL "
    'ORDER BY coalesce(strategy = $2, false) DESC, coalesce(as_of, "timestamp") DESC, id LIMIT $3'
)

_OUTCOMES: Final = (
    "SELECT metadata FROM research.knowledge_entries WHERE category = 'change' AND metadata IS NOT NULL "
    "AND as_of < $1 AND usable_from <= $1 ORDER BY as_of DESC, id LIMIT $2"
)


class Taught(BaseModel):
    """What an entry of an exam tells the search, as JSON in `research.knowledge_entries.metadata`.

    Attributes
    ----------
    families : tuple of str
        Feature families that the finalist reads.
    earned : bool
        Whether it made money on that exam, costs paid.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    families: tuple[str, ...]
    earned: bool


def lessons(store: Warehouse, as_of: datetime, strategy: str = "", most: int = LESSONS) -> list[Lesson]:
    """Return what was learnt before a cycle and may be used in it: what is about `strategy` first, then the newest.

    Not this cycle's own lessons, so that a cycle that is made again is asked the same.
    """
    rows = store.read(_LESSONS, [as_of, strategy, most])
    return [Lesson(*row) for row in rows.select("category", "content", "strategy", "symbol").iter_rows()]


def emphasis(store: Warehouse, as_of: datetime) -> dict[str, float]:
    """Return how often the search is to draw each feature family, after exams that lie before the current one.

    Metadata of another form, which other systems write, teaches nothing. As with lessons, a cycle's own are left out.
    """
    told = map(_outcome, store.read(_OUTCOMES, [as_of, OUTCOMES])["metadata"])
    return emphasis_of(each for each in told if each is not None)


def _outcome(metadata: str) -> Outcome | None:
    try:
        taught = Taught.model_validate_json(metadata, strict=True)
    except ValidationError:
        return None
    return Outcome(frozenset(taught.families), taught.earned)


def market_state(store: Warehouse, symbols: Sequence[str], until: datetime) -> list[dict[str, Any]]:
    """Return the regime of each symbol and timeframe at the end of the search window."""
    manager = FeatureManager(store, as_of=until)
    found = []
    for timeframe in TIMEFRAMES:
        start = until - bar_length(timeframe)
        frame = manager.window(list(symbols), timeframe, STATE, start, until)
        week = manager.source.candles(list(symbols), timeframe, until - timedelta(days=7), until)
        moves = week.group_by("symbol", maintain_order=True).agg(
            ((pl.col("close").last() / pl.col("open").first() - 1) * 100).round(2).alias("change_7d_pct")
        )
        last = frame.sort("symbol", "ts").group_by("symbol", maintain_order=True).last().join(moves, on="symbol")
        for row in last.iter_rows(named=True):
            told = {name: _short(row[name]) for name in (*STATE, "change_7d_pct")}
            found.append({"symbol": row["symbol"], "timeframe": timeframe, **told})
    return found


def purposes(strategies: Iterable[Strategy]) -> list[dict[str, Any]]:
    """Return name, timeframes and purpose of strategies, each name once."""
    named = {each.name: each for each in strategies}
    return [
        {"name": name, "timeframes": list(each.timeframes), "purpose": each.description.split("\n\n")[0]}
        for name, each in sorted(named.items())
    ]


def search_results(panel: Panel, found: Judged) -> list[dict[str, Any]]:
    """Return a version's results in the search window: all lanes together, each fold, each lane's trades."""
    pooled, run = found.pooled, panel.run(found.strategy)
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
        {"window": "folds, oldest first", "scores": [_short(value) for value in found.folds]},
        {"window": "all", "trades_by_lane": lanes, "held_hours": _short(run.held_hours)},
    ]


def usable_from(window_end: datetime) -> datetime:
    """Return the first as-of whose exam begins at or after the end of a window."""
    return window_end + EXAM_LENGTH


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
