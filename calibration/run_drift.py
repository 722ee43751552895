"""Error rates of the drift tests, by simulation: false alarms, and detection of a planted drift.

    python -m calibration.run_drift [--dates 400] [--seeds 100]

Hourly returns with heavy tails, volatility clustering, a factor that all strategies share, and idle hours. Unbiased
expectation: holdout and forward come from the same process. Planted drift: a holdout of t = 4.5 whose edge reverses.
Selected: the 20 best of 60 without any edge, as a ranking would choose them; no bound is claimed for these.
"""

import argparse

import numpy as np
from scipy.stats import binomtest

from backtester.statistics.drift import BLOCK, Decision, DriftTest, compare, decide
from features.array_types import FloatArray

HOLDOUT = 7 * BLOCK
DRAWS = 1_999


def market(rng: np.random.Generator, hours: int, count: int) -> FloatArray:
    """Simulate hourly returns with heavy tails, volatility clustering, a common factor and idle hours.

    Parameters
    ----------
    rng : Generator
        Source of all draws.
    hours : int
        Length of the series.
    count : int
        Number of strategies.

    Returns
    -------
    FloatArray of shape (count, hours)
        Fractions; 0 in idle hours.
    """
    own, shared = rng.standard_t(4, (count, hours)), rng.standard_t(4, hours)
    shocks = rng.normal(0.0, 0.15, hours)
    level = np.zeros(hours)
    for hour in range(1, hours):
        level[hour] = 0.95 * level[hour - 1] + shocks[hour]
    trading = rng.random((count, hours)) < rng.uniform(0.1, 0.9, (count, 1))
    return (0.5 * shared + own) * np.exp(level) * trading


def alarms(returns: FloatArray, days: int, seed: int) -> list[bool]:
    """Run the drift tests of one evaluation date.

    Parameters
    ----------
    returns : FloatArray of shape (count, hours)
        Returns of the holdout, then of the forward period.
    days : int
        Days of the forward period.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    list of bool
        For each row, whether it is flagged as drift.
    """
    tests = [
        DriftTest(compare(row[:HOLDOUT], row[HOLDOUT : HOLDOUT + days * BLOCK], seed=seed, draws=DRAWS), days, 99)
        for row in returns
    ]
    return [verdict.decision == Decision.DRIFT for verdict in decide(tests)]


def false_alarms(dates: int, count: int = 25, days: int = 8, *, best_of: int | None = None, seed: int = 1) -> int:
    """Count the evaluation dates with a false alarm.

    Parameters
    ----------
    dates : int
        Number of simulated evaluation dates.
    count : int
        Strategies on each.
    days : int
        Days of the forward period.
    best_of : int, optional
        Select the `count` best holdouts of so many, which biases the expected performance.
    seed : int
        Seed of the simulation.

    Returns
    -------
    int
        Dates on which at least one strategy is flagged.
    """
    rng = np.random.default_rng(seed)
    wrong = 0
    for number in range(dates):
        returns = market(rng, HOLDOUT + days * BLOCK, best_of or count)
        if best_of:
            returns = returns[np.argsort(-returns[:, :HOLDOUT].mean(axis=1))[:count]]
        wrong += any(alarms(returns, days, number))
    return wrong


def detected(seeds: int, strength: float = 4.5, count: int = 20, *, seed: int = 2) -> int:
    """Count the seeds in which a reversed edge is flagged on the 8th, 9th or 10th day.

    Parameters
    ----------
    seeds : int
        Number of simulations.
    strength : float
        Edge in the holdout, in standard errors.
    count : int
        Strategies in each simulation; the first has the edge.
    seed : int
        Seed of the simulation.

    Returns
    -------
    int
        At most `seeds`.
    """
    rng = np.random.default_rng(seed)
    hits = 0
    for number in range(seeds):
        returns = market(rng, HOLDOUT + 10 * BLOCK, count)
        holdout = returns[0, :HOLDOUT]
        error = float(holdout.reshape(-1, BLOCK).mean(axis=1).std(ddof=1) / np.sqrt(HOLDOUT / BLOCK))
        returns[0, :HOLDOUT] += strength * error - holdout.mean()
        returns[0, HOLDOUT:] -= strength * error
        hits += any(alarms(returns, days, number)[0] for days in (8, 9, 10))
    return hits


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dates", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=100)
    options = parser.parse_args()
    for label, best_of in (("unbiased expectation", None), ("the 20 best of 60 holdouts", 60)):
        wrong = false_alarms(options.dates, 20, best_of=best_of)
        p = binomtest(wrong, options.dates, 0.10, alternative="greater").pvalue
        print(f"{label}: dates with a false alarm {wrong} of {options.dates}; p that they are at most 10 %: {p:.3f}")
    hits = detected(options.seeds)
    print(f"planted drift (holdout t 4.5, reversed) detected within 3 nights: {hits} of {options.seeds}")


if __name__ == "__main__":
    main()
