"""How fast the embedded search tries books, and whether its memory stays flat.

Run ``make bench`` or ``python benchmarks/bench_book_search.py [candidates]``. A candidate counts when it was run in
full over the whole search window: 30 symbols in hourly bars of a year, with costs and score; what the cascade stopped
does not count, and its time is in the figure. Target: 6,000 a minute on two cores. Memory is sampled over many
candidates (5,000 unless told) of which nothing but elites, ledger rows and hashes may stay.
"""

import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from bench_evolution import SAMPLES, resident, timed
from records import record

from backtester import PreparedMarket
from backtester.statistics.windows import Window
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, TS
from strategies.search.books import InSample, search_books
from strategies.search.books.fitness import BookFitness
from strategies.search.books.genome import BookFactory
from strategies.search.books.panel import THIRDS

SYMBOLS, DAYS, WARM_UP = 30, 365, 31
START = datetime(2024, 1, 1, tzinfo=UTC)
WINDOW = Window(START + timedelta(days=WARM_UP), START + timedelta(days=WARM_UP + DAYS))
BUDGET = 1_000


def prepared() -> PreparedMarket:
    rng, hours = np.random.default_rng(1), 24 * (DAYS + WARM_UP)
    times = pl.Series("ts", pl.datetime_range(START, WINDOW.end - timedelta(hours=1), "1h", eager=True)).cast(TS)
    common, candles, payments = rng.normal(0, 0.004, hours), [], []
    for place in range(SYMBOLS):
        close = rng.uniform(0.1, 500) * np.exp(np.cumsum(common + rng.normal(0, 0.006, hours)))
        opens, volume = np.concatenate([close[:1], close[:-1]]), rng.lognormal(9, 1, hours)
        bars = {
            "symbol": f"S{place:02}-USDT", "ts": times, "open": opens, "high": np.maximum(opens, close) * 1.002,
            "low": np.minimum(opens, close) * 0.998, "close": close, "volume": volume, "quote_volume": volume * close,
            "contracts": None, "minutes": 60, "origin": "bench", "flag": None,
        }  # fmt: skip
        candles.append(pl.DataFrame(bars, schema=CANDLE_SCHEMA))
        rates = rng.normal(1e-4, 1e-4, len(times[::8]))
        payments.append(pl.DataFrame({"symbol": f"S{place:02}-USDT", "ts": times[::8], "rate": rates}, FUNDING_SCHEMA))
    return PreparedMarket.of("60m", pl.concat(candles), pl.concat(payments))


def main() -> None:
    candidates = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    market = prepared()
    in_sample = InSample(market, WINDOW)
    evaluator, factory, rng = BookFitness(in_sample), BookFactory("60m", {"interest": 0.0}), np.random.default_rng(2)
    genomes = [factory.random(rng) for _ in range(100)]
    evaluator.prepare(genomes, THIRDS)
    for _ in range(2):  # the first time measures volatilities and betas, which all share
        spent = timed(lambda: [evaluator.full(genome) for genome in genomes])[1]
    each = 1e3 * spent / len(genomes)
    print(f"one random book in full: {each:.1f} ms of CPU, {2 * 60e3 / each:,.0f} a minute on two cores")
    record("one random book over a year of 30 symbols", each, "ms")
    for threads in (1, 2):
        wall, cpu = timed(
            lambda threads=threads: search_books(market, WINDOW, budget=BUDGET, seed=1, threads=threads)  # type: ignore[misc]
        )
        print(
            f"search of {BUDGET:,}, {threads} at a time: {60 * BUDGET / wall:10,.0f} candidates a minute, "
            f"{1e3 * cpu / BUDGET:.1f} ms of CPU each, so {2 * 60 * BUDGET / cpu:,.0f} a minute on two cores"
        )
        record(f"books tried, {threads} at a time", 60 * BUDGET / wall, "a minute", limit="6,000 on two cores")
    used: list[float] = []

    def sample(done: int, budget: int) -> None:
        if done >= (len(used) + 1) * budget / SAMPLES:
            used.append(resident())

    search_books(market, WINDOW, budget=candidates, seed=2, threads=2, on_progress=sample)
    grown = used[-1] - used[len(used) // 2]
    print(f"memory over {candidates:,} candidates, MB: {', '.join(f'{each:,.0f}' for each in used)}")
    print(f"growth in the second half: {grown:,.0f} MB, {1e6 * grown / candidates / 0.5:,.0f} bytes a candidate")
    record(f"growth over the second half of {candidates:,} books", grown, "MB")


if __name__ == "__main__":
    main()
