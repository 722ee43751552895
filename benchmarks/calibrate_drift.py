"""How often the night's drift tests are wrong, and how often they find what was planted: pure simulation, no warehouse.

    python benchmarks/calibrate_drift.py [--nights 400] [--seeds 100]

Hourly returns with heavy tails, volatility that clusters, a factor that all strategies share, and idle hours. Honest
promises: exam and forward come from the same process. Planted drift: an exam of t = 4.5 whose edge reverses. Selected
promises: the 20 best of 60 without any edge, as a ranking would choose them; no bound is claimed for these.
"""

import argparse

import numpy as np
from scipy.stats import binomtest

from backtester.drift import BLOCK, Floats, Test, compare, night

EXAM = 7 * BLOCK
DRAWS = 1_999


def market(rng: np.random.Generator, hours: int, count: int) -> Floats:
    """Return hourly returns of shape (count, hours)."""
    own, shared = rng.standard_t(4, (count, hours)), rng.standard_t(4, hours)
    shocks = rng.normal(0.0, 0.15, hours)
    level = np.zeros(hours)
    for hour in range(1, hours):
        level[hour] = 0.95 * level[hour - 1] + shocks[hour]
    trading = rng.random((count, hours)) < rng.uniform(0.1, 0.9, (count, 1))
    return (0.5 * shared + own) * np.exp(level) * trading


def alarms(returns: Floats, days: int, seed: int) -> list[bool]:
    """Return which rows are called drift, of exam and forward returns one after the other."""
    tests = [
        Test(compare(row[:EXAM], row[EXAM : EXAM + days * BLOCK], seed=seed, draws=DRAWS), days, 99) for row in returns
    ]
    return [verdict.decision == "drift" for verdict in night(tests)]


def false_nights(nights: int, count: int = 25, days: int = 8, *, best_of: int | None = None, seed: int = 1) -> int:
    """Return the number of nights with a false alarm; with `best_of`, of the best exams of so many."""
    rng = np.random.default_rng(seed)
    wrong = 0
    for each in range(nights):
        returns = market(rng, EXAM + days * BLOCK, best_of or count)
        if best_of:
            returns = returns[np.argsort(-returns[:, :EXAM].mean(axis=1))[:count]]
        wrong += any(alarms(returns, days, each))
    return wrong


def found(seeds: int, strength: float = 4.5, count: int = 20, *, seed: int = 2) -> int:
    """Return in how many seeds a reversed edge is flagged on the 8th, 9th or 10th day."""
    rng = np.random.default_rng(seed)
    hits = 0
    for each in range(seeds):
        returns = market(rng, EXAM + 10 * BLOCK, count)
        exam = returns[0, :EXAM]
        error = float(exam.reshape(-1, BLOCK).mean(axis=1).std(ddof=1) / np.sqrt(EXAM / BLOCK))
        returns[0, :EXAM] += strength * error - exam.mean()
        returns[0, EXAM:] -= strength * error
        hits += any(alarms(returns, days, each)[0] for days in (8, 9, 10))
    return hits


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=100)
    given = parser.parse_args()
    for label, best_of in (("honest promises", None), ("the 20 best of 60 exams", 60)):
        wrong = false_nights(given.nights, 20, best_of=best_of)
        p = binomtest(wrong, given.nights, 0.10, alternative="greater").pvalue
        print(f"{label}: false nights {wrong} of {given.nights}; p that they are at most 10 %: {p:.3f}")
    print(f"planted drift (exam t 4.5, reversed) found within 3 nights: {found(given.seeds)} of {given.seeds}")


if __name__ == "__main__":
    main()
