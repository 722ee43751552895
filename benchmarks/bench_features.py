"""How fast features are: against TA-Lib and pandas, the whole standard set, many symbols, one request.

Run ``make bench`` or ``python benchmarks/bench_features.py``; medians of interleaved repetitions in one process.
TA-Lib comes with the development tools. pandas is no dependency; to compare with it, put it elsewhere on the path:
``pip install --target peers pandas ta`` and ``PYTHONPATH=peers python benchmarks/bench_features.py``.
"""

import functools
import resource
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from records import record

from features import STANDARD_SET, FeatureManager, compute, compute_arrays
from features.bars import CANDLE_SCHEMA, FrameSource

try:
    import talib
except ImportError:
    talib = None
try:
    import pandas as pd
except ImportError:
    pd = None
try:
    import ta
except ImportError:
    ta = None

YEAR = 525_600
START = datetime(2024, 1, 1, tzinfo=UTC)
Arrays = dict[str, np.ndarray]

SHARED = [
    *("rsi_7", "rsi_14", "rsi_21", "ema_9", "ema_21", "ema_50", "sma_20", "sma_50", "sma_200"),
    *("macd_12_26", "macd_signal_9", "macd_histogram", "bbands_upper", "bbands_lower", "atr_7", "atr_14"),
    *("stoch_k", "stoch_d", "williams_r", "std_dev_20", "std_dev_50", "momentum_10", "rate_of_change_12"),
    "rate_of_change_24",
]
"""24 columns that TA-Lib has too."""


def walk(bars: int, seed: int = 1) -> Arrays:
    rng = np.random.default_rng(seed)
    close = 1e5 * np.exp(np.cumsum(rng.normal(0, 5e-4, bars)))
    opened = np.concatenate([[1e5], close[:-1]])
    spread = np.abs(rng.normal(0, 3e-4, (2, bars)))
    return {
        "open": opened,
        "high": np.maximum(opened, close) * (1 + spread[0]),
        "low": np.minimum(opened, close) * (1 - spread[1]),
        "close": close,
        "volume": rng.lognormal(5, 1, bars),
    }


def frame(arrays: Arrays, symbol: str = "BTC-USDT") -> pl.DataFrame:
    bars = len(arrays["close"])
    times = pl.datetime_range(START, START + timedelta(minutes=bars - 1), "1m", eager=True, time_unit="us")
    candles = pl.DataFrame({"ts": times, **arrays})
    constant = {"symbol": pl.lit(symbol), "minutes": pl.lit(1, pl.Int32), "origin": pl.lit("bench")}
    constant |= {"flag": pl.lit(None, pl.String), "contracts": pl.lit(None, pl.Float64)}
    return candles.with_columns(quote_volume=pl.col("close") * pl.col("volume"), **constant).select(
        CANDLE_SCHEMA.names()
    )


def ours(arrays: Arrays) -> list[np.ndarray]:
    return list(compute_arrays(arrays, SHARED, threads=2).values())


def of_talib(a: Arrays) -> list[np.ndarray]:
    close, bar = a["close"], (a["high"], a["low"], a["close"])
    upper, _, lower = talib.BBANDS(close, 20, 2, 2)
    return [
        *(talib.RSI(close, n) for n in (7, 14, 21)),
        *(talib.EMA(close, n) for n in (9, 21, 50)),
        *(talib.SMA(close, n) for n in (20, 50, 200)),
        *talib.MACD(close, 12, 26, 9),
        *(upper, lower),
        *(talib.ATR(*bar, n) for n in (7, 14)),
        *talib.STOCH(*bar, 14, 3, 0, 3, 0),
        talib.WILLR(*bar, 14),
        *(talib.STDDEV(close, n) for n in (20, 50)),
        talib.MOM(close, 10),
        *(talib.ROC(close, n) for n in (12, 24)),
    ]


def of_pandas(a: Arrays) -> list[np.ndarray]:
    """As such code is usually written: rolling and ewm of pandas."""
    high, low, close = (pd.Series(a[name]) for name in ("high", "low", "close"))
    change = close.diff()
    columns = []
    for n in (7, 14, 21):
        up = change.clip(lower=0).ewm(alpha=1 / n, adjust=False).mean()
        down = (-change.clip(upper=0)).ewm(alpha=1 / n, adjust=False).mean()
        columns.append(100 - 100 / (1 + up / down))
    columns += [close.ewm(span=n, adjust=False).mean() for n in (9, 21, 50)]
    columns += [close.rolling(n).mean() for n in (20, 50, 200)]
    line = close.ewm(span=12, adjust=False).mean() - close.ewm(span=26, adjust=False).mean()
    signal = line.ewm(span=9, adjust=False).mean()
    columns += [line, signal, line - signal]
    middle, spread = close.rolling(20).mean(), close.rolling(20).std(ddof=0)
    columns += [middle + 2 * spread, middle - 2 * spread]
    before = close.shift()
    span = pd.concat([high - low, (high - before).abs(), (low - before).abs()], axis=1).max(axis=1)
    columns += [span.ewm(alpha=1 / n, adjust=False).mean() for n in (7, 14)]
    top, bottom = high.rolling(14).max(), low.rolling(14).min()
    slow = (100 * (close - bottom) / (top - bottom)).rolling(3).mean()
    columns += [slow, slow.rolling(3).mean(), -100 * (top - close) / (top - bottom)]
    columns += [close.rolling(n).std(ddof=0) for n in (20, 50)]
    columns += [close.diff(10), *(100 * close.pct_change(n) for n in (12, 24))]
    return [column.to_numpy() for column in columns]


def of_ta(a: Arrays) -> list[np.ndarray]:
    """Use the pandas-based library `ta`, which has all but plain differences and deviations."""
    high, low, close = (pd.Series(a[name]) for name in ("high", "low", "close"))
    bar = (high, low, close)
    line = ta.trend.MACD(close, 26, 12, 9)
    bands = ta.volatility.BollingerBands(close, 20, 2)
    stochastic = ta.momentum.StochasticOscillator(*bar, window=14, smooth_window=3)
    columns = [
        *(ta.momentum.rsi(close, n) for n in (7, 14, 21)),
        *(ta.trend.ema_indicator(close, n) for n in (9, 21, 50)),
        *(ta.trend.sma_indicator(close, n) for n in (20, 50, 200)),
        *(line.macd(), line.macd_signal(), line.macd_diff()),
        *(bands.bollinger_hband(), bands.bollinger_lband()),
        *(ta.volatility.average_true_range(*bar, n) for n in (7, 14)),
        *(stochastic.stoch(), stochastic.stoch_signal()),
        ta.momentum.williams_r(*bar, 14),
        *(close.rolling(n).std(ddof=0) for n in (20, 50)),
        close.diff(10),
        *(ta.momentum.roc(close, n) for n in (12, 24)),
    ]
    return [column.to_numpy() for column in columns]


def medians(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each call, the calls taking turns."""
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def against_peers() -> None:
    arrays = walk(YEAR)
    calls: dict[str, Callable[[], object]] = {"ours": lambda: ours(arrays)}
    if talib is not None:
        calls["TA-Lib"] = lambda: of_talib(arrays)
        check_equal(ours(arrays), of_talib(arrays))
    took = medians(calls, 15)
    print(f"24 columns x {YEAR:,} bars, arrays to arrays, 2 threads: {took['ours'] * 1e3:.1f} ms")
    candles = frame(arrays)
    whole = medians({"frame": lambda: compute(candles, SHARED)}, 5)["frame"]
    print(f"  the same from a frame to a frame: {whole * 1e3:.1f} ms")
    if talib is not None:
        print(
            f"  TA-Lib, one thread: {took['TA-Lib'] * 1e3:.1f} ms; ratio {took['ours'] / took['TA-Lib']:.2f} (<= 1.0)"
        )
        ratio = took["TA-Lib"] / took["ours"]
        record(
            f"24 columns of {YEAR:,} bars",
            took["ours"] * 1e3,
            "ms",
            peer="TA-Lib, one thread",
            ratio=ratio,
            limit="≥ 1",
        )
    if pd is None:
        print("  pandas: not installed, not compared")
        return
    slow: dict[str, Callable[[], object]] = {"ours": lambda: ours(arrays), "pandas": lambda: of_pandas(arrays)}
    if ta is not None:
        slow["pandas through ta"] = lambda: of_ta(arrays)
    took = medians(slow, 3)
    for name in list(slow)[1:]:
        print(f"  {name}: {took[name] * 1e3:.0f} ms; {took[name] / took['ours']:.0f} times slower (>= 20)")
        record(f"24 columns of {YEAR:,} bars", took["ours"] * 1e3, "ms", peer=name, ratio=took[name] / took["ours"])


def check_equal(one: list[np.ndarray], other: list[np.ndarray]) -> None:
    """Refuse to time what does not give the same values."""
    for name, mine, theirs in zip(SHARED, one, other, strict=True):
        # TA-Lib's deviations lose digits on large prices, and what can be zero has no relative error
        np.testing.assert_allclose(mine[1000:], theirs[1000:], rtol=1e-6, atol=1e-5, err_msg=name)


def standard_set() -> None:
    symbols, bars = 10, 30 * 1440
    candles = pl.concat([frame(walk(bars, seed), f"S{seed}-USDT") for seed in range(symbols)])
    before = peak()
    took = medians({"all": lambda: compute(candles, STANDARD_SET)}, 3)["all"]
    values = candles.height * len(STANDARD_SET)
    rate = values / took / pl.thread_pool_size() / 1e6
    print(f"standard set, {len(STANDARD_SET)} columns x {symbols} symbols x 30 days of 1m: {took:.2f} s")
    print(f"  {rate:.1f} M bars x features a second per core (>= 3)")
    record("standard set", rate, "M bars × features a second per core", limit="≥ 3")
    record("standard set, peak memory", peak(), "GB", limit="< 1.5")
    print(f"  peak memory {peak():.2f} GB (< 1.5), of which {before:.2f} before")


def peak() -> float:
    """Peak memory of this process in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def growth() -> None:
    bars = 7 * 1440
    part = [frame(walk(bars, seed), f"S{seed}-USDT") for seed in range(50)]
    counts = (1, 2, 5, 10, 25, 50)
    together = {n: pl.concat(part[:n]) for n in counts}
    calls = {str(n): functools.partial(compute, together[n], STANDARD_SET) for n in counts}
    took = medians(calls, 5)
    exponent = np.polyfit(np.log(counts), np.log([took[str(n)] for n in counts]), 1)[0]
    times = ", ".join(f"{n}: {took[str(n)] * 1e3:.0f}" for n in counts)
    print(f"time by symbols, 7 days of 1m (ms) {times}; exponent {exponent:.2f} (<= 1.05)")
    record("features by number of symbols: exponent of time", exponent, "", limit="≤ 1.05")


def one_request() -> None:
    source = FrameSource({"1m": frame(walk(30 * 1440))})
    manager = FeatureManager(source, START + timedelta(days=30))
    names = ["close", "returns", "rsi_14", "ema_21", "sma_50", "atr_14", "bbands_width", "macd_histogram", "stoch_k"]
    names.append("volume_ratio")
    took = medians({"get": lambda: manager.get_features("BTC-USDT", "1m", names, 100)}, 50)["get"]
    print(f"get_features, 1 symbol, 10 features, 100 bars: {took * 1e3:.1f} ms (< 10)")
    record("get_features of 100 bars", took * 1e3, "ms", limit="< 10")


def main() -> None:
    standard_set()
    growth()
    one_request()
    against_peers()


if __name__ == "__main__":
    main()
