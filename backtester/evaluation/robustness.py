"""Robustness of a backtest: other costs, random timing, buy and hold, and the volume of the bars that it trades in.

Belongs here: replays of the lanes of an evaluation's unit replay, so that these numbers rest on the same hourly series
as the score. Does not belong here: statistics of one return series (`backtester.statistics.overfitting`), choosing what
to show (reports).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from backtester.evaluation.evaluate import Evaluation
from backtester.simulation import kernel
from backtester.simulation.costs import LARGE_SHARE, Costs
from backtester.simulation.lanes import DEFAULT_CAPITAL, Lane, run_arrays
from backtester.simulation.signals import Signals
from backtester.statistics.metrics import HOURS_PER_YEAR, Moments, alpha_and_beta, fall, hourly_returns
from backtester.statistics.overfitting import LAGS, sharpe_se_newey_west
from features.array_types import FloatArray
from features.bars import MINUTES

DRAWS: Final = 500
_MOST_COST: Final = 0.05
_HALVINGS: Final = 24
_DRAWS_AT_ONCE: Final = 50


@dataclass(frozen=True)
class BuyAndHold:
    """Holding the same lanes long, with the same costs, against the strategy.

    Parameters
    ----------
    total_pnl_pct, max_drawdown, sharpe
        Of the pooled benchmark.
    alpha : float, optional
        Return of a year (fraction, not compounded) that the benchmark does not explain.
    alpha_se : float, optional
        Its standard error.
    beta : float, optional
        Hourly return of the strategy for one of the benchmark. Null where the benchmark does not move.
    """

    total_pnl_pct: float
    max_drawdown: float
    sharpe: float | None
    alpha: float | None
    alpha_se: float | None
    beta: float | None


@dataclass(frozen=True)
class VolumeShare:
    """The assumed size against the market: traded value of the bars in which fills lie, and smallest orders.

    Parameters
    ----------
    fills, unknown, untraded : int
        Fills; those of them in bars of unknown volume; and those in bars in which nothing was traded.
    median, largest : float, optional
        Share of the bar's traded value, over bars in which something was traded; null where there is none.
    above_limit : int
        Fills above 1 % of their bar, those in bars without trades left out.
    positions, below_minimum : int
        Positions, and those of them below the instrument's smallest order.
    """

    fills: int
    unknown: int
    untraded: int
    median: float | None
    largest: float | None
    above_limit: int
    positions: int
    below_minimum: int

    @property
    def warning(self) -> str:
        """One line where fills are too large for their bars, or positions too small for the exchange; else ''."""
        sentences = []
        if self.above_limit:
            sentences.append(
                f"{self.above_limit} of {self.fills} fills are above {LARGE_SHARE:.0%} of their bar's volume "
                f"(largest {self.largest:.1%}): prices may be out of reach at this size"
            )
        if self.untraded:
            sentences.append(
                f"{self.untraded} of {self.fills} fills are in bars in which nothing was traded (volume 0)"
            )
        if self.below_minimum:
            sentences.append(
                f"{self.below_minimum} of {self.positions} positions are below the smallest order of their instrument: "
                "fractional lots assumed"
            )
        return "; ".join(sentences)


@dataclass(frozen=True)
class RandomTiming:
    """How often the same signals at another time did at least as well.

    Parameters
    ----------
    p : float
        (1 + as good) / (1 + shifts): the real timing is one of those that could have been.
    shifts : int
        Different shifts that were replayed.
    """

    p: float
    shifts: int

    @property
    def least(self) -> float:
        """The smallest p that so many shifts can give."""
        return 1.0 / (1.0 + self.shifts)


@dataclass(frozen=True)
class Evidence:
    """Robustness of one evaluation, apart from the statistics of trials.

    Parameters
    ----------
    timing : RandomTiming, optional
        Against the same signals at other times; null without trades.
    buy_and_hold : BuyAndHold
        Benchmark.
    break_even_slippage, break_even_fee : float, optional
        Slippage and taker fee (fractions a side) at which the pooled result is zero, the other cost unchanged; null
        where it is below zero even at none, infinite where it is above zero at 5 %.
    zero_cost_sharpe, zero_cost_se : float, optional
        Sharpe ratio of one hour without fees and slippage, and its standard error; null without variance.
    volume : VolumeShare
        Size against the market.
    """

    timing: "RandomTiming | None"
    buy_and_hold: BuyAndHold
    break_even_slippage: float | None
    break_even_fee: float | None
    zero_cost_sharpe: float | None
    zero_cost_se: float | None
    volume: VolumeShare


def gather(evaluation: Evaluation, *, seed: int, draws: int = DRAWS, notional: float = DEFAULT_CAPITAL) -> Evidence:
    """Replay an evaluation's scored lanes under other costs and other timing, and against buy and hold.

    Parameters
    ----------
    evaluation : Evaluation
        As returned by `backtester.evaluation.evaluate.evaluate`.
    seed : int
        Of the random shifts.
    draws : int
        Number of shifts.
    notional : float
        Assumed size of a fill in quote currency.

    Returns
    -------
    Evidence
        Deterministic for a seed.
    """
    lanes = scored_lanes(evaluation)
    slippage, fee = break_even(lanes)
    free = zero_cost_returns(lanes)
    return Evidence(
        timing=random_timing(lanes, seed=seed, draws=draws),
        buy_and_hold=buy_and_hold(lanes, pooled_curve(lanes)),
        break_even_slippage=slippage,
        break_even_fee=fee,
        zero_cost_sharpe=Moments.of(free).sharpe,
        zero_cost_se=sharpe_se_newey_west(free, LAGS),
        volume=volume_share(lanes, notional),
    )


def scored_lanes(evaluation: Evaluation) -> list[Lane]:
    """Return the packed lanes behind the pooled result.

    Raises
    ------
    ValueError
        If the evaluation failed.
    """
    if evaluation.error:
        msg = f"{evaluation.name} was not evaluated: {evaluation.error}"
        raise ValueError(msg)
    return [lane for lane, run in zip(evaluation.packed, evaluation.lanes, strict=True) if run.scored]


def pooled_curve(lanes: Sequence[Lane]) -> FloatArray:
    """Return the mean of capital and PnL at full hours, shape (n_hours,)."""
    curve: FloatArray = np.mean(run_arrays(lanes).hourly, axis=0)
    return curve


def _returns(lanes: Sequence[Lane], curve: FloatArray) -> FloatArray:
    """Return the hourly returns of a pooled curve in the hours in which a bar closed, shape (n_present,)."""
    present = np.any([lane.bars.hours_with_bars for lane in lanes], axis=0)
    returns: FloatArray = hourly_returns(curve, lanes[0].bars.start)[present]
    return returns


def with_costs(lanes: Sequence[Lane], costs: Costs) -> list[Lane]:
    """Return the same lanes under other costs."""
    return [replace(lane, costs=costs) for lane in lanes]


def zero_cost_returns(lanes: Sequence[Lane]) -> FloatArray:
    """Return the hourly pooled returns without fees and slippage (funding stays).

    The result has shape (n_hours,).
    """
    return _returns(lanes, pooled_curve(with_costs(lanes, Costs.free())))


def break_even(lanes: Sequence[Lane]) -> tuple[float | None, float | None]:
    """Return the slippage and the taker fee, fractions a side, at which the pooled total is zero.

    By bisection over whole replays. With stops and targets the total need not fall evenly with costs; then this is one
    crossing. Null where the total is below zero without that cost (or there is no trade), infinite where it is still
    above at 5 %.
    """
    costs = lanes[0].costs
    return (
        _crossing(lambda rate: _total(lanes, replace(costs, slippage=rate))),
        _crossing(lambda rate: _total(lanes, replace(costs, taker_fee=rate))),
    )


def _total(lanes: Sequence[Lane], costs: Costs) -> float:
    return float(run_arrays(with_costs(lanes, costs)).sums[:, kernel.S_EQUITY].mean()) - 1.0


def _crossing(total: Callable[[float], float]) -> float | None:
    if total(0.0) <= 0.0:
        return None
    if total(_MOST_COST) > 0.0:
        return math.inf
    low, high = 0.0, _MOST_COST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if total(middle) > 0.0 else (low, middle)
    return (low + high) / 2.0


def random_timing(lanes: Sequence[Lane], *, seed: int, draws: int = DRAWS) -> RandomTiming | None:
    """Return how often the same signals at another time would have done at least as well.

    All lanes are shifted circularly by the same time, which keeps their dependence; costs, stops and sizes are shifted
    along. There are as many shifts as the longest timeframe has bars, less one (167 in a week of hours). All of them
    are replayed, or `draws` different ones where there are more. The statistic is the pooled total return.

    Parameters
    ----------
    lanes : sequence of Lane
        Lanes over one window.
    seed : int
        Of the shifts.
    draws : int
        Most shifts to replay.

    Returns
    -------
    RandomTiming or None
        Null where no lane trades, or there is no other time.
    """
    actual = run_arrays(lanes)
    if not actual.sums[:, kernel.S_TRADES].any():
        return None
    observed = actual.sums[:, kernel.S_EQUITY].mean()
    longest = max(MINUTES[lane.bars.timeframe] for lane in lanes)
    rows = max(len(lane.bars) for lane in lanes if MINUTES[lane.bars.timeframe] == longest)
    every = np.arange(1, rows) * longest
    shifts = every if len(every) <= draws else np.random.default_rng(seed).choice(every, draws, replace=False)
    if not len(shifts):
        return None
    as_good = 0
    for start in range(0, len(shifts), _DRAWS_AT_ONCE):
        some = shifts[start : start + _DRAWS_AT_ONCE]
        shifted = [lane.signals.rolled((some // MINUTES[lane.bars.timeframe]).tolist()) for lane in lanes]
        moved = [
            replace(lane, signals=signals)
            for together in zip(*shifted, strict=True)
            for lane, signals in zip(lanes, together, strict=True)
        ]
        totals = run_arrays(moved).sums[:, kernel.S_EQUITY].reshape(len(some), len(lanes)).mean(axis=1)
        as_good += int((totals >= observed - 1e-12).sum())
    return RandomTiming((1.0 + as_good) / (1.0 + len(shifts)), len(shifts))


def buy_and_hold(lanes: Sequence[Lane], curve: FloatArray | None = None) -> BuyAndHold:
    """Return the result of being long in every lane from its first fillable open to the end, and alpha and beta to it.

    Parameters
    ----------
    lanes : sequence of Lane
        Lanes over one window; signals are replaced, bars and costs kept.
    curve : ndarray of shape (n_hours,), optional
        Pooled curve of the strategy; by default that of `lanes`.
    """
    output = run_arrays(_holding(lanes))
    benchmark = np.mean(output.hourly, axis=0)
    x = _returns(lanes, benchmark)
    y = _returns(lanes, pooled_curve(lanes) if curve is None else curve)
    alpha, alpha_se, beta = alpha_and_beta(x, y, HOURS_PER_YEAR)
    moments = Moments.of(x)
    return BuyAndHold(
        total_pnl_pct=100.0 * (float(output.sums[:, kernel.S_EQUITY].mean()) - 1.0),
        max_drawdown=fall(benchmark),
        sharpe=moments.annual_sharpe(HOURS_PER_YEAR),
        alpha=alpha,
        alpha_se=alpha_se,
        beta=beta,
    )


def holding_curve(lanes: Sequence[Lane]) -> FloatArray:
    """Return the equity of `buy_and_hold` at full hours, starting capital = 1, shape (n_hours,)."""
    return pooled_curve(_holding(lanes))


def _holding(lanes: Sequence[Lane]) -> list[Lane]:
    return [
        replace(lane, signals=Signals(np.full(len(lane.bars), kernel.LONG_ENTRY, dtype=np.uint8)), rounded=False)
        for lane in lanes
    ]


def volume_share(lanes: Sequence[Lane], notional: float = DEFAULT_CAPITAL) -> VolumeShare:
    """Compare an assumed notional with the traded value of each bar that has a fill, and with the smallest orders.

    Parameters
    ----------
    lanes : sequence of Lane
        With the instruments' smallest orders in their rules.
    notional : float
        Capital of each lane in quote currency; every fill counts as that large.
    """
    output = run_arrays(lanes, trades=True, capital=notional)
    values, positions, below = [np.empty(0)], 0, 0
    for lane, rows in zip(lanes, output.trades or [], strict=True):
        filled = np.concatenate([rows[:, kernel.T_ENTRY_ROW], rows[:, kernel.T_EXIT_ROW]]).astype(np.int64)
        values.append(lane.bars.quote_volume[filled[filled < len(lane.bars)]])
        positions += len(rows)
        below += int((rows[:, kernel.T_QUANTITY] * notional < lane.rules.min_quantity).sum())
    every = np.concatenate(values)
    traded = every[every > 0.0]
    shares = notional / traded
    return VolumeShare(
        fills=len(every),
        unknown=int(np.isnan(every).sum()),
        untraded=int((every <= 0.0).sum()),
        median=float(np.median(shares)) if len(shares) else None,
        largest=float(shares.max()) if len(shares) else None,
        above_limit=int((shares > LARGE_SHARE).sum()),
        positions=positions,
        below_minimum=below,
    )
