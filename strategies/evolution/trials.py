"""One try of a genome: run on the panel, cheap lanes first, and judged by how evenly it earned.

Belongs here: running a genome, what is measured, fitness. Does not belong here: which genomes are tried
(`strategies.evolution.search`), signals (`strategies.evolution.bits`), the kernel (`backtester`).

Fitness is not the best in-sample ratio, which luck makes: the search window is cut in time by
`backtester.windows.walk_forward` into an *inner* part, which the search sees, and, after a purge as long as the
longest trade should be, a *check*, which only the choice of finalists sees. In the inner part, fitness is the mean of
the hourly net Sharpe ratios of its folds less one standard error of that mean, less a little for each part that a
reader has to follow and for few trades, of which a handful of lucky ones can make a ratio. A ratio does not see how
much of the capital is at work: so what sizes its positions smaller must gain by it, or it would earn evenly next to
nothing.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import numpy as np

from backtester import kernel
from backtester.bars import HOUR_US, Floats, to_micros
from backtester.costs import Costs, MarginRules
from backtester.lanes import Book, Lane, run_arrays
from backtester.metrics import HOURS_PER_YEAR, Moments, max_drawdown, score
from backtester.pooling import pooled_returns
from backtester.windows import Window, walk_forward
from strategies.evolution.bits import Columns, lane_signals
from strategies.evolution.genome import Genome
from strategies.evolution.panel import LaneKey, Panel

FOLDS: Final = 6
"""Folds of the inner part."""
PURGE: Final = timedelta(hours=24)
"""Kept free between the inner part and the check."""
CHECK_SHARE: Final = 0.25
"""Share of the search window that only the choice of finalists sees."""
LEAST_TRADES: Final = 20
"""Below this many trades over the search window a trial has no fitness: too little to judge."""
PART_PRICE: Final = 0.002
"""Hourly Sharpe ratio that each part of a genome must earn."""
FEW_PRICE: Final = 0.3
"""Divided by the root of the number of trades: hourly Sharpe ratio that few trades must earn beside."""
IDLE_PRICE: Final = 0.1
"""Power of the mean size of a position by which fitness is multiplied: half the size must make it 7 % better."""
HOPELESS: Final = -3.0
"""t-value of net hourly returns of one symbol below which a genome is not run on the others."""
MOST_ENTRIES: Final = 0.5
"""Share of the bars with an entry signal above which there is no timing."""
_FREE: Final = Costs.free()


@dataclass(frozen=True)
class Cut:
    """Where the search window's hours belong.

    Parameters
    ----------
    folds : tuple of slice
        Rows of hourly returns of the inner folds.
    inner, check : slice
        Rows of the inner part and of the check.
    """

    folds: tuple[slice, ...]
    inner: slice
    check: slice

    @classmethod
    def of(cls, window: Window) -> "Cut":
        """Cut a search window."""
        (split,) = walk_forward(window, 1, purge=PURGE, first_train=window.length * (1.0 - CHECK_SHARE))
        (inner,) = split.train
        folds = walk_forward(inner, FOLDS - 1)
        first = Window(inner.start, folds[0].test.start)
        pieces = [first, *(fold.test for fold in folds)]
        return cls(tuple(_rows(window, each) for each in pieces), _rows(window, inner), _rows(window, split.test))


def _rows(window: Window, part: Window) -> slice:
    """Return the hourly returns that begin and end inside a part."""
    origin = to_micros(window.start)
    first = -(-(to_micros(part.start) - origin) // HOUR_US)
    return slice(first, (to_micros(part.end) - origin) // HOUR_US)


@dataclass(frozen=True, eq=False)
class Trial:
    """What one full evaluation of a genome gave over the whole search window.

    Parameters
    ----------
    genome : Genome
        What was tried.
    fitness : float
        See the module; minus infinity with fewer than `LEAST_TRADES` trades.
    outlook : float
        Mean of the fitness and of what it would be without fees and slippage: what a change of levels and exits might
        still make of it, since those decide how often costs are paid.
    trades : int
        Of the scored lanes.
    score, sharpe : float, optional
        Pooled score and annualised hourly Sharpe ratio, as `backtester.pooling.pool` gives them.
    trades_a_day : float
        Trades a day and scored lane.
    held_hours : float
        Mean length of a trade.
    returns : ndarray of shape (n_hours,)
        Hourly pooled returns of the search window.
    """

    genome: Genome
    fitness: float
    outlook: float
    trades: int
    score: float | None
    sharpe: float | None
    trades_a_day: float
    held_hours: float
    returns: Floats


@dataclass(frozen=True)
class Rejected:
    """A genome that the cascade stopped before its full evaluation.

    Parameters
    ----------
    genome : Genome
        What was tried.
    stage : {'entries', 'symbol'}
        Too few or too many entry signals, which says nothing about returns; or losing on the first symbol.
    sharpe : float, optional
        Annualised hourly Sharpe ratio on that symbol over the inner part, null at the first stage.
    trades : int
        Trades on that symbol.
    outlook : float
        As of a trial, on that symbol alone; minus infinity at the first stage.
    """

    genome: Genome
    stage: str
    sharpe: float | None = None
    trades: int = 0
    outlook: float = -math.inf


class Bench:
    """Runs genomes on one panel.

    Parameters
    ----------
    panel : Panel
        Of the search window.
    """

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self.cut = Cut.of(panel.window)
        self._days = panel.window.length / timedelta(days=1)
        self._start = to_micros(panel.window.start)
        self._default = MarginRules()

    def run(self, genome: Genome, symbol: str) -> Trial | Rejected:
        """Run one genome: on the scored lanes of `symbol` first, and where it is not hopeless on all lanes."""
        columns = Columns.of(self.panel, genome)
        alone = self._alone(genome, columns, symbol)
        if isinstance(alone, Rejected):
            return alone
        packed, book = alone
        moments = Moments.of(self._returns(book)[self.cut.inner])
        if moments.sharpe is None or moments.sharpe * math.sqrt(moments.count) < HOPELESS:
            trades = int(book.sums[:, kernel.S_TRADES].sum())
            return Rejected(genome, "symbol", moments.annual_sharpe(HOURS_PER_YEAR), trades)
        lanes = [packed.get(key) or self._lane(genome, columns, key) for key in self.panel.lanes]
        return self._judged(genome, run_arrays(lanes, threads=1))

    def screen(self, genome: Genome, symbol: str) -> Rejected:
        """Run one genome on the scored lanes of `symbol` alone, for its outlook there."""
        alone = self._alone(genome, Columns.of(self.panel, genome), symbol)
        if isinstance(alone, Rejected):
            return alone
        packed, book = alone
        returns, trades = self._returns(book), int(book.sums[:, kernel.S_TRADES].sum())
        gross = self._returns(run_arrays([replace(lane, costs=_FREE) for lane in packed.values()], threads=1))
        every = trades * len(self.panel.symbols)
        size = mean_size(packed.values())
        outlook = (self.fitness(returns, every, genome, size) + self.fitness(gross, every, genome, size)) / 2.0
        sharpe = Moments.of(returns[self.cut.inner]).annual_sharpe(HOURS_PER_YEAR)
        return Rejected(genome, "symbol", sharpe, trades, outlook)

    def _alone(self, genome: Genome, columns: Columns, symbol: str) -> Rejected | tuple[dict[LaneKey, Lane], Book]:
        """Run the scored lanes of one symbol, unless the signals alone say that there is nothing to run."""
        keys = self.panel.lanes_of((symbol,), genome.timeframes)
        packed = {key: self._lane(genome, columns, key) for key in keys}
        entries = sum(lane.signals.entries for lane in packed.values())
        bars = sum(len(lane.bars) for lane in packed.values())
        if entries * len(self.panel.symbols) < LEAST_TRADES or entries > MOST_ENTRIES * bars:
            return Rejected(genome, "entries")
        return packed, run_arrays(list(packed.values()), threads=1)

    def full(self, genome: Genome) -> Trial:
        """Run one genome on all lanes without the cascade."""
        columns = Columns.of(self.panel, genome)
        lanes = [self._lane(genome, columns, key) for key in self.panel.lanes]
        return self._judged(genome, run_arrays(lanes, threads=1))

    def _lane(self, genome: Genome, columns: Columns, key: LaneKey) -> Lane:
        lane = self.panel.lanes[key]
        rules = self.panel.rules.get(key[0], self._default)
        return Lane(lane.bars, lane_signals(genome, columns, lane), self.panel.costs, rules)

    def _judged(self, genome: Genome, book: Book) -> Trial:
        scored = [place for place, key in enumerate(self.panel.lanes) if key[1] in genome.timeframes]
        sums = book.sums[scored]
        trades = int(sums[:, kernel.S_TRADES].sum())
        equity = np.mean([book.hourly[place] for place in scored], axis=0)
        returns = pooled_returns(equity, self._start)
        moments = Moments.of(returns)
        sharpe = moments.annual_sharpe(HOURS_PER_YEAR)
        win_rate = float(sums[:, kernel.S_WINS].sum()) / trades if trades else None
        average = 100.0 * float(sums[:, kernel.S_NET_FRACTION].sum()) / trades if trades else None
        held = sum(book.sums[place, kernel.S_HELD] * book.lanes[place].bars.step for place in scored) / HOUR_US
        free = [replace(book.lanes[place], costs=_FREE) for place in scored]
        gross = self._returns(run_arrays(free, threads=1))
        size = mean_size([book.lanes[place] for place in scored])
        fitness = self.fitness(returns, trades, genome, size)
        return Trial(
            genome=genome,
            fitness=fitness,
            outlook=(fitness + self.fitness(gross, trades, genome, size)) / 2.0,
            trades=trades,
            score=score(win_rate, average, sharpe, max_drawdown(np.concatenate([[1.0], equity]))),
            sharpe=sharpe,
            trades_a_day=trades / self._days / len(scored),
            held_hours=float(held) / trades if trades else 0.0,
            returns=returns,
        )

    def _returns(self, book: Book) -> Floats:
        return pooled_returns(np.mean(book.hourly, axis=0), self._start)

    def fitness(self, returns: Floats, trades: int, genome: Genome, size: float = 1.0) -> float:
        """Return the mean of the folds' Sharpe ratios less its standard error, the price of parts and of few trades.

        What is left is made smaller where the mean `size` of a position is below 1.
        """
        if trades < LEAST_TRADES:
            return -math.inf
        ratios = np.array([sharpe_of(returns[fold]) for fold in self.cut.folds])
        error = float(ratios.std(ddof=1)) / math.sqrt(len(ratios))
        earned = float(ratios.mean()) - error - PART_PRICE * genome.size - FEW_PRICE / math.sqrt(trades)
        return earned - abs(earned) * (1.0 - math.pow(size, IDLE_PRICE))


def mean_size(lanes: Iterable[Lane]) -> float:
    """Return the mean share of the equity at stake over all entry signals of some lanes; 1 without any."""
    sizes = []
    for lane in lanes:
        given = lane.signals.parameters.get("size")
        entering = (lane.signals.bits & (kernel.LONG_ENTRY | kernel.SHORT_ENTRY)) != 0
        count = int(np.count_nonzero(entering))
        sizes.append(np.ones(count) if given is None else np.broadcast_to(given, len(entering))[entering])
    every = np.concatenate(sizes) if sizes else np.empty(0)
    return float(every.mean()) if len(every) else 1.0


def sharpe_of(returns: Floats) -> float:
    """Return the Sharpe ratio of one hour; 0 without variance."""
    deviation = float(returns.std())
    return float(returns.mean()) / deviation if deviation > 0.0 else 0.0
