"""What is printed beside a score: the same trades under other costs, other timing, and against doing nothing clever.

Belongs here: replays of an evaluation's own lanes. Does not belong here: statistics of one return series
(`backtester.overfitting`), choosing what to show (reports).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from backtester import kernel
from backtester.bars import Floats
from backtester.costs import Costs
from backtester.evaluation import Evaluation
from backtester.lanes import DEFAULT_CAPITAL, Lane, run_arrays
from backtester.metrics import HOURS_PER_YEAR, Moments
from backtester.overfitting import sharpe_se_newey_west
from backtester.pooling import pooled_returns
from backtester.signals import Signals
from features.bars import MINUTES

DRAWS: Final = 500
LARGE_SHARE: Final = 0.01
"""Share of a bar's traded value above which fills at the bar's prices are doubtful."""
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
    """The assumed notional as a share of the traded value of the bars in which fills lie.

    Parameters
    ----------
    fills, unknown : int
        Fills, and those of them in bars of unknown volume.
    median, largest : float, optional
        Share of the bar's traded value; null where no volume is known.
    above_limit : int
        Fills above 1 % of their bar.
    """

    fills: int
    unknown: int
    median: float | None
    largest: float | None
    above_limit: int

    @property
    def warning(self) -> str:
        """One line where fills are too large for their bars, else ''."""
        if not self.above_limit:
            return ""
        return (
            f"{self.above_limit} of {self.fills} fills are above {LARGE_SHARE:.0%} of their bar's volume "
            f"(largest {self.largest:.1%}): prices may be out of reach at this size"
        )


@dataclass(frozen=True)
class Evidence:
    """Everything that stands beside a score, apart from the statistics of trials.

    Parameters
    ----------
    timing_p : float, optional
        Share of circularly shifted replays at least as good as the real one; null without trades.
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

    timing_p: float | None
    buy_and_hold: BuyAndHold
    break_even_slippage: float | None
    break_even_fee: float | None
    zero_cost_sharpe: float | None
    zero_cost_se: float | None
    volume: VolumeShare


def gather(evaluation: Evaluation, *, seed: int, draws: int = DRAWS, notional: float = DEFAULT_CAPITAL) -> Evidence:
    """Replay an evaluation's scored lanes in all the ways that its score should be seen beside.

    Parameters
    ----------
    evaluation : Evaluation
        As returned by `backtester.evaluation.evaluate`.
    seed : int
        Of the random shifts.
    draws : int
        Number of shifts.
    notional : float
        Assumed size of a fill in quote currency.
    """
    lanes = scored_lanes(evaluation)
    slippage, fee = break_even(lanes)
    free = zero_cost_returns(lanes)
    return Evidence(
        timing_p=random_timing(lanes, seed=seed, draws=draws),
        buy_and_hold=buy_and_hold(lanes, pooled_curve(lanes)),
        break_even_slippage=slippage,
        break_even_fee=fee,
        zero_cost_sharpe=Moments.of(free).sharpe,
        zero_cost_se=sharpe_se_newey_west(free),
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


def pooled_curve(lanes: Sequence[Lane]) -> Floats:
    """Return pooled equity at full hours, shape (n_hours,)."""
    curve: Floats = np.mean(run_arrays(lanes).hourly, axis=0)
    return curve


def with_costs(lanes: Sequence[Lane], costs: Costs) -> list[Lane]:
    """Return the same lanes under other costs."""
    return [replace(lane, costs=costs) for lane in lanes]


def zero_cost_returns(lanes: Sequence[Lane]) -> Floats:
    """Return the hourly pooled returns without fees and slippage (funding stays)."""
    return pooled_returns(pooled_curve(with_costs(lanes, Costs.free())), lanes[0].bars.start)


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


def random_timing(lanes: Sequence[Lane], *, seed: int, draws: int = DRAWS) -> float | None:
    """Return how often the same signals at another time would have done at least as well.

    Every draw shifts all lanes circularly by the same time, so that what belongs together stays together; costs,
    stops and sizes go along. The statistic is the pooled total return; p = (1 + as good) / (1 + draws).

    Parameters
    ----------
    lanes : sequence of Lane
        Lanes over one window.
    seed : int
        Of the shifts.
    draws : int
        Number of shifts.

    Returns
    -------
    float or None
        Null where no lane trades.
    """
    actual = run_arrays(lanes)
    if not actual.sums[:, kernel.S_TRADES].any():
        return None
    observed = actual.sums[:, kernel.S_EQUITY].mean()
    longest = max(MINUTES[lane.bars.timeframe] for lane in lanes)
    window = (lanes[0].bars.end - lanes[0].bars.start) // 60_000_000
    steps = max(window // longest, 2)
    shifts = np.random.default_rng(seed).integers(1, steps, draws) * longest
    as_good = 0
    for start in range(0, draws, _DRAWS_AT_ONCE):
        some = shifts[start : start + _DRAWS_AT_ONCE]
        each = [lane.signals.rolled((some // MINUTES[lane.bars.timeframe]).tolist()) for lane in lanes]
        moved = [
            replace(lane, signals=signals)
            for together in zip(*each, strict=True)
            for lane, signals in zip(lanes, together, strict=True)
        ]
        totals = run_arrays(moved).sums[:, kernel.S_EQUITY].reshape(len(some), len(lanes)).mean(axis=1)
        as_good += int((totals >= observed - 1e-12).sum())
    return (1.0 + as_good) / (1.0 + draws)


def buy_and_hold(lanes: Sequence[Lane], curve: Floats | None = None) -> BuyAndHold:
    """Return the result of being long in every lane from its first fillable open to the end, and alpha and beta to it.

    Parameters
    ----------
    lanes : sequence of Lane
        Lanes over one window; signals are replaced, bars and costs kept.
    curve : ndarray of shape (n_hours,), optional
        Pooled equity of the strategy; by default that of `lanes`.
    """
    holding = [
        replace(lane, signals=Signals(np.full(len(lane.bars), kernel.LONG_ENTRY, dtype=np.uint8))) for lane in lanes
    ]
    book = run_arrays(holding)
    benchmark = np.mean(book.hourly, axis=0)
    start = lanes[0].bars.start
    x = pooled_returns(benchmark, start)
    y = pooled_returns(pooled_curve(lanes) if curve is None else curve, start)
    alpha, alpha_se, beta = _regression(x, y)
    moments = Moments.of(x)
    peaks = np.maximum.accumulate(np.concatenate([[1.0], benchmark]))[1:]
    return BuyAndHold(
        total_pnl_pct=100.0 * (float(book.sums[:, kernel.S_EQUITY].mean()) - 1.0),
        max_drawdown=float(np.clip(np.max(1.0 - benchmark / peaks), 0.0, 1.0)),
        sharpe=moments.annual_sharpe(HOURS_PER_YEAR),
        alpha=alpha,
        alpha_se=alpha_se,
        beta=beta,
    )


def _regression(x: Floats, y: Floats) -> tuple[float | None, float | None, float | None]:
    """Return annual alpha, its standard error and beta of y on x by least squares; nulls where x does not move."""
    n = len(x)
    least = 3
    if n < least or Moments.of(x).sharpe is None:
        return None, None, None
    centred = x - x.mean()
    spread = float(centred @ centred)
    beta = float(centred @ y) / spread
    alpha = float(y.mean() - beta * x.mean())
    residual = y - alpha - beta * x
    variance = float(residual @ residual) / (n - 2)
    se = math.sqrt(variance * (1.0 / n + float(x.mean()) ** 2 / spread))
    return alpha * HOURS_PER_YEAR, se * HOURS_PER_YEAR, beta


def volume_share(lanes: Sequence[Lane], notional: float = DEFAULT_CAPITAL) -> VolumeShare:
    """Compare an assumed notional with the traded value of every bar in which a fill lies."""
    book = run_arrays(lanes, trades=True)
    shares = [np.empty(0)]
    for lane, rows in zip(lanes, book.trades or [], strict=True):
        filled = np.concatenate([rows[:, kernel.T_ENTRY_ROW], rows[:, kernel.T_EXIT_ROW]]).astype(np.int64)
        value = lane.bars.quote_volume[filled[filled < len(lane.bars)]]
        with np.errstate(divide="ignore"):
            shares.append(notional / value)
    every = np.concatenate(shares)
    known = every[~np.isnan(every)]
    return VolumeShare(
        fills=len(every),
        unknown=len(every) - len(known),
        median=float(np.median(known)) if len(known) else None,
        largest=float(known.max()) if len(known) else None,
        above_limit=int((known > LARGE_SHARE).sum()),
    )
