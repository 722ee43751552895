"""Calibration of the search: how often it supports a worthless strategy, and how often it finds a planted edge.

Belongs here: one cycle of search and holdout on a market with a known truth, by the same functions as a real cycle, and
statistics over many cycles. Does not belong here: making such markets and running many cycles
(`calibration/run_search.py`).

*Null*: a market without an edge. The share of cycles with a supported newcomer is the rate of false support. *Power*: a
market with a planted reversal. A cycle succeeds if a supported strategy goes on to earn a fair part of the oracle's
result, in positions like the oracle's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Generic, TypeVar

import numpy as np
from scipy.stats import beta

from backtester.simulation.costs import Costs
from backtester.statistics.overfitting import SharpeEvidence, effective_trials, sharpe_evidence
from backtester.statistics.windows import Window, cycle_windows
from features.array_types import FloatArray
from features.feature_manager import FeatureManager
from strategies.language.strategy import Strategy, Written
from strategies.search.map_elites.loop import Designs
from strategies.search.map_elites.search import design
from strategies.search.panel import Panel
from strategies.untrusted.compiler import compile_strategy

FINALISTS: Final = 10
"""Finalists of a cycle."""
CYCLE: Final = timedelta(hours=48)
"""Time between cycles."""
FORWARD: Final = timedelta(days=14)
"""How long a supported strategy is tracked."""
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


W = TypeVar("W", bound=Written)


@dataclass(frozen=True, eq=False)
class Cycle(Generic[W]):
    """One cycle of search and holdout, of strategies or books.

    Parameters
    ----------
    designs : Designs
        What the search found.
    evidence : dict of str to SharpeEvidence
        Of everything that was run on the holdout, by name.
    """

    designs: Designs[Any, W]
    evidence: Mapping[str, SharpeEvidence]

    @property
    def newcomers(self) -> list[W]:
        """The finalists, best expected first."""
        return [finalist.strategy for finalist in self.designs.finalists]

    def supported(self, versions: Sequence[W]) -> list[W]:
        """Return those of the given versions that the holdout supports."""
        names = {name for name, evidence in self.evidence.items() if evidence.supported}
        return [version for version in versions if version.name in names]


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
) -> Cycle[Strategy]:
    """Search before the holdout, then run the known strategies and the finalists on the holdout once.

    Parameters
    ----------
    manager : FeatureManager
        Candles and funding, as of `as_of` or later.
    symbols : sequence of str
        What is traded.
    as_of : datetime
        End of the holdout.
    known : sequence of Strategy
        They seed the search, are run on the holdout too, and count as trials.
    budget, seed
        Of the search.
    costs : Costs, optional
        Of search and holdout.
    earlier : int
        Further trials on overlapping holdouts.

    Returns
    -------
    Cycle
        Designs and evidence.

    Raises
    ------
    ValueError
        If the history is too short for a search.
    """
    windows = cycle_windows(as_of)
    if windows.search is None:
        raise ValueError(windows.reason)
    paid = costs or Costs()
    searched = Panel.read(manager, symbols, windows.search, costs=paid)
    taken = {strategy.name for strategy in known}
    designs = design(searched, known, budget=budget, seed=seed, finalists=FINALISTS, taken=taken)
    strategies = [*known, *(finalist.strategy for finalist in designs.finalists)]
    return Cycle(designs, run_holdout(manager, symbols, windows.holdout, strategies, paid, earlier))


def run_holdout(
    manager: FeatureManager,
    symbols: Sequence[str],
    window: Window,
    strategies: Sequence[Strategy],
    costs: Costs,
    earlier: int,
) -> dict[str, SharpeEvidence]:
    """Run strategies on one holdout and evaluate each Sharpe ratio given the number of trials, as a cycle does.

    Parameters
    ----------
    manager, symbols, costs, earlier
        As for `run_cycle`.
    window : Window
        The holdout.
    strategies : sequence of Strategy
        Each is a trial.

    Returns
    -------
    dict of str to SharpeEvidence
        By name.
    """
    panel = Panel.read(manager, symbols, window, costs=costs)
    runs = [panel.run(strategy, evidence=True) for strategy in strategies]
    errors = [run.gross_se for run in runs if run.gross_se is not None]
    there = np.any([run.pooled.present for run in runs], axis=0)
    tries = len(runs) + earlier
    worth = effective_trials(np.column_stack([run.returns[there] for run in runs]), tries)
    return {
        run.name: sharpe_evidence(run.pooled.present_returns, run.episodes, tries, errors, effective=worth)
        for run in runs
        if run.episodes is not None
    }


@dataclass(frozen=True)
class Forward:
    """A strategy against the oracle, after the holdout.

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
    """Run strategies and the oracle over the time after a holdout.

    Parameters
    ----------
    manager : FeatureManager
        Candles and funding until the end of that time.
    symbols : sequence of str
        What is traded.
    as_of : datetime
        End of the holdout.
    strategies : sequence of Strategy
        The strategies to track.

    Returns
    -------
    dict of str to Forward
        By name.
    """
    if not strategies:
        return {}
    panel = Panel.read(manager, symbols, Window(as_of, as_of + FORWARD))
    oracle = compile_strategy(ORACLE)
    truth, earned = by_symbol(panel, oracle), panel.run(oracle).pooled.total_pnl_pct
    results = {}
    for strategy in strategies:
        correlation = _correlation(by_symbol(panel, strategy), truth)
        results[strategy.name] = Forward(panel.run(strategy).pooled.total_pnl_pct, earned, correlation)
    return results


def by_symbol(panel: Panel, strategy: Strategy) -> FloatArray:
    """Return the mean position over a strategy's timeframes, minute by minute, one symbol after the other.

    The result has shape (n_symbols * n_minutes,).
    """
    lanes = {lane: held.each_step() for lane, held in panel.positions(strategy).items()}
    minutes = int(panel.window.length / timedelta(minutes=1))
    flat = np.zeros(minutes)
    curves = [
        np.mean([lanes.get((symbol, timeframe), flat) for timeframe in strategy.timeframes], axis=0)
        for symbol in panel.symbols
    ]
    return np.concatenate(curves)


def _correlation(one: FloatArray, other: FloatArray) -> float:
    return float(np.corrcoef(one, other)[0, 1]) if one.std() and other.std() else 0.0


def upper_bound(hits: int, tries: int, confidence: float = 0.95) -> float:
    """Return the exact one-sided upper bound of a share (Clopper & Pearson 1934).

    Parameters
    ----------
    hits : int
        Number of successes.
    tries : int
        Number of trials.
    confidence : float
        One-sided.

    Returns
    -------
    float
        Clopper-Pearson bound on the rate.

    Examples
    --------
    >>> round(upper_bound(0, 200), 4)
    0.0149
    """
    return 1.0 if hits >= tries else float(beta.ppf(confidence, hits + 1, tries - hits))
