"""Fitness of a genome: run on the panel, cheap lanes first, and scored by the mean of its folds less an error.

Belongs here: running a genome, what is measured, fitness. Does not belong here: which genomes are tried
(`strategies.search.map_elites.search`), signals (`strategies.search.map_elites.signal_kernels`), the kernel
(`backtester`).

The fitness function penalises overfitting. `backtester.statistics.windows.walk_forward` splits the search window into
an *inner* part, which the search sees, and, after a purge as long as the longest expected trade, a *check*, which only
the choice of finalists sees. Fitness is the mean of the hourly net Sharpe ratios of the inner folds, less one standard
error of that mean, less a penalty for each part of the genome and for few trades, whose ratio may be luck. A Sharpe
ratio ignores how much capital is used, so smaller positions must improve it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

import numpy as np

from backtester.evaluation.evaluate import largest_notional, unit_lanes
from backtester.simulation import kernel
from backtester.simulation.bar_arrays import to_micros
from backtester.simulation.costs import Costs, MarginRules
from backtester.simulation.lanes import KernelOutput, Lane, run_arrays
from backtester.statistics.metrics import HOURS_PER_YEAR, Moments, fall, hourly_returns
from backtester.statistics.score import score
from features.array_types import FloatArray
from features.bars import DEFAULT_TIMEFRAMES, HOUR_US
from strategies.search.map_elites.genome import Genome
from strategies.search.map_elites.signal_kernels import Columns, lane_signals
from strategies.search.map_elites.styles import cell_of
from strategies.search.map_elites.trials import HOPELESS, Cut, Rejected, Trial
from strategies.search.panel import LaneKey, Panel

LEAST_TRADES: Final = 20
"""Fewest trades over the search window with which a trial has a fitness."""
PART_PRICE: Final = 0.002
"""Penalty for each part of a genome, in hourly Sharpe ratio."""
FEW_PRICE: Final = 0.3
"""Penalty for few trades: hourly Sharpe ratio, divided by the root of the number of trades."""
IDLE_PRICE: Final = 0.1
"""Power of the mean size of a position by which fitness is multiplied: half the size must make it 7 % better."""
MOST_ENTRIES: Final = 0.5
"""Share of the bars with an entry signal above which there is no timing."""
_FREE: Final = Costs.free()


class FitnessEvaluator:
    """Runs genomes on one panel.

    Parameters
    ----------
    panel : Panel
        Of the search window.
    """

    stages: Final = ("entries", "symbol")
    """Too few or too many entry signals, which reveals no return; losing on the first symbol."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self._keys = [key for key in panel.lanes if key[1] in DEFAULT_TIMEFRAMES] or list(panel.lanes)
        there = [panel.lanes[key].bars.hours_with_bars for key in self._keys]
        self.cut = Cut.of(panel.window, np.any(there, axis=0))
        self._days = panel.window.length / timedelta(days=1)
        self._start = to_micros(panel.window.start)
        self._default = MarginRules()

    @property
    def parts(self) -> Sequence[str]:
        """The symbols, one of which a genome is run on first."""
        return self.panel.symbols

    def prepare(self, genomes: Sequence[Genome], symbols: Sequence[str]) -> None:
        """Compute the features that some genomes read on the symbols that they are run on first."""
        self.panel.prefetch(
            (name, key)
            for genome, symbol in zip(genomes, symbols, strict=True)
            for key in self.panel.lanes_of((symbol,), genome.timeframes)
            for name in genome.features
        )

    def run(self, genome: Genome, symbol: str) -> Trial[Genome] | Rejected[Genome]:
        """Run one genome: on the scored lanes of `symbol` first, and where it is not hopeless on all scored lanes."""
        alone = self._alone(genome, symbol)
        if isinstance(alone, Rejected):
            return alone
        packed, output = alone
        moments = Moments.of(self._returns(output)[self.cut.inner])
        if moments.sharpe is None or moments.sharpe * math.sqrt(moments.count) < HOPELESS:
            trades = int(output.sums[:, kernel.S_TRADES].sum())
            return Rejected(genome, "symbol", moments.annual_sharpe(HOURS_PER_YEAR), trades)
        return self._scored(genome, self._run(genome, self._packed(genome, packed)))

    def screen(self, genome: Genome, symbol: str) -> Rejected[Genome]:
        """Run one genome on the scored lanes of `symbol` alone, for its cost_adjusted_fitness there."""
        alone = self._alone(genome, symbol)
        if isinstance(alone, Rejected):
            return alone
        output = alone[1]
        returns, trades = self._returns(output), int(output.sums[:, kernel.S_TRADES].sum())
        gross = self._returns(run_arrays([replace(lane, costs=_FREE) for lane in output.lanes], threads=1))
        every = trades * len(self.panel.symbols)
        size = mean_size(output.lanes)
        net, free = (self.fitness(series, every, genome, size) for series in (returns, gross))
        sharpe = Moments.of(returns[self.cut.inner]).annual_sharpe(HOURS_PER_YEAR)
        return Rejected(genome, "symbol", sharpe, trades, (net + free) / 2.0)

    def _alone(self, genome: Genome, symbol: str) -> Rejected[Genome] | tuple[dict[LaneKey, Lane], KernelOutput]:
        """Run the scored lanes of one symbol, unless the signals alone rule the genome out."""
        keys = self.panel.lanes_of((symbol,), genome.timeframes)
        columns = Columns.of(self.panel, genome, keys)
        packed = {key: self._lane(genome, columns[key], key) for key in keys}
        entries = sum(lane.signals.entries for lane in packed.values())
        bars = sum(len(lane.bars) for lane in packed.values())
        if entries * len(self.panel.symbols) < LEAST_TRADES or entries > MOST_ENTRIES * bars:
            return Rejected(genome, "entries")
        return packed, self._run(genome, list(packed.values()))

    def full(self, genome: Genome) -> Trial[Genome]:
        """Run one genome on all scored lanes without the cascade."""
        return self._scored(genome, self._run(genome, self._packed(genome, {})))

    def _packed(self, genome: Genome, known: Mapping[LaneKey, Lane]) -> list[Lane]:
        """Return the scored lanes of a genome, in order; what the others would do decides nothing in a search."""
        keys = [key for key in self._keys if key[1] in genome.timeframes]
        columns = Columns.of(self.panel, genome, [key for key in keys if key not in known])
        return [known.get(key) or self._lane(genome, columns[key], key) for key in keys]

    def _run(self, genome: Genome, lanes: list[Lane]) -> KernelOutput:
        """Run the unit replay, which the score is of."""
        units = unit_lanes(lanes, self.panel.market, largest_notional(lanes, genome.timeframes))
        return run_arrays(units, threads=1)

    def _lane(self, genome: Genome, columns: Columns, key: LaneKey) -> Lane:
        lane = self.panel.lanes[key]
        rules = self.panel.rules.get(key[0], self._default)
        signals = lane_signals(genome, columns, lane)
        return Lane(self.panel.market.bars_for(signals, lane.bars), signals, self.panel.costs, rules)

    def _scored(self, genome: Genome, output: KernelOutput) -> Trial[Genome]:
        sums, lanes = output.sums, output.lanes
        trades = int(sums[:, kernel.S_TRADES].sum())
        equity = np.mean(output.hourly, axis=0)
        returns = hourly_returns(equity, self._start)
        moments = Moments.of(returns[self.cut.whole])
        sharpe = moments.annual_sharpe(HOURS_PER_YEAR)
        win_rate = float(sums[:, kernel.S_WINS].sum()) / trades if trades else None
        average = 100.0 * float(sums[:, kernel.S_NET_FRACTION].sum()) / trades if trades else None
        held = sum(held * lane.bars.step for held, lane in zip(sums[:, kernel.S_HELD], lanes, strict=True)) / HOUR_US
        gross = self._returns(run_arrays([replace(lane, costs=_FREE) for lane in lanes], threads=1))
        size = mean_size(lanes)
        fitness = self.fitness(returns, trades, genome, size)
        return Trial(
            genome=genome,
            cell=cell_of(genome, trades / self._days / len(lanes), float(held) / trades if trades else 0.0),
            fitness=fitness,
            cost_adjusted_fitness=(fitness + self.fitness(gross, trades, genome, size)) / 2.0,
            trades=trades,
            score=score(win_rate, average, sharpe, fall(equity)),
            sharpe=sharpe,
            returns=returns,
        )

    def _returns(self, output: KernelOutput) -> FloatArray:
        return hourly_returns(np.mean(output.hourly, axis=0), self._start)

    def fitness(self, returns: FloatArray, trades: int, genome: Genome, size: float = 1.0) -> float:
        """Return the mean of the folds' Sharpe ratios less its standard error and the penalties.

        Parameters
        ----------
        returns : ndarray of shape (n_hours,)
            Hourly pooled returns of the search window.
        trades : int
            Number of trades.
        genome : Genome
            Whose parts are penalised.
        size : float
            Mean size of a position, from 0 to 1; below 1 it reduces the fitness.

        Returns
        -------
        float
            Minus infinity with fewer than `LEAST_TRADES` trades.
        """
        if trades < LEAST_TRADES:
            return -math.inf
        earned = self.cut.lasting_sharpe(returns) - PART_PRICE * genome.size - FEW_PRICE / math.sqrt(trades)
        return earned - abs(earned) * (1.0 - math.pow(size, IDLE_PRICE))


def mean_size(lanes: Iterable[Lane]) -> float:
    """Return the mean share of the equity at stake over all entry signals of some lanes; 1 without any."""
    sizes = []
    for lane in lanes:
        column = lane.signals.parameters.get("size")
        entering = (lane.signals.bits & (kernel.LONG_ENTRY | kernel.SHORT_ENTRY)) != 0
        count = int(np.count_nonzero(entering))
        sizes.append(np.ones(count) if column is None else np.broadcast_to(column, len(entering))[entering])
    every = np.concatenate(sizes) if sizes else np.empty(0)
    return float(every.mean()) if len(every) else 1.0
