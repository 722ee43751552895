"""Fitness of a book's genome: run on a third of the evidence first, and scored by its folds less an error.

Belongs here: running a genome on the search window, what is measured, the cells of the archive. Does not belong here:
which genomes are tried (`strategies.search.map_elites.loop`), scores (`strategies.search.books.panel`), folds and the
check (`strategies.search.map_elites.trials`).

The rule is that of strategies: the mean of the inner folds' net Sharpe ratios, less one standard error of that mean,
less a price for each part of the genome and for few trades. Both prices are in standard errors of a ratio over the
inner part, which is what a ratio may be by luck, so that they mean the same in four weeks of hours and in years.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import numpy as np

from backtester.evaluation.book_evaluation import BookEvaluation
from backtester.simulation import book_kernel as kernel
from backtester.simulation.books import BookResult, net_of
from backtester.statistics.metrics import Moments, bars_per_year, max_drawdown
from backtester.statistics.score import score
from backtester.statistics.windows import Window
from features.array_types import BoolArray, FloatArray
from features.bars import MINUTE_US, MINUTES
from strategies.search.books.genome import REBALANCES, BookGenome
from strategies.search.books.panel import THIRDS, InSample, rules_of
from strategies.search.books.vocabulary import GROUPS
from strategies.search.map_elites.genome import DIRECTIONS
from strategies.search.map_elites.trials import HOPELESS, Cell, Cut, Rejected, Trial, sharpe_of

PURGE: Final = timedelta(days=7)
"""Kept free between the inner part and the check: about as long as a book's positions last."""
LEAST_TRADES: Final = 20
"""Fewest trades over the search window with which a trial has a fitness."""
PART_PRICE: Final = 0.05
"""Penalty for each part of a genome, in standard errors of a Sharpe ratio over the inner part."""
FEW_PRICE: Final = 8.0
"""Penalty for few trades, in such standard errors, divided by the root of the number of trades."""
LEAST_KNOWN: Final = 0.5
"""Share of the rebalance bars with enough known scores below which a genome is not run."""
TURNOVER: Final = (0.05, 0.15, 0.4)
"""Edges of turnover: traded notional a day, as a multiple of equity."""
CELLS: Final = len(GROUPS) * len(REBALANCES) * (len(TURNOVER) + 1) * len(DIRECTIONS)


class BookFitness:
    """Runs genomes of books on one search window.

    Parameters
    ----------
    in_sample : InSample
        The window's market.
    """

    stages: Final = ("scores", "third")
    """Too few known scores, which reveals no return; losing on a third of the inner part."""

    def __init__(self, in_sample: InSample) -> None:
        self.in_sample = in_sample
        market, begin = in_sample.market, in_sample.begin
        self._step = MINUTES[market.timeframe] * MINUTE_US
        self._year = bars_per_year(market.timeframe)
        there: BoolArray = np.asarray(~np.isnan(market.close[begin:]).all(axis=1))
        self.cut = Cut.of(in_sample.window, there, purge=PURGE, step=self._step)
        inner = self.cut.inner
        edges = [market.time_of(begin + int(row)) for row in inner[np.linspace(0, len(inner) - 1, 4).astype(int)]]
        self._thirds = {
            name: in_sample.third(Window(first, last))
            for name, first, last in zip(THIRDS, edges, edges[1:], strict=False)
        }

    @property
    def parts(self) -> Sequence[str]:
        """The thirds of the inner part, on one of which a genome is run first."""
        return THIRDS

    def prepare(self, genomes: Sequence[BookGenome], thirds: Sequence[str]) -> None:
        """Compute the scores that some genomes read, of all thirds at once."""
        del thirds
        self.in_sample.prepare(genomes)

    def run(self, genome: BookGenome, part: str) -> Trial[BookGenome] | Rejected[BookGenome]:
        """Run one genome: on a third first, and where it is not hopeless on the whole window."""
        if self.in_sample.known(genome) < LEAST_KNOWN:
            return Rejected(genome, self.stages[0])
        result, returns = self._third(genome, part)
        moments = Moments.of(returns)
        if moments.sharpe is None or moments.sharpe * math.sqrt(moments.count) < HOPELESS:
            return Rejected(genome, self.stages[1], moments.annual_sharpe(self._year), _trades(result))
        return self.full(genome)

    def screen(self, genome: BookGenome, part: str) -> Rejected[BookGenome]:
        """Run one genome on a third, for its cost_adjusted_fitness there."""
        if self.in_sample.known(genome) < LEAST_KNOWN:
            return Rejected(genome, self.stages[0])
        result, returns = self._third(genome, part)
        trades = _trades(result)
        price = self._price(genome, len(THIRDS) * trades)
        fitness = (sharpe_of(returns) + sharpe_of(returns + costs_of(result))) / 2.0 - price
        ratio = Moments.of(returns).annual_sharpe(self._year)
        return Rejected(genome, self.stages[1], ratio, trades, fitness)

    def full(self, genome: BookGenome) -> Trial[BookGenome]:
        """Run one genome on the whole window without the cascade."""
        result = self.in_sample.run_genome(genome, rules_of(genome))
        returns = result.returns
        trades = np.concatenate([tranche.trades for tranche in result.tranches])
        net = net_of(trades)
        ratio = Moments.of(returns[self.cut.whole]).annual_sharpe(self._year)
        win_rate = float((net > 0.0).mean()) if len(trades) else None
        average = float((100.0 * net / trades[:, kernel.E_BASIS]).mean()) if len(trades) else None
        fitness = self.fitness(returns, len(trades), genome)
        free = self.fitness(returns + costs_of(result), len(trades), genome)
        turnover = BookEvaluation("", result).turnover() / self.in_sample.days
        return Trial(
            genome=genome,
            cell=cell_of(genome, turnover),
            fitness=fitness,
            cost_adjusted_fitness=(fitness + free) / 2.0,
            trades=len(trades),
            score=score(win_rate, average, ratio, max_drawdown(np.concatenate([[result.capital], result.equity]))),
            sharpe=ratio,
            returns=returns,
        )

    def fitness(self, returns: FloatArray, trades: int, genome: BookGenome) -> float:
        """Return the mean of the folds' Sharpe ratios of one bar less its standard error and the prices.

        Parameters
        ----------
        returns : ndarray of shape (n_bars,)
            Of the search window.
        trades : int
            Number of trades.
        genome : BookGenome
            Whose parts are counted.

        Returns
        -------
        float
            Minus infinity with fewer than `LEAST_TRADES` trades.
        """
        if trades < LEAST_TRADES:
            return -math.inf
        return self.cut.lasting_sharpe(returns) - self._price(genome, trades)

    def _price(self, genome: BookGenome, trades: int) -> float:
        luck = 1.0 / math.sqrt(max(len(self.cut.inner), 1))
        return luck * (PART_PRICE * genome.parts + FEW_PRICE / math.sqrt(max(trades, 1)))

    def _third(self, genome: BookGenome, part: str) -> tuple[BookResult, FloatArray]:
        market, begin = self._thirds[part]
        result = self.in_sample.run_genome(genome, rules_of(genome), market, begin)
        return result, result.returns


def _trades(result: BookResult) -> int:
    return sum(len(tranche.trades) for tranche in result.tranches)


def cell_of(genome: BookGenome, turnover: float) -> Cell:
    """Return the way of trading of a book: what it bets on, its rebalance interval, turnover and legs.

    Parameters
    ----------
    genome : BookGenome
        The book.
    turnover : float
        Traded notional a day, as a multiple of equity.

    Returns
    -------
    Cell
        Places of the four.
    """
    return (
        GROUPS.index(genome.lead.term.group),
        REBALANCES.index(genome.rebalance),
        bisect_right(TURNOVER, turnover),
        DIRECTIONS.index(genome.direction),
    )


def costs_of(result: BookResult) -> FloatArray:
    """Return the fees and slippage of each bar as a fraction of the equity before it, shape (n_bars,).

    Added to the returns they give about those without costs, at the same quantities.
    """
    paid = np.zeros(len(result.equity))
    for tranche in result.tranches:
        fills = tranche.fills
        slippage = np.abs(fills[:, kernel.F_QUANTITY] * (fills[:, kernel.F_PRICE] - fills[:, kernel.F_REFERENCE]))
        rows = fills[:, kernel.F_ROW].astype(np.int64) - result.begin
        paid += np.bincount(rows, weights=fills[:, kernel.F_FEE] + slippage, minlength=len(paid))
    before = np.concatenate([[result.capital], result.equity[:-1]])
    share: FloatArray = np.divide(paid, before, out=np.zeros_like(paid), where=before > 0.0)
    return share
