"""How fast strategies and the direction model are, on the sample market.

Run ``make bench`` or ``python benchmarks/bench_strategies.py``. Medians in one process; targets: 1,000 texts compiled
under 5 s; one candidate on nine lanes (3 symbols, 3 timeframes, 7 days), features at hand, under 20 ms.
"""

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from records import record

from backtester.evaluation.evaluate import evaluate, read_market
from backtester.resampling import aggregate
from blofin_resources.market.registry import open_market
from features.bars import DEFAULT_TIMEFRAMES, FrameSource
from features.feature_manager import FeatureManager
from model_zoo.training.trainer import default_spec, train_cycle
from strategies.registry import load_library
from strategies.untrusted.compiler import compile_strategy

END = datetime(2025, 6, 12, tzinfo=UTC)
START = END - timedelta(days=21)
HOLDOUT = END - timedelta(days=7)
SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")


def seconds(action: Callable[[], object], repetitions: int = 1) -> float:
    taken = []
    for _ in range(repetitions):
        before = time.perf_counter()
        action()
        taken.append(time.perf_counter() - before)
    return statistics.median(taken)


def manager_as_of_end() -> FeatureManager:
    source = open_market("sample", archive=None, api_url="", seed=1)
    minutes = source.candles(SYMBOLS, "1m", START, END)
    candles = {"1m": minutes, **{timeframe: aggregate(minutes, timeframe, END) for timeframe in ("5m", "60m", "1d")}}
    return FeatureManager(FrameSource(candles, source.funding(SYMBOLS, START, END)), END)


def main() -> None:
    library = load_library()
    texts = [strategy.source() for strategy in library]

    def compile_a_thousand() -> set[str]:
        named = [texts[i % len(texts)].replace('name = "', f'name = "g{i}_', 1) for i in range(1_000)]
        return {compile_strategy(text).version for text in named}

    compiled = seconds(compile_a_thousand)
    print(f"compile 1,000 texts                      {compiled:8.2f} s")
    record("1,000 texts compiled", compiled, "s", limit="< 5")
    manager = manager_as_of_end()
    features = {
        timeframe: {name for each in library for name in each.features(timeframe)} for timeframe in DEFAULT_TIMEFRAMES
    }
    market = read_market(manager, SYMBOLS, HOLDOUT, END, features=features, lookback=200)
    each = [
        seconds(lambda strategy=strategy: evaluate([strategy], manager, SYMBOLS, HOLDOUT, END, market=market), 5)
        for strategy in library
    ]
    print(f"one candidate on nine lanes, median      {1e3 * statistics.median(each):8.1f} ms")
    print(f"one candidate on nine lanes, slowest     {1e3 * max(each):8.1f} ms")
    record("one candidate on nine lanes, median", 1e3 * statistics.median(each), "ms", limit="< 20")
    for timeframe in DEFAULT_TIMEFRAMES:
        spec = default_spec("direction", timeframe)
        taken = seconds(lambda spec=spec: train_cycle(manager, SYMBOLS, END, spec))
        print(f"direction model on {timeframe:>3}, whole cycle      {taken:8.2f} s")
        record(f"direction model on {timeframe}, whole cycle", taken, "s")


if __name__ == "__main__":
    main()
