"""What everything that a choice ranked earned up to the next choice.

Belongs here: following the ranked versions over one stretch, as rows. Does not belong here: choosing
(`blofin_assets.replay.desk`), comparing (`blofin_assets.replay.summary`).

Every version begins flat, without leverage, at the scale that it had on its holdout. The stretch is read as the live
desk would have lived it; nothing of it was known when the desk chose.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final, NamedTuple

import polars as pl

from backtester import Evaluation, evaluate
from backtester.statistics.metrics import varies
from blofin_assets.shared.candle_cache import feature_manager
from blofin_assets.shared.coverage import require_market_data
from blofin_assets.shared.fence import OF_ALL
from blofin_assets.shared.margin_rules import margin_rules
from blofin_assets.shared.vocabulary import Kind
from blofin_assets.strategy_cycle.population import StrategyRecord, load_population
from blofin_resources.queries import query
from blofin_resources.warehouse import Warehouse
from features.bars import TS

_HOURS: Final = 24
_EQUITY: Final = (
    "SELECT name, version, ts, equity, coalesce(with_bars, true) AS with_bars FROM research.equity "
    "WHERE as_of = ? AND kind = ? ORDER BY name, version, ts"
)
_CANDIDATES: Final[dict[str, Any]] = {
    "kind": pl.String, "name": pl.String, "version": pl.String, "author": pl.String, "rank": pl.Int32,
    "active": pl.Boolean, "score": pl.Float64, "supported": pl.Boolean, "deviation": pl.Float64, "net_pct": pl.Float64,
    "gross_pct": pl.Float64, "trades": pl.Int32, "reason": pl.String,
}  # fmt: skip
_RETURNS: Final[dict[str, Any]] = {
    "kind": pl.String, "name": pl.String, "version": pl.String, "day": TS, "net_return": pl.Float64,
}  # fmt: skip


class Stretch(NamedTuple):
    """One stretch as rows.

    Attributes
    ----------
    candidates : DataFrame
        `replay.candidates` from `kind` to `reason`, in order of rank.
    returns : DataFrame
        `replay.returns` from `kind` on: a row for each candidate that could be run and each day with a bar.
    holding_pct : float or None
        What holding all symbols in equal parts earned, percent, without costs.
    """

    candidates: pl.DataFrame
    returns: pl.DataFrame
    holding_pct: float | None


def followed(store: Warehouse, symbols: Sequence[str], as_of: datetime, until: datetime) -> Stretch:
    """Follow everything that the strategy cycle as of a time ranked.

    Parameters
    ----------
    store : Warehouse
        Where the cycle ran and the market is stored.
    symbols : sequence of str
        Symbols of the desk.
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
    require_market_data(store, symbols, as_of, until)
    ranked = store.read(query("replay/ranked"), {"as_of": as_of})
    records = {record.key: record for record in load_population(store, as_of)}
    deviations = _deviations(store, as_of)
    results = _results(store, symbols, ranked, records, as_of, until)
    rows, days = [], []
    for row in ranked.iter_rows(named=True):
        key = row["name"], row["version"]
        found = results.get(key)
        if found is None or found.pooled is None:
            why = "its code is missing, or defines a different version" if found is None else found.error
            told: dict[str, Any] = {"reason": why}
        else:
            net = found.pooled.total_pnl_pct
            told = {
                "net_pct": net,
                "gross_pct": net + found.pooled.fees_pct + found.pooled.slippage_pct,
                "trades": found.pooled.trades,
            }
            days.append(_daily(found, row["kind"]))
        author = records[key].author if key in records else ""
        rows.append({**row, "author": author, "deviation": deviations.get(key), **told})
    candidates = pl.DataFrame(
        [{name: row.get(name) for name in _CANDIDATES} for row in rows], schema=_CANDIDATES, orient="row"
    )
    return Stretch(
        candidates,
        pl.concat([pl.DataFrame(schema=_RETURNS), *days]),
        _holding(store, symbols, as_of, until),
    )


def _results(
    store: Warehouse,
    symbols: Sequence[str],
    ranked: pl.DataFrame,
    records: dict[tuple[str, str], StrategyRecord],
    as_of: datetime,
    until: datetime,
) -> dict[tuple[str, str], Evaluation]:
    """Evaluate those that still exist, each at the scale of its holdout; those of one scale together."""
    manager, rules = feature_manager(store, until), margin_rules(store, symbols, as_of)
    scales = [
        (row["largest_size"] or 1.0, (row["name"], row["version"]))
        for row in ranked.iter_rows(named=True)
        if (row["name"], row["version"]) in records
    ]
    found: dict[tuple[str, str], Evaluation] = {}
    for scale, some in groupby(sorted(scales), key=lambda pair: pair[0]):
        evaluations = evaluate(
            [records[key].strategy for _, key in some], manager, symbols, as_of, until, rules=rules, largest=scale,
            trades=False, replays=False, on_error="report", fatal=OF_ALL,
        )  # fmt: skip
        found |= {(each.name, each.version): each for each in evaluations}
    return found


def _daily(evaluation: Evaluation, kind: str) -> pl.DataFrame:
    """Return the daily results of one evaluation: what each hour with bars added to the fixed capital."""
    hours = evaluation.equity.with_columns(pl.col("equity").diff().fill_null(pl.col("equity") - 1.0).alias("gained"))
    return (
        hours.filter(pl.col("with_bars").fill_null(value=False))
        .group_by(pl.col("ts").dt.offset_by("-1us").dt.truncate("1d").cast(TS).alias("day"), maintain_order=True)
        .agg(pl.col("gained").sum().alias("net_return"))
        .select(
            pl.lit(kind).alias("kind"), pl.lit(evaluation.name).alias("name"),
            pl.lit(evaluation.version).alias("version"), "day", "net_return",
        )
    )  # fmt: skip


def _deviations(store: Warehouse, as_of: datetime) -> dict[tuple[str, str], float]:
    """Return the standard deviation of a daily return of each version on its holdout, of those that moved."""
    equity = store.read(_EQUITY, [as_of, Kind.STRATEGY])
    deviations = {}
    for key, curve in equity.group_by("name", "version", maintain_order=True):
        gained = curve["equity"].diff().filter(curve["with_bars"]).drop_nulls().to_numpy()
        if len(gained) > 1 and varies(gained.mean(), gained.var()):
            deviations[str(key[0]), str(key[1])] = float(gained.std(ddof=1)) * math.sqrt(_HOURS)
    return deviations


def _holding(store: Warehouse, symbols: Sequence[str], as_of: datetime, until: datetime) -> float | None:
    """Return what holding all symbols in equal parts earned, percent; those without bars are left out."""
    bars = feature_manager(store, until).source.candles(symbols, "60m", as_of, until)
    if bars.is_empty():
        return None
    each = bars.sort("symbol", "ts").group_by("symbol", maintain_order=True)
    moves = each.agg(move=pl.col("close").last() / pl.col("open").first() - 1.0)
    return 100.0 * float(moves["move"].mean() or 0.0)  # type: ignore[arg-type]  # the mean of floats
