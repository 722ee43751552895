"""Several strategies, models or ensembles held together: their combined equity and how they move with each other.

Belongs here: statistics of a set from the equity of its members over one window. Does not belong here: choosing
the set (`blofin_assets.strategy_cycle.ranking`), the equity of one member (`backtester.evaluation.pooling`).

Every member has the same fixed capital, so the combined curve is the mean of theirs: capital and PnL, not compounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from backtester.evaluation.evaluate import Evaluation
from backtester.simulation.bar_arrays import to_micros
from backtester.statistics.metrics import HOURS_PER_YEAR, Moments, fall, hourly_returns, varies
from features.array_types import FloatArray


@dataclass(frozen=True, eq=False)
class Portfolio:
    """Members held together with equal capital over one window.

    Parameters
    ----------
    names : tuple of str
        The members, in the order of rows and columns.
    equity : DataFrame
        `ts` (full hours, UTC), `equity` (mean of the members', starting capital = 1).
    correlation : ndarray of shape (n_members, n_members)
        Pearson correlation of hourly returns, of the hours with bars; NaN where one of the two does not move.
    total_pnl_pct : float
        Change of the combined equity, percent.
    max_drawdown : float
        Its largest fall below its peak, over the capital, at most 1.
    sharpe : float, optional
        Of its returns in the hours with bars, annualised with 365 days; null without variance.
    returns : ndarray of shape (n_members, n_hours)
        Of each member in the hours with bars.
    """

    names: tuple[str, ...]
    equity: pl.DataFrame
    correlation: FloatArray
    total_pnl_pct: float
    max_drawdown: float
    sharpe: float | None
    returns: FloatArray

    @property
    def mean_correlation(self) -> float | None:
        """Mean over the pairs that both move; null where there is none."""
        pairs = self.correlation[np.triu_indices(len(self.names), 1)]
        finite = pairs[~np.isnan(pairs)]
        return float(finite.mean()) if len(finite) else None

    @property
    def pairs(self) -> pl.DataFrame:
        """One row for each pair, the first by name: `name`, `other`, `correlation` (null where unknown)."""
        order = sorted(range(len(self.names)), key=lambda k: self.names[k])
        rows = [
            (self.names[one], self.names[two], float(self.correlation[one, two]))
            for place, one in enumerate(order)
            for two in order[place + 1 :]
        ]
        schema = {"name": pl.String, "other": pl.String, "correlation": pl.Float64}
        return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("correlation").fill_nan(None))


def combine(evaluations: Sequence[Evaluation]) -> Portfolio:
    """Return several evaluations over one window held together; those that failed are left out.

    Raises
    ------
    ValueError
        If none has a pooled result.
    """
    pooled = [(evaluation.name, evaluation.pooled) for evaluation in evaluations if evaluation.pooled is not None]
    curves = [result.equity_frame().with_columns(pl.lit(name).alias("name")) for name, result in pooled]
    if not pooled:
        msg = "nothing to combine: every evaluation failed; pass at least one with a pooled result"
        raise ValueError(msg)
    return combine_equity(pl.concat(curves), pooled[0][1].start)


def combine_equity(curves: pl.DataFrame, start: datetime) -> Portfolio:
    """Return members held together from their equity.

    Parameters
    ----------
    curves : DataFrame
        `name`, `ts` (full hours, UTC), `equity` (starting capital = 1), `with_bars` (whether a bar of the member closed
        in the hour that ends there; null counts as yes): from `start` on the same hours for every name. An hour in
        which no member has bars has no return, not one of zero.
    start : datetime
        Begin of the window, where every member has its starting capital. A curve that begins earlier is cut there: its
        PnL before does not count.

    Raises
    ------
    ValueError
        If there is no curve, or one has other hours than the others.
    """
    if curves.is_empty():
        msg = "nothing to combine: curves is empty; pass the equity of at least one member"
        raise ValueError(msg)
    curves = _from(curves, start)
    wide = curves.sort("ts").pivot("name", index="ts", values="equity", maintain_order=True)
    names = tuple(sorted(set(curves["name"])))
    uneven = [name for name in names if wide[name].null_count()]
    if uneven:
        msg = f"equity of {', '.join(uneven)} lacks hours that other members have; pass curves of one window"
        raise ValueError(msg)
    table = wide.select(names).to_numpy()
    first = to_micros(start)
    combined = table.mean(axis=1)
    every = np.array([hourly_returns(curve, first) for curve in (combined, *table.T)])
    hours = curves.group_by("ts").agg(pl.col("with_bars").fill_null(value=True).any()).sort("ts")
    returns = every[:, hours["with_bars"].to_numpy()[hours.height - every.shape[1] :]]
    return Portfolio(
        names=names,
        equity=pl.DataFrame([wide["ts"], pl.Series("equity", combined)]),
        correlation=_correlation(returns[1:]),
        total_pnl_pct=100.0 * float(combined[-1] - 1.0),
        max_drawdown=fall(combined),
        sharpe=Moments.of(returns[0]).annual_sharpe(HOURS_PER_YEAR),
        returns=returns[1:],
    )


def _from(curves: pl.DataFrame, start: datetime) -> pl.DataFrame:
    """Return curves from a time on, those that begin earlier with the capital that they had then taken as 1."""
    earlier = curves.filter(pl.col("ts") < start)
    if earlier.is_empty():
        return curves
    then = curves.filter(pl.col("ts") <= start).sort("ts").group_by("name").agg(held=pl.col("equity").last())
    cut = curves.filter(pl.col("ts") >= start).join(then, on="name", how="left", maintain_order="left")
    began = pl.col("name").is_in(earlier["name"].unique().to_list())
    rebased = pl.when(began).then(pl.col("equity") - pl.col("held") + 1.0).otherwise(pl.col("equity"))
    return cut.with_columns(equity=rebased).select(curves.columns)


def _correlation(returns: FloatArray) -> FloatArray:
    """Return the correlations of returns of shape (n_members, n_hours); NaN where one of the two does not move."""
    found: FloatArray = np.full((len(returns), len(returns)), np.nan)
    moving = varies(returns.mean(axis=1), returns.var(axis=1)) if returns.size else np.zeros(len(returns), np.bool_)
    if moving.any():
        found[np.ix_(moving, moving)] = np.corrcoef(returns[moving])
    return found
