"""Whether the machine is honest: does it support what is worthless, and does it find what is there.

Belongs here: one cycle of search and exam on a market whose truth is known, by the same functions as a real cycle, and
the statistics over many of them. Does not belong here: making such markets and running many cycles
(`benchmarks/calibrate.py`).

*Null*: a market with nothing to find. The share of cycles in which any newcomer is called supported is the rate at
which the label lies. *Power*: a market with a planted reversal. Counted is whether, within some cycles, a supported
strategy goes on to earn a fair part of what the oracle earns, in positions like the oracle's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from scipy.stats import beta

from backtester.bars import Floats
from backtester.costs import Costs
from backtester.overfitting import SharpeEvidence, sharpe_evidence
from backtester.windows import Window, cycle_windows
from features.feature_manager import FeatureManager
from strategies.base import Strategy
from strategies.compiler import compile_strategy
from strategies.evolution.panel import Panel
from strategies.evolution.search import Designs, design

FINALISTS: Final = 10
"""Finalists of a cycle."""
CYCLE: Final = timedelta(hours=48)
"""Time between cycles."""
FORWARD: Final = timedelta(days=14)
"""How long a supported strategy is followed."""
SHARE: Final = 0.5
"""Share of the oracle's net result that it must earn, and correlation that their positions must have."""

ORACLE: Final = '''class ReversalOracle(Strategy):
    """Fade every move of half an hour beyond two sigma for an hour, unless the opposite one is under way.

    Edge: the reversal planted in the `edge` variant of the sample market, from its documentation.
    Fails: on every other market.
    """

    name = "reversal_oracle"
    timeframes = ("1m",)

    def detect(self, f):
        # three plain means stand in for the exponential one with a half-life of 720 minutes
        variance = (
            0.18 * f.realized_volatility_240 ** 2
            + 0.25 * f.realized_volatility_720 ** 2
            + 0.57 * f.realized_volatility_2000 ** 2
        )
        move = f.log_returns_30 / (30 * variance) ** 0.5
        return Signal(
            long_entry=(move < -2) & ~previous(happened(move > 2, 60)),
            short_entry=(move > 2) & ~previous(happened(move < -2, 60)),
            time_stop=60,
        )
'''


@dataclass(frozen=True, eq=False)
class Cycle:
    """One cycle of search and exam.

    Parameters
    ----------
    designs : Designs
        What the search found.
    evidence : dict of str to SharpeEvidence
        Of every strategy that took the exam, by name.
    """

    designs: Designs
    evidence: Mapping[str, SharpeEvidence]

    @property
    def newcomers(self) -> list[Strategy]:
        """The finalists, best promise first."""
        return [each.strategy for each in self.designs.finalists]

    def supported(self, strategies: Sequence[Strategy]) -> list[Strategy]:
        """Return those of some strategies that the exam supports."""
        return [each for each in strategies if each.name in self.evidence and self.evidence[each.name].supported]


def run_cycle(
    manager: FeatureManager,
    symbols: Sequence[str],
    as_of: datetime,
    known: Sequence[Strategy],
    *,
    budget: int,
    seed: int,
    costs: Costs | None = None,
    earlier: int = 0,
) -> Cycle:
    """Search before the exam, then run the known and the finalists through the exam once.

    Parameters
    ----------
    manager : FeatureManager
        Candles and funding, as of `as_of` or later.
    symbols : sequence of str
        What is traded.
    as_of : datetime
        End of the exam.
    known : sequence of Strategy
        They seed the search, take the exam, too, and count as tries.
    budget, seed
        Of the search.
    costs : Costs, optional
        Of search and exam.
    earlier : int
        Tries on overlapping exams beside the known and the finalists.
    """
    windows = cycle_windows(as_of)
    if windows.search is None:
        raise ValueError(windows.reason)
    paid = costs or Costs()
    searched = Panel.read(manager, symbols, windows.search, costs=paid)
    taken = {each.name for each in known}
    found = design(searched, known, budget=budget, seed=seed, finalists=FINALISTS, taken=taken)
    return Cycle(found, take_exam(manager, symbols, windows.exam, known, found, paid, earlier))


def take_exam(
    manager: FeatureManager,
    symbols: Sequence[str],
    window: Window,
    known: Sequence[Strategy],
    found: Designs,
    costs: Costs,
    earlier: int,
) -> dict[str, SharpeEvidence]:
    """Run everything on one exam and judge each Sharpe ratio by how many were tried, as a cycle does."""
    panel = Panel.read(manager, symbols, window, costs=costs)
    runs = [panel.run(each, gross=True) for each in (*known, *(each.strategy for each in found.finalists))]
    errors = [run.gross_se for run in runs if run.gross_se is not None]
    return {run.name: sharpe_evidence(run.returns, len(runs) + earlier, errors) for run in runs}


@dataclass(frozen=True)
class Forward:
    """A strategy against the oracle, after the exam.

    Parameters
    ----------
    pnl_pct, oracle_pnl_pct : float
        Pooled net results, percent.
    correlation : float
        Of positions, minute by minute and symbol by symbol, whatever the lanes.
    """

    pnl_pct: float
    oracle_pnl_pct: float
    correlation: float

    @property
    def good(self) -> bool:
        """Whether it earned a fair part of the oracle's result in positions like its own."""
        return self.pnl_pct >= SHARE * max(self.oracle_pnl_pct, 0.0) and self.correlation >= SHARE


def follow(
    manager: FeatureManager, symbols: Sequence[str], as_of: datetime, strategies: Sequence[Strategy]
) -> dict[str, Forward]:
    """Run strategies and the oracle over the time after an exam; by name."""
    if not strategies:
        return {}
    panel = Panel.read(manager, symbols, Window(as_of, as_of + FORWARD))
    oracle = compile_strategy(ORACLE)
    truth, earned = by_symbol(panel, oracle), panel.run(oracle).pooled.total_pnl_pct
    return {
        each.name: Forward(panel.run(each).pooled.total_pnl_pct, earned, _correlation(by_symbol(panel, each), truth))
        for each in strategies
    }


def by_symbol(panel: Panel, strategy: Strategy) -> Floats:
    """Return the mean position over a strategy's timeframes, minute by minute, one symbol after the other."""
    lanes = panel.positions(strategy)
    minutes = int(panel.window.length / timedelta(minutes=1))
    flat = np.zeros(minutes, dtype=np.int8)
    each = [
        np.mean([lanes.get((symbol, timeframe), flat) for timeframe in strategy.timeframes], axis=0)
        for symbol in panel.symbols
    ]
    return np.concatenate(each)


def _correlation(one: Floats, other: Floats) -> float:
    return float(np.corrcoef(one, other)[0, 1]) if one.std() and other.std() else 0.0


def upper_bound(hits: int, tries: int, confidence: float = 0.95) -> float:
    """Return the exact one-sided upper bound of a share (Clopper & Pearson 1934)."""
    return 1.0 if hits >= tries else float(beta.ppf(confidence, hits + 1, tries - hits))
