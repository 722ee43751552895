"""How fast the tear sheet of a feature is: 30 symbols, a year of hours.

Run ``make bench`` or ``python benchmarks/bench_feature_sheet.py``. Reading bars from a store is not in it. Beside it
stands a plain loop of scipy's rank correlation over the same bars, for one horizon.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import polars as pl
from bench_books import frames
from records import record
from scipy import stats

from backtester.evaluation.feature_sheet import HORIZONS, alike, feature_sheet, forward_returns, on_rows, sampled
from backtester.feature_page import feature_page
from backtester.simulation.book_market import BookMarket
from features import STANDARD_SET, compute

SYMBOLS, HOURS = 30, 365 * 24
NAME = "rate_of_change_24"
RUNS = 3
LIMIT = 10.0
"""Seconds for a tear sheet with its page and likeness to the standard set."""


def seconds(call: Callable[[], object]) -> float:
    found = []
    for _ in range(RUNS):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def main() -> None:
    candles, funding = frames(SYMBOLS, HOURS)
    market = BookMarket.from_frames(candles, "60m", funding=funding)
    rows, symbols = sampled(market)
    values = market.dense(compute(candles, [NAME], funding, timeframe="60m"), NAME)

    def measured() -> object:
        forward = {each: forward_returns(market, each) for each in HORIZONS}
        return feature_sheet(NAME, values, market, forward)

    def standard() -> pl.DataFrame:
        chunks = (symbols[first : first + 8] for first in range(0, len(symbols), 8))  # as the command does
        frames = (
            compute(candles.filter(pl.col("symbol").is_in(chunk)), STANDARD_SET, funding, timeframe="60m")
            for chunk in chunks
        )
        return alike(values[rows], on_rows(frames, market, STANDARD_SET, rows), across=True)

    def page() -> str:
        return feature_page(NAME, sheet, like, about="", said=[], window="")

    def looped() -> float:
        total = forward_returns(market, HORIZONS[0]).total
        known = range(24, HOURS - 2)
        return float(np.mean([stats.spearmanr(values[row], total[row]).statistic for row in known]))

    sheet, like = measured(), standard()
    parts = {"measured": seconds(measured), "the standard set": seconds(standard), "page": seconds(page)}
    whole = sum(parts.values())
    told = ", ".join(f"{name} {value:.2f}" for name, value in parts.items())
    print(f"tear sheet of {NAME}, {SYMBOLS} symbols x {HOURS} hours: {whole:.2f} s (< {LIMIT:g}): {told}")
    began = time.perf_counter()
    mean = looped()
    other = time.perf_counter() - began
    print(f"  scipy in a loop, one of {len(HORIZONS)} horizons: {other:.2f} s")
    record(f"tear sheet of {SYMBOLS} symbols, all horizons", whole, "s", peer="scipy, one horizon", ratio=other / whole)
    np.testing.assert_allclose(mean, sheet.horizons["ic"][0], atol=1e-9, err_msg="not the same coefficient")


if __name__ == "__main__":
    main()
