"""From the lanes of one strategy, model or ensemble to one score.

Belongs here: pooling. Does not belong here: the order of scores (`backtester.evaluation.ranking`).

Every lane has the same fixed capital, idle lanes included, so that idle lanes cannot improve a score. The pooled curve
is the mean of the lanes' capital and PnL at full hours. All four terms of the score come from the unit replay
(`backtester.evaluation.evaluate.unit_lanes`), without leverage and without compounding: in a mean of compounding lanes
a losing lane fades out, so leverage would raise the score of a losing strategy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from backtester.simulation.bar_arrays import full_hours, to_micros
from backtester.simulation.lanes import LaneResult
from backtester.statistics.metrics import (
    HOURS_PER_YEAR,
    Moments,
    fall,
    hourly_returns,
    max_drawdown,
)
from backtester.statistics.score import score, score_terms
from features.array_types import FloatArray, IntArray
from features.bars import TS

FEW_TRADES: Final = 10
"""With fewer trades, a strategy has a score but is ranked after those with more: there is too little data."""


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
        Of the pooled curve at full hours: its largest fall below its peak, over the capital, at most 1.
    profit_factor : float, optional
        Net gains over net losses of all trades.
    exposure, turnover, fees_pct, slippage_pct, funding_pct : float
        Mean over lanes, as in `LaneResult`.
    funding_known : float, optional
        Share of holding time with known funding.
    liquidations, ambiguous, unresolved : int
        Sums over lanes.
    limit_orders, limit_fills : int, optional
        Sums over lanes; null where there was no such order.
    rounded_away_pct : float, optional
        Share of the entries' notional that lots and smallest orders left out, percent; null where nothing was rounded.
    too_small : int, optional
        Entries that they left out whole.
    liquidation_price : str
        That of the lanes, as in `LaneResult`; `mixed` where they differ.
    coverage : float
        Share of the lanes' bars on which they could trade.
    thin : int
        Lanes that could trade on less than `backtester.simulation.lanes.THIN_COVERAGE` of their bars.
    declared_pnl_pct, declared_drawdown : float, optional
        With the size and leverage that the strategy declares, compounding: mean over lanes, percent, and the largest
        fall of the mean of their equity at full hours, in [0, 1]. Null where that replay was not run.
    declared_liquidations, ruined : int, optional
        Sum over lanes, and number of lanes ruined, as in `LaneResult`.
    score : float, optional
        `40 * win_rate + 30 * avg_pnl_pct + 20 * sharpe - 10 * max_drawdown`; null where a term is.
    score_win_rate, score_avg_pnl, score_sharpe, score_drawdown : float, optional
        Its four terms.
    hours : ndarray of shape (n_hours,), int64
        Full hours of the window, microseconds since 1970.
    equity : ndarray of shape (n_hours,), float64
        Pooled capital and PnL, starting capital = 1; not compounded.
    returns : ndarray, float64
        What each hour added to it.
    present : ndarray of bool
        For each of `returns` whether a bar of any lane closed within its hour.
    moments : Moments
        Of the returns of the hours that are there: an hour without bars has no return, not one of zero.
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
    limit_orders: int | None
    limit_fills: int | None
    rounded_away_pct: float | None
    too_small: int | None
    liquidation_price: str
    coverage: float
    thin: int
    declared_pnl_pct: float | None
    declared_drawdown: float | None
    declared_liquidations: int | None
    ruined: int | None
    score: float | None
    score_win_rate: float | None
    score_avg_pnl: float | None
    score_sharpe: float | None
    score_drawdown: float | None
    hours: IntArray
    equity: FloatArray
    returns: FloatArray
    present: npt.NDArray[np.bool_]
    moments: Moments

    @property
    def present_returns(self) -> FloatArray:
        """Hourly returns of the hours in which a bar closed, shape (n_present,)."""
        return self.returns[self.present]

    def equity_frame(self) -> pl.DataFrame:
        """Return pooled equity: `ts` (full hours, UTC), `equity` (starting capital = 1), `with_bars`.

        `with_bars` says whether a bar of any lane closed in the hour that ends at `ts`; null at the window's begin.
        """
        ended = [None] * (len(self.hours) - len(self.present)) + self.present.tolist()
        columns = [pl.Series("ts", self.hours).cast(TS), pl.Series("equity", self.equity)]
        return pl.DataFrame([*columns, pl.Series("with_bars", ended, pl.Boolean)])


def pool(results: Sequence[LaneResult]) -> PooledResult:
    """Pool the scored lanes of one strategy, model or ensemble into one result.

    Parameters
    ----------
    results : sequence of LaneResult
        Fixed lanes over the same window; those with `scored` false are left out.

    Raises
    ------
    ValueError
        If no lane is scored, or if their windows differ.

    Returns
    -------
    PooledResult
        Means over lanes; statistics of the pooled hourly returns.
    """
    lanes = [lane for lane in results if lane.scored]
    if not lanes:
        msg = "no scored lane to pool; run at least one symbol on a timeframe that the strategy declares"
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
    returns = hourly_returns(equity, to_micros(first.start))
    present: npt.NDArray[np.bool_] = np.any([lane.hours_with_bars for lane in lanes], axis=0)
    moments = Moments.of(returns[present])
    win_rate = wins / trades if trades else None
    avg_pnl_pct = 100.0 * sum(lane.net_fraction_sum for lane in lanes) / trades if trades else None
    sharpe, drawdown = moments.annual_sharpe(HOURS_PER_YEAR), fall(equity)
    terms = score_terms(win_rate, avg_pnl_pct, sharpe, drawdown) or (None, None, None, None)
    losses = sum(lane.losses for lane in lanes)
    held = sum(_held_minutes(lane) for lane in lanes)
    by = {lane.liquidation_price for lane in lanes}
    expected = sum(lane.bars_expected for lane in lanes)
    orders = sum(lane.limit_orders or 0 for lane in lanes) or None
    asked = sum(lane.asked for lane in lanes)
    declared = [lane.declared for lane in lanes if lane.declared is not None]
    replayed = len(declared) == len(lanes)

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
        limit_orders=orders,
        limit_fills=sum(lane.limit_fills or 0 for lane in lanes) if orders else None,
        rounded_away_pct=sum(lane.asked * (lane.rounded_away_pct or 0.0) for lane in lanes) / asked if asked else None,
        too_small=sum(lane.too_small for lane in lanes) if asked else None,
        liquidation_price=by.pop() if len(by) == 1 else "mixed",
        coverage=sum(lane.coverage * lane.bars_expected for lane in lanes) / expected if expected else 0.0,
        thin=sum(lane.thin for lane in lanes),
        declared_pnl_pct=mean("declared_pnl_pct") if replayed else None,
        declared_drawdown=_drawdown(declared) if replayed else None,
        declared_liquidations=sum(run.liquidations for run in declared) if replayed else None,
        ruined=sum(lane.ruined or 0 for lane in lanes) if replayed else None,
        score=score(win_rate, avg_pnl_pct, sharpe, drawdown),
        score_win_rate=terms[0],
        score_avg_pnl=terms[1],
        score_sharpe=terms[2],
        score_drawdown=terms[3],
        hours=full_hours(to_micros(first.start), to_micros(first.end)),
        equity=equity,
        returns=returns,
        present=present,
        moments=moments,
    )


def _drawdown(declared: Sequence[LaneResult]) -> float:
    curve = np.mean([lane.hourly for lane in declared], axis=0)
    return max_drawdown(np.concatenate([[1.0], curve]))


def _held_minutes(lane: LaneResult) -> float:
    return lane.exposure * lane.bars * lane.step
