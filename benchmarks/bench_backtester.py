"""How fast backtests are: against vectorbt, a whole cycle's worth of strategies, and how cost and memory grow.

Run ``make bench`` or ``python benchmarks/bench_backtester.py``. vectorbt is no dependency; to compare with it, put it
elsewhere on the path: ``pip install --target peers vectorbt==1.2.0`` and ``PYTHONPATH=peers python
benchmarks/bench_backtester.py``. Repetitions are interleaved in one process; medians, with the best beside them, since
other work on the machine only ever adds time. 'The same statistics' are those of
`backtester.simulation.lanes.LaneResult` that vectorbt has: of trades, of equity, of returns, exposure, fees and
turnover.
"""

import statistics
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from records import record

from backtester import Bars, Costs, Lane, Signals, aggregate, evaluate, run_lanes
from backtester.evaluation.robustness import gather
from backtester.simulation import kernel
from backtester.simulation.lanes import run_arrays
from features import FeatureManager
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, FrameSource
from strategies.registry import load_library

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandas as pd
        import vectorbt as vbt
except ImportError:
    vbt = pd = None

START = datetime(2025, 1, 1, tzinfo=UTC)
LANES, BARS = 20, 100_000
COSTS = Costs()
STOP, TARGET = 0.01, 0.02
OFTEN = 0.01


def candles(symbol: str, count: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-3, count)))
    start = np.concatenate([[100.0], close[:-1]])
    spread = np.abs(rng.normal(0.0, 5e-4, (2, count)))
    return pl.DataFrame(
        {
            "symbol": [symbol] * count,
            "ts": pl.datetime_range(START, START + timedelta(minutes=count), "1m", closed="left", eager=True),
            "open": start,
            "high": np.maximum(start, close) * (1 + spread[0]),
            "low": np.minimum(start, close) * (1 - spread[1]),
            "close": close,
            "volume": rng.uniform(1.0, 1e4, count),
            "quote_volume": pl.Series([None] * count, dtype=pl.Float64),
            "contracts": pl.Series([None] * count, dtype=pl.Float64),
            "minutes": [1] * count,
            "origin": ["sample"] * count,
            "flag": pl.Series([None] * count, dtype=pl.String),
        }
    ).cast(CANDLE_SCHEMA)


def payments(symbol: str, minutes: int) -> pl.DataFrame:
    times = pl.datetime_range(START, START + timedelta(minutes=minutes), "8h", eager=True)
    return pl.DataFrame({"symbol": symbol, "ts": times, "rate": 1e-4}).cast(FUNDING_SCHEMA)


def lane(count: int, seed: int) -> Lane:
    bars = Bars.from_frame(candles("A-USDT", count, seed), "1m", funding=payments("A-USDT", count))
    rng = np.random.default_rng(1000 + seed)
    bits = (rng.random(count) < OFTEN).astype(np.uint8) | (rng.random(count) < OFTEN).astype(np.uint8) << 1
    return Lane(bars, Signals.from_arrays(bits, bars, stop=STOP, target=TARGET), COSTS)


def interleaved(works: dict[str, Callable[[], object]], times: int) -> dict[str, tuple[float, float]]:
    """Median and best seconds of each, taken in turns."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(times):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - start)
    return {name: (statistics.median(each), min(each)) for name, each in taken.items()}


def against_vectorbt(lanes: list[Lane]) -> None:
    works: dict[str, Callable[[], object]] = {"this kernel, all metrics": lambda: run_lanes(lanes)}
    if vbt is not None:
        index = pd.date_range("2025-01-01", periods=BARS, freq="1min")

        def table(array: Callable[[Lane], np.ndarray]) -> object:
            return pd.DataFrame(np.column_stack([array(lane) for lane in lanes]), index=index)

        prices = {
            name: table(lambda each, name=name: getattr(each.bars, name)) for name in ("open", "high", "low", "close")
        }
        long, short = (
            table(lambda each, bit=bit: np.concatenate([[False], (each.signals.bits[:-1] & bit) != 0]))
            for bit in (1, 2)
        )

        def signals() -> object:
            return vbt.Portfolio.from_signals(
                prices["close"],
                entries=long,
                short_entries=short,
                price=prices["open"],
                open=prices["open"],
                high=prices["high"],
                low=prices["low"],
                sl_stop=STOP,
                tp_stop=TARGET,
                fees=COSTS.taker_fee,
                slippage=COSTS.slippage,
                init_cash=1.0,
                upon_opposite_entry="reverse",
                freq="1min",
            )

        def statistics_too() -> object:
            book = signals()
            trades, orders, returns = book.trades, book.orders, book.returns()
            return (
                (trades.count(), trades.win_rate(), trades.returns.mean(), trades.profit_factor()),
                (book.total_return(), book.max_drawdown(), book.sharpe_ratio(), book.sortino_ratio()),
                (returns.skew(), returns.kurt()),  # for the standard error of the Sharpe ratio
                (book.position_mask().mean(), orders.fees.sum(), (orders.size * orders.price).sum()),
            )

        works |= {"vectorbt from_signals": signals, "vectorbt and the same statistics": statistics_too}
    taken = interleaved(works, 15)
    total = sum(result.trades for result in run_lanes(lanes))
    print(f"{LANES} lanes x {BARS:,} bars, stop, target, fees, slippage, funding, {total:,} trades")
    own = taken["this kernel, all metrics"]
    for name, (median, best) in taken.items():
        speed = LANES * BARS / best / 1e6
        print(
            f"  {name:36} median {1e3 * median:7.2f} ms  best {1e3 * best:7.2f} ms ({speed:.1f} M bars/s)"
            f"  ratio of medians {median / own[0]:.1f}, of bests {best / own[1]:.1f}"
        )
    record(f"{LANES} lanes, all metrics", 1e3 * own[1], "ms")
    for name, (_, best) in taken.items():
        if "vectorbt" in name:
            record(f"{LANES} lanes, all metrics", 1e3 * own[1], "ms", peer=name, ratio=best / own[1])
    if vbt is None:
        print("  vectorbt is not on the path: no comparison")


def a_cycle() -> None:
    symbols, days = ("A-USDT", "B-USDT", "C-USDT"), 18
    strategies = load_library()[:20]
    end = START + timedelta(days=days)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        minutes = pl.concat([candles(symbol, days * 1440, 7 + k) for k, symbol in enumerate(symbols)])
        for timeframe in ("1m", "5m", "60m"):
            (minutes if timeframe == "1m" else aggregate(minutes, timeframe)).write_parquet(
                store / f"{timeframe}.parquet"
            )
        pl.concat([payments(symbol, days * 1440) for symbol in symbols]).write_parquet(store / "funding.parquet")

        def run() -> list[object]:
            source = FrameSource(
                {tf: pl.read_parquet(store / f"{tf}.parquet") for tf in ("1m", "5m", "60m")},
                pl.read_parquet(store / "funding.parquet"),
            )
            results = evaluate(strategies, FeatureManager(source, end), symbols, end - timedelta(days=7), end)
            pl.concat([result.trades.with_columns(name=pl.lit(result.name)) for result in results]).write_parquet(
                store / "trades.parquet"
            )
            pl.concat([result.equity.with_columns(name=pl.lit(result.name)) for result in results]).write_parquet(
                store / "equity.parquet"
            )
            return list(results)

        start = time.perf_counter()
        run()
        first = time.perf_counter() - start
        taken = interleaved({"cycle": run}, 5)["cycle"]
        results = evaluate(
            strategies,
            FeatureManager(
                FrameSource(
                    {tf: pl.read_parquet(store / f"{tf}.parquet") for tf in ("1m", "5m", "60m")},
                    pl.read_parquet(store / "funding.parquet"),
                ),
                end,
            ),
            symbols,
            end - timedelta(days=7),
            end,
        )
        beside = interleaved({"evidence": lambda: gather(results[0], seed=1)}, 3)["evidence"]
    print(
        f"{len(strategies)} strategies x 3 symbols x 3 timeframes x 7 days, from Parquet to Parquet, features included"
    )
    print(f"  first {first:.2f} s  median {taken[0]:.2f} s  best {taken[1]:.2f} s")
    print(f"  evidence of one of them (500 random timings, break-even costs, ...): {beside[0]:.2f} s")
    record(f"{len(strategies)} strategies on nine lanes of a week, features included", taken[0], "s")
    record("evidence of one of them", beside[0], "s")


def growth(whole: list[Lane]) -> None:
    print("growth: nanoseconds a bar, one thread (best of 9)")
    for count in (5, 10, 20, 40):
        lanes = (whole * 2)[:count]
        best = interleaved({"run": lambda lanes=lanes: run_arrays(lanes, threads=1)}, 9)["run"][1]
        print(f"  {count:3} lanes x {BARS:>7,} bars  {1e9 * best / count / BARS:6.2f}")
    for length in (25_000, 50_000, 200_000):
        lanes = [lane(length, seed) for seed in range(5)]
        best = interleaved({"run": lambda lanes=lanes: run_arrays(lanes, threads=1)}, 9)["run"][1]
        print(f"  {5:3} lanes x {length:>7,} bars  {1e9 * best / 5 / length:6.2f}")


def memory(lanes: list[Lane]) -> None:
    formula = sum(
        8 * (kernel.LANE_COLUMNS + kernel.RATE_COLUMNS + kernel.SUM_COLUMNS + len(lane.bars.hour_row) + len(lane.bars))
        + 8 * kernel.TRADE_COLUMNS * lane.signals.entries
        for lane in lanes
    )
    tracemalloc.start()
    book = run_arrays(lanes, trades=True, equity=True, threads=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size, stated = peak / 1e6, formula / 1e6
    print(f"memory of {len(book.sums)} lanes, trades and equity kept: {size:.2f} MB, by the formula {stated:.2f} MB")


def compilation() -> None:
    kernel.compiled.cache_clear()
    start = time.perf_counter()
    kernel.compiled()
    print(f"compiled code from the cache: {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    compilation()
    many = [lane(BARS, seed) for seed in range(LANES)]
    against_vectorbt(many)
    growth(many)
    memory([replace(each, costs=COSTS) for each in many])
    a_cycle()
