"""How often e-processes confirm what is worth nothing, how long they take to confirm what is worth something.

Run ``python -m calibration.run_e_process [--records 20000] [--desks 200] [--seed 1]``, two minutes. Returns are daily,
with a standard deviation of 1 and a bound of ten of them. Ends with status 1 where a figure misses its bar: 5 % of
worthless records at a capital of 20 within 730 days (the exact upper bound counts; AR(1) of 0.4 is shown alone), the
median days to 20, and for a desk of 300 records, 60 of them with an annual ratio of 3, the shares of false ones among
those confirmed and of good ones found.
"""

import argparse
import sys
from typing import Final

import numpy as np

from backtester.statistics.e_process import CONFIRMS, MEDIAN_DAYS, confirmed, e_process
from calibration.returns import Draw, autoregressive, garch, gaussian, heavy
from calibration.search import upper_bound
from features.array_types import FloatArray

DAYS: Final = 730
LONGER: Final = 1095
LOSS: Final = 10.0
MOST_FALSE: Final = 0.05
RECORDS: Final = 300
GOOD: Final = 60
GOOD_RATIO: Final = 3.0
LEAST_FOUND: Final = {"all on the first day": 0.8, "one after another": 0.3}
MOST_FALSE_SHARE: Final = 0.10
_STATED: Final = 0.05
"""How far the days that the report states may be from those measured here."""
_CHUNK: Final = 2_000
_YEAR: Final = 365.0


def skewed(chance: float, size: float) -> Draw:
    """Rare moves of `size` deviations, against a drift that makes the mean zero."""

    def draw(rng: np.random.Generator, records: int, days: int) -> FloatArray:
        usual = rng.standard_normal((records, days))
        rare = rng.random((records, days)) < chance
        return np.where(rare, size, usual) - chance * size

    return draw


WORTHLESS: Final[dict[str, Draw]] = {
    "Gaussian": gaussian, "t3": heavy, "GARCH": garch, "AR(1) 0.2": autoregressive(0.2),
    "losses of 10, 0.5 %": skewed(0.005, -LOSS), "losses of 10, 0.9 %": skewed(0.009, -LOSS),
    "gains of 10, 0.5 %": skewed(0.005, LOSS), "gains of 10, 0.9 %": skewed(0.009, LOSS),
}  # fmt: skip


def share_confirmed(draw: Draw, records: int, rng: np.random.Generator) -> tuple[int, int]:
    """Count the worthless records that ever reach 20 within 730 days.

    Parameters
    ----------
    draw : callable
        Draws returns.
    records : int
        Number of records.
    rng : Generator
        Source of all draws.

    Returns
    -------
    tuple of int
        Number of confirmed records, and of all.
    """
    hits = 0
    for done in range(0, records, _CHUNK):
        returns = draw(rng, min(_CHUNK, records - done), DAYS)
        hits += int((e_process(returns, 1.0, LOSS).capital >= CONFIRMS).any(axis=1).sum())
    return hits, records


def median_days(ratio: float, records: int, rng: np.random.Generator) -> float:
    """Return the median number of days until records with a true edge reach 20.

    Parameters
    ----------
    ratio : float
        True annual Sharpe ratio.
    records : int
        Number of records.
    rng : Generator
        Source of all draws.

    Returns
    -------
    float
        Days; infinite beyond 1,095.
    """
    capital = e_process(gaussian(rng, records, LONGER) + ratio / np.sqrt(_YEAR), 1.0, LOSS).capital
    reached = capital >= CONFIRMS
    return float(np.median(np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.inf)))


def desk(rng: np.random.Generator, *, together: bool) -> tuple[float, float]:
    """Simulate a desk over two years; return its false share among the confirmed and the share of good ones found.

    All records begin on the first day, or one after another at even distances. Those that begin in one year are a
    family. Each is followed to the end.
    """
    good = rng.permutation(RECORDS) < GOOD
    begins = np.zeros(RECORDS, dtype=int) if together else np.arange(RECORDS) * DAYS // RECORDS
    returns = gaussian(rng, RECORDS, DAYS) + good[:, None] * GOOD_RATIO / np.sqrt(_YEAR)
    returns[np.arange(DAYS) >= DAYS - begins[:, None]] = np.nan  # days that are not there yet
    capital = e_process(returns, 1.0, LOSS).capital[:, -1]
    labels = np.array(confirmed(capital.tolist(), [1.0] * RECORDS, [str(first // int(_YEAR)) for first in begins]))
    return float((labels & ~good).sum() / max(labels.sum(), 1)), float((labels & good).sum() / GOOD)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--desks", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng, missed = np.random.default_rng(options.seed), []
    for name, draw in (*WORTHLESS.items(), ("AR(1) 0.4", autoregressive(0.4))):
        hits, records = share_confirmed(draw, options.records, rng)
        bound = upper_bound(hits, records)
        print(f"no edge, {name:<22} {hits / records:6.2%}, upper bound {bound:6.2%}", flush=True)
        if name in WORTHLESS and bound > MOST_FALSE:
            missed.append(name)
    for ratio, stated in MEDIAN_DAYS.items():
        days = median_days(ratio, options.records // 4, rng)
        print(f"a true ratio of {ratio:g}: median {days:.0f} days to {CONFIRMS:g} (stated: {stated})", flush=True)
        if abs(days / stated - 1.0) > _STATED:
            missed.append(f"the days stated for a ratio of {ratio:g}")
    for name, least in LEAST_FOUND.items():
        desks = [desk(rng, together=name == "all on the first day") for _ in range(options.desks)]
        false, found = (float(np.mean(values)) for values in zip(*desks, strict=True))
        print(f"desk, {name}: {false:.1%} of the confirmed are false, {found:.0%} of the good are found", flush=True)
        if false > MOST_FALSE_SHARE or found < least:
            missed.append(f"desk, {name}")
    print("every figure holds" if not missed else f"missed: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
