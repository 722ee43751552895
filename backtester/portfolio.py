"""Several strategies, models or ensembles held together: their combined equity and how they move with each other.

Belongs here: what can be said of a set from the equity of its members over one window. Does not belong here: choosing
the set (`strategies.ranking`), the equity of one member (`backtester.pooling`).

Every member starts with the same capital and keeps it, so the combined curve is the mean of theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from backtester.bars import Floats, to_micros
from backtester.evaluation import Evaluation
from backtester.metrics import HOURS_PER_YEAR, Moments, max_drawdown
from backtester.pooling import pooled_returns


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
        Pearson correlation of hourly returns; NaN where one of the two does not move.
    total_pnl_pct : float
        Change of the combined equity, percent.
    max_drawdown : float
        Its largest fall below its peak, in [0, 1].
    sharpe : float, optional
        Of its hourly returns, annualised with 365 days; null without variance.
    """

    names: tuple[str, ...]
    equity: pl.DataFrame
    correlation: Floats
    total_pnl_pct: float
    max_drawdown: float
    sharpe: float | None

    @property
    def mean_correlation(self) -> float | None:
        """Mean over the pairs that both move; null where there is none."""
        pairs = self.correlation[np.triu_indices(len(self.names), 1)]
        known = pairs[~np.isnan(pairs)]
        return float(known.mean()) if len(known) else None

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
    pooled = [(each.name, each.pooled) for each in evaluations if each.pooled is not None]
    curves = [result.equity_frame().select(pl.lit(name).alias("name"), "ts", "equity") for name, result in pooled]
    if not pooled:
        msg = "nothing to combine: no evaluation has a pooled result"
        raise ValueError(msg)
    return combine_equity(pl.concat(curves), pooled[0][1].start)


def combine_equity(curves: pl.DataFrame, start: datetime) -> Portfolio:
    """Return members held together from their equity.

    Parameters
    ----------
    curves : DataFrame
        `name`, `ts` (full hours, UTC), `equity` (starting capital = 1): the same hours for every name.
    start : datetime
        Begin of the window, where every member has its starting capital.

    Raises
    ------
    ValueError
        If there is no curve, or one has other hours than the others.
    """
    if curves.is_empty():
        msg = "nothing to combine: there is no equity curve"
        raise ValueError(msg)
    wide = curves.sort("ts").pivot("name", index="ts", values="equity", maintain_order=True)
    names = tuple(sorted(set(curves["name"])))
    uneven = [name for name in names if wide[name].null_count()]
    if uneven:
        msg = f"equity of {', '.join(uneven)} lacks hours that others have; combine curves of one window"
        raise ValueError(msg)
    table = wide.select(names).to_numpy()
    first = to_micros(start)
    returns = np.array([pooled_returns(table[:, k], first) for k in range(len(names))])
    moving = returns.std(axis=1) > 0.0
    correlation = np.full((len(names), len(names)), np.nan)
    if moving.any():
        correlation[np.ix_(moving, moving)] = np.corrcoef(returns[moving])
    combined = table.mean(axis=1)
    return Portfolio(
        names=names,
        equity=pl.DataFrame([wide["ts"], pl.Series("equity", combined)]),
        correlation=correlation,
        total_pnl_pct=100.0 * float(combined[-1] - 1.0),
        max_drawdown=max_drawdown(np.concatenate([[1.0], combined])),
        sharpe=Moments.of(pooled_returns(combined, first)).annual_sharpe(HOURS_PER_YEAR),
    )
