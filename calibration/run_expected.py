"""How near expected ratios come to the truth, and how often their intervals hold.

Run ``python -m calibration.run_expected [--desks 200] [--seed 2]``, two minutes. Each desk has 100 strategies whose
true annual ratios have a standard deviation of 1.5, weeks with an effect of 2 on everybody, and a weekly error of 7.
Ends with status 1 where the mean correlation of expected with true ratios is below 0.55 after 12 weeks or 0.7 after 26,
or where the intervals of 80 % hold less than 75 or more than 85 % of the ratios of the next four weeks.
"""

import argparse
import sys
from typing import Final

import numpy as np

from backtester.statistics.expected import HALF_LIFE, expected_ratios
from features.array_types import FloatArray

STRATEGIES: Final = 100
SPREAD: Final = 1.5
ERROR: Final = 7.0
EFFECT: Final = 2.0
MONTH: Final = 4
LEAST: Final = {1: 0.0, 4: 0.0, 12: 0.55, 26: 0.7}
"""Least mean correlation after so many weeks; one week alone is shown for comparison."""
COVER: Final = (0.75, 0.85)
_WEEKS_APART: Final = 8.0
"""Days from one holdout that does not overlap another to the next."""


def desk(weeks: int, rng: np.random.Generator) -> tuple[float, float]:
    """Simulate one desk.

    Parameters
    ----------
    weeks : int
        Holdouts so far.
    rng : Generator
        Source of all draws.

    Returns
    -------
    tuple of float
        Correlation of expected (after one week: observed) with true ratios, 0 where all expected ones are equal; share
        of the next month's ratios inside their intervals, NaN after one week.
    """
    truth = rng.normal(0.0, SPREAD, STRATEGIES)
    ratios = truth[:, None] + rng.normal(0.0, EFFECT, weeks) + rng.normal(0.0, ERROR, (STRATEGIES, weeks))
    if weeks == 1:
        return _correlation(ratios[:, 0], truth), np.nan
    found = expected_ratios(
        ratios, np.full(ratios.shape, ERROR), part=1.0 / MONTH, half_life=HALF_LIFE.days / _WEEKS_APART
    )
    effects, noise = rng.normal(0.0, EFFECT, MONTH), rng.normal(0.0, ERROR, (STRATEGIES, MONTH))
    month = truth + (effects + noise).mean(axis=1)
    return _correlation(found.ratio, truth), float(np.mean((found.low <= month) & (month <= found.high)))


def _correlation(left: FloatArray, right: FloatArray) -> float:
    return float(np.corrcoef(left, right)[0, 1]) if np.ptp(left) > 0.0 else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--desks", type=int, default=200)
    parser.add_argument("--seed", type=int, default=2)
    options = parser.parse_args()
    rng, missed = np.random.default_rng(options.seed), []
    for weeks, least in LEAST.items():
        near, held = (np.mean(values) for values in zip(*(desk(weeks, rng) for _ in range(options.desks)), strict=True))
        if weeks == 1:
            print(f"the last week alone: correlation with the truth {near:.2f}", flush=True)
            continue
        print(f"after {weeks:>2} weeks: correlation {near:.2f}, intervals hold {held:.1%}", flush=True)
        if near < least or not COVER[0] <= held <= COVER[1]:
            missed.append(f"{weeks} weeks")
    print("every figure holds" if not missed else f"missed: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
