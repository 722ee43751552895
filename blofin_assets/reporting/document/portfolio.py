"""The active strategies together: one curve, and how far they are the same.

Belongs here: the report's part about them. Does not belong here: joining curves (`backtester.portfolio`), choosing who
is active.
"""

from typing import Final

import numpy as np
import polars as pl

from backtester.portfolio import Portfolio, combine_equity
from backtester.windows import EXAM_LENGTH
from blofin_assets.reporting.collect.cycles import Cycles
from blofin_assets.reporting.document import schema
from blofin_assets.reporting.document.plain import plain

CLOSEST: Final = 5
"""Pairs that are shown, the most alike first."""


def together(cycles: Cycles) -> Portfolio | None:
    """Return the active strategies of the newest cycle at equal capital; None where fewer than two have a curve."""
    active = cycles.strategy_ranking.filter(pl.col("status") == "active").select("name", "version")
    curves = cycles.strategy_equity.join(active, on=["name", "version"]).sort("name", "version", "ts")
    versions = curves.select(pl.struct("name", "version").n_unique()).item()
    if cycles.strategy_time is None or versions < 2:  # noqa: PLR2004 - together takes two
        return None
    if curves["name"].n_unique() < versions:
        curves = curves.with_columns(pl.format("{} {}", "name", "version").alias("name"))
    return combine_equity(curves.select("name", "ts", "equity"), cycles.strategy_time - EXAM_LENGTH)


def active_set(cycles: Cycles) -> schema.ActiveSet | None:
    """Return the active set's result and its most similar pairs; None where there is no set."""
    held = together(cycles)
    if held is None:
        return None
    pairs = held.pairs.filter(pl.col("correlation").is_not_null()).sort(
        "correlation", "name", "other", descending=[True, False, False]
    )
    return schema.ActiveSet(
        strategies=len(held.names),
        total_pnl_pct=plain(held.total_pnl_pct),
        max_drawdown=plain(held.max_drawdown),
        sharpe=plain(held.sharpe),
        median_correlation=plain(float(np.median(pairs["correlation"].to_numpy()))) if pairs.height else None,
        closest=[
            schema.Pair(first=row["name"], second=row["other"], correlation=plain(row["correlation"]))
            for row in pairs.head(CLOSEST).iter_rows(named=True)
        ],
    )
