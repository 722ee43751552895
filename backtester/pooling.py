"""From the lanes of one strategy, model or ensemble to one score, and the order of scores.

Belongs here: pooling and ranking keys. Does not belong here: what happens to a rank (`strategies.ranking`).

Every lane starts with the same capital and keeps it, idle ones too, so that a strategy cannot look better by the lanes
in which it did nothing. The pooled curve is the mean of the lanes' equity at full hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from backtester.bars import HOUR_US, Floats, Longs, full_hours, to_micros
from backtester.lanes import LaneResult
from backtester.metrics import HOURS_PER_YEAR, Moments, max_drawdown, returns_of, score, score_terms
from features.bars import TS

FEW_TRADES: Final = 10
"""Below this many trades a score is shown but ranked after those with more: too little data, not a verdict."""


@dataclass(frozen=True, eq=False)
class PooledResult:
    """One strategy, model or ensemble over all its scored lanes.

    Parameters
    ----------
    start, end : datetime
        The window.
    lanes : int
        Number of lanes pooled.
    trades, wins : int
        Over all lanes.
    win_rate, avg_pnl_pct : float, optional
        Over all trades, as in `LaneResult`; null without trades.
    total_pnl_pct, worst_pnl_pct, best_pnl_pct : float
        Mean over lanes, percent.
    sharpe, sharpe_se, sortino : float, optional
        Of hourly pooled returns, annualised by the square root of 8760; null without variance.
    max_drawdown : float
        Of pooled equity at full hours, in [0, 1].
    profit_factor : float, optional
        Net gains over net losses of all trades.
    exposure, turnover, fees_pct, slippage_pct, funding_pct : float
        Mean over lanes, as in `LaneResult`.
    funding_known : float, optional
        Share of holding time with known funding.
    liquidations, ambiguous, unresolved : int
        Sums over lanes.
    liquidation_price : str
        That of the lanes, as in `LaneResult`; `mixed` where they differ.
    score : float, optional
        `40 * win_rate + 30 * avg_pnl_pct + 20 * sharpe - 10 * max_drawdown`; null where a term is.
    score_win_rate, score_avg_pnl, score_sharpe, score_drawdown : float, optional
        Its four terms.
    hours : ndarray of shape (n_hours,), int64
        Full hours of the window, microseconds since 1970.
    equity : ndarray of shape (n_hours,), float64
        Pooled equity, starting capital = 1.
    returns : ndarray, float64
        Hourly pooled returns.
    moments : Moments
        Of `returns`.
    """

    start: datetime
    end: datetime
    lanes: int
    trades: int
    wins: int
    win_rate: float | None
    avg_pnl_pct: float | None
    total_pnl_pct: float
    worst_pnl_pct: float
    best_pnl_pct: float
    sharpe: float | None
    sharpe_se: float | None
    sortino: float | None
    max_drawdown: float
    profit_factor: float | None
    exposure: float
    turnover: float
    fees_pct: float
    slippage_pct: float
    funding_pct: float
    funding_known: float | None
    liquidations: int
    ambiguous: int
    unresolved: int
    liquidation_price: str
    score: float | None
    score_win_rate: float | None
    score_avg_pnl: float | None
    score_sharpe: float | None
    score_drawdown: float | None
    hours: Longs
    equity: Floats
    returns: Floats
    moments: Moments

    @property
    def ranking_key(self) -> tuple[int, float]:
        """Sorts ascending: best first; see `ranking_key`."""
        return ranking_key(self.score, self.trades)

    def equity_frame(self) -> pl.DataFrame:
        """Return pooled equity: `ts` (full hours, UTC), `equity` (starting capital = 1)."""
        return pl.DataFrame([pl.Series("ts", self.hours).cast(TS), pl.Series("equity", self.equity)])


def ranking_key(value: float | None, trades: int) -> tuple[int, float]:
    """Return a key that sorts ascending to the order of ranks.

    First those with at least `FEW_TRADES` trades, then those with fewer, each from the highest score down; those
    without a score last.
    """
    if value is None or not np.isfinite(value):
        return (2, 0.0)
    return (0 if trades >= FEW_TRADES else 1, -value)


def pooled_returns(equity: Floats, start: int) -> Floats:
    """Return hourly returns of a pooled curve; a window that starts inside an hour begins with that hour's part."""
    return returns_of(equity if start % HOUR_US == 0 else np.concatenate([[1.0], equity]))


def pool(results: Sequence[LaneResult]) -> PooledResult:
    """Pool the scored lanes of one strategy, model or ensemble into one result.

    Parameters
    ----------
    results : sequence of LaneResult
        Lanes over the same window; those with `scored` false are left out.

    Raises
    ------
    ValueError
        If no lane is scored, or if their windows differ.
    """
    lanes = [lane for lane in results if lane.scored]
    if not lanes:
        msg = "no lane to pool; a strategy scores on at least one timeframe and one symbol"
        raise ValueError(msg)
    first = lanes[0]
    for lane in lanes:
        if (lane.start, lane.end) != (first.start, first.end):
            msg = (
                f"lanes over different windows: {first.symbol} {first.timeframe} {first.start} to {first.end}, "
                f"{lane.symbol} {lane.timeframe} {lane.start} to {lane.end}; run them over one"
            )
            raise ValueError(msg)
    trades, wins = sum(lane.trades for lane in lanes), sum(lane.wins for lane in lanes)
    equity = np.mean([lane.hourly for lane in lanes], axis=0)
    returns = pooled_returns(equity, to_micros(first.start))
    moments = Moments.of(returns)
    win_rate = wins / trades if trades else None
    avg_pnl_pct = 100.0 * sum(lane.net_fraction_sum for lane in lanes) / trades if trades else None
    sharpe, drawdown = moments.annual_sharpe(HOURS_PER_YEAR), max_drawdown(np.concatenate([[1.0], equity]))
    terms = score_terms(win_rate, avg_pnl_pct, sharpe, drawdown) or (None, None, None, None)
    losses = sum(lane.losses for lane in lanes)
    held = sum(_held_minutes(lane) for lane in lanes)
    by = {lane.liquidation_price for lane in lanes}

    def mean(name: str) -> float:
        return float(np.mean([getattr(lane, name) for lane in lanes]))

    return PooledResult(
        start=first.start,
        end=first.end,
        lanes=len(lanes),
        trades=trades,
        wins=wins,
        win_rate=win_rate,
        avg_pnl_pct=avg_pnl_pct,
        total_pnl_pct=mean("total_pnl_pct"),
        worst_pnl_pct=mean("worst_pnl_pct"),
        best_pnl_pct=mean("best_pnl_pct"),
        sharpe=sharpe,
        sharpe_se=moments.annual_sharpe_se(HOURS_PER_YEAR),
        sortino=moments.annual_sortino(HOURS_PER_YEAR),
        max_drawdown=drawdown,
        profit_factor=sum(lane.gains for lane in lanes) / losses if losses > 0.0 else None,
        exposure=mean("exposure"),
        turnover=mean("turnover"),
        fees_pct=mean("fees_pct"),
        slippage_pct=mean("slippage_pct"),
        funding_pct=mean("funding_pct"),
        funding_known=sum(_held_minutes(lane) * (lane.funding_known or 0.0) for lane in lanes) / held if held else None,
        liquidations=sum(lane.liquidations for lane in lanes),
        ambiguous=sum(lane.ambiguous for lane in lanes),
        unresolved=sum(lane.unresolved for lane in lanes),
        liquidation_price=by.pop() if len(by) == 1 else "mixed",
        score=score(win_rate, avg_pnl_pct, sharpe, drawdown),
        score_win_rate=terms[0],
        score_avg_pnl=terms[1],
        score_sharpe=terms[2],
        score_drawdown=terms[3],
        hours=full_hours(to_micros(first.start), to_micros(first.end)),
        equity=equity,
        returns=returns,
        moments=moments,
    )


def _held_minutes(lane: LaneResult) -> float:
    return lane.exposure * lane.bars * lane.step
