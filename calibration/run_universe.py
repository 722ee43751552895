"""What the planted cross-sectional edges of the sample market's universe pay, over many markets.

    python -m calibration.run_universe [--seeds 24] [--months 18] [--jobs 2]

In each market the books of `calibration.universe` trade all symbols that have been listed for 30 days, delisted ones
included, with 8 basis points a side and funding paid. Ends with status 1 where a mean is not what the documentation of
the market says: on `sample:edge` a net Sharpe ratio of 2 to 4 for momentum and carry, and a decoy that pays before
costs and not after; on `sample:null` nothing before costs.
"""

import argparse
import math
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing import get_context
from typing import Final

import numpy as np

from blofin_resources.market.sample import SampleMarket, Variant
from calibration.universe import BOOKS, panel, run
from features.array_types import FloatArray

START: Final = datetime(2020, 7, 1, tzinfo=UTC)
WARM_UP: Final = timedelta(days=40)
VARIANTS: Final[tuple[Variant, ...]] = ("plain", "null", "edge")
LEAST: Final = 2.0
MOST: Final = 4.0
SURE: Final = 3.0
"""Standard errors."""


def ratios(seed: int, variant: Variant, months: int) -> FloatArray:
    """Return the Sharpe ratios of each book on one market, before and after costs.

    Parameters
    ----------
    seed : int
        Seed of the market.
    variant : {'plain', 'null', 'edge'}
        Which market.
    months : int
        Length of the backtest.

    Returns
    -------
    FloatArray of shape (n_books, 2)
        Annualised ratios before and after costs.
    """
    end = START + timedelta(days=round(months * 30.44))
    market = SampleMarket(seed, variant, clock=lambda: end)
    listings = market.listings()
    symbols = listings.filter(~listings["symbol"].is_in(market.symbols()))["symbol"].to_list()
    candles = market.candles(symbols, "60m", START - WARM_UP, end)
    funding = market.funding(symbols, START - WARM_UP, end)
    bars = panel(candles, funding, START - WARM_UP, end)
    results = [run(bars, score, every) for score, every in BOOKS.values()]
    return np.array([(result.gross, result.net) for result in results])


def as_documented(book: str, variant: Variant, means: FloatArray, errors: FloatArray) -> bool:
    """Return whether the mean ratios of a book are those that the documentation states.

    Parameters
    ----------
    book : str
        One of `BOOKS`.
    variant : {'plain', 'null', 'edge'}
        Which market.
    means, errors : ndarray of shape (2,)
        Mean Sharpe ratio before and after costs, and their standard errors.

    Returns
    -------
    bool
        Always true of the plain market, for which nothing is stated.
    """
    if variant == "null":
        return bool(abs(means[0]) < SURE * errors[0])
    if variant == "plain":
        return True
    if book == "decoy":
        return bool(means[0] > SURE * errors[0] and means[1] < -SURE * errors[1])
    return bool(LEAST < means[1] < MOST)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--months", type=int, default=18)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    sound = True
    with get_context("spawn").Pool(options.jobs) as pool:
        for variant in VARIANTS:
            work = partial(ratios, variant=variant, months=options.months)
            found = np.array(pool.map(work, range(1, options.seeds + 1), chunksize=1))
            spread = found.std(axis=0, ddof=1)
            errors = spread / math.sqrt(options.seeds)
            for i, book in enumerate(BOOKS):
                means = found[:, i].mean(axis=0)
                told = ", ".join(
                    f"{name} {means[k]:+.2f} +- {errors[i, k]:.2f} (sd {spread[i, k]:.2f})"
                    for k, name in enumerate(("before costs", "after"))
                )
                fine = as_documented(book, variant, means, errors[i])
                sound = sound and fine
                print(f"{variant:<6}{book:<10}{told}{'' if fine else '  NOT AS DOCUMENTED'}", flush=True)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
