"""How fast the embedded search tries strategies, and whether its memory stays flat.

Run ``make bench`` or ``python benchmarks/bench_evolution.py [candidates]``. A candidate counts when it was run in full:
all nine lanes (3 symbols, 3 timeframes) over the 28 days of a search window, with costs and metrics; what the cascade
stopped does not count. Target: 5,000 a minute on two cores. Memory is sampled over many candidates (20,000 unless
told; 100,000 take some minutes) of which nothing but elites, ledger rows and hashes may stay.
"""

import resource
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from records import record

from backtester.resampling import aggregate
from backtester.statistics.windows import cycle_windows
from blofin_resources.market.registry import open_market
from features.bars import FrameSource
from features.feature_manager import FeatureManager
from strategies.registry import load_library
from strategies.search.map_elites.search import design
from strategies.search.panel import Panel

END = datetime(2025, 6, 12, tzinfo=UTC)
START = END - timedelta(days=45)
SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
BUDGET = 3_000
SAMPLES = 10


def manager() -> FeatureManager:
    source = open_market("sample", archive=None, api_url="", seed=1)
    minutes = source.candles(SYMBOLS, "1m", START, END)
    candles = {"1m": minutes, **{timeframe: aggregate(minutes, timeframe, END) for timeframe in ("5m", "60m", "1d")}}
    return FeatureManager(FrameSource(candles, source.funding(SYMBOLS, START, END)), END)


def resident() -> float:
    """Return the memory in use now, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def timed(action: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    candidates = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    windows, source, library = cycle_windows(END), manager(), load_library()
    assert windows.search is not None  # noqa: S101  # no first bar was given
    for name, window in (("holdout, 7 days", windows.holdout), ("search, 28 days", windows.search)):
        panel = Panel.read(source, SYMBOLS, window)
        for each in library:
            panel.run(each)  # its features are computed by now
        taken = [timed(lambda each=each, panel=panel: panel.run(each))[1] for each in library for _ in range(3)]  # type: ignore[misc]
        print(f"one strategy on nine lanes, {name:<16} {1e3 * statistics.median(taken):8.1f} ms of CPU")
        record(f"one strategy on nine lanes, {name}", 1e3 * statistics.median(taken), "ms")
    panel = Panel.read(source, SYMBOLS, windows.search)
    design(panel, library, budget=50, seed=0)
    for threads in (1, 2):
        wall, cpu = timed(lambda threads=threads: design(panel, library, budget=BUDGET, seed=1, threads=threads))  # type: ignore[misc]
        rate = 60 * BUDGET / wall
        each = 1e3 * cpu / BUDGET
        print(f"search, {threads} at a time: {rate:10,.0f} candidates a minute, {each:.1f} ms of CPU each")
        record(f"strategies tried, {threads} at a time", rate, "a minute", limit="5,000 on two cores")
    used: list[float] = []

    def sample(done: int, budget: int) -> None:
        if done >= (len(used) + 1) * budget / SAMPLES:
            used.append(resident())

    design(panel, library, budget=candidates, seed=2, threads=2, on_progress=sample)
    grown = used[-1] - used[len(used) // 2]
    print(f"memory over {candidates:,} candidates, MB: {', '.join(f'{each:,.0f}' for each in used)}")
    print(f"growth in the second half: {grown:,.0f} MB, {1e6 * grown / candidates / 0.5:,.0f} bytes a candidate")
    record(f"growth over the second half of {candidates:,} strategies", grown, "MB")


if __name__ == "__main__":
    main()
