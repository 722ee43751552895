"""What everything that a choice ranked earned up to the next choice.

Belongs here: following the ranked versions over one stretch, as rows. Does not belong here: choosing
(`blofin_assets.replay.desk`), comparing (`blofin_assets.replay.summary`).

Every version begins flat: a strategy without leverage at the scale that it had on its holdout, a book with its capital.
The stretch is read as the live desk would have lived it; nothing of it was known when the desk chose.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

from backtester import PooledResult, evaluate
from backtester.simulation.books import BookResult
from backtester.statistics.allocation import risk_parity
from backtester.statistics.metrics import varies
from backtester.statistics.windows import Window
from blofin_assets.shared.candle_cache import feature_manager
from blofin_assets.shared.coverage import require_market_data
from blofin_assets.shared.fence import OF_ALL
from blofin_assets.shared.margin_rules import margin_rules
from blofin_assets.shared.vocabulary import Kind
from blofin_assets.strategy_cycle.book_market import run_books
from blofin_assets.strategy_cycle.population import (
    BOOKS,
    BookRecord,
    Key,
    StrategyRecord,
    load_population,
    load_versions,
)
from blofin_resources.dagster_resources import MarketResource
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse
from features.bars import TS

_HOURS: Final = 24
_EQUITY: Final = (
    "SELECT kind, name, version, ts, equity, coalesce(with_bars, true) AS with_bars FROM research.equity "
    "WHERE as_of = ? AND kind IN ('strategy', 'book') ORDER BY kind, name, version, ts"
)
_CANDIDATES: Final[dict[str, Any]] = {
    "kind": pl.String, "name": pl.String, "version": pl.String, "author": pl.String, "rank": pl.Int32,
    "active": pl.Boolean, "score": pl.Float64, "supported": pl.Boolean, "deviation": pl.Float64, "parity": pl.Float64,
    "net_pct": pl.Float64, "gross_pct": pl.Float64, "trades": pl.Int32, "reason": pl.String,
}  # fmt: skip
_RETURNS: Final[dict[str, Any]] = {
    "kind": pl.String, "name": pl.String, "version": pl.String, "day": TS, "net_return": pl.Float64,
}  # fmt: skip


class Stretch(NamedTuple):
    """One stretch as rows.

    Attributes
    ----------
    candidates : DataFrame
        `replay.candidates` from `kind` to `reason`, by kind and in order of rank.
    returns : DataFrame
        `replay.returns` from `kind` on: a row for each candidate that could be run and each day with a bar.
    holding_pct : float or None
        What holding all symbols in equal parts earned, percent, without costs.
    universe_pct : float or None
        The same of the members that the universe of the books had at the choice; null where no book could be run.
    """

    candidates: pl.DataFrame
    returns: pl.DataFrame
    holding_pct: float | None
    universe_pct: float | None


def followed(store: Warehouse, market: MarketResource, as_of: datetime, until: datetime) -> Stretch:
    """Follow everything that the strategy cycle as of a time ranked.

    Parameters
    ----------
    store : Warehouse
        Where the cycle ran and the market is stored.
    market : MarketResource
        Symbols and universe of the desk.
    as_of, until : datetime
        Begin and end of the stretch (UTC).

    Returns
    -------
    Stretch
        Its rows.

    Raises
    ------
    BlofinError
        If the market of the stretch is not stored.
    """
    require_market_data(store, market.symbols, as_of, until)
    ranked = store.read(query("replay/ranked"), {"as_of": as_of})
    strategies = {record.key: record for record in load_population(store, as_of)}
    books = {record.key: record for record in load_versions(store, as_of, BOOKS)}
    earned: dict[Kind, dict[Key, _Earned | str]] = {
        Kind.STRATEGY: _of_strategies(store, market.symbols, ranked, strategies, (as_of, until))
    }
    earned[Kind.BOOK], universe_pct = _of_books(store, market.universe, ranked, books, (as_of, until))
    authors = {
        Kind.STRATEGY: {key: record.author for key, record in strategies.items()},
        Kind.BOOK: {key: record.author for key, record in books.items()},
    }
    known = store.read(_EQUITY, [as_of])
    deviations = _deviations(known)
    parities = _parities(known, ranked.filter("active"))
    rows, days = [], []
    for row in ranked.iter_rows(named=True):
        kind, key = Kind(row["kind"]), (row["name"], row["version"])
        found = earned[kind].get(key, "its code is missing, or defines a different version")
        if isinstance(found, str):
            told: dict[str, Any] = {"reason": found}
        else:
            told = {"net_pct": found.net_pct, "gross_pct": found.gross_pct, "trades": found.trades}
            named = (pl.lit(row[name]).alias(name) for name in ("kind", "name", "version"))
            days.append(_daily(found.hours).select(*named, "day", "net_return"))
        told |= {"deviation": deviations.get((kind, *key)), "parity": parities.get((kind, *key))}
        rows.append({**row, "author": authors[kind].get(key, ""), **told})
    candidates = pl.DataFrame(
        [{name: row.get(name) for name in _CANDIDATES} for row in rows], schema=_CANDIDATES, orient="row"
    )
    returns = pl.concat([pl.DataFrame(schema=_RETURNS), *days])
    return Stretch(candidates, returns, _holding(store, market.symbols, as_of, until), universe_pct)


class _Earned(NamedTuple):
    """What one version earned: percent of fixed capital, trades, and equity at full hours."""

    net_pct: float
    gross_pct: float
    trades: int
    hours: pl.DataFrame


def _of_strategies(
    store: Warehouse,
    symbols: Sequence[str],
    ranked: pl.DataFrame,
    records: Mapping[Key, StrategyRecord],
    window: tuple[datetime, datetime],
) -> dict[Key, _Earned | str]:
    """Evaluate the strategies that still exist, each at the scale of its holdout; those of one scale together."""
    as_of, until = window
    manager, rules = feature_manager(store, until), margin_rules(store, symbols, as_of)
    scales = [
        (row["largest_size"] or 1.0, (row["name"], row["version"]))
        for row in ranked.filter(pl.col("kind") == Kind.STRATEGY).iter_rows(named=True)
        if (row["name"], row["version"]) in records
    ]
    found: dict[Key, _Earned | str] = {}
    for scale, some in groupby(sorted(scales), key=itemgetter(0)):
        for each in evaluate(
            [records[key].strategy for _, key in some], manager, symbols, as_of, until, rules=rules, largest=scale,
            trades=False, replays=False, on_error="report", fatal=OF_ALL,
        ):  # fmt: skip
            found[each.name, each.version] = each.error if each.pooled is None else _pooled(each.pooled, each.equity)
    return found


def _pooled(pooled: PooledResult, equity: pl.DataFrame) -> _Earned:
    net = pooled.total_pnl_pct
    return _Earned(net, net + pooled.fees_pct + pooled.slippage_pct, pooled.trades, equity)


def _of_books(
    store: Warehouse,
    universe: str,
    ranked: pl.DataFrame,
    records: Mapping[Key, BookRecord],
    window: tuple[datetime, datetime],
) -> tuple[dict[Key, _Earned | str], float | None]:
    """Backtest the books that still exist on the stretch, and return what holding their universe earned, percent."""
    keys = ranked.filter(pl.col("kind") == Kind.BOOK).select("name", "version").iter_rows()
    books = [records[name, version].strategy for name, version in keys if (name, version) in records]
    if not books:
        return {}, None
    runs = run_books(store, books, Window(*window), universe)
    found: dict[Key, _Earned | str] = {(book.name, book.version): reason for book, reason in runs.failed}
    for book, run in runs.done:
        metrics = run.evaluation.metrics()
        net, fees, slippage = (float(metrics[name] or 0.0) for name in ("total_pnl_pct", "fees_pct", "slippage_pct"))
        trades = int(metrics["trades"] or 0)
        found[book.name, book.version] = _Earned(net, net + fees + slippage, trades, run.evaluation.hourly())
    return found, _holding_members(runs.done[0][1].evaluation.result) if runs.done else None


def _holding_members(result: BookResult) -> float | None:
    """Return what holding the members at the begin of a run in equal parts earned, percent; null without a price."""
    market, begin = result.market, result.begin
    before = max(begin - 1, 0)
    held = market.member[before] & np.isfinite(market.mark[before])
    moves = market.mark[-1, held] / market.mark[before, held] - 1.0
    return 100.0 * float(moves.mean()) if len(moves) else None


def _daily(hours: pl.DataFrame) -> pl.DataFrame:
    """Return `day` and `net_return`: what each day's hours with bars added to the capital of the begin."""
    gained = hours.with_columns(pl.col("equity").diff().fill_null(pl.col("equity") - 1.0).alias("gained"))
    return (
        gained.filter(pl.col("with_bars").fill_null(value=False))
        .group_by(pl.col("ts").dt.offset_by("-1us").dt.truncate("1d").cast(TS).alias("day"), maintain_order=True)
        .agg(pl.col("gained").sum().alias("net_return"))
    )


def _deviations(known: pl.DataFrame) -> dict[tuple[str, str, str], float]:
    """Return the standard deviation of a daily return of each version on its holdout, of those that moved."""
    deviations = {}
    for key, curve in known.group_by("kind", "name", "version", maintain_order=True):
        gained = curve["equity"].diff().filter(curve["with_bars"]).drop_nulls().to_numpy()
        if len(gained) > 1 and varies(gained.mean(), gained.var()):
            deviations[str(key[0]), str(key[1]), str(key[2])] = float(gained.std(ddof=1)) * math.sqrt(_HOURS)
    return deviations


def _parities(known: pl.DataFrame, active: pl.DataFrame) -> dict[tuple[str, str, str], float]:
    """Return the shares of the active set of each kind by risk parity of the hours that all its holdouts have."""
    shares: dict[tuple[str, str, str], float] = {}
    for (kind,), chosen in known.join(active, on=["kind", "name", "version"], how="semi").group_by(
        "kind", maintain_order=True
    ):
        wide = chosen.pivot(["name", "version"], index="ts", values="equity").sort("ts").drop_nulls()
        keys = chosen.select("name", "version").unique(maintain_order=True).rows()
        weights = risk_parity(np.diff(wide.drop("ts").to_numpy(), axis=0))
        shares |= {(str(kind), *key): float(w) for key, w in zip(keys, weights, strict=True) if np.isfinite(w)}
    return shares


def _holding(store: Warehouse, symbols: Sequence[str], as_of: datetime, until: datetime) -> float | None:
    """Return what holding all symbols in equal parts earned, percent; those without bars are left out."""
    bars = feature_manager(store, until).source.candles(symbols, "60m", as_of, until)
    if bars.is_empty():
        return None
    each = bars.sort("symbol", "ts").group_by("symbol", maintain_order=True)
    moves = each.agg(move=pl.col("close").last() / pl.col("open").first() - 1.0)
    return 100.0 * float(moves["move"].mean() or 0.0)  # type: ignore[arg-type]  # the mean of floats
