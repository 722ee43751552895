"""Years of hours of many symbols: imported, stored, read, turned into features, and fetched from the exchange.

Run ``make bench`` or ``python benchmarks/bench_deep.py [--symbols 100] [--years 3]``. Each stage has a process of its
own, so that its peak memory is its own; the exchange is the tests' own, in a process beside it, with the limiter
lifted. Each line names the most that the stage may take at 100 symbols and three years; the last two are ratios.
"""

import argparse
import math
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import polars as pl
from records import record

from blofin_resources.market.archive import ArchiveMarket
from blofin_resources.market.blofin import BlofinClient, BlofinMarket, SharedLimiter
from blofin_resources.market.deep import DEEP_60M, current_listings, store_deep, store_listings, stored_listings
from blofin_resources.market.importing import import_folder, survey
from blofin_resources.market.ingestion import store_candles
from blofin_resources.market.sample import SampleMarket
from blofin_resources.warehouse import Warehouse
from features import compute
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, MINUTES, Timeframe, bar_length

END = datetime(2026, 3, 1, tzinfo=UTC)
NOW = END + timedelta(seconds=30)
BASES = ("ADA", "AVAX", "BNB", "BTC", "DOGE", "DOT", "ETH", "LINK", "SOL", "XRP")
FETCHED = 14 * 1440
"""Bars of each of `BASES` that are fetched from the exchange, of a minute and of an hour."""

TWENTY = [
    *("returns", "rsi_14", "ema_21", "ema_50", "sma_50", "sma_200", "macd_12_26", "macd_signal_9", "bbands_upper"),
    *("bbands_lower", "atr_14", "adx_14", "stoch_k", "williams_r", "std_dev_20", "zscore_20", "momentum_10"),
    *("rate_of_change_24", "volume_ratio", "volatility_rank_100"),
]
AT_ONCE = 10
"""Symbols whose features are computed at once."""


def walk(symbol: str, count: int, step: timedelta, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    close = np.round(100.0 * np.exp(np.cumsum(rng.normal(0.0, 6e-3, count))), 4)
    opened = np.concatenate([[100.0], close[:-1]])
    spread = np.abs(rng.normal(0.0, 3e-3, (2, count)))
    times = pl.datetime_range(END - count * step, END, step, closed="left", eager=True, time_unit="us")
    return pl.DataFrame(
        {
            "symbol": symbol, "ts": times, "open": opened,
            "high": np.round(np.maximum(opened, close) * (1 + spread[0]) + 5e-5, 4),
            "low": np.round(np.minimum(opened, close) * (1 - spread[1]) - 5e-5, 4),
            "close": close, "volume": np.round(rng.lognormal(5.0, 1.0, count), 3), "quote_volume": 500.0,
            "contracts": 50.0, "minutes": step // timedelta(minutes=1), "origin": "archive", "flag": None,
        },
        schema_overrides=dict(CANDLE_SCHEMA),
    ).select(CANDLE_SCHEMA.names())  # fmt: skip


def write_feather(folder: Path, symbols: int, years: float) -> int:
    hours = round(years * 8760)
    for k in range(symbols):
        frame = walk(f"S{k:03}-USDT", hours, timedelta(hours=1), k)
        own = frame.select(date=pl.col("ts").dt.cast_time_unit("ms")).hstack(
            frame.select("open", "high", "low", "close", "volume")
        )
        own.write_ipc(folder / f"S{k:03}_USDT_USDT-1h-futures.feather", compression="lz4")
    return symbols * hours


Stage = Callable[[Path], Callable[[], int]]
"""Prepares a stage in a folder, and gives the work that is measured, which returns a number of rows."""


def importing(folder: Path) -> Callable[[], int]:
    return lambda: sum(each.rows for each in import_folder(survey(folder / "theirs"), folder / "ours").joined)


def storing(folder: Path) -> Callable[[], int]:
    source = ArchiveMarket(folder / "ours")
    store = Warehouse.open(folder / "warehouse", market="archive", market_id=source.identity)
    return lambda: stored(store, source, datetime(2020, 1, 1, tzinfo=UTC))


def stored(store: Warehouse, source: ArchiveMarket | BlofinMarket, start: datetime) -> int:
    store_listings(store, current_listings(store, source, END), END, "bench")
    listed = stored_listings(store, END)
    return store_deep(store, source, DEEP_60M, listed, start, END, as_of=END, run_id="bench").rows


def reading(folder: Path) -> Callable[[], int]:
    store = Warehouse.open_readonly(folder / "warehouse")
    return lambda: store.read("SELECT close FROM market.deep_60m").height


def features(folder: Path) -> Callable[[], int]:
    """Compute all features of all symbols, a few at a time, and keep them."""
    store = Warehouse.open_readonly(folder / "warehouse")
    compute(walk("S", 300, timedelta(hours=1), 1), TWENTY, timeframe="60m")  # compiles

    def work() -> int:
        symbols = store.read("SELECT DISTINCT symbol FROM market.deep_60m ORDER BY 1")["symbol"].to_list()
        kept = []
        for at in range(0, len(symbols), AT_ONCE):
            bars = store.read(
                f"SELECT {', '.join(CANDLE_SCHEMA)} FROM market.deep_60m "  # noqa: S608 - constant columns
                "WHERE symbol IN (SELECT unnest(?)) ORDER BY symbol, ts",
                [symbols[at : at + AT_ONCE]],
            ).cast(CANDLE_SCHEMA)
            kept.append(compute(bars, TWENTY, timeframe="60m").select(TWENTY))
        return sum(frame.height for frame in kept)

    return work


def serve(pipe: Connection) -> None:
    """Run the exchange until the other side says that it is done."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from support.fake_exchange import Book, FakeExchange  # noqa: PLC0415 - the path is only known here

    symbols = [f"{base}-USDT" for base in BASES]
    minutes, hours = (
        pl.concat(walk(symbol, FETCHED, step, k) for k, symbol in enumerate(symbols))
        for step in (timedelta(minutes=1), timedelta(hours=1))
    )
    paid = pl.DataFrame({"symbol": symbols, "ts": END, "rate": 1e-4}).cast(dict(FUNDING_SCHEMA))
    longer: dict[Timeframe, pl.DataFrame] = {"60m": hours, "1d": hours.clear()}
    with FakeExchange(Book(minutes, paid, longer=longer), lambda: NOW) as exchange:
        pipe.send(exchange.url)
        pipe.recv()


def fetched(url: str, folder: Path, timeframe: Timeframe) -> float:
    """Fetch and store bars of a timeframe; return bars a second."""
    folder.mkdir()

    def connect() -> BlofinClient:
        return BlofinClient(url, SharedLimiter(folder / "limit.json", math.inf))

    market = BlofinMarket(url, clock=lambda: NOW, connect=connect)
    symbols, begin = market.symbols(), END - FETCHED * bar_length(timeframe)
    with Warehouse.open(folder / "warehouse", market="blofin", market_id=market.identity) as store:
        start = time.perf_counter()
        if timeframe == "60m":
            rows = stored(store, market, begin)
        else:
            rows = store_candles(store, market, symbols, begin, END, as_of=END, run_id="bench").rows
        return rows / (time.perf_counter() - start)


def from_exchange(folder: Path) -> None:
    """Print how fast hours come from the exchange, and as a share of minutes."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,))
    server.start()
    url = here.recv()
    speed: dict[Timeframe, float] = {}
    for run in ("first", "second"):  # the first one pays for what a process does once
        for timeframe in ("1m", "60m"):
            speed[timeframe] = fetched(url, folder / f"{run}_{timeframe}", timeframe)
    here.send("done")
    server.join()
    print(
        f"fetched and stored from the exchange, {len(BASES)} symbols: {speed['60m']:,.0f} hours/s, "
        f"{speed['1m']:,.0f} minutes/s, ratio {speed['60m'] / speed['1m']:.2f} (at least 1)"
    )
    record("hours fetched and stored from the exchange", speed["60m"], "a second")


def from_the_sample_market() -> None:
    """Print how fast the sample market makes a year of hours of a symbol, as a multiple of a year of minutes."""
    start, market = END - timedelta(days=365), SampleMarket(7, clock=lambda: END)
    invented = [symbol for symbol in market.listings()["symbol"].to_list() if symbol not in market.symbols()]
    taken = {}
    for timeframe, symbols in (("1m", ["BTC-USDT"]), ("60m", invented)):
        fresh = SampleMarket(7, clock=lambda: END)
        before = time.process_time()
        bars = fresh.candles(symbols, timeframe, start, END).height
        taken[timeframe] = (time.process_time() - before) * 525_600 / MINUTES[timeframe] / bars
    print(
        f"a symbol's year of the sample market: {1e3 * taken['60m']:.0f} ms of hours, {1e3 * taken['1m']:.0f} ms of "
        f"minutes, ratio {taken['1m'] / taken['60m']:.0f} (at least 10)"
    )


def alone(stage: Stage, folder: Path, pipe: Connection) -> None:
    """Run one stage and report its rows, seconds, seconds of processor, and peak memory in MB."""
    work = stage(folder)
    start, before = time.perf_counter(), time.process_time()
    rows = work()
    seconds, used = time.perf_counter() - start, time.process_time() - before
    pipe.send((rows, seconds, used, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def measured(stage: Stage, folder: Path, name: str, bound: str) -> None:
    """Print what a stage takes in a process of its own."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=alone, args=(stage, folder, there))
    process.start()
    rows, seconds, used, peak = here.recv()
    process.join()
    print(
        f"{name:<42} {rows:>10,} rows {seconds:7.2f} s, of processor {used:7.2f} s   peak {peak:6,.0f} MB   ({bound})",
        flush=True,
    )
    record(name, seconds, "s", limit=bound)


def size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--years", type=float, default=3.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "theirs").mkdir()
        write_feather(folder / "theirs", options.symbols, options.years)
        measured(importing, folder, "freqtrade's feather files into an archive", "60 s, with the next line")
        measured(storing, folder, "the archive's hours into a warehouse", "60 s, with the line before")
        print(f"stored: {size(folder / 'warehouse'):.0f} MB in the warehouse (250 MB), "
              f"{size(folder / 'ours'):.0f} MB in the archive")  # fmt: skip
        measured(reading, folder, "one column of all of it read", "0.5 s")
        measured(features, folder, f"{len(TWENTY)} features of all of it", "20 s and 2 GB")
        shutil.rmtree(folder / "theirs")
        from_exchange(folder)
    from_the_sample_market()


if __name__ == "__main__":
    main()
