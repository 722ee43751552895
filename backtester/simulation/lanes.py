"""Many lanes in one call: packing them for the kernel, running them on all cores, reading the results.

A lane is one set of signals on the bars of one symbol and timeframe, with its costs. Belongs here: everything between
checked arrays and `LaneResult`. Does not belong here: the loop itself (`backtester.simulation.kernel`), pooling
(`backtester.evaluation.pooling`).

Memory of one call, in bytes, beside the input: per lane 8 * (49 + 7 + 25) and 8 for each full hour of its window; with
`trades`, 104 for each bar that has an entry signal; with `equity`, 8 for each bar.
"""

import _thread
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from backtester.simulation import kernel
from backtester.simulation.bar_arrays import Bars, address, expected_bars, from_micros, to_micros
from backtester.simulation.costs import Costs, MarginRules
from backtester.simulation.signals import Signals
from backtester.statistics.metrics import HOURS_PER_YEAR, Moments, bars_per_year, fall, hourly_returns
from backtester.statistics.score import score
from features.array_types import FloatArray, IntArray
from features.bars import TS, Timeframe

DEFAULT_CAPITAL: Final = 10_000.0
"""Starting capital of a lane in quote currency. Margin tiers and volume shares depend on it, returns do not."""

THIN_COVERAGE: Final = 0.8
"""Share of its bars that a lane could trade on, below which its data are called thin."""
RUIN: Final = 0.01
"""Share of a lane's capital at or below which it is ruined."""

_GROUPS_PER_THREAD: Final = 32
_LANE_OVERHEAD: Final = 100
_WORTH_A_THREAD: Final = 200_000
"""Bars of work that pay for starting another thread."""

TRADE_SCHEMA: Final = pl.Schema(
    {
        "symbol": pl.String(),
        "timeframe": pl.String(),
        "side": pl.String(),
        "entry_ts": TS,
        "exit_ts": TS,
        "entry_price": pl.Float64(),
        "exit_price": pl.Float64(),
        "quantity": pl.Float64(),
        "pnl": pl.Float64(),
        "fees": pl.Float64(),
        "funding": pl.Float64(),
        "slippage": pl.Float64(),
        "pnl_pct": pl.Float64(),
        "exit_reason": pl.String(),
        "leverage": pl.Float64(),
        "equity": pl.Float64(),
    }
)
"""Trades, in order of entry.

`entry_ts`, `exit_ts` opening times of the bars in which the fills lie (an open position: the window's end); prices are
fills, slippage included; `quantity` in base units; `pnl` (net of all costs) and the costs in it, `fees`, `funding`
(positive: paid) and `slippage` (by the fill prices), in quote currency; `pnl_pct` is `pnl` in percent of the entry
notional; `exit_reason` one of signal, reversal, time, stop, trail, target, liquidation, open; `equity` before entry.
"""


@dataclass(frozen=True, eq=False)
class Lane:
    """One set of signals on one set of bars.

    Parameters
    ----------
    bars : Bars
        Shared by any number of lanes.
    signals : Signals
        One for each bar.
    costs : Costs
        Fees and slippage.
    rules : MarginRules
        Leverage limits, and the maintenance tiers by which positions are liquidated.
    fixed : bool
        Whether every order is sized by the starting capital, so that results add up instead of compounding: the unit
        replay, of which the score is. Trading goes on whatever was lost, and equity, then a sum of PnL, may be below 0.
    rounded : bool
        Whether quantities are rounded down to the lots of `rules` and those below its smallest order left out, at the
        capital of the lane.
    capital : float, optional
        In quote currency; that of the run where omitted.
    """

    bars: Bars
    signals: Signals
    costs: Costs = field(default_factory=Costs)
    rules: MarginRules = field(default_factory=MarginRules)
    fixed: bool = False
    rounded: bool = False
    capital: float | None = None


@dataclass(frozen=True, eq=False)
class LaneResult:
    """Result of one lane. Fractions and percentages are of the lane's starting capital unless stated otherwise.

    Parameters
    ----------
    symbol, timeframe, start, end, bars
        What was run; `bars` counts those that exist.
    coverage : float
        Share of the window's bars on which the lane could trade: those that exist and are not flagged.
    trades, wins : int
        Closed trades plus one still open at the end, as if closed at the mark less exit cost.
    win_rate : float, optional
        Share of trades whose net result is above zero, in [0, 1]; null without trades.
    avg_pnl_pct : float, optional
        Mean of (PnL - fees - funding) / entry notional, percent; null without trades.
    total_pnl_pct : float
        Change of equity to the last mark, percent.
    max_drawdown : float
        Largest fall of bar-close equity below its peak, in [0, 1]. Of a fixed lane: of the sum of PnL at full hours,
        over the starting capital, at most 1.
    sharpe, sharpe_se, sortino : float, optional
        Of bar returns, annualised; null without variance (sortino: without a loss). Of a fixed lane: of each hour's
        PnL over the starting capital, as the pooled result has them.
    profit_factor : float, optional
        Sum of net gains over sum of net losses; null where nothing was lost.
    exposure : float
        Share of the bars' time with a position: bars that begin with one once their open has filled what waited. A bar
        inside which a position ends counts whole, since the moment is unknown.
    turnover : float
        Notional of all fills over starting capital.
    fees_pct, slippage_pct, funding_pct : float
        Each cost apart, percent; funding is positive where paid.
    funding_known : float, optional
        Share of the bars held for which all funding is known; null where nothing was held.
    liquidations, ambiguous, unresolved : int
        Liquidated trades; bars whose order of events mattered; those of them that 1-minute bars did not settle.
    limit_orders, limit_fills : int, optional
        Limit orders for entries, and those of them that were filled; null where there was no such order.
    asked : float
        Notional that the entries of a rounded lane asked for, over the starting capital.
    rounded_away_pct : float, optional
        Share of the entries' notional that lots and smallest orders left out, percent; null where nothing was rounded.
    too_small : int
        Entries that were left out whole.
    liquidation_price : str
        `mark` where mark-price candles decided liquidations, `mixed` where some bars lacked them and went by last
        prices, else `last`. They are read only for lanes with shorts or leverage above 1: no price liquidates a long at
        1x.
    favourable_pnl_pct, worst_pnl_pct, best_pnl_pct : float
        Total of the favourable-first replay; the lower and the higher of the two replays.
    gains, losses, net_fraction_sum : float
        Sums of net gains and of net losses per starting capital, and of net result per entry notional.
    open_at_end : bool
        Whether the last trade was still open.
    hourly : ndarray of shape (n_hours,)
        Equity at the window's full hours, starting capital = 1.
    hours_with_bars : ndarray of bool
        For each hourly return whether a bar closed in its hour; see `Bars.hours_with_bars`.
    moments : Moments
        Of the returns behind `sharpe`.
    declared : LaneResult, optional
        The replay of the same signals with the size and leverage that they declare, compounding.
    trade_rows, equity : ndarray, optional
        Raw trades and bar-close equity if kept; see `trades_frame`, `equity_frame`.
    """

    symbol: str
    timeframe: Timeframe
    start: datetime
    end: datetime
    bars: int
    coverage: float
    trades: int
    wins: int
    win_rate: float | None
    avg_pnl_pct: float | None
    total_pnl_pct: float
    max_drawdown: float
    sharpe: float | None
    sharpe_se: float | None
    sortino: float | None
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
    liquidation_price: str
    favourable_pnl_pct: float
    worst_pnl_pct: float
    best_pnl_pct: float
    gains: float
    losses: float
    net_fraction_sum: float
    open_at_end: bool
    hourly: FloatArray
    hours_with_bars: npt.NDArray[np.bool_]
    moments: Moments
    step: int
    times: IntArray
    capital: float
    scored: bool = True
    declared: "LaneResult | None" = None
    asked: float = 0.0
    rounded_away_pct: float | None = None
    too_small: int = 0
    trade_rows: FloatArray | None = None
    equity: FloatArray | None = None

    @property
    def thin(self) -> bool:
        """Whether the lane could trade on less than `THIN_COVERAGE` of its bars."""
        return self.coverage < THIN_COVERAGE

    @property
    def declared_pnl_pct(self) -> float | None:
        """Change of equity with the declared size and leverage, percent; null where that replay was not run."""
        return None if self.declared is None else self.declared.total_pnl_pct

    @property
    def declared_drawdown(self) -> float | None:
        """Largest fall of equity below its peak with the declared size and leverage, in [0, 1]."""
        return None if self.declared is None else self.declared.max_drawdown

    @property
    def declared_liquidations(self) -> int | None:
        """Positions liquidated with the declared size and leverage."""
        return None if self.declared is None else self.declared.liquidations

    @property
    def ruined(self) -> int | None:
        """1 where the declared size and leverage leave no more than `RUIN` of the capital at any full hour, else 0."""
        if self.declared is None:
            return None
        lowest = min(float(self.declared.hourly.min(initial=1.0)), 1.0 + self.declared.total_pnl_pct / 100.0)
        return int(lowest <= RUIN)

    @property
    def bars_expected(self) -> int:
        """Number of bars that open and close inside the window where none is missing."""
        return expected_bars(to_micros(self.start), to_micros(self.end), self.step)

    @property
    def score(self) -> float | None:
        """Score of this lane alone, for tables; ranking uses the pooled score."""
        return score(self.win_rate, self.avg_pnl_pct, self.sharpe, self.max_drawdown)

    def trades_frame(self) -> pl.DataFrame:
        """Return the trades with `TRADE_SCHEMA`.

        Raises
        ------
        ValueError
            If the lane was run without `trades`.
        """
        if self.trade_rows is None:
            msg = f"trades of {self.symbol} {self.timeframe} were not kept; run the lane with trades=True"
            raise ValueError(msg)
        return trades_of([self])

    def equity_frame(self) -> pl.DataFrame:
        """Return equity at each bar's close: `ts` (the close), `equity` in quote currency.

        Raises
        ------
        ValueError
            If the lane was run without `equity`.
        """
        if self.equity is None:
            msg = f"equity of {self.symbol} {self.timeframe} was not kept; run the lane with equity=True"
            raise ValueError(msg)
        closes = pl.Series("ts", self.times + self.step).cast(TS)
        return pl.DataFrame([closes, pl.Series("equity", self.equity * self.capital)])


def run_lanes(
    lanes: Sequence[Lane],
    *,
    trades: bool = False,
    equity: bool = False,
    replays: bool = True,
    capital: float = DEFAULT_CAPITAL,
    threads: int | None = None,
) -> list[LaneResult]:
    """Run lanes on all cores and return their results in order.

    Parameters
    ----------
    lanes : sequence of Lane
        Any mixture of symbols, timeframes and lengths.
    trades, equity : bool
        Keep each trade, and equity at each bar.
    replays : bool
        Run lanes with an ambiguous bar a second time, favourable first, for the best and the worst case.
    capital : float
        Starting capital of each lane in quote currency.
    threads : int, optional
        Number of threads; by default one a core. The result does not depend on it.

    Returns
    -------
    list of LaneResult
        In the order of `lanes`.

    Notes
    -----
    No look-ahead: a signal is filled at the next bar's open, a limit order inside that bar.
    """
    output = run_arrays(lanes, trades=trades, equity=equity, capital=capital, threads=threads)
    results = [output.result(index) for index in range(len(lanes))]
    if not replays:
        return results
    again = [index for index, result in enumerate(results) if result.ambiguous]
    if again:
        other = run_arrays([lanes[index] for index in again], favourable=True, capital=capital, threads=threads)
        for place, index in enumerate(again):
            pnl = (float(other.sums[place, kernel.S_EQUITY]) - 1.0) * 100.0
            result = results[index]
            results[index] = replace(
                result,
                favourable_pnl_pct=pnl,
                worst_pnl_pct=min(pnl, result.total_pnl_pct),
                best_pnl_pct=max(pnl, result.total_pnl_pct),
            )
    return results


@dataclass(frozen=True, eq=False)
class KernelOutput:
    """Raw results of one call of the kernel.

    Parameters
    ----------
    lanes : sequence of Lane
        The lanes that were run.
    sums : ndarray of shape (n_lanes, 28)
        Columns `backtester.simulation.kernel.S_*`.
    hourly : list of ndarray
        Equity at full hours.
    trades, equity : list of ndarray or None
        Rows `backtester.simulation.kernel.T_*`, and equity at each bar; None unless kept.
    capital : float
        Starting capital of each lane.
    """

    lanes: Sequence[Lane]
    sums: FloatArray
    hourly: list[FloatArray]
    trades: list[FloatArray] | None
    equity: list[FloatArray] | None
    capital: float

    def result(self, index: int) -> LaneResult:
        """Return the metrics of one lane."""
        return _result(self, index)


def run_arrays(
    lanes: Sequence[Lane],
    *,
    trades: bool = False,
    equity: bool = False,
    favourable: bool = False,
    capital: float = DEFAULT_CAPITAL,
    threads: int | None = None,
) -> KernelOutput:
    """Run lanes once and return the raw results.

    Parameters
    ----------
    lanes : sequence of Lane
        Any mixture of symbols, timeframes and lengths.
    trades, equity : bool
        Keep each trade, and equity at each bar.
    favourable : bool
        Take the favourable order of events in ambiguous bars.
    capital : float
        Starting capital of each lane in quote currency.
    threads : int, optional
        Number of threads; by default one a core.

    Returns
    -------
    KernelOutput
        Sums of shape (n_lanes, 28), and equity at full hours.

    Raises
    ------
    ValueError
        If a lane has another number of signals than of bars.
    """
    table = np.zeros((len(lanes), kernel.LANE_COLUMNS), dtype=np.int64)
    rates = np.zeros((len(lanes), kernel.RATE_COLUMNS))
    sums = np.zeros((len(lanes), kernel.SUM_COLUMNS))
    # Everything whose address is in the table is referenced from here until the kernel has returned.
    hourly = [np.empty(len(lane.bars.hour_row)) for lane in lanes]
    rows = [np.empty((lane.signals.entries, kernel.TRADE_COLUMNS)) for lane in lanes] if trades else None
    curves = [np.empty(len(lane.bars)) for lane in lanes] if equity else None
    tiers = {key: _tiers(rules) for key, rules in {id(lane.rules): lane.rules for lane in lanes}.items()}
    for index, lane in enumerate(lanes):
        if len(lane.signals) != len(lane.bars):
            where = f"signals of {lane.bars.symbol} {lane.bars.timeframe}"
            msg = f"{where}: {len(lane.signals)} rows for {len(lane.bars)} bars"
            raise ValueError(msg)
        row = table[index]
        row[:] = lane.bars.packed + lane.signals.packed
        caps, maintenance = tiers[id(lane.rules)]
        row[kernel.TIER_CAP], row[kernel.TIER_RATE], row[kernel.TIER_N] = (
            address(caps),
            address(maintenance),
            len(caps),
        )
        row[kernel.FAVOURABLE], row[kernel.FIXED] = favourable, lane.fixed
        row[kernel.HOUR_OUT] = address(hourly[index])
        if rows is not None:
            row[kernel.TRADES_OUT], row[kernel.TRADES_CAP] = address(rows[index]), len(rows[index])
        if curves is not None:
            row[kernel.EQUITY_OUT] = address(curves[index])
        costs = lane.costs
        own, held = (costs.taker_fee, costs.target_fee, costs.slippage, costs.impact), lane.capital or capital
        lots = (lane.rules.lot / held, lane.rules.min_quantity / held) if lane.rounded else (0.0, 0.0)
        rates[index] = *own, held, *lane.bars.mark_bounds, *lots
    call(table, rates, sums, threads)
    if rows is not None:
        rows = [lane_rows[: int(count)] for lane_rows, count in zip(rows, sums[:, kernel.S_TRADES], strict=True)]
    return KernelOutput(lanes, sums, hourly, rows, curves, capital)


def call(table: IntArray, rates: FloatArray, sums: FloatArray, threads: int | None = None) -> None:
    """Run the kernel over a packed lane table on several threads.

    Parameters
    ----------
    table : ndarray of shape (n_lanes, 49), int64
        Addresses and counts of each lane; the caller keeps the arrays alive.
    rates : ndarray of shape (n_lanes, 9)
        Fees, slippage, capital, bounds of the mark price, lot and smallest order.
    sums : ndarray of shape (n_lanes, 28)
        Written: results of each lane.
    threads : int, optional
        Number of threads; by default one a core.
    """
    if not len(table):
        return
    run: Callable[..., None] = kernel.compiled()
    work = np.cumsum(table[:, kernel.N] + _LANE_OVERHEAD)
    wanted = threads or os.cpu_count() or 1
    helpers = min(wanted - 1, len(table) - 1, int(work[-1]) // _WORTH_A_THREAD)
    bounds = _groups(work, helpers + 1) if helpers > 0 else [0, len(table)]
    waiting = deque(pairwise(bounds))
    finished = threading.Semaphore(0)
    entered: list[None] = []
    left: list[None] = []

    def take() -> None:
        while True:
            try:
                first, last = waiting.popleft()
            except IndexError:
                return
            run(table, rates, sums, first, last)
            finished.release()

    def help_out() -> None:
        entered.append(None)
        take()
        left.append(None)

    # The caller works too and waits for groups, not for threads: on a busy machine a helper may never get to run.
    try:
        for _ in range(helpers):
            _thread.start_new_thread(help_out, ())
        take()
        for _ in range(len(bounds) - 1):
            finished.acquire()
    except BaseException:
        # Interrupted: the arrays behind the table must outlive whoever still works on them.
        waiting.clear()
        while len(left) < len(entered):
            time.sleep(1e-4)
        raise


def _groups(work: IntArray, threads: int) -> list[int]:
    """Return the bounds of contiguous groups of about equal work, several for each thread.

    The last group decides when all are done, so groups are small, down to single lanes.
    """
    edges = np.linspace(0, work[-1], threads * _GROUPS_PER_THREAD + 1)[1:-1]
    return sorted({0, *np.searchsorted(work, edges, side="right").tolist(), len(work)})


def _tiers(rules: MarginRules) -> tuple[FloatArray, FloatArray]:
    return np.array([cap for cap, _ in rules.tiers]), np.array([rate for _, rate in rules.tiers])


def _result(output: KernelOutput, index: int) -> LaneResult:
    bars, s = output.lanes[index].bars, output.sums[index].tolist()
    count, length = int(s[kernel.S_TRADES]), len(bars)
    hourly = output.hourly[index]
    if output.lanes[index].fixed:
        moments = Moments.of(hourly_returns(hourly, bars.start)[bars.hours_with_bars])
        year, drawdown = HOURS_PER_YEAR, fall(hourly)
    else:
        powers = s[kernel.S_R1], s[kernel.S_R2], s[kernel.S_R3], s[kernel.S_R4]
        moments = Moments.from_sums(length, powers, s[kernel.S_DOWN2])
        year, drawdown = bars_per_year(bars.timeframe), s[kernel.S_DRAWDOWN]
    total = (s[kernel.S_EQUITY] - 1.0) * 100.0
    held = s[kernel.S_HELD]
    return LaneResult(
        symbol=bars.symbol,
        timeframe=bars.timeframe,
        start=from_micros(bars.start),
        end=from_micros(bars.end),
        bars=length,
        coverage=bars.fillable / bars.expected if bars.expected else 0.0,
        trades=count,
        wins=int(s[kernel.S_WINS]),
        win_rate=s[kernel.S_WINS] / count if count else None,
        avg_pnl_pct=100.0 * s[kernel.S_NET_FRACTION] / count if count else None,
        total_pnl_pct=total,
        max_drawdown=drawdown,
        sharpe=moments.annual_sharpe(year),
        sharpe_se=moments.annual_sharpe_se(year),
        sortino=moments.annual_sortino(year),
        profit_factor=s[kernel.S_GAINS] / s[kernel.S_LOSSES] if s[kernel.S_LOSSES] > 0.0 else None,
        exposure=held / length if length else 0.0,
        turnover=s[kernel.S_TURNOVER],
        fees_pct=100.0 * s[kernel.S_FEES],
        slippage_pct=100.0 * s[kernel.S_SLIPPAGE],
        funding_pct=100.0 * s[kernel.S_FUNDING],
        funding_known=s[kernel.S_HELD_KNOWN] / held if held else None,
        liquidations=int(s[kernel.S_LIQUIDATIONS]),
        ambiguous=int(s[kernel.S_AMBIGUOUS]),
        unresolved=int(s[kernel.S_UNRESOLVED]),
        limit_orders=int(s[kernel.S_LIMITS]) or None,
        limit_fills=int(s[kernel.S_FILLED]) if s[kernel.S_LIMITS] else None,
        asked=float(s[kernel.S_ASKED]),
        rounded_away_pct=100.0 * float(s[kernel.S_LEFT] / s[kernel.S_ASKED]) if s[kernel.S_ASKED] else None,
        too_small=int(s[kernel.S_SMALL]),
        liquidation_price=bars.liquidation_price,
        favourable_pnl_pct=total,
        worst_pnl_pct=total,
        best_pnl_pct=total,
        gains=s[kernel.S_GAINS],
        losses=s[kernel.S_LOSSES],
        net_fraction_sum=s[kernel.S_NET_FRACTION],
        open_at_end=bool(s[kernel.S_OPEN]),
        hourly=hourly,
        hours_with_bars=bars.hours_with_bars,
        moments=moments,
        step=bars.step,
        times=bars.ts,
        capital=output.capital,
        trade_rows=None if output.trades is None else output.trades[index],
        equity=None if output.equity is None else output.equity[index],
    )


def thin_lanes(lanes: Sequence[LaneResult]) -> str:
    """Return the thin lanes with the share of bars on which each could trade, as one text; '' where there is none."""
    named = (f"{lane.symbol} {lane.timeframe} {100.0 * lane.coverage:.0f} %" for lane in lanes if lane.thin)
    text = ", ".join(named)
    return f"{text} of the bars can be traded on" if text else ""


def trades_of(lanes: Sequence[LaneResult]) -> pl.DataFrame:
    """Return the trades of lanes that were run with `trades`, lane after lane, with `TRADE_SCHEMA`."""
    kept = [(lane, lane.trade_rows) for lane in lanes if lane.trade_rows is not None and len(lane.trade_rows)]
    if not kept:
        return pl.DataFrame(schema=TRADE_SCHEMA)
    rows = np.concatenate([own for _, own in kept])
    lane_of_row = np.repeat(np.arange(len(kept)), [len(own) for _, own in kept])
    capital = np.array([lane.capital for lane, _ in kept])[lane_of_row]
    net = rows[:, kernel.T_PNL] - rows[:, kernel.T_FEES] - rows[:, kernel.T_FUNDING]
    notional = rows[:, kernel.T_ENTRY] * rows[:, kernel.T_QUANTITY]

    def times(column: int) -> pl.Series:
        return pl.Series(np.concatenate([_moments(lane, own[:, column]) for lane, own in kept])).cast(TS)

    def texts(values: Sequence[str], which: IntArray) -> pl.Series:
        return pl.Series(np.array(values, dtype=object)[which], dtype=pl.String)

    return pl.DataFrame(
        {
            "symbol": texts([lane.symbol for lane, _ in kept], lane_of_row),
            "timeframe": texts([lane.timeframe for lane, _ in kept], lane_of_row),
            "side": texts(("short", "long"), (rows[:, kernel.T_SIDE] > 0).astype(np.int64)),
            "entry_ts": times(kernel.T_ENTRY_ROW),
            "exit_ts": times(kernel.T_EXIT_ROW),
            "entry_price": rows[:, kernel.T_ENTRY],
            "exit_price": rows[:, kernel.T_EXIT],
            "quantity": rows[:, kernel.T_QUANTITY] * capital,
            "pnl": net * capital,
            "fees": rows[:, kernel.T_FEES] * capital,
            "funding": rows[:, kernel.T_FUNDING] * capital,
            "slippage": rows[:, kernel.T_SLIPPAGE] * capital,
            "pnl_pct": 100.0 * net / notional,
            "exit_reason": texts(kernel.REASONS, rows[:, kernel.T_REASON].astype(np.int64)),
            "leverage": rows[:, kernel.T_LEVERAGE],
            "equity": rows[:, kernel.T_EQUITY] * capital,
        },
        schema=TRADE_SCHEMA,
    )


def _moments(lane: LaneResult, rows: FloatArray) -> IntArray:
    """Return when the bars of some rows open; the row after the last is the last one's close."""
    index = rows.astype(np.int64)
    inside = np.minimum(index, len(lane.times) - 1)
    return lane.times[inside] + np.where(index > inside, lane.step, 0)
