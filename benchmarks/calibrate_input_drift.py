"""How often a model's inputs are said to have moved when they have not, and how often when they have: pure simulation.

    python benchmarks/calibrate_input_drift.py [--tests 400]

Hourly inputs of autoregression, whose tails are heavy and which share a factor, some with noise on top; eight to a
model. *Still*: four weeks, the training week at their end, and the forward days come from one process. *Moved*: one
input of the eight is shifted by one standard deviation from the forward period's first hour on.
"""

import argparse

import numpy as np
from scipy.stats import binomtest

from backtester.drift import BLOCK, Floats
from model_zoo.input_drift import LEVELS, InputComparison, compare_inputs

HISTORY = 28 * BLOCK
TRAIN = 7 * BLOCK
INPUTS = 8
NAMES = tuple(f"input_{number}" for number in range(INPUTS))
DRAWS = 999
STRICT, NOMINAL = 0.05, 0.10
_BEFORE = 200


def inputs(rng: np.random.Generator, hours: int, decay: float, noise: float = 0.0) -> Floats:
    """Return inputs of unit variance, shape (hours, INPUTS): AR(1) of Student's t with a common factor, and noise."""
    count = hours + _BEFORE
    shocks = rng.standard_t(5, (count, INPUTS)) * np.sqrt(3 / 5) + 0.5 * rng.normal(size=(count, 1))
    values = np.zeros((count, INPUTS))
    for hour in range(1, count):
        values[hour] = decay * values[hour - 1] + shocks[hour]
    values *= np.sqrt((1 - decay**2) / 1.25)
    found: Floats = np.sqrt(1 - noise) * values[_BEFORE:] + np.sqrt(noise) * rng.normal(size=(hours, INPUTS))
    return found


def compared(values: Floats, seed: int, history: int = HISTORY, draws: int = DRAWS) -> InputComparison | None:
    """Return the comparison of what follows `history` hours with the week before."""
    levels = np.quantile(values[history - TRAIN : history], LEVELS, axis=0).T
    scores = (values[:, :, np.newaxis] <= levels).astype(np.float64)
    return compare_inputs(
        NAMES, scores[:history], scores[history - TRAIN : history], scores[history:], seed=seed, draws=draws
    )


def p_values(
    tests: int, decay: float, days: int = 8, *, shift: float = 0.0, noise: float = 0.0, history: int = HISTORY,
    seed: int = 1,
) -> Floats:  # fmt: skip
    """Return the p-values of so many models, one input of each shifted by so many standard deviations."""
    rng = np.random.default_rng(seed)
    found = []
    for each in range(tests):
        values = inputs(rng, history + days * BLOCK, decay, noise)
        values[history:, 0] += shift
        result = compared(values, each, history)
        found.append(np.nan if result is None else result.p)
    return np.array(found)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", type=int, default=400)
    given = parser.parse_args()
    print("decay noise days history   still: p <= 5 %, p <= 10 % (p that it is at most 10 %)   moved: p <= 5 %, 10 %")
    for decay, noise, days, history in (
        (0.0, 0.0, 8, 28), (0.5, 0.0, 8, 28), (0.7, 0.0, 8, 28), (0.7, 0.0, 14, 28), (0.7, 0.0, 8, 21),
        (0.9, 0.0, 8, 28), (0.9, 0.5, 8, 28), (0.9, 0.0, 14, 28), (0.9, 0.0, 8, 21), (0.95, 0.0, 8, 28),
        (0.95, 0.5, 14, 28), (0.98, 0.0, 8, 28), (0.98, 0.0, 14, 21),
    ):  # fmt: skip
        still = p_values(given.tests, decay, days, noise=noise, history=history * BLOCK)
        moved = p_values(given.tests // 2, decay, days, noise=noise, history=history * BLOCK, shift=1.0)
        wrong = int((still <= NOMINAL).sum())
        bound = binomtest(wrong, given.tests, NOMINAL, alternative="greater").pvalue
        rates = [float((p <= level).mean()) for p in (still, moved) for level in (STRICT, NOMINAL)]
        print(
            f"{decay:5.2f} {noise:5.1f} {days:4d} {history:7d}   "
            f"{rates[0]:6.1%} {rates[1]:6.1%} ({bound:.2f})   {rates[2]:6.1%} {rates[3]:6.1%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
