"""Error rates of the feature-drift tests, by simulation: false alarms, and detection of a shift.

    python -m calibration.run_input_drift [--tests 400]

Hourly inputs are autoregressive with heavy tails and a common factor, some with added noise; eight per
model. *Still*: four weeks, the training week at their end, and the forward days come from one process. *Moved*: one of
the eight inputs is shifted by one standard deviation from the first forward hour on.
"""

import argparse

import numpy as np
from scipy.stats import binomtest

from backtester.statistics.drift import BLOCK
from features.array_types import FloatArray
from model_zoo.evaluation.feature_drift import LEVELS, InputComparison, compare_inputs

HISTORY = 28 * BLOCK
TRAIN = 7 * BLOCK
INPUTS = 8
NAMES = tuple(f"input_{number}" for number in range(INPUTS))
DRAWS = 999
STRICT, NOMINAL = 0.05, 0.10
_BEFORE = 200


def inputs(rng: np.random.Generator, hours: int, decay: float, noise: float = 0.0) -> FloatArray:
    """Simulate inputs of unit variance: AR(1) processes of Student's t with a common factor, and added noise.

    Parameters
    ----------
    rng : Generator
        Source of all draws.
    hours : int
        Length of the series.
    decay : float
        Autocorrelation at one hour, 0 to 1.
    noise : float
        Share of the variance that is white noise, 0 to 1.

    Returns
    -------
    FloatArray of shape (hours, INPUTS)
        One column per input.
    """
    count = hours + _BEFORE
    shocks = rng.standard_t(5, (count, INPUTS)) * np.sqrt(3 / 5) + 0.5 * rng.normal(size=(count, 1))
    values = np.zeros((count, INPUTS))
    for hour in range(1, count):
        values[hour] = decay * values[hour - 1] + shocks[hour]
    values *= np.sqrt((1 - decay**2) / 1.25)
    series: FloatArray = np.sqrt(1 - noise) * values[_BEFORE:] + np.sqrt(noise) * rng.normal(size=(hours, INPUTS))
    return series


def compared(values: FloatArray, seed: int, history: int = HISTORY, draws: int = DRAWS) -> InputComparison | None:
    """Compare the hours after the history with its last week.

    Parameters
    ----------
    values : FloatArray of shape (hours, INPUTS)
        Inputs of the history, then of the forward period.
    seed : int
        Seed of the bootstrap.
    history : int
        Hours of the history.
    draws : int
        Draws of the bootstrap.

    Returns
    -------
    InputComparison or None
        As `compare_inputs` returns it.
    """
    levels = np.quantile(values[history - TRAIN : history], LEVELS, axis=0).T
    scores = (values[:, :, np.newaxis] <= levels).astype(np.float64)
    return compare_inputs(
        NAMES, scores[:history], scores[history - TRAIN : history], scores[history:], seed=seed, draws=draws
    )


def p_values(
    tests: int, decay: float, days: int = 8, *, shift: float = 0.0, noise: float = 0.0, history: int = HISTORY,
    seed: int = 1,
) -> FloatArray:  # fmt: skip
    """Return the p-values of simulated models.

    Parameters
    ----------
    tests : int
        Number of models.
    decay, noise : float
        As in `inputs`.
    days : int
        Days of the forward period.
    shift : float
        Shift of one input of each model in the forward period, in standard deviations.
    history : int
        Hours of the history.
    seed : int
        Seed of the simulation.

    Returns
    -------
    FloatArray of shape (tests,)
        NaN where nothing could be compared.
    """
    rng = np.random.default_rng(seed)
    p = []
    for number in range(tests):
        values = inputs(rng, history + days * BLOCK, decay, noise)
        values[history:, 0] += shift
        result = compared(values, number, history)
        p.append(np.nan if result is None else result.p)
    return np.array(p)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", type=int, default=400)
    options = parser.parse_args()
    print("decay noise days history   still: p <= 5 %, p <= 10 % (p that it is at most 10 %)   moved: p <= 5 %, 10 %")
    for decay, noise, days, history in (
        (0.0, 0.0, 8, 28), (0.5, 0.0, 8, 28), (0.7, 0.0, 8, 28), (0.7, 0.0, 14, 28), (0.7, 0.0, 8, 21),
        (0.9, 0.0, 8, 28), (0.9, 0.5, 8, 28), (0.9, 0.0, 14, 28), (0.9, 0.0, 8, 21), (0.95, 0.0, 8, 28),
        (0.95, 0.5, 14, 28), (0.98, 0.0, 8, 28), (0.98, 0.0, 14, 21),
    ):  # fmt: skip
        still = p_values(options.tests, decay, days, noise=noise, history=history * BLOCK)
        moved = p_values(options.tests // 2, decay, days, noise=noise, history=history * BLOCK, shift=1.0)
        wrong = int((still <= NOMINAL).sum())
        bound = binomtest(wrong, options.tests, NOMINAL, alternative="greater").pvalue
        rates = [float((p <= level).mean()) for p in (still, moved) for level in (STRICT, NOMINAL)]
        print(
            f"{decay:5.2f} {noise:5.1f} {days:4d} {history:7d}   "
            f"{rates[0]:6.1%} {rates[1]:6.1%} ({bound:.2f})   {rates[2]:6.1%} {rates[3]:6.1%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
