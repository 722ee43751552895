"""How often the probabilistic Sharpe ratio reaches 0.95, without an edge and with one.

Run ``python -m calibration.run_sharpe [--draws 4000] [--desks 1000] [--seed 1]``. Each draw is a week of hourly returns
with the episodes of its trades. Without an edge the share at 0.95 or more should be 5 %. A desk is a week of sixty
worthless strategies that are more or less alike; its best one should not be supported. The exit status is 1 if the
share is above 6 %, or that of desks above 1.5 %.
"""

import argparse
import sys
from collections.abc import Callable

import numpy as np

from backtester.statistics.overfitting import SUPPORTED, effective_trials, probabilistic_sharpe, sharpe_evidence
from calibration.returns import Draw, autoregressive, garch, gaussian, heavy
from features.array_types import FloatArray

HOURS = 168
MOST_FALSE = 0.06
MOST_CHOSEN = 0.015
"""Largest share of desks of sixty worthless strategies whose best one is supported."""
TRIES = 60
FIRST = 5
"""Strategies of a desk with the largest ratios, one of which has the largest deflated one."""
EDGE = 3.0
"""True t ratio of the cases with an edge."""

Week = tuple[FloatArray, FloatArray]
"""Hourly returns and the results of their episodes."""


def held(returns: FloatArray, length: int) -> FloatArray:
    """Return the results of consecutive episodes of `length` hours.

    `returns` has shape (n_hours,), the result (n_hours // length,).
    """
    sums: FloatArray = returns[: len(returns) // length * length].reshape(-1, length).sum(axis=1)
    return sums


def bets(count: int, win_rate: float, edge: float = 0.0) -> Callable[[np.random.Generator], Week]:
    """Return a generator of weeks with bets of one hour that lose 1 or win a fixed amount.

    Parameters
    ----------
    count : int
        Bets per week.
    win_rate : float
        Probability of a win, between 0 and 1.
    edge : float
        True t ratio of the week; at 0 the bets are fair.

    Returns
    -------
    callable
        Draws a week.
    """
    more = edge * np.sqrt(win_rate * (1.0 - win_rate) / count)
    gain = (1.0 - win_rate + more) / (win_rate - more)

    def draw(rng: np.random.Generator) -> Week:
        results = np.where(rng.random(count) < win_rate, gain, -1.0)
        returns = np.zeros(HOURS)
        returns[np.sort(rng.choice(HOURS, count, replace=False))] = results
        return returns, results

    return draw


def series(draw_hours: Draw, length: int, edge: float = 0.0) -> Callable[..., Week]:
    """Return a generator of weeks from a process of hourly returns.

    Parameters
    ----------
    draw_hours : callable
        Draws returns with unit variance.
    length : int
        Hours of each episode.
    edge : float
        True t ratio that is added.

    Returns
    -------
    callable
        Draws a week.
    """

    def draw(rng: np.random.Generator) -> Week:
        returns = draw_hours(rng, 1, HOURS)[0] + edge / np.sqrt(HOURS)
        return returns, held(returns, length)

    return draw


SERIES: dict[str, Draw] = {
    "Gaussian": gaussian, "t3": heavy, "AR(1) 0.2": autoregressive(0.2), "AR(1) 0.4": autoregressive(0.4),
    "GARCH": garch,
}  # fmt: skip
WORTHLESS: dict[str, Callable[[np.random.Generator], Week]] = {
    **{f"{name}, episodes of {length} h": series(made, length) for name, made in SERIES.items() for length in (1, 4)},
    **{f"{count} fair bets, win rate {rate}": bets(count, rate) for count in (10, 30, 100) for rate in (0.1, 0.5, 0.9)},
}
WORTHY: dict[str, Callable[[np.random.Generator], Week]] = {
    **{f"{name}, episodes of 4 h": series(SERIES[name], 4, EDGE) for name in ("Gaussian", "t3", "GARCH")},
    **{f"{count} bets, win rate {rate}": bets(count, rate, EDGE) for count in (30, 100) for rate in (0.5, 0.9)},
}


def share(draw: Callable[[np.random.Generator], Week], draws: int, seed: int) -> float:
    """Return the share of weeks whose probabilistic Sharpe ratio is 0.95 or more.

    Parameters
    ----------
    draw : callable
        Draws a week.
    draws : int
        Number of weeks.
    seed : int
        Seed of all draws.

    Returns
    -------
    float
        0 to 1; weeks without a ratio count as below.
    """
    rng = np.random.default_rng(seed)
    return float(np.mean([(probabilistic_sharpe(*draw(rng)) or 0.0) >= SUPPORTED for _ in range(draws)]))


def alike(groups: int, share: float) -> Callable[[np.random.Generator], FloatArray]:
    """Return a generator of weeks of sixty worthless strategies in groups.

    Parameters
    ----------
    groups : int
        Number of groups; those of a group share a part of their returns.
    share : float
        That part, as a share of the variance, so the correlation inside a group.

    Returns
    -------
    callable
        Draws returns of shape (168, 60).
    """

    def draw(rng: np.random.Generator) -> FloatArray:
        shared = np.repeat(rng.standard_normal((HOURS, groups)), TRIES // groups, axis=1)
        return np.sqrt(share) * shared + np.sqrt(1.0 - share) * rng.standard_normal((HOURS, TRIES))

    return draw


DESKS: dict[str, Callable[[np.random.Generator], FloatArray]] = {
    "60 unrelated": alike(1, 0.0), "6 groups of 10, 0.8": alike(6, 0.8), "one group, 0.5": alike(1, 0.5),
    "one group, 0.9": alike(1, 0.9), "20 groups of 3, 0.9": alike(20, 0.9),
}  # fmt: skip


def best_supported(draw: Callable[[np.random.Generator], FloatArray], desks: int, seed: int) -> tuple[float, float]:
    """Return how often the best of sixty worthless strategies is supported.

    Parameters
    ----------
    draw : callable
        Draws returns of a desk, shape (168, 60).
    desks : int
        Number of desks.
    seed : int
        Seed of all draws.

    Returns
    -------
    tuple of float
        Share of desks, 0 to 1; mean number of effective tries.
    """
    rng = np.random.default_rng(seed)
    hits, worth = 0, 0.0
    for _ in range(desks):
        week = draw(rng)
        effective = effective_trials(week, TRIES)
        ratios = week.mean(axis=0) / week.std(axis=0)
        first = np.argsort(-ratios)[:FIRST]
        found = (
            sharpe_evidence(week[:, each], held(week[:, each], 4), TRIES, [HOURS**-0.5], effective=effective)
            for each in first
        )
        hits += any(each.supported for each in found)
        worth += effective
    return hits / desks, worth / desks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=4000)
    parser.add_argument("--desks", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    worst = 0.0
    for name, draw in WORTHLESS.items():
        passed = share(draw, options.draws, options.seed)
        worst = max(worst, passed)
        print(f"no edge      {name:<32} {passed:6.1%}", flush=True)
    for name, draw in WORTHY.items():
        print(f"a true t of 3  {name:<30} {share(draw, options.draws, options.seed):6.1%}", flush=True)
    chosen = 0.0
    for name, made in DESKS.items():
        passed, worth = best_supported(made, options.desks, options.seed)
        chosen = max(chosen, passed)
        print(f"best of 60   {name:<32} {passed:6.1%}, worth {worth:.0f} independent tries", flush=True)
    print(f"at most {worst:.1%} without an edge; the limit is {MOST_FALSE:.0%}")
    print(f"at most {chosen:.1%} of the best of 60; the limit is {MOST_CHOSEN:.1%}")
    return 0 if worst <= MOST_FALSE and chosen <= MOST_CHOSEN else 1


if __name__ == "__main__":
    sys.exit(main())
